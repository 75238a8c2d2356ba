"""What is pushed to us: safe before it is acknowledged, once whatever comes twice, and never believed unverified."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import select, update

from gateway.database import writing
from gateway.errors import OutcomeUnknown, StoreError
from gateway.exchange.asynchronous.receiving import ReceiverPolicy
from gateway.exchange.outbox import State
from gateway.exchange.serve import ServedReply, ServicePolicy
from gateway.exchange.tables import INBOX
from gateway.fund import consumer
from gateway.model import Outcome
from gateway.registry.store import history_of
from gateway.registry.tables import FACT
from gateway.shep import async_channel
from gateway.shep.async_messages import MessageAck, MessageState, MessageType
from gateway.shep.messages import ErrorInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.xml import DEFAULT_BOUNDS, to_bytes
from tests.exchange.asynchronous.world import SERVICE, SESSION, SYSTEM, World
from tests.exchange.world import NOW, OTHER, PERSON, body_of

Make = Callable[..., World]


def ack_of(world: World, reply: ServedReply) -> MessageAck:
    assert reply.status == 200, reply.body
    ack = async_channel.read_send_message_ack(body_of(reply.body, world.keys["gateway"]))
    assert isinstance(ack, MessageAck)
    return ack


def fault_of(world: World, reply: ServedReply) -> ErrorInfo:
    assert reply.status == 500
    fault = async_channel.read_send_message_ack(body_of(reply.body, world.keys["gateway"]))
    assert isinstance(fault, ErrorInfo)
    return fault


def facts(world: World) -> int:
    with world.engine.connect() as connection:
        return len(connection.execute(select(FACT)).all())


def question(person: Any = PERSON, **fields: Any) -> etree._Element:
    root = etree.Element(consumer.REQUEST, nsmap={"cs": consumer.NAMESPACE})
    etree.SubElement(root, "iin").text = fields.get("iin", person.value)
    return root


def request(world: World, **info: Any) -> Any:
    return world.shep.message(
        info.pop("payload", question()),
        PayloadCodec.ELEMENT,
        service_id=consumer.SERVICE_ID,
        message_type=MessageType.REQUEST,
        **{"correlation_id": "c55", "message_id": "m55", **info},
    )


# ---------------------------------------------------------------- an answer


def test_an_answer_is_acknowledged_and_then_closes_its_question_with_its_facts(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    ack = ack_of(world, world.push(world.shep.answer()))
    assert (ack.message_id, ack.correlation_id, ack.session_id) == ("9000001", "c7000001", SESSION)
    assert world.exchange().state is State.ACKNOWLEDGED
    assert facts(world) == 0
    assert world.work() == 1
    row = world.exchange()
    assert (row.state, row.outcome) == (State.ANSWERED, Outcome.FOUND)
    (item,) = world.inbox()
    assert (item["state"], item["code"], row.reply_journal_id) == ("done", "", item["request_journal_id"])
    with world.engine.connect() as connection:
        (recorded,) = history_of(connection, PERSON, NOW)
    assert recorded.fact.kind == "disability"
    assert recorded.provenance.message_id == row.message_id
    assert recorded.provenance.signer_serial == str(world.keys["shep"].certificate.serial)


def test_both_messages_are_in_the_journal_before_the_acknowledgement_leaves(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    pushed = world.shep.push(world.shep.answer())
    reply = world.side.receiver.handle(pushed, received_at=NOW, peer="10.0.0.1")
    (item,) = world.inbox()
    came, went = world.journal.get(item["request_journal_id"]), world.journal.get(item["reply_journal_id"])
    assert came is not None
    assert went is not None
    assert (came.body, came.verdict, came.system, came.channel) == (pushed, "accepted", SYSTEM, "async")
    assert (went.body, went.verdict) == (reply.body, "signed")


def test_nothing_is_acknowledged_that_could_not_be_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.side.road.ask(SYSTEM, PERSON)

    def refuse(*_: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.exchange.inbox.register_many", refuse)
        assert fault_of(world, world.push(world.shep.answer())).code == "SCE909"
    assert world.inbox() == []
    ack_of(world, world.push(world.shep.answer()))
    world.work()
    assert world.exchange().state is State.ANSWERED


@pytest.mark.parametrize("namespace", ["AsyncChannel/v10/Types", "AsyncChannel/v10/Types/Client"])
def test_a_push_is_taken_in_both_namespaces(world: World, namespace: str) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    ack_of(world, world.push(world.shep.answer(), namespace=namespace))
    world.work()
    assert world.exchange().state is State.ANSWERED


def test_the_same_push_again_is_acknowledged_again_and_has_no_second_effect(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    answer = world.shep.answer()
    ack_of(world, world.push(answer))
    again = replace(answer, info=replace(answer.info, session_id="{3c59dc04-8e88-4502-ab1f-0000000000bb}"))
    ack_of(world, world.push(again))
    world.work()
    ack_of(world, world.push(answer))
    assert world.work() == 0
    assert len(world.inbox()) == 1
    assert facts(world) == 1
    verdicts = [entry.verdict for entry in world.journal.list_entries(message_id="9000001") if entry.direction == "in"]
    assert verdicts == ["duplicate", "duplicate", "accepted"]


def test_the_same_id_with_another_body_is_an_incident_and_changes_nothing(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    ack_of(world, world.push(world.shep.answer(message_type=MessageType.NOTIFICATION)))
    assert fault_of(world, world.push(world.shep.answer())).code == "SCE001"
    world.work()
    assert world.exchange().state is State.ACKNOWLEDGED
    assert facts(world) == 0
    assert world.journal.list_entries(verdict="id_reused")


def test_an_answer_under_another_id_to_a_closed_question_is_kept_and_not_applied(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    ack_of(world, world.push(world.shep.answer()))
    world.work()
    ack_of(world, world.push(world.shep.answer(message_id="9000002")))
    world.work()
    first, second = world.inbox()
    assert (second["state"], second["code"]) == ("done", "not_awaited")
    assert world.exchange().reply_journal_id == first["request_journal_id"]
    assert facts(world) == 1


def test_after_a_lost_acknowledgement_the_answer_finds_its_question_by_the_message_id_in_the_payload(
    world: World,
) -> None:
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    assert world.exchange().state is State.UNKNOWN
    ack_of(world, world.push(world.shep.answer()))
    world.work()
    assert (world.exchange().state, facts(world)) == (State.ANSWERED, 1)


def test_after_a_lost_acknowledgement_the_answer_finds_its_question_by_the_folders_own_key(make: Make) -> None:
    world = make(extra='\n\ndef business_key(payload):\n    return payload.findtext("{*}iin")\n')
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    assert world.exchange().business_key == PERSON.value
    ack_of(world, world.push(world.shep.answer()))
    world.work()
    assert world.exchange().state is State.ANSWERED


def test_a_notification_names_the_chain_of_a_question_whose_acknowledgement_was_lost(world: World) -> None:
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    ack_of(world, world.push(world.shep.answer(message_type=MessageType.NOTIFICATION)))
    world.work()
    row = world.exchange()
    assert (row.state, row.correlation_id) == (State.ACKNOWLEDGED, "c7000001")
    assert [item["code"] for item in world.inbox()] == ["notification"]
    assert facts(world) == 0


def test_what_comes_before_the_answer_does_not_close_the_question(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    for number, kind in enumerate((MessageType.NOTIFICATION, MessageType.UPDATE)):
        ack_of(world, world.push(world.shep.answer(message_id=f"900000{number}", message_type=kind)))
    world.work()
    assert world.exchange().state is State.ACKNOWLEDGED
    assert sorted(item["code"] for item in world.inbox()) == ["notification", "update"]


def test_an_answer_that_overtakes_the_acknowledgement_closes_the_question(world: World) -> None:
    road = world.side.road

    def answer_first(data: bytes) -> bytes:
        world.push(world.shep.answer())
        world.work()
        return data

    world.shep.change = answer_first
    road.ask(SYSTEM, PERSON)
    assert (world.exchange().state, facts(world)) == (State.ANSWERED, 1)
    world.clock.move(hours=1)
    world.send_due()
    assert (world.exchange().state, len(world.shep.taken)) == (State.ANSWERED, 1)


def test_a_duplicate_waits_for_nobody_who_works_on_the_message(world: World) -> None:
    """The worker locks the row and then the journal; a push that did it the other way round would meet it halfway."""
    if world.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")
    message = request(world)
    ack_of(world, world.push(message))
    with writing(world.engine) as worker:
        worker.execute(update(INBOX).values(code="at work"))
        reply: list[ServedReply] = []
        pushed = threading.Thread(target=lambda: reply.append(world.push(message)), daemon=True)
        pushed.start()
        pushed.join(30)
        assert not pushed.is_alive()
    ack_of(world, reply[0])


def test_what_belongs_to_nothing_is_acknowledged_tried_again_and_kept_for_the_operator(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    stranger = world.shep.answer(change_payload=_with("requestId", "someone-elses"))
    stranger = replace(stranger, info=replace(stranger.info, correlation_id="c404"))
    ack_of(world, world.push(stranger))
    world.work()
    (item,) = world.inbox()
    assert (item["state"], item["code"]) == ("received", "unmatched")
    for _ in range(12):
        world.clock.move(hours=7)
        world.work()
    (item,) = world.inbox()
    assert (item["state"], item["code"], item["due_at"]) == ("quarantined", "unmatched", None)
    assert world.exchange().state is State.ACKNOWLEDGED
    assert facts(world) == 0


def _with(name: str, text: str) -> Callable[[etree._Element], etree._Element]:
    def change(payload: etree._Element) -> etree._Element:
        (element,) = payload.xpath(f"//*[local-name()='{name}']")
        element.text = text
        return payload

    return change


@pytest.mark.parametrize(
    ("name", "text", "code"), [("requestId", "another", "wrong_correlation"), ("iin", OTHER.value, "wrong_subject")]
)
def test_an_answer_in_the_right_chain_about_something_else_closes_nothing(
    world: World, name: str, text: str, code: str
) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    ack_of(world, world.push(world.shep.answer(change_payload=_with(name, text))))
    world.work()
    (item,) = world.inbox()
    assert (item["state"], item["code"]) == ("quarantined", code)
    assert world.exchange().state is State.ACKNOWLEDGED
    assert facts(world) == 0


# ---------------------------------------------------------------- what is not believed


@pytest.mark.parametrize(
    ("signer", "fault", "verdict"),
    [("gateway", "SCE005", "own_signature"), ("stranger", "SCE005", "certificate_unknown")],
)
def test_a_push_by_the_wrong_signer_is_refused(world: World, signer: str, fault: str, verdict: str) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    assert fault_of(world, world.push(world.shep.answer(), signer=signer)).code == fault
    assert world.inbox() == []
    assert world.work() == 0
    assert world.exchange().state is State.ACKNOWLEDGED
    assert world.journal.list_entries(verdict=verdict)


def test_a_signer_who_does_not_answer_for_this_gateway_is_refused(make: Make) -> None:
    world = make(changes={"receiver_policy": ReceiverPolicy(signer_bins=frozenset({"000000000000"}))})
    world.side.road.ask(SYSTEM, PERSON)
    world.push(world.shep.answer())
    assert world.inbox() == []
    assert world.journal.list_entries(verdict="unexpected_signer")


def test_a_changed_push_closes_nothing(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    pushed = world.shep.push(world.shep.answer()).replace(PERSON.value.encode(), OTHER.value.encode())
    assert fault_of(world, world.side.receiver.handle(pushed, received_at=NOW)).code == "SCE006"
    assert world.inbox() == []
    assert world.exchange().state is State.ACKNOWLEDGED


def test_an_unsigned_push_closes_nothing(world: World) -> None:
    from gateway.shep.envelope import build_envelope
    from tests.exchange.asynchronous.world import push_body

    world.side.road.ask(SYSTEM, PERSON)
    pushed = build_envelope(push_body(world.shep.answer()))
    assert fault_of(world, world.side.receiver.handle(pushed, received_at=NOW)).code == "SCE007"
    assert world.inbox() == []


@pytest.mark.parametrize(
    ("age", "verdict"), [(dt.timedelta(hours=74), "too_old"), (dt.timedelta(hours=-2), "from_the_future")]
)
def test_a_push_outside_of_the_replay_window_is_refused(world: World, age: dt.timedelta, verdict: str) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    fault_of(world, world.push(world.shep.answer(message_date=NOW - age)))
    assert world.inbox() == []
    assert world.journal.list_entries(verdict=verdict)


@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({"message_id": ""}, "missing_field"),
        ({"service_id": "NOBODYS"}, "no_service"),
        ({"message_type": MessageType.REQUEST}, "no_service"),
    ],
)
def test_a_push_that_is_not_for_us_is_refused(world: World, info: dict[str, Any], verdict: str) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    answer = world.shep.answer()
    fault_of(world, world.push(replace(answer, info=replace(answer.info, **info))))
    assert world.inbox() == []
    assert world.journal.list_entries(verdict=verdict)


def test_an_answer_to_a_service_of_ours_is_refused(world: World) -> None:
    message = request(world)
    fault_of(world, world.push(replace(message, info=replace(message.info, message_type=MessageType.RESPONSE))))
    assert world.journal.list_entries(verdict="unexpected_type")


def test_an_operation_of_the_gateways_side_is_refused(world: World) -> None:
    from gateway.shep.async_messages import MessagesQuery

    body = async_channel.build_get_messages(MessagesQuery(SERVICE))
    reply = world.side.receiver.handle(world.shep.sign(body), received_at=NOW)
    assert "the other operations are the gateway's" in fault_of(world, reply).message


def test_a_push_over_the_bound_is_refused_unread_and_only_its_size_is_kept(make: Make) -> None:
    bounds = replace(DEFAULT_BOUNDS, max_bytes=20_000)
    world = make(changes={"receiver_policy": ReceiverPolicy(bounds=bounds)})
    reply = world.side.receiver.handle(b"x" * 20_001, received_at=NOW)
    assert fault_of(world, reply).code == "SCE001"
    (entry,) = world.journal.list_entries(verdict="too_large")
    assert (entry.body_bytes, entry.body) == (20_001, None)


# ---------------------------------------------------------------- a change of state


def test_a_change_of_state_is_acknowledged_with_the_session_it_came_in(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    reply = world.side.receiver.handle(world.shep.change_of_state("7000001", MessageState.DELIVERED), received_at=NOW)
    ack = async_channel.read_change_status_notification_ack(body_of(reply.body, world.keys["gateway"]))
    assert not isinstance(ack, ErrorInfo)
    assert ack.session_id == SESSION
    assert world.exchange().state is State.ACKNOWLEDGED


def test_a_change_of_state_without_a_session_gets_a_new_one(make: Make) -> None:
    from tests.exchange.asynchronous.world import new_guid

    world = make(changes={"new_message_id": new_guid})
    reply = world.side.receiver.handle(
        world.shep.change_of_state("404", MessageState.DELIVERED, session_id=""), received_at=NOW
    )
    ack = async_channel.read_change_status_notification_ack(body_of(reply.body, world.keys["gateway"]))
    assert not isinstance(ack, ErrorInfo)
    assert len(ack.session_id) == 38


def test_word_of_delivery_acknowledges_a_message_that_we_were_not_sure_of(make: Make) -> None:
    world = make(message_id="ours")
    world.shep.lose = OutcomeUnknown("cut")
    world.side.road.ask(SYSTEM, PERSON)
    ours = world.exchange().message_id
    world.side.receiver.handle(world.shep.change_of_state(ours, MessageState.ON_DELIVERY), received_at=NOW)
    assert world.exchange().state is State.ACKNOWLEDGED


@pytest.mark.parametrize("state", [MessageState.NOT_DELIVERED, MessageState.DELIVERY_STOPPED])
def test_word_of_failure_is_asked_about_before_anything_goes_again(world: World, state: MessageState) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    world.side.receiver.handle(world.shep.change_of_state("7000001", state), received_at=NOW)
    row = world.exchange()
    assert (row.state, row.code, row.due_at) == (State.UNKNOWN, "not_delivered", NOW)
    world.shep.states["7000001"] = MessageState.DELIVERED
    world.send_due()
    assert world.exchange().state is State.ACKNOWLEDGED
    assert len(world.shep.taken) == 1


def test_a_change_of_state_never_touches_a_closed_row(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    world.push(world.shep.answer())
    world.work()
    for state in MessageState:
        world.side.receiver.handle(world.shep.change_of_state("7000001", state), received_at=NOW)
    assert world.exchange().state is State.ANSWERED


def test_a_forged_change_of_state_changes_nothing(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.signer = "stranger"
    reply = world.side.receiver.handle(
        world.shep.change_of_state("7000001", MessageState.NOT_DELIVERED), received_at=NOW
    )
    assert reply.status == 500
    assert world.exchange().state is State.ACKNOWLEDGED


def test_an_old_change_of_state_played_again_is_refused(world: World) -> None:
    world.side.road.ask(SYSTEM, PERSON)
    old = world.shep.change_of_state("7000001", MessageState.NOT_DELIVERED)
    reply = world.side.receiver.handle(old, received_at=NOW + dt.timedelta(days=4))
    assert reply.status == 500
    assert world.exchange().state is State.ACKNOWLEDGED


# ---------------------------------------------------------------- a request to us


def test_a_request_to_us_is_answered_by_a_response_in_its_chain(world: World) -> None:
    ack_of(world, world.push(request(world)))
    assert world.work() == 1
    row = world.exchange()
    assert (row.message_type, row.correlation_id, row.state) == ("RESPONSE", "c55", State.WAITING)
    world.send_due()
    ((message, _),) = world.shep.taken
    assert (message.info.message_type, message.info.correlation_id) == (MessageType.RESPONSE, "c55")
    assert message.info.service_id == consumer.SERVICE_ID
    assert b"NO_DATA" in to_bytes(message.data)
    row = world.exchange()
    assert (row.state, row.code) == (State.ANSWERED, "acknowledged")
    (item,) = world.inbox()
    assert (item["state"], item["reply_journal_id"]) == ("done", row.request_journal_id)


def test_a_request_that_comes_twice_is_answered_once(world: World) -> None:
    for _ in range(2):
        ack_of(world, world.push(request(world)))
        world.work()
        world.send_due()
    assert len(world.shep.taken) == 1


def test_a_request_that_a_service_refuses_waits_for_the_operator(world: World) -> None:
    ack_of(world, world.push(request(world, payload=question(iin="000000000000"))))
    world.work()
    (item,) = world.inbox()
    assert (item["state"], item["code"]) == ("quarantined", "invalid_identifier")
    assert world.exchanges() == []


def test_only_those_whom_the_operator_names_may_ask(make: Make) -> None:
    policies = {consumer.SERVICE_ID: ServicePolicy(senders=frozenset({"clinic"}))}
    world = make(changes={"policies": policies})
    fault_of(world, world.push(request(world)))
    assert world.journal.list_entries(verdict="sender_not_allowed")
    ack_of(world, world.push(request(world, sender=Sender("clinic", "p"))))
    policies[consumer.SERVICE_ID] = ServicePolicy(bins=frozenset({"1"}))
    fault_of(world, world.push(request(world, message_id="m56")))
    assert world.journal.list_entries(verdict="bin_not_allowed")


def test_an_update_of_a_request_to_us_is_kept_for_the_operator(world: World) -> None:
    message = request(world)
    ack_of(world, world.push(replace(message, info=replace(message.info, message_type=MessageType.UPDATE))))
    world.work()
    (item,) = world.inbox()
    assert (item["state"], item["code"]) == ("quarantined", "unmatched")


def test_without_a_session_the_acknowledgement_has_none(world: World) -> None:
    ack = ack_of(world, world.push(request(world, session_id="", correlation_id="")))
    assert (ack.session_id, ack.correlation_id) == ("", "m55")


def test_the_acknowledgement_fits_the_channels_schema_and_is_signed_by_us(world: World) -> None:
    from gateway.shep.contract import envelope_schema

    reply = world.push(request(world))
    envelope_schema()(body_of(reply.body, world.keys["gateway"]))


def test_two_pushes_of_one_message_at_the_same_time_make_one_row(world: World) -> None:
    """The second one sees no row yet and loses at the insert."""
    from gateway.exchange import inbox

    world.side.road.ask(SYSTEM, PERSON)
    answer = world.shep.answer()
    ack_of(world, world.push(answer))
    original = inbox.find_many
    calls: list[int] = []

    def blind(connection: Any, keys: Any) -> Any:
        calls.append(1)
        return {} if len(calls) == 1 else original(connection, keys)

    inbox.find_many = blind
    try:
        ack_of(world, world.push(answer))
        calls.clear()
        clash = world.push(world.shep.answer(message_type=MessageType.UPDATE))
    finally:
        inbox.find_many = original
    assert clash.status == 500
    assert len(world.inbox()) == 1
