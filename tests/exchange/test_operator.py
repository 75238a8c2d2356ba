"""What a person may do about a row, and what of it is kept."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.exchange import due, operator, outbox
from gateway.exchange.due import Due, Reason
from gateway.exchange.journal import EntryKind, Journal, JournalRecord, JournalWriter
from gateway.exchange.operator import Act, Done
from gateway.exchange.outbox import Exchange, State
from gateway.model import Outcome
from tests.exchange.fleet import HOUR, put_row
from tests.exchange.world import NOW, PERSON

LATER = NOW + HOUR


def act(engine: Engine, what: Act, *message_ids: str, reason: str = "the outage is over") -> Done:
    return operator.act(engine, JournalWriter(), what, message_ids, reason=reason, by="saule", now=LATER)


def row_of(engine: Engine, message_id: str = "m-1") -> Exchange:
    with reading(engine) as connection:
        row = outbox.get(connection, message_id)
    assert row is not None
    return row


def notes(engine: Engine) -> list[JournalRecord]:
    return [record for record in Journal(engine).list_entries() if record.kind is EntryKind.NOTE]


def quarantined(engine: Engine, message_id: str = "m-1", **changes: object) -> None:
    put_row(engine, message_id, subject=PERSON, **changes)
    with writing(engine) as connection:
        outbox.quarantine(connection, message_id, code="peer_unavailable", lease=None)


def test_a_row_that_is_sent_again_has_all_its_attempts_before_it_and_its_reason_in_the_journal(engine: Engine) -> None:
    quarantined(engine)
    assert act(engine, Act.RETRY, "m-1", "m-1") == Done(("m-1",), {})
    row = row_of(engine)
    assert (row.state, row.due_at, row.attempts, row.reason) == (State.WAITING, LATER, 0, "the outage is over")
    (note,) = notes(engine)
    assert (note.verdict, note.message_id, note.at) == ("retry", "m-1", LATER)
    assert note.note == "saule: the outage is over (was quarantined)"


@pytest.mark.parametrize(("what", "state"), [(Act.SETTLE, State.SETTLED), (Act.DROP, State.DROPPED)])
def test_a_row_that_a_person_closes_lets_its_wish_go(engine: Engine, what: Act, state: State) -> None:
    quarantined(engine)
    with writing(engine) as connection:
        due.put(connection, Due(PERSON, "cbdi", NOW, Reason.WANTED))
        due.claim(connection, PERSON, "cbdi", "m-1")
    assert act(engine, what, "m-1").changed == ("m-1",)
    row = row_of(engine)
    assert (row.state, row.outcome, row.code, row.answered_at) == (state, Outcome.UNKNOWN, "peer_unavailable", LATER)
    with writing(engine) as connection:
        assert due.question_of(connection, PERSON, "cbdi") is None
        (wish,) = due.take_due(connection, LATER + 24 * HOUR, 1)
    assert wish.reason is Reason.RETRY


def test_a_row_that_is_sent_again_holds_its_wish_and_yields_to_another_question(engine: Engine) -> None:
    quarantined(engine)
    quarantined(engine, "m-2")
    with writing(engine) as connection:
        due.put(connection, Due(PERSON, "cbdi", NOW, Reason.RETRY))
    assert act(engine, Act.RETRY, "m-1").changed == ("m-1",)
    done = act(engine, Act.RETRY, "m-2")
    assert done.changed == ()
    assert done.left == {"m-2": "the person is being asked about under another id, m-1"}
    assert row_of(engine, "m-2").state is State.QUARANTINED


def test_what_is_answered_or_on_the_wire_is_left_alone(store: Engine) -> None:
    put_row(store, "wire", holder="me", leased_until=NOW)
    put_row(store, "done")
    with writing(store) as connection:
        outbox.settle(connection, "done", state=State.ANSWERED, outcome=Outcome.FOUND, at=NOW)
    for what in Act:
        done = act(store, what, "wire", "done", "nobody")
        assert done.changed == ()
        assert done.left == {
            "wire": "a worker has it; wait for the end of its lease",
            "done": "it is answered",
            "nobody": "there is no such row",
        }
    assert notes(store) == []


@pytest.mark.parametrize(
    "reason", ["", "  \n", "x" * 401, f"asked about {PERSON.value}"], ids=["empty", "blank", "long", "a person"]
)
def test_a_reason_that_cannot_be_kept_changes_nothing(store: Engine, reason: str) -> None:
    quarantined(store)
    with pytest.raises(ConfigurationError) as refused:
        act(store, Act.DROP, "m-1", reason=reason)
    assert refused.value.key == "--reason"
    assert PERSON.value not in str(refused.value)
    assert row_of(store).state is State.QUARANTINED


def test_a_row_is_shown_without_the_person_unless_asked_for(store: Engine) -> None:
    quarantined(store, business_key="key of the person")
    shown = operator.as_dict(row_of(store))
    assert PERSON.value not in repr(shown)
    assert "key of the person" not in repr(shown)
    assert shown["next"] == "a person must: gateway exchange retry, settle or drop"
    asked = operator.as_dict(row_of(store), with_person=True)
    assert (asked["subject"], asked["business_key"]) == (PERSON.value, "key of the person")


def test_every_state_says_who_goes_on(store: Engine) -> None:
    told = {}
    put_row(store, "m-1")
    told["waiting"] = operator.what_next(row_of(store))
    with writing(store) as connection:
        outbox.doubt(connection, "m-1", due_at=NOW, code="x", lease=None)
    told["unknown, due"] = operator.what_next(row_of(store))
    with writing(store) as connection:
        outbox.doubt(connection, "m-1", due_at=None, code="x", lease=None)
    told["unknown"] = operator.what_next(row_of(store))
    with writing(store) as connection:
        outbox.acknowledge(
            connection, "m-1", wire_message_id="", correlation_id="", session_id="", at=NOW, answer_due_at=None
        )
    told["acknowledged"] = operator.what_next(row_of(store))
    act(store, Act.DROP, "m-1")
    told["dropped"] = operator.what_next(row_of(store))
    put_row(store, "m-2", holder="me", leased_until=NOW)
    told["asked"] = operator.what_next(row_of(store, "m-2"))
    assert len(set(told.values())) == len(told)
    assert told["waiting"] == "the same bytes are sent"
    assert "a person must" in told["unknown"]
