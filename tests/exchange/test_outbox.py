"""Rows of what we send: leased by one, closed once, found by every id."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from gateway.database import reading, writing
from gateway.errors import StoreError
from gateway.exchange import outbox
from gateway.exchange.outbox import Exchange, Lease, State
from gateway.model import Outcome
from tests.exchange.fleet import SECOND, put_row
from tests.exchange.world import NOW, PERSON

MINUTE = dt.timedelta(minutes=1)


def get(engine: Engine, message_id: str = "m-1") -> Exchange:
    with reading(engine) as connection:
        row = outbox.get(connection, message_id)
    assert row is not None
    return row


def lease(engine: Engine, now: dt.datetime = NOW, holder: str = "w", **options: object) -> Exchange | None:
    with writing(engine) as connection:
        for row in outbox.find_due(connection, now, 1, **options):
            return outbox.take(connection, row, holder=holder, leased_until=now + MINUTE)
    return None


def close(engine: Engine, held: Lease | None, state: State = State.ANSWERED) -> None:
    with writing(engine) as connection:
        outbox.settle(connection, "m-1", state=state, outcome=Outcome.FOUND, at=NOW, lease=held)


def test_a_row_reads_back_as_it_was_written(engine: Engine) -> None:
    written = put_row(engine, "m-1", subject=PERSON, due_at=NOW + MINUTE, business_key="key-1", priority=7)
    assert get(engine) == written
    assert (written.state, written.due_at, written.attempts) == (State.WAITING, NOW + MINUTE, 0)
    assert PERSON.value not in repr(written)
    assert "key-1" not in repr(written)


def test_a_row_may_be_taken_as_it_is_written(engine: Engine) -> None:
    written = put_row(engine, "m-1", holder="me", leased_until=NOW + MINUTE)
    assert get(engine) == written
    assert (written.state, written.lease, written.due_at) == (State.ASKED, Lease("m-1", "me", 1), None)


def test_an_answer_is_never_applied_twice(engine: Engine) -> None:
    row = put_row(engine, "m-1", holder="me", leased_until=NOW + MINUTE)
    close(engine, row.lease)
    for held in (row.lease, None):
        with pytest.raises(StoreError, match="m-1 is not waiting") as caught:
            close(engine, held)
        assert caught.value.code == "exchange_settled"
    assert (get(engine).state, get(engine).outcome, get(engine).answered_at) == (State.ANSWERED, Outcome.FOUND, NOW)


def test_a_message_id_is_never_used_twice(store: Engine) -> None:
    put_row(store, "m-1")
    with pytest.raises(IntegrityError):
        put_row(store, "m-1")


def test_rows_go_by_priority_and_then_by_due_time(engine: Engine) -> None:
    put_row(engine, "late", due_at=NOW - SECOND)
    put_row(engine, "early", due_at=NOW - MINUTE)
    put_row(engine, "urgent", due_at=NOW, priority=1)
    put_row(engine, "not yet", due_at=NOW + SECOND, priority=1)
    put_row(engine, "another service", due_at=NOW - MINUTE, priority=1, service_id="OTHER")
    taken = [lease(engine, without=["OTHER"]) for _ in range(4)]
    assert [row and row.message_id for row in taken] == ["urgent", "early", "late", None]


def test_a_taken_row_is_nobody_elses_until_its_lease_ends(engine: Engine) -> None:
    put_row(engine, "m-1")
    held = lease(engine)
    assert held is not None
    assert get(engine) == held
    assert lease(engine, NOW + MINUTE) is None
    with writing(engine) as connection:
        assert outbox.find_expired(connection, NOW + MINUTE - SECOND, 10) == ()
        (expired,) = outbox.find_expired(connection, NOW + MINUTE, 10)
    assert expired == held


def test_a_holder_whose_lease_was_lost_changes_nothing(engine: Engine) -> None:
    put_row(engine, "m-1")
    first = lease(engine, holder="first")
    assert first is not None
    with writing(engine) as connection:
        assert outbox.doubt(connection, "m-1", due_at=NOW, code="lease_ended", lease=first.lease)
    second = lease(engine, holder="second")
    assert second is not None
    before = get(engine)
    with writing(engine) as connection:
        assert not outbox.wait(connection, "m-1", due_at=NOW, code="x", lease=first.lease, attempts=1)
        assert not outbox.doubt(connection, "m-1", due_at=NOW, code="x", lease=first.lease)
        assert not outbox.quarantine(connection, "m-1", code="x", lease=first.lease)
        assert not outbox.acknowledge(
            connection,
            "m-1",
            wire_message_id="",
            correlation_id="",
            session_id="",
            at=NOW,
            answer_due_at=None,
            lease=first.lease,
        )
    with pytest.raises(StoreError):
        close(engine, first.lease)
    assert get(engine) == before
    close(engine, second.lease)


def test_a_pushed_answer_closes_any_open_row(engine: Engine) -> None:
    put_row(engine, "m-1")
    close(engine, None)
    assert get(engine).state is State.ANSWERED
    assert lease(engine) is None


def test_an_acknowledged_message_is_found_by_every_id_and_expires_when_its_answer_is_overdue(engine: Engine) -> None:
    put_row(engine, "m-1", channel="async", message_type="REQUEST", business_key="key-1")
    held = lease(engine)
    assert held is not None
    with writing(engine) as connection:
        assert outbox.acknowledge(
            connection,
            "m-1",
            wire_message_id="1001",
            correlation_id="2002",
            session_id="s",
            at=NOW,
            answer_due_at=NOW + MINUTE,
            lease=held.lease,
        )
    row = get(engine)
    assert (row.state, row.acknowledged_at, row.leased_until) == (State.ACKNOWLEDGED, NOW, None)
    with reading(engine) as connection:
        assert outbox.find_by_correlation(connection, "2002") == row
        assert outbox.find_by_correlation(connection, "m-1") == row
        assert outbox.find_by_correlation(connection, "1001") is None
        assert outbox.find_by_correlation(connection, "") is None
        assert outbox.find_waiting_by_business_key(connection, "cbdi", "key-1") == row
        assert outbox.find_waiting_by_business_key(connection, "zags", "key-1") is None
        assert outbox.find_waiting_by_business_key(connection, "cbdi", "") is None
    with writing(engine) as connection:
        assert outbox.find_expired(connection, NOW + MINUTE - SECOND, 10) == ()
        assert outbox.find_expired(connection, NOW + MINUTE, 10) == (row,)
    close(engine, None)
    with reading(engine) as connection:
        assert outbox.find_waiting_by_business_key(connection, "cbdi", "key-1") is None
        found = outbox.find_by_correlation(connection, "2002")
    assert found is not None  # a late answer has to be recognised as one
    assert found.state is State.ANSWERED


def test_of_several_rows_of_one_chain_the_open_one_is_meant(store: Engine) -> None:
    for number in ("m-1", "m-2", "m-3"):
        put_row(store, number, channel="async", correlation_id="2002", asked_at=NOW + int(number[-1]) * SECOND)
    with writing(store) as connection:
        outbox.settle(connection, "m-3", state=State.DROPPED, outcome=Outcome.UNKNOWN, at=NOW)
        found = outbox.find_by_correlation(connection, "2002")
    assert found is not None
    assert found.message_id == "m-2"


def test_rows_are_listed_by_what_an_operator_asks_for(engine: Engine) -> None:
    put_row(engine, "m-1", asked_at=NOW - MINUTE)
    put_row(engine, "m-2", system="zags", service_id="Z")
    with writing(engine) as connection:
        outbox.quarantine(connection, "m-2", code="peer_unavailable", lease=None)

    def ids(**filters: object) -> list[str]:
        with writing(engine) as connection:
            return [row.message_id for row in outbox.find(connection, **filters)]

    assert ids() == ids(lock=True) == ["m-1", "m-2"]
    assert ids(states=[State.QUARANTINED]) == ids(system="zags") == ids(service_id="Z") == ["m-2"]
    assert ids(code="peer_unavailable") == ["m-2"]
    assert ids(asked_before=NOW) == ids(limit=1) == ["m-1"]


def test_a_code_that_is_too_long_is_cut(store: Engine) -> None:
    put_row(store, "m-1")
    with writing(store) as connection:
        outbox.settle(connection, "m-1", state=State.REFUSED, outcome=Outcome.UNKNOWN, at=NOW, code="c" * 100)
    assert get(store).code == "c" * 64


def test_an_exchange_that_never_was_is_none(store: Engine) -> None:
    with reading(store) as connection:
        assert outbox.get(connection, "m-1") is None


def test_every_state_is_open_or_closed() -> None:
    assert set(State) == outbox.OPEN | outbox.CLOSED
    assert not outbox.OPEN & outbox.CLOSED
