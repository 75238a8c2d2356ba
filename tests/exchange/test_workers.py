"""Workers: what is due is done once, whatever dies, and in the order in which it is due."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Connection, Engine, event, insert, select, update
from structlog.testing import capture_logs

from gateway import telemetry
from gateway.database import engine_for, reading, upgrade, writing
from gateway.errors import MappingError, OutcomeUnknown, PeerUnavailable, StoreError
from gateway.exchange import circuit, due, ending, outbox
from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.due import Due, Reason
from gateway.exchange.ending import NOT_AWAITED
from gateway.exchange.journal import EntryKind, Journal, MessageDirection
from gateway.exchange.limits import ExchangeLimits
from gateway.exchange.outbox import State
from gateway.exchange.results import AskResult
from gateway.exchange.tables import CIRCUIT, DUE, JOURNAL_BODY
from gateway.exchange.workers import WorkerPool
from gateway.model import Answer, Iin, Outcome, Query
from gateway.registry import store as registry_store
from gateway.registry.tables import FACT
from gateway.regulation.law import Law
from gateway.shep.messages import StatusInfo
from gateway.systems.definition import SystemDefinition
from gateway.trust.store import TrustStore
from tests.exchange.fleet import (
    CBDI_SERVICE,
    HOUR,
    SECOND,
    Crash,
    CrashAt,
    Fleet,
    Recording,
    count,
    not_idempotent,
    put_row,
    put_rows,
    without_sync,
)
from tests.exchange.world import NOW, OTHER, PERSON, Keys, Register, systems, trust

DAY = dt.timedelta(days=1)


@pytest.fixture
def fleet(engine: Engine, keys: Keys, register: Register) -> Fleet:
    """On each store."""
    return Fleet(engine, keys, register)


@pytest.fixture
def small(store: Engine, keys: Keys, register: Register) -> Fleet:
    """For what does not depend on the store."""
    return Fleet(store, keys, register)


def wish(engine: Engine, iin: str = PERSON.value) -> dict[str, Any]:
    with reading(engine) as connection:
        return dict(connection.execute(select(DUE).where(DUE.c.iin == iin)).mappings().one())


# ---------------------------------------------------------------- wishes become questions


def test_what_is_due_is_asked_and_gets_its_next_time(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    assert fleet.work(fleet.worker(batch=8)) == 1
    assert {row.state for row in fleet.rows()} == {State.ANSWERED}
    for person in (PERSON, OTHER):
        row = wish(fleet.engine, person.value)
        assert (row["reason"], row["due_at"], row["failures"]) == (Reason.REFRESH, NOW + 30 * DAY, 0)
        assert (row["message_id"], row["leased_until"]) == (None, None)
    assert count(fleet.engine, FACT) == 1  # the other has no record


def test_while_a_question_is_on_its_way_no_other_is_made(small: Fleet) -> None:
    small.register.error = PeerUnavailable("down")
    small.want(PERSON)
    small.work()
    assert small.row().state is State.WAITING
    assert wish(small.engine)["message_id"] == "ours-1"
    small.want(PERSON)
    small.clock.tick(5 * SECOND)
    assert small.work() == 0
    assert len(small.rows()) == 1


def test_a_rejection_is_an_answer(small: Fleet) -> None:
    small.register.status = StatusInfo("SCSE001", "no")
    small.want(PERSON)
    small.work()
    assert (small.row().state, small.row().outcome) == (State.ANSWERED, Outcome.REJECTED)
    assert wish(small.engine)["due_at"] == NOW + 30 * DAY


def test_a_refused_reply_closes_its_row_and_the_person_is_asked_about_anew(small: Fleet) -> None:
    small.register.signer = "stranger"
    small.want(PERSON)
    small.work()
    assert small.row().state is State.REFUSED
    row = wish(small.engine)
    assert (row["message_id"], row["reason"], row["due_at"]) == (None, Reason.RETRY, NOW + 30 * SECOND)
    small.register.signer = "shep"
    small.clock.tick(30 * SECOND)
    small.work()
    assert [row.state for row in small.rows()] == [State.REFUSED, State.ANSWERED]


def test_our_own_mistake_with_one_wish_is_logged_and_does_not_stop_the_others(small: Fleet) -> None:
    with writing(small.engine) as connection:
        due.put(connection, Due(PERSON, "gone", NOW - SECOND, Reason.REFRESH))
    small.want(OTHER)
    with capture_logs() as logs:
        small.work(small.worker(batch=8))
    assert wish(small.engine)["due_at"] == NOW + DAY
    assert [row.state for row in small.rows()] == [State.ANSWERED]
    failed = next(line for line in logs if line["action"] == "wish_failed")
    assert (failed["system"], failed["code"]) == ("gone", "unknown_system")
    assert PERSON.value not in repr(logs)


def test_a_wish_for_a_channel_that_is_not_configured_is_put_off(small: Fleet) -> None:
    small.want(PERSON)
    with capture_logs() as logs:
        small.work(small.worker(roads={}))
    assert logs[0]["code"] == "channel_not_configured"
    assert wish(small.engine)["due_at"] == NOW + 30 * SECOND


def test_a_mistake_in_a_folder_is_named_by_its_kind(small: Fleet) -> None:
    class Mapper:
        def build_request(self, query: object) -> Any:
            raise KeyError(PERSON.value)

    small.systems = {"cbdi": dataclasses.replace(systems()["cbdi"], mapper=Mapper())}
    small.want(PERSON)
    with capture_logs() as logs:
        small.work()
    assert logs[0]["code"] == "KeyError"
    assert PERSON.value not in repr(logs)


def test_a_store_that_fails_ends_the_turn(small: Fleet) -> None:
    small.new_message_id = lambda: "the-same"
    small.want(PERSON, OTHER)
    worker = small.worker()
    worker.work_once()
    with capture_logs(), pytest.raises(StoreError):
        worker.work_once()
    assert len(small.register.requests) == 1


def test_a_worker_that_is_told_to_end_lets_go_of_what_it_did_not_begin(small: Fleet) -> None:
    small.want(PERSON, OTHER)
    small.worker(batch=8, stop=lambda: True).work_once()
    assert small.rows() == ()
    with reading(small.engine) as connection:
        leases = connection.execute(select(DUE.c.leased_until)).scalars().all()
    assert leases == [None, None]
    assert small.work(small.worker(batch=8)) == 1  # another worker takes both at once


# ---------------------------------------------------------------- groups


@contextmanager
def commits(engine: Engine) -> Iterator[list[object]]:
    """What was committed meanwhile, one for each transaction."""
    made: list[object] = []

    def committed(connection: object) -> None:
        made.append(connection)

    event.listen(engine, "commit", committed)
    yield made
    event.remove(engine, "commit", committed)


def spoil_the_first() -> Callable[[bytes], bytes]:
    replies: list[bytes] = []

    def change(data: bytes) -> bytes:
        replies.append(data)
        return data.replace(b"<responseDate>2026", b"<responseDate>2025") if len(replies) == 1 else data

    return change


def fails_for(iin: Iin, definitions: Mapping[str, SystemDefinition]) -> dict[str, SystemDefinition]:
    genuine = definitions["cbdi"]

    class Failing:
        def build_request(self, query: Query) -> etree._Element:
            if query.subject == iin:
                raise MappingError("this person cannot be asked about")
            return genuine.mapper.build_request(query)

        def read_response(self, payload: etree._Element) -> Answer:
            return genuine.mapper.read_response(payload)

    return {**definitions, "cbdi": dataclasses.replace(genuine, mapper=Failing())}


def test_a_group_shares_its_transactions_and_nothing_else(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    with commits(fleet.engine) as made:
        assert fleet.worker(batch=8).work_once().worked
    # recovery, rows that are due, wishes taken; questions stored, replies stored, answers applied
    assert len(made) == 6
    assert [row.state for row in fleet.rows()] == [State.ANSWERED] * 2
    assert len({row.reply_journal_id for row in fleet.rows()}) == 2
    assert {row.subject for row in fleet.rows()} == {PERSON, OTHER}
    for row in fleet.rows():
        found = {
            record.kind: record.verdict for record in Journal(fleet.engine).list_entries(message_id=row.message_id)
        }
        assert found == {EntryKind.REQUEST: "signed", EntryKind.REPLY: "accepted"}


def test_one_reply_of_a_group_that_must_not_be_used_does_not_touch_the_others(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    fleet.register.change = spoil_the_first()
    fleet.worker(batch=8).work_once()
    assert sorted(row.state for row in fleet.rows()) == [State.ANSWERED, State.REFUSED]
    (refused,) = (row for row in fleet.rows() if row.state is State.REFUSED)
    assert refused.code == "digest"


def test_one_reply_of_a_group_that_never_came_does_not_touch_the_others(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    calls = []

    def first_is_lost() -> None:
        calls.append(1)
        fleet.register.error = OutcomeUnknown("lost") if len(calls) == 1 else None

    fleet.register.before_reply = first_is_lost
    fleet.worker(batch=8).work_once()
    assert sorted(row.state for row in fleet.rows()) == [State.ANSWERED, State.UNKNOWN]


def test_a_row_that_somebody_closed_meanwhile_does_not_undo_the_group(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    calls = []

    def drop_the_first() -> None:
        calls.append(1)
        if len(calls) == 2:
            with writing(fleet.engine) as connection:
                outbox.settle(connection, "ours-1", state=State.DROPPED, outcome=Outcome.UNKNOWN, at=NOW)

    fleet.register.before_reply = drop_the_first
    fleet.worker(batch=8).work_once()
    assert [row.state for row in fleet.rows()] == [State.DROPPED, State.ANSWERED]
    verdicts = {
        record.message_id: record.verdict
        for record in Journal(fleet.engine).list_entries(direction=MessageDirection.IN)
    }
    assert verdicts == {"ours-1": NOT_AWAITED, "ours-2": "accepted"}


def test_a_wish_that_somebody_else_took_does_not_undo_the_group(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    asker = fleet.asker()
    with writing(fleet.engine) as connection:
        wishes = due.take_due(connection, NOW, 8, holder="mine")
        connection.execute(update(DUE).where(DUE.c.iin == PERSON.value).values(lease_holder="somebody else"))
    results = dict(zip([wish.iin for wish in wishes], asker.ask_all_due(wishes, holder="mine"), strict=True))
    assert results[PERSON] is None
    answered = results[OTHER]
    assert isinstance(answered, AskResult)
    assert answered.state is State.ANSWERED
    assert len(fleet.rows()) == 1


def test_a_wish_of_which_no_question_can_be_made_does_not_keep_the_group(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    fleet.systems = fails_for(PERSON, fleet.systems)
    fleet.worker(batch=8).work_once()
    assert [(row.subject, row.state) for row in fleet.rows()] == [(OTHER, State.ANSWERED)]
    with reading(fleet.engine) as connection:
        wish = connection.execute(select(DUE).where(DUE.c.iin == PERSON.value)).one()
    assert (wish.reason, wish.failures, wish.lease_holder) == (due.Reason.RETRY, 1, "")


def test_an_answer_that_contradicts_itself_is_refused_and_the_rest_of_its_group_is_kept(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = registry_store.record_answers

    def contradicts(connection: Connection, arrived: Sequence[registry_store.Arrived], *, law: Law) -> Any:
        if any(one.subject == PERSON for one in arrived):
            raise MappingError("two records under one key")
        return genuine(connection, arrived, law=law)

    monkeypatch.setattr(ending, "record_answers", contradicts)
    fleet.want(PERSON, OTHER)
    fleet.worker(batch=8).work_once()
    assert {row.subject: row.state for row in fleet.rows()} == {PERSON: State.REFUSED, OTHER: State.ANSWERED}


def test_a_group_to_a_service_that_stands_still_waits_but_for_one_that_tries(fleet: Fleet) -> None:
    fleet.want(PERSON, OTHER)
    with writing(fleet.engine) as connection:
        service = fleet.systems["cbdi"].service_ids[0]
        values = {"service_id": service, "failures": 5, "openings": 1, "open_until": NOW, "next_slot_at": None}
        connection.execute(insert(CIRCUIT), values)
    fleet.worker(batch=8).work_once()
    assert sorted(row.state for row in fleet.rows()) == [State.ANSWERED, State.WAITING]
    assert len(fleet.register.requests) == 1


# ---------------------------------------------------------------- retries


def test_what_could_not_be_delivered_goes_again_with_the_same_id_and_bytes(fleet: Fleet) -> None:
    fleet.register.error = PeerUnavailable("down")
    fleet.want(PERSON)
    fleet.work()
    row = fleet.row()
    assert (row.state, row.attempts, row.due_at, row.code) == (
        State.WAITING,
        1,
        NOW + 30 * SECOND,
        "peer_unavailable",
    )
    fleet.clock.tick(29 * SECOND)
    assert fleet.work() == 0
    fleet.register.error = None
    fleet.clock.tick()
    assert fleet.work() == 1
    assert (fleet.row().state, fleet.row().attempts) == (State.ANSWERED, 2)
    (copies,) = fleet.sent().values()
    assert len(copies) == 2
    assert len(set(copies)) == 1


def test_after_its_attempts_a_row_waits_for_the_operator_and_its_person_is_asked_about_anew(small: Fleet) -> None:
    small.register.error = PeerUnavailable("down")
    small.limits = ExchangeLimits(circuit=CircuitPolicy(failures=100))
    small.want(PERSON)
    attempts = systems()["cbdi"].retry.attempts
    for _ in range(attempts):
        small.work()
        small.clock.tick(HOUR)
    row = small.row()
    assert (row.state, row.attempts, row.due_at) == (State.QUARANTINED, attempts, None)
    assert len(small.register.requests) == attempts
    assert wish(small.engine)["message_id"] is None
    small.register.error = None
    small.clock.tick(DAY)
    small.work()
    assert [row.state for row in small.rows()] == [State.QUARANTINED, State.ANSWERED]


def test_an_unknown_outcome_is_reconciled_with_the_same_bytes_where_that_has_no_second_effect(fleet: Fleet) -> None:
    fleet.register.error = OutcomeUnknown("silence")
    fleet.want(PERSON)
    fleet.work()
    assert (fleet.row().state, fleet.row().due_at) == (State.UNKNOWN, NOW + 30 * SECOND)
    fleet.register.error = None
    fleet.clock.tick(30 * SECOND)
    fleet.work()
    assert fleet.row().state is State.ANSWERED
    (copies,) = fleet.sent().values()
    assert len(set(copies)) == 1


def test_an_unknown_outcome_of_what_may_not_be_repeated_waits_for_the_operator_and_is_never_sent_again(
    fleet: Fleet,
) -> None:
    fleet.systems = not_idempotent()
    fleet.register.error = OutcomeUnknown("silence")
    fleet.want(PERSON)
    fleet.work_through()
    assert (fleet.row().state, fleet.row().due_at) == (State.UNKNOWN, None)
    assert len(fleet.register.requests) == 1
    assert len(fleet.rows()) == 1  # and no other question was made meanwhile


def test_what_has_been_overdue_for_too_long_goes_to_the_operator_and_not_on_the_wire(fleet: Fleet) -> None:
    put_row(fleet.engine, "old", subject=PERSON, due_at=NOW)
    fleet.clock.tick(dt.timedelta(seconds=fleet.limits.oldest_s) + SECOND)
    assert fleet.work() == 0
    assert (fleet.row("old").state, fleet.row("old").code) == (State.QUARANTINED, "too_old")
    assert fleet.register.requests == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"system": "gone"}, "unknown_system"), ({"channel": "async"}, "channel_not_configured")],
)
def test_a_row_that_cannot_be_sent_here_waits_for_the_operator(
    small: Fleet, changes: dict[str, Any], code: str
) -> None:
    put_row(small.engine, "m-1", **changes)
    put_row(small.engine, "m-2", due_at=NOW + SECOND, **changes)
    assert small.work() == 0
    assert (small.row("m-1").state, small.row("m-1").code) == (State.QUARANTINED, code)
    assert small.row("m-2").state is State.WAITING


def test_a_row_whose_bytes_the_journal_no_longer_has_is_never_made_anew(small: Fleet) -> None:
    put_row(small.engine, "m-1", subject=PERSON)
    with writing(small.engine) as connection:
        connection.execute(JOURNAL_BODY.delete())
    small.work()
    assert (small.row("m-1").state, small.row("m-1").code) == (State.QUARANTINED, "bytes_gone")
    assert small.register.requests == []


def test_a_row_whose_bytes_are_damaged_is_not_sent(small: Fleet) -> None:
    put_row(small.engine, "m-1", subject=PERSON)
    with writing(small.engine) as connection:
        connection.execute(JOURNAL_BODY.update().values(content=b"damaged"))
    small.work()
    assert (small.row("m-1").state, small.row("m-1").code) == (State.QUARANTINED, "journal_damaged")
    assert small.register.requests == []


# ---------------------------------------------------------------- the process dies


CRASHES = [(number, when) for number in range(1, 14) for when in ("before", "after")]


def crash(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, number: int, when: Any) -> CrashAt:
    """One turn of a worker that dies there."""
    listener = CrashAt(number, when)
    monkeypatch.setattr(telemetry, "_listeners", [listener])
    with pytest.raises(Crash):
        fleet.work()
    monkeypatch.setattr(telemetry, "_listeners", [])
    return listener


@pytest.mark.parametrize(("number", "when"), CRASHES)
def test_wherever_a_process_dies_the_question_is_answered_once_and_sent_with_the_same_bytes(
    small: Fleet, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    small.want(PERSON)
    crash(small, monkeypatch, number, when)
    small.work_through()
    assert count(small.engine, FACT) == 1
    (row,) = small.rows()
    assert row.state is State.ANSWERED
    assert wish(small.engine)["message_id"] is None
    ((message_id, copies),) = small.sent().items()
    assert message_id == row.message_id
    assert len(set(copies)) == 1
    assert len(copies) == (2 if (number, when) in ((9, "after"), (10, "before")) else 1)


@pytest.mark.parametrize(("number", "when"), CRASHES)
def test_what_may_not_be_repeated_is_posted_once_wherever_the_process_dies(
    small: Fleet, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    small.systems = not_idempotent()
    small.want(PERSON)
    crash(small, monkeypatch, number, when)
    small.work_through()
    (row,) = small.rows()
    # between the commit of its bytes and that of its reply nobody can know whether it arrived
    in_doubt = (number, when) in ((8, "after"), (9, "before"), (9, "after"), (10, "before"))
    assert row.state is (State.UNKNOWN if in_doubt else State.ANSWERED)
    assert row.due_at is None
    assert len(small.register.requests) == (0 if (number, when) in ((8, "after"), (9, "before")) else 1)
    assert count(small.engine, FACT) == (0 if in_doubt else 1)


@pytest.mark.parametrize(("number", "when"), [(8, "after"), (10, "after"), (13, "before"), (13, "after")])
def test_a_crash_between_transactions_loses_nothing_on_either_store(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    fleet.want(PERSON)
    crash(fleet, monkeypatch, number, when)
    fleet.work_through(times=3)
    assert [row.state for row in fleet.rows()] == [State.ANSWERED]
    assert count(fleet.engine, FACT) == 1


def test_the_rows_of_a_dead_process_are_delayed_by_no_more_than_their_lease(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.want(PERSON)
    crash(fleet, monkeypatch, 9, "before")
    until = fleet.row().leased_until
    assert until is not None
    fleet.clock.now = until - SECOND
    assert fleet.work() == 0
    fleet.clock.now = until
    assert fleet.work() == 1
    assert fleet.row().state is State.ANSWERED


def test_a_row_that_kills_every_process_is_put_aside(small: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    small.want(PERSON)
    attempts = systems()["cbdi"].retry.attempts
    for _ in range(attempts):
        crash(small, monkeypatch, 9, "before")
        small.clock.tick(HOUR)
    small.work()
    assert (small.row().state, small.row().code) == (State.QUARANTINED, "attempts_used_up")


def test_a_mistake_of_ours_with_one_row_does_not_stop_the_others(small: Fleet) -> None:
    small.want(PERSON, OTHER)
    worker = small.worker()
    genuine = worker._roads["sync"]
    assert genuine is worker._asker

    def fail(*_: object, **__: object) -> Any:
        raise RuntimeError(PERSON.value)

    small.register.error = PeerUnavailable("down")
    small.work(worker)
    small.clock.tick(HOUR)
    small.register.error = None
    worker._roads = {"sync": Failing(genuine, fail)}
    with capture_logs() as logs:
        worker.work_once()
    assert next(line for line in logs if line["action"] == "row_failed")["code"] == "RuntimeError"
    assert PERSON.value not in repr(logs)
    small.work_through(times=3)
    assert {row.state for row in small.rows()} == {State.ANSWERED}


class Failing:
    """A road on which the first post fails in our own code."""

    def __init__(self, road: Any, fail: Any) -> None:
        self._road, self.send = road, fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._road, name)


# ---------------------------------------------------------------- stolen leases, late and second replies


def test_a_holder_whose_lease_was_stolen_applies_nothing_and_its_reply_is_journalled(fleet: Fleet) -> None:
    fleet.want(PERSON)
    stolen: list[int] = []

    def steal() -> None:
        if not stolen:
            stolen.append(1)
            fleet.clock.tick(HOUR)
            fleet.work(fleet.worker())

    fleet.register.before_reply = steal
    fleet.work()
    assert (fleet.row().state, fleet.row().attempts) == (State.ANSWERED, 2)
    assert count(fleet.engine, FACT) == 1
    verdicts = [
        record.verdict
        for record in Journal(fleet.engine).list_entries(message_id="ours-1", direction=MessageDirection.IN)
    ]
    assert sorted(verdicts) == ["accepted", NOT_AWAITED]
    (copies,) = fleet.sent().values()
    assert len(set(copies)) == 1


def test_two_that_judge_one_stored_reply_apply_it_once(small: Fleet) -> None:
    small.want(PERSON)

    class Stalling(TrustStore):
        def __init__(self) -> None:
            self.genuine = trust(small.keys.pki).store

        def find(self, issuer_key: Any, serial: int) -> Any:
            small.clock.tick(HOUR)
            small.work(small.worker())
            return self.genuine.find(issuer_key, serial)

        @property
        def material(self) -> Any:
            return self.genuine.material

    slow = small.asker()
    slow._trust = dataclasses.replace(slow._trust, store=Stalling())
    worker = small.worker(roads={"sync": slow}, asker=slow)
    worker.work_once()
    assert small.row().state is State.ANSWERED
    assert count(small.engine, FACT) == 1
    (reply,) = Journal(small.engine).list_entries(message_id="ours-1", direction=MessageDirection.IN)
    assert reply.verdict == "accepted"
    assert len(small.register.requests) == 1


def test_a_reply_that_came_after_the_lease_is_read_by_whoever_goes_on(small: Fleet) -> None:
    small.systems = not_idempotent()
    small.want(PERSON)

    def outlast() -> None:
        small.clock.tick(HOUR)
        small.worker().work_once()  # finds the lease ended, and nothing in the journal yet

    small.register.before_reply = outlast
    small.work()
    assert (small.row().state, small.row().due_at) == (State.UNKNOWN, None)
    (reply,) = Journal(small.engine).list_entries(message_id="ours-1", direction=MessageDirection.IN)
    assert reply.verdict == ""
    with writing(small.engine) as connection:
        row = outbox.get(connection, "ours-1", lock=True)
        assert row is not None
        outbox.doubt(connection, "ours-1", due_at=small.clock(), code="looked at", lease=None)
    small.work()
    assert small.row().state is State.ANSWERED
    assert len(small.register.requests) == 1


def test_a_lost_lease_leaves_the_row_to_the_other_also_without_a_reply(small: Fleet) -> None:
    small.want(PERSON)

    def steal() -> None:
        small.register.before_reply = lambda: None
        small.clock.tick(HOUR)
        small.work(small.worker())
        small.register.error = OutcomeUnknown("silence")

    small.register.before_reply = steal
    small.work()
    assert small.row().state is State.ANSWERED


# ---------------------------------------------------------------- circuit and rate


def test_an_outage_is_met_by_few_messages_and_ends_with_one_that_tries(fleet: Fleet) -> None:
    fleet.limits = ExchangeLimits(circuit=CircuitPolicy(failures=3, cool_down_s=600, trial_s=60))
    people = [f"{number:03d}" for number in range(10)]
    for number in people:
        put_row(fleet.engine, number, subject=PERSON)
    fleet.register.error = PeerUnavailable("down")
    fleet.work()
    assert len(fleet.register.requests) == 3
    attempts = {row.message_id: row.attempts for row in fleet.rows()}
    fleet.clock.tick(600 * SECOND)
    fleet.work()
    assert len(fleet.register.requests) == 4
    # finding out is not held against the message that did it
    assert {row.message_id: row.attempts for row in fleet.rows()} == attempts
    assert {row.state for row in fleet.rows()} == {State.WAITING}
    with reading(fleet.engine) as connection:
        held = circuit.held_services(connection, fleet.clock())
    assert held == {CBDI_SERVICE: fleet.clock() + 300 * SECOND}


def test_while_a_service_is_left_alone_no_question_to_it_is_made(small: Fleet) -> None:
    small.limits = ExchangeLimits(circuit=CircuitPolicy(failures=1, cool_down_s=200))
    small.register.error = PeerUnavailable("down")
    small.want(PERSON)
    small.work()
    small.want(OTHER)
    small.clock.tick(60 * SECOND)
    turn = small.worker().work_once()
    assert (turn.worked, turn.retry_at) == (False, NOW + 200 * SECOND)
    assert len(small.rows()) == 1
    small.register.error = None
    small.clock.tick(HOUR)
    small.work()
    assert {row.state for row in small.rows()} == {State.ANSWERED}
    assert len(small.rows()) == 2


def test_a_question_that_may_not_go_yet_waits_as_a_row_of_its_own(small: Fleet) -> None:
    small.limits = ExchangeLimits(circuit=CircuitPolicy(requests_per_s=1))
    small.want(PERSON, OTHER)
    small.worker(batch=8).work_once()
    first, second = sorted(small.rows(), key=lambda row: row.state)
    assert (first.state, second.state, second.due_at) == (State.ANSWERED, State.WAITING, NOW + SECOND)
    small.clock.tick()
    small.work()
    assert {row.state for row in small.rows()} == {State.ANSWERED}


def test_a_thousand_pending_are_worked_off_in_due_order_no_faster_than_configured(small: Fleet) -> None:
    without_sync(small.engine)
    pending = 1_000
    put_rows(small.engine, {f"{number:04d}": NOW - (pending - number) * SECOND for number in range(pending)})
    road = Recording(small.engine, small.clock, CircuitPolicy(requests_per_s=50))
    workers = [small.worker(roads={"sync": road}) for _ in range(4)]
    turns = 0
    while len(road.sent) < pending:
        turn = workers[turns % 4].work_once()
        turns += 1
        if not turn.worked:
            assert turn.retry_at is not None
            small.clock.now = turn.retry_at
        elif turns % 10:  # most come when the next may go, every tenth too early
            small.clock.tick(SECOND / 50)
    assert [message_id for _, message_id in road.sent] == [f"{number:04d}" for number in range(pending)]
    moments = [at for at, _ in road.sent]
    assert all(later - earlier >= SECOND / 50 for earlier, later in pairwise(moments))
    assert moments[-1] - moments[0] == (pending - 1) * SECOND / 50


# ---------------------------------------------------------------- an answer that is overdue


@pytest.mark.parametrize("can_ask", [True, False])
def test_an_acknowledged_message_whose_answer_is_overdue_is_asked_about_or_waits_for_a_person(
    small: Fleet, can_ask: bool
) -> None:
    put_row(small.engine, "m-1", channel="async")
    with writing(small.engine) as connection:
        outbox.acknowledge(
            connection,
            "m-1",
            wire_message_id="1",
            correlation_id="2",
            session_id="",
            at=NOW,
            answer_due_at=NOW + HOUR,
        )
    road = Recording(small.engine, small.clock)
    road.can_ask = lambda row: can_ask  # type: ignore[method-assign]
    worker = small.worker(roads={"async": road})
    assert not worker.work_once().worked
    small.clock.tick(HOUR)
    worker.work_once()
    assert small.row("m-1").state is (State.ANSWERED if can_ask else State.UNKNOWN)
    assert small.row("m-1").due_at is None


# ---------------------------------------------------------------- many at once


@pytest.mark.parametrize("number", [2, 4])
def test_a_fleet_on_one_database_works_every_row_once(
    postgresql_url: str, keys: Keys, register: Register, number: int
) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    rows = 40
    for place in range(rows):
        put_row(engine, f"{place:03d}")
    fleet = Fleet(engine, keys, register)
    road = Recording(engine, fleet.clock)
    workers = [fleet.worker(roads={"sync": road}) for _ in range(number)]
    threads = [threading.Thread(target=fleet.work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(message_id for _, message_id in road.sent) == {f"{place:03d}": 1 for place in range(rows)}
    assert {row.attempts for row in fleet.rows()} == {1}
    engine.dispose()


def test_a_fleet_asks_about_every_person_once(postgresql_url: str, keys: Keys, register: Register) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    fleet = Fleet(engine, keys, register)
    for slug in systems():
        fleet.want(PERSON, OTHER, system=slug)
    threads = [threading.Thread(target=fleet.work, args=(fleet.worker(batch=2),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fleet.rows()) == len(register.requests) == 2 * len(systems())
    assert {row.state for row in fleet.rows()} == {State.ANSWERED}
    engine.dispose()


# ---------------------------------------------------------------- the pool


class Turns:
    """A worker that has a turn whenever the test says so."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.turns = 0

    def work_once(self) -> Any:
        from gateway.exchange.workers import Worked

        self.turns += 1
        if self.turns == 1:
            raise StoreError("away")
        if self.turns == 2:
            raise RuntimeError("a mistake")
        if self.turns == 3:
            return Worked(True)
        if self.turns == 4:
            return Worked(False, NOW + SECOND / 100)
        self.begun.set()
        assert self.go.wait(30)
        return Worked(False)


def pool_of(turns: Any, interval_s: float = 0.01) -> WorkerPool:
    return WorkerPool(lambda number, stop: turns, workers=1, interval_s=interval_s, clock=lambda: NOW)


def test_a_pool_goes_on_after_every_mistake_and_finishes_what_is_in_hand() -> None:
    turns = Turns()
    pool = pool_of(turns)
    with capture_logs() as logs:
        pool.start()
        assert turns.begun.wait(30)
        pool.wake()
        pool.take_no_more()
        turns.go.set()
        pool.stop(30, lambda: pytest.fail("there was time"))
    assert turns.turns == 5
    assert [line["code"] for line in logs] == ["store", "RuntimeError"]


def test_what_is_not_finished_in_time_is_cut_off() -> None:
    turns = Turns()
    pool = pool_of(turns)
    with capture_logs() as logs:
        pool.start()
        assert turns.begun.wait(30)
        pool.stop(0, turns.go.set)
    assert logs[-1]["action"] == "cut_off"


def test_a_pool_that_was_never_started_ends_at_once() -> None:
    pool_of(Turns()).stop(30, lambda: pytest.fail("nothing was in hand"))
