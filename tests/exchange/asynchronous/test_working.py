"""Work on the inbox: leased, once, and what cannot be worked on ends with the operator."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from gateway.database import writing
from gateway.errors import RevocationUnknown, StoreError
from gateway.exchange import inbox_work
from gateway.exchange.inbox_work import MAX_ATTEMPTS, retry_at
from gateway.exchange.journal import Journal
from gateway.exchange.outbox import State
from tests.exchange.asynchronous.test_receiving import facts
from tests.exchange.asynchronous.world import SYSTEM, World
from tests.exchange.world import NOW, PERSON


class Killed(BaseException):
    pass


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """One question is acknowledged, and its answer lies in the inbox."""
    world = make()
    world.side.road.ask(SYSTEM, PERSON)
    assert world.push(world.shep.answer()).status == 200
    return world


def item(world: World) -> Any:
    (row,) = world.inbox()
    return row


def test_a_worker_that_dies_leaves_its_row_to_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.asynchronous.answers.record_answer", die)
        with pytest.raises(Killed):
            world.work()
    assert (item(world)["state"], world.exchange().state, facts(world)) == ("working", State.ACKNOWLEDGED, 0)
    assert world.work() == 0
    world.clock.move(minutes=5)
    assert world.work() == 1
    assert (item(world)["state"], world.exchange().state, facts(world)) == ("done", State.ANSWERED, 1)


def test_a_message_of_which_every_worker_dies_is_quarantined(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.asynchronous.working.reopen", die)
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Killed):
                world.work()
            world.clock.move(minutes=5)
        assert world.work() == 1
    assert (item(world)["state"], item(world)["code"]) == ("quarantined", "attempts_used_up")


@pytest.mark.parametrize("error", [RuntimeError("odd"), RevocationUnknown("not now")])
def test_what_time_may_mend_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.asynchronous.answers.read_answer", fail)
        world.work()
    assert item(world)["state"] == "received"
    assert item(world)["code"] == ("internal" if isinstance(error, RuntimeError) else "revocation_unknown")
    world.clock.move(minutes=5)
    world.work()
    assert world.exchange().state is State.ANSWERED


def test_a_code_that_the_mapper_does_not_know_is_quarantined(make: Callable[..., World], engine: Any) -> None:
    from tests.exchange.asynchronous.test_receiving import _with

    world = make()
    world.side.road.ask(SYSTEM, PERSON)
    assert world.push(world.shep.answer(change_payload=_with("groupCode", "77"))).status == 200
    world.work()
    assert item(world)["state"] == "quarantined"
    assert world.exchange().state is State.ACKNOWLEDGED


def test_a_message_whose_bytes_are_gone_is_quarantined(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "get", lambda *_: None)
    world.work()
    assert (item(world)["state"], item(world)["code"]) == ("quarantined", "bytes_gone")


def test_a_store_that_fails_is_told_and_the_lease_ends_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.asynchronous.answers.record_answer", fail)
        with pytest.raises(StoreError):
            world.work()
    world.clock.move(minutes=5)
    world.work()
    assert world.exchange().state is State.ANSWERED


def test_a_worker_whose_lease_was_lost_applies_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.exchange.asynchronous import answers

    original = answers.read_answer

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(answers, "read_answer", original)
        world.clock.move(minutes=5)
        assert world.side.make_worker("w2").work_once()
        return original(*arguments)

    monkeypatch.setattr(answers, "read_answer", overtaken)
    assert world.side.make_worker("w1").work_once()
    assert (item(world)["state"], facts(world)) == ("done", 1)


def test_two_workers_never_have_the_same_row(world: World) -> None:
    with writing(world.engine) as connection:
        first = inbox_work.lease(connection, now=NOW, limit=5, length=dt.timedelta(minutes=1), holder="a")
    with writing(world.engine) as connection:
        second = inbox_work.lease(connection, now=NOW, limit=5, length=dt.timedelta(minutes=1), holder="b")
        (waiting,) = inbox_work.waiting(connection, limit=5)
    assert (len(first), second, waiting.lease_holder) == (1, (), "a")


def test_the_delays_grow_up_to_a_bound_and_end() -> None:
    delays = [retry_at(attempt, now=NOW) for attempt in range(1, MAX_ATTEMPTS + 1)]
    spans = [(moment - NOW).total_seconds() for moment in delays[:-1] if moment is not None]
    assert spans[:3] == [5, 20, 80]
    assert spans == sorted(spans)
    assert spans[-1] == 21_600
    assert delays[-1] is None
