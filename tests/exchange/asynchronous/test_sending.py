"""Sending on the asynchronous channel: a question leaves once, and its row says what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.database import writing
from gateway.errors import OutcomeUnknown, PeerUnavailable
from gateway.exchange import due
from gateway.exchange.outbox import State
from gateway.shep.async_messages import MessageState, MessageType, Operation
from gateway.shep.messages import ErrorInfo
from tests.exchange.asynchronous.world import SERVICE, SESSION, SYSTEM, World
from tests.exchange.world import NOW, PERSON

Make = Callable[..., World]


def test_a_question_is_acknowledged_with_the_ids_that_the_gateway_gave(world: World) -> None:
    result = world.side.road.ask(SYSTEM, PERSON)
    assert result.state is State.ACKNOWLEDGED
    assert result.error is None
    ((message, content),) = world.shep.taken
    assert (message.info.message_type, message.info.service_id) == (MessageType.REQUEST, SERVICE)
    assert message.info.message_id == ""
    assert message.info.correlation_id == ""
    row = world.exchange()
    assert (row.wire_message_id, row.correlation_id, row.session_id) == ("7000001", "c7000001", SESSION)
    assert row.business_key == row.message_id
    assert row.answer_due_at is not None
    assert row.answer_due_at > NOW
    entry = world.journal.get(row.request_journal_id)
    assert entry is not None
    assert entry.body == content
    assert entry.channel == "async"


def test_our_own_id_goes_out_where_the_folder_says_so(make: Make) -> None:
    world = make(message_id="ours")
    world.side.road.ask(SYSTEM, PERSON)
    assert world.shep.taken[0][0].info.message_id == world.exchange().message_id


def test_what_surely_did_not_leave_goes_again_with_the_same_bytes(world: World) -> None:
    world.shep.unreachable = PeerUnavailable("nobody is there")
    assert world.side.road.ask(SYSTEM, PERSON).state is State.WAITING
    world.shep.unreachable = None
    world.clock.move(minutes=5)
    assert world.send_due() == 1
    row = world.exchange()
    assert row.state is State.ACKNOWLEDGED
    assert row.attempts == 2
    entry = world.journal.get(row.request_journal_id)
    assert entry is not None
    assert [content for _, content in world.shep.taken] == [entry.body]


def test_a_lost_acknowledgement_with_ids_of_the_gateway_waits_for_a_push_or_the_operator(world: World) -> None:
    world.shep.lose = OutcomeUnknown("cut")
    result = world.side.road.ask(SYSTEM, PERSON)
    assert (result.state, result.due_at) == (State.UNKNOWN, None)
    world.shep.lose = None
    world.clock.move(hours=3)
    assert world.send_due() == 0
    assert len(world.shep.taken) == 1


@pytest.mark.parametrize("state", [MessageState.ON_DELIVERY, MessageState.DELIVERED])
def test_a_lost_acknowledgement_is_found_by_our_id_and_nothing_is_sent_again(make: Make, state: MessageState) -> None:
    world = make(message_id="ours", idempotent=False)
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    assert world.exchange().state is State.UNKNOWN
    world.shep.lose = None
    world.shep.states[world.exchange().message_id] = state
    world.clock.move(minutes=5)
    world.send_due()
    row = world.exchange()
    assert row.state is State.ACKNOWLEDGED
    assert row.wire_message_id == row.message_id
    assert world.shep.asked == [Operation.SEND_MESSAGE, Operation.GET_MESSAGE_STATUS]


@pytest.mark.parametrize("state", [MessageState.NOT_DELIVERED, MessageState.DELIVERY_STOPPED])
def test_what_was_not_delivered_goes_again_with_the_same_bytes(make: Make, state: MessageState) -> None:
    world = make(message_id="ours", idempotent=False)
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.lose = None
    world.shep.states[world.exchange().message_id] = state
    world.clock.move(minutes=5)
    world.send_due()
    assert world.exchange().state is State.ACKNOWLEDGED
    first, second = (content for _, content in world.shep.taken)
    assert first == second


def not_delivered(world: World) -> None:
    """A message of ours of which the gateway will say, when it is asked, that it did not get it."""
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.lose = None
    world.shep.states[world.exchange().message_id] = MessageState.NOT_DELIVERED
    world.clock.move(minutes=5)


def stall(world: World, meanwhile: Callable[[], object], *, before: Operation = Operation.GET_MESSAGE_STATUS) -> None:
    """Let whoever hears the next reply to `before` stall for ten minutes, and something else happen at their end."""

    def change(data: bytes) -> bytes:
        if world.shep.asked[-1] is before:
            world.shep.change = lambda data: data
            world.clock.move(minutes=10)
            meanwhile()
        return data

    world.shep.change = change


def test_who_stalls_before_its_post_posts_nothing_when_somebody_else_has_posted(make: Make) -> None:
    world = make(message_id="ours", idempotent=False)
    not_delivered(world)
    posted: list[int] = []

    def another_worker() -> None:
        world.send_due()
        posted.append(len(world.shep.taken))
        assert world.exchange().state is State.ACKNOWLEDGED

    stall(world, another_worker)
    world.send_due()
    assert posted == [2]
    assert len(world.shep.taken) == 2
    row = world.exchange()
    assert (row.state, row.wire_message_id) == (State.ACKNOWLEDGED, row.message_id)


def test_who_stalls_before_its_post_posts_nothing_when_the_row_waits_for_another(make: Make) -> None:
    world = make(message_id="ours", idempotent=False)
    not_delivered(world)

    def recovered() -> None:
        from gateway.exchange.reconcile import recover

        assert recover(world.engine, world.clock(), can_ask=lambda _: True) == 1

    stall(world, recovered)
    assert world.worker.work_once().worked
    assert len(world.shep.taken) == 1
    assert (world.exchange().state, world.exchange().code) == (State.UNKNOWN, "lease_ended")
    # nothing is lost: whoever comes next asks anew, and posts
    world.send_due()
    assert (world.exchange().state, len(world.shep.taken)) == (State.ACKNOWLEDGED, 2)


def test_who_stalls_and_is_still_the_only_one_prolongs_its_lease_and_posts(make: Make) -> None:
    world = make(message_id="ours", idempotent=False)
    not_delivered(world)
    held: list[bool] = []

    def look(data: bytes) -> bytes:
        until = world.exchange().leased_until
        held.append(until is not None and until > world.clock())
        return data

    stall(world, lambda: setattr(world.shep, "change", look))
    world.send_due()
    assert held == [True]
    assert (world.exchange().state, len(world.shep.taken)) == (State.ACKNOWLEDGED, 2)


def test_a_post_that_follows_at_once_costs_no_look_at_the_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*_: object, **__: object) -> bool:
        raise AssertionError("the lease was looked at")

    monkeypatch.setattr("gateway.exchange.outbox.renew", looked)
    assert world.side.road.ask(SYSTEM, PERSON).state is State.ACKNOWLEDGED


def test_an_id_that_the_gateway_does_not_know_is_asked_about_again_and_ends_with_the_operator(make: Make) -> None:
    world = make(message_id="ours", idempotent=False)
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.lose = None
    for _ in range(8):
        world.clock.move(minutes=30)
        world.send_due()
    assert world.exchange().state is State.QUARANTINED
    assert len(world.shep.taken) == 1


def test_an_idempotent_message_that_the_gateway_does_not_know_goes_again(make: Make) -> None:
    world = make(message_id="ours", idempotent=True)
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.lose = None
    world.clock.move(minutes=5)
    world.send_due()
    first, second = (content for _, content in world.shep.taken)
    assert first == second
    assert world.exchange().state is State.ACKNOWLEDGED


def test_a_state_that_cannot_be_asked_for_leaves_the_outcome_unknown(make: Make) -> None:
    world = make(message_id="ours", idempotent=False)
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    world.clock.move(minutes=5)
    world.send_due()
    row = world.exchange()
    assert row.state is State.UNKNOWN
    assert row.due_at is not None
    assert row.due_at > world.clock()


def test_a_signed_fault_is_the_gateways_word_that_it_has_nothing(world: World) -> None:
    world.shep.fault = ErrorInfo("SCE001", "not so", NOW)
    result = world.side.road.ask(SYSTEM, PERSON)
    assert result.state is State.REFUSED
    assert result.error is not None
    assert result.error.code == "peer_fault"


@pytest.mark.parametrize(
    ("tell", "code"),
    [
        (lambda shep: setattr(shep, "signer", "gateway"), "own_signature"),
        (lambda shep: setattr(shep, "signer", "stranger"), "certificate_unknown"),
        (lambda shep: setattr(shep, "change", lambda data: data.replace(b"c7000001", b"c7000002")), "digest"),
        (lambda shep: setattr(shep, "http_status", 302), "redirected"),
        (
            lambda shep: setattr(shep, "change_ack", lambda ack: replace(ack, response_date=NOW.replace(year=2020))),
            "stale_reply",
        ),
    ],
)
def test_an_acknowledgement_that_must_not_be_used_is_none(
    world: World, tell: Callable[[object], None], code: str
) -> None:
    tell(world.shep)
    result = world.side.road.ask(SYSTEM, PERSON)
    assert result.state is State.UNKNOWN
    assert result.error is not None
    assert result.error.code == code
    row = world.exchange()
    assert (row.wire_message_id, row.correlation_id) == ("", "")
    assert world.journal.list_entries(message_id=row.message_id)[0].verdict == code


def test_an_unsigned_fault_is_reported_and_not_believed(world: World) -> None:
    from gateway.shep import async_channel, envelope

    fault = async_channel.build_fault(Operation.SEND_MESSAGE, ErrorInfo("SCE004", "away", NOW))
    world.shep.change = lambda _: envelope.build_envelope(fault)
    result = world.side.road.ask(SYSTEM, PERSON)
    assert result.state is State.UNKNOWN
    assert result.error is not None
    assert result.error.code == "unsigned_fault"
    assert "SCE004" in result.error.message


def test_a_crash_between_the_row_and_the_post_is_found_by_the_next_worker(make: Make) -> None:
    world = make(message_id="ours")

    class Killed(BaseException):
        pass

    world.shep.unreachable = Killed()  # type: ignore[assignment]
    with pytest.raises(Killed):
        world.side.road.ask(SYSTEM, PERSON)
    assert world.exchange().state is State.ASKED
    world.shep.unreachable = None
    world.clock.move(minutes=30)
    world.send_due()
    assert world.exchange().state is State.ACKNOWLEDGED
    assert len(world.shep.taken) == 1


def test_an_acknowledgement_that_was_stored_before_a_crash_is_read_by_the_next_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.asynchronous.acknowledgement.verify_message", die)
        with pytest.raises(Killed):
            world.side.road.ask(SYSTEM, PERSON)
    world.clock.move(minutes=30)
    world.send_due()
    row = world.exchange()
    assert (row.state, row.correlation_id) == (State.ACKNOWLEDGED, "c7000001")
    assert len(world.shep.taken) == 1


def test_without_an_address_nothing_is_asked_and_the_error_says_where_to_write_it(make: Make) -> None:
    from gateway.errors import OperatorError
    from tests.exchange.world import policy

    world = make(changes={"policy": replace(policy(), url="")})
    with pytest.raises(OperatorError, match=r"shep\.async_url"):
        world.side.road.ask(SYSTEM, PERSON)
    assert world.exchanges() == []


def test_a_person_who_is_due_is_asked_about_on_the_asynchronous_channel(world: World) -> None:
    with writing(world.engine) as connection:
        due.want(connection, PERSON, SYSTEM, at=NOW)
    assert world.send_due() == 1
    assert world.exchange().state is State.ACKNOWLEDGED
    assert world.send_due() == 0
