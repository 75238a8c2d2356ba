"""A round of polling: what is due is asked, and whatever happens the row gets its next time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Engine, select
from structlog.testing import capture_logs

from gateway.database import reading, writing
from gateway.errors import OutcomeUnknown, PeerUnavailable, StoreError
from gateway.exchange import due
from gateway.exchange.due import Due, Reason
from gateway.exchange.polling import PollReport, poll_once
from gateway.exchange.tables import DUE
from gateway.shep.messages import StatusInfo
from tests.exchange.world import NOW, OTHER, PERSON, Keys, Register, asker, systems

SECOND = dt.timedelta(seconds=1)


def put(engine: Engine, *rows: Due) -> None:
    with writing(engine) as connection:
        for row in rows:
            due.put(connection, row)


def schedule(engine: Engine) -> dict[tuple[str, str], tuple[dt.datetime, str, int]]:
    with reading(engine) as connection:
        found = connection.execute(select(DUE)).mappings().all()
    assert all(row["leased_until"] is None for row in found)
    return {(row["iin"], row["system"]): (row["due_at"], row["reason"], row["failures"]) for row in found}


def test_what_is_due_is_asked_and_gets_its_next_time(engine: Engine, keys: Keys, register: Register) -> None:
    put(
        engine,
        Due(PERSON, "cbdi", NOW, Reason.WANTED),
        Due(OTHER, "cbdi", NOW, Reason.RETRY, failures=2),
        Due(OTHER, "zags", NOW + SECOND, Reason.REFRESH),
    )
    assert poll_once(asker(engine, keys, register), engine, NOW, 10) == PollReport(taken=2, answered=2)
    later = (NOW + dt.timedelta(days=30), Reason.REFRESH, 0)
    assert schedule(engine) == {
        (PERSON.value, "cbdi"): later,
        (OTHER.value, "cbdi"): later,
        (OTHER.value, "zags"): (NOW + SECOND, Reason.REFRESH, 0),
    }


def test_nothing_due_is_an_empty_round(store: Engine, keys: Keys, register: Register) -> None:
    with capture_logs() as logs:
        assert poll_once(asker(store, keys, register), store, NOW, 10) == PollReport()
    assert logs == []


def test_a_round_ends_at_its_limit(store: Engine, keys: Keys, register: Register) -> None:
    put(store, Due(PERSON, "cbdi", NOW, Reason.WANTED), Due(OTHER, "cbdi", NOW, Reason.WANTED))
    assert poll_once(asker(store, keys, register), store, NOW, 1).taken == 1
    assert len(register.requests) == 1


def test_a_round_ends_when_it_is_told_to(store: Engine, keys: Keys, register: Register) -> None:
    put(store, Due(PERSON, "cbdi", NOW, Reason.WANTED), Due(OTHER, "cbdi", NOW, Reason.WANTED))
    report = poll_once(asker(store, keys, register), store, NOW, 10, stop=lambda: len(register.requests) == 1)
    assert report.taken == 1
    schedule(store)  # nothing is left held


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"error": PeerUnavailable("down")}, PollReport(taken=1, unreachable=1)),
        ({"error": OutcomeUnknown("silence")}, PollReport(taken=1, unknown=1)),
        ({"signer": "stranger"}, PollReport(taken=1, refused=1)),
    ],
)
def test_a_row_without_an_answer_is_put_off(
    store: Engine, keys: Keys, register: Register, changes: dict[str, Any], expected: PollReport
) -> None:
    for name, value in changes.items():
        setattr(register, name, value)
    put(store, Due(PERSON, "cbdi", NOW, Reason.REFRESH, failures=1))
    assert poll_once(asker(store, keys, register), store, NOW, 10) == expected
    assert schedule(store) == {(PERSON.value, "cbdi"): (NOW + 60 * SECOND, Reason.RETRY, 2)}
    assert len(register.requests) == 1


def test_a_rejection_is_an_answer(store: Engine, keys: Keys, register: Register) -> None:
    register.status = StatusInfo("SCSE001", "no")
    put(store, Due(PERSON, "cbdi", NOW, Reason.REFRESH, failures=1))
    assert poll_once(asker(store, keys, register), store, NOW, 10) == PollReport(taken=1, answered=1)
    assert schedule(store)[PERSON.value, "cbdi"] == (NOW + dt.timedelta(days=30), Reason.REFRESH, 0)


def test_our_own_mistake_with_one_row_is_logged_and_does_not_stop_the_others(
    store: Engine, keys: Keys, register: Register
) -> None:
    put(store, Due(PERSON, "gone", NOW - SECOND, Reason.REFRESH), Due(PERSON, "cbdi", NOW, Reason.REFRESH))
    with capture_logs() as logs:
        report = poll_once(asker(store, keys, register), store, NOW, 10)
    assert report == PollReport(taken=2, answered=1, failed=1)
    assert schedule(store)[PERSON.value, "gone"] == (NOW + dt.timedelta(days=1), Reason.RETRY, 1)
    assert logs[0]["action"] == "poll_failed"
    assert (logs[0]["system"], logs[0]["code"]) == ("gone", "unknown_system")
    assert PERSON.value not in repr(logs)


def test_a_mistake_in_a_folder_is_named_by_its_kind(store: Engine, keys: Keys, register: Register) -> None:
    class Mapper:
        def build_request(self, query: object) -> Any:
            raise KeyError(PERSON.value)

    broken = {"cbdi": dataclasses.replace(systems()["cbdi"], mapper=Mapper())}
    put(store, Due(PERSON, "cbdi", NOW, Reason.REFRESH))
    with capture_logs() as logs:
        assert poll_once(asker(store, keys, register, systems=broken), store, NOW, 10).failed == 1
    assert logs[0]["code"] == "KeyError"
    assert PERSON.value not in repr(logs)


def test_a_store_that_fails_ends_the_round(store: Engine, keys: Keys, register: Register) -> None:
    put(store, Due(PERSON, "cbdi", NOW, Reason.REFRESH), Due(OTHER, "cbdi", NOW, Reason.REFRESH))
    ours = asker(store, keys, register, new_message_id=lambda: "the-same")
    with capture_logs(), pytest.raises(StoreError):
        poll_once(ours, store, NOW, 10)
    assert len(register.requests) == 1
