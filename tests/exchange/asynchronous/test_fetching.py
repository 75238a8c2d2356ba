"""What we fetch: safe first, then notified; what is not taken is refused by its id, and asked for again if it helps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import OutcomeUnknown, PeerError, PeerFault, PeerUnavailable, StoreError
from gateway.exchange.asynchronous.fetching import Source
from gateway.exchange.outbox import State
from gateway.shep.async_messages import MessageType, Operation, ReceiveStatus, Resend
from gateway.shep.messages import ErrorInfo
from tests.exchange.asynchronous.world import SERVICE, SYSTEM, World
from tests.exchange.world import NOW, OTHER, PERSON

Make = Callable[..., World]
SOURCE = Source(SERVICE, amount=10)


@pytest.fixture
def world(make: Make) -> World:
    """One question is acknowledged, and its answer is fetched."""
    world = make(delivery="poll")
    world.side.road.ask(SYSTEM, PERSON)
    return world


def told(world: World) -> list[tuple[str, ReceiveStatus, Resend]]:
    return [(one.message_id, one.receive_status, one.resend) for one in world.shep.notified]


def test_an_answer_that_is_fetched_closes_its_question(world: World) -> None:
    world.shep.waiting = [world.shep.answer()]
    report = world.side.fetcher.fetch(SOURCE)
    assert (report.received, report.first, report.notified) == (1, 1, 1)
    assert told(world) == [("9000001", ReceiveStatus.ACCEPTED, Resend.NOT_RESEND)]
    world.work()
    row = world.exchange()
    assert row.state is State.ANSWERED
    (item,) = world.inbox()
    assert (item["flow"], item["request_journal_id"]) == ("poll", row.reply_journal_id)
    answer = world.journal.get(item["request_journal_id"])
    assert answer is not None
    assert (answer.verdict, answer.system) == ("accepted", SYSTEM)
    assert "1 messages: 1 first" in answer.note


def test_a_message_is_notified_only_when_its_row_is_committed(world: World) -> None:
    rows: list[int] = []
    world.shep.waiting = [world.shep.answer()]

    def look(data: bytes) -> bytes:
        if world.shep.asked[-1] is Operation.SEND_DELIVERY_NOTIFICATION:
            rows.append(len(world.inbox()))
        return data

    world.shep.change = look
    world.side.fetcher.fetch(SOURCE)
    assert rows == [1]


def test_several_messages_of_one_answer_are_told_apart(world: World) -> None:
    world.side.road.ask(SYSTEM, OTHER)
    world.shep.waiting = [world.shep.answer(message_id="90", number=0), world.shep.answer(message_id="91", number=1)]
    assert world.side.fetcher.fetch(SOURCE).first == 2
    assert world.work() == 2
    assert [row.state for row in world.exchanges()] == [State.ANSWERED, State.ANSWERED]


def test_a_lost_notification_brings_the_message_again_and_it_is_notified_again(world: World) -> None:
    answer = world.shep.answer()
    world.shep.waiting = [answer]
    original = world.shep.post

    def lose_notifications(url: str, content: bytes, **limits: object) -> Any:
        reply = original(url, content, **limits)
        if world.shep.asked[-1] is Operation.SEND_DELIVERY_NOTIFICATION:
            raise OutcomeUnknown("cut")
        return reply

    world.shep.post = lose_notifications  # type: ignore[method-assign]
    assert world.side.fetcher.fetch(SOURCE).notified == 0
    world.work()
    world.shep.post = original  # type: ignore[method-assign]
    world.shep.waiting = [answer]
    report = world.side.fetcher.fetch(SOURCE)
    assert (report.first, report.duplicates, report.notified) == (0, 1, 1)
    assert world.work() == 0
    assert len(world.inbox()) == 1


def test_the_same_message_by_push_and_by_poll_is_one(world: World) -> None:
    answer = world.shep.answer()
    world.push(answer)
    world.shep.waiting = [answer]
    assert world.side.fetcher.fetch(SOURCE).duplicates == 1
    assert len(world.inbox()) == 1


def test_what_could_not_be_stored_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.shep.waiting = [world.shep.answer()]

    def refuse(*_: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.inbox.register_many", refuse)
        with pytest.raises(StoreError):
            world.side.fetcher.fetch(SOURCE)
    assert told(world) == [("9000001", ReceiveStatus.NOT_ACCEPTED, Resend.RESEND)]
    assert world.inbox() == []


@pytest.mark.parametrize(
    ("info", "resend", "code"),
    [
        ({"message_date": NOW + dt.timedelta(hours=2)}, Resend.RESEND, "from_the_future"),
        ({"message_date": NOW - dt.timedelta(days=9)}, Resend.NOT_RESEND, "too_old"),
        ({"message_type": MessageType.REQUEST}, Resend.NOT_RESEND, "no_service"),
    ],
)
def test_a_message_that_is_not_taken_is_refused_by_its_id_and_the_others_are_taken(
    world: World, info: dict[str, Any], resend: Resend, code: str
) -> None:
    good = world.shep.answer()
    bad = replace(good, info=replace(good.info, message_id="66", **info))
    world.shep.waiting = [bad, good]
    report = world.side.fetcher.fetch(SOURCE)
    assert (report.first, report.refused) == (1, 1)
    assert set(told(world)) == {
        ("9000001", ReceiveStatus.ACCEPTED, Resend.NOT_RESEND),
        ("66", ReceiveStatus.NOT_ACCEPTED, resend),
    }
    errors = [one.error.code for one in world.shep.notified if one.error is not None]
    assert errors == [code]


def test_a_message_that_cannot_be_read_does_not_take_the_others_with_it(world: World) -> None:
    good = world.shep.answer()
    bad = replace(good, info=replace(good.info, message_id="66"))
    world.shep.waiting = [bad, good]
    original = world.shep.sign

    def damage(body: Any, signer: str = "") -> bytes:
        for kind in list(body.iter("messageType"))[:1]:
            kind.text = "GREETING"
        return original(body, signer)

    world.shep.sign = damage  # type: ignore[method-assign]
    report = world.side.fetcher.fetch(SOURCE)
    assert (report.first, report.refused) == (1, 1)
    assert ("66", ReceiveStatus.NOT_ACCEPTED, Resend.NOT_RESEND) in told(world)


def test_a_message_for_another_service_is_an_incident(world: World) -> None:
    from gateway.fund import consumer

    good = world.shep.answer()
    stray = replace(good, info=replace(good.info, message_id="66", service_id=consumer.SERVICE_ID))
    original = world.shep._reply
    world.shep.waiting = [good]

    def smuggle(operation: Operation, body: Any, content: bytes) -> Any:
        if operation is Operation.GET_MESSAGES:
            from gateway.shep import async_channel
            from gateway.shep.async_messages import Messages
            from tests.exchange.asynchronous.world import SESSION

            return async_channel.build_get_messages_reply(Messages(NOW, SESSION, (stray,)))
        return original(operation, body, content)

    world.shep._reply = smuggle  # type: ignore[method-assign]
    assert world.side.fetcher.fetch(SOURCE).refused == 1
    assert world.inbox() == []
    assert world.shep.notified[0].error.code == "wrong_service"


def test_the_same_id_with_another_body_is_refused_and_not_asked_for_again(world: World) -> None:
    good = world.shep.answer()
    world.push(good)
    world.shep.waiting = [world.shep.answer(message_type=MessageType.NOTIFICATION)]
    assert world.side.fetcher.fetch(SOURCE).refused == 1
    assert told(world) == [("9000001", ReceiveStatus.NOT_ACCEPTED, Resend.NOT_RESEND)]
    assert world.shep.notified[0].error.code == "id_reused"


@pytest.mark.parametrize(
    ("tell", "code"),
    [
        (lambda shep: setattr(shep, "signer", "stranger"), "certificate_unknown"),
        (lambda shep: setattr(shep, "signer", "gateway"), "own_signature"),
        (lambda shep: setattr(shep, "change", lambda data: data.replace(b"9000001", b"9000002")), "digest"),
    ],
)
def test_an_answer_that_must_not_be_used_brings_nothing_and_nothing_of_it_is_notified(
    world: World, tell: Callable[[Any], None], code: str
) -> None:
    world.shep.waiting = [world.shep.answer()]
    tell(world.shep)
    with pytest.raises(PeerError) as refused:
        world.side.fetcher.fetch(SOURCE)
    assert refused.value.code == code
    assert world.inbox() == []
    assert world.shep.notified == []
    assert world.journal.list_entries(verdict=code)


def test_an_old_answer_played_again_brings_nothing(world: World) -> None:
    world.shep.waiting = [world.shep.answer()]
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return data

    world.shep.change = keep
    world.side.fetcher.fetch(SOURCE)
    world.shep.change = lambda _: kept[0]
    world.clock.move(hours=3)
    with pytest.raises(PeerError) as refused:
        world.side.fetcher.fetch(SOURCE)
    assert refused.value.code == "stale_reply"


def test_a_fault_and_an_unreachable_gateway_are_told_to_the_caller(world: World) -> None:
    world.shep.fault = ErrorInfo("SCE004", "away", NOW)
    with pytest.raises(PeerFault):
        world.side.fetcher.fetch(SOURCE)
    world.shep.unreachable = PeerUnavailable("nobody")
    with pytest.raises(PeerUnavailable):
        world.side.fetcher.fetch(SOURCE)


def test_a_crash_before_the_rows_are_committed_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    world.shep.waiting = [world.shep.answer()]
    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.inbox.register_many", die)
        with pytest.raises(Killed):
            world.side.fetcher.fetch(SOURCE)
    assert world.shep.notified == []
    assert world.inbox() == []
    assert world.side.fetcher.fetch(SOURCE).first == 1


def test_the_gateways_own_batch_size_is_asked_for_with_zero(world: World) -> None:
    world.shep.waiting = [world.shep.answer()]
    assert world.side.fetcher.fetch(Source(SERVICE)).received == 1
