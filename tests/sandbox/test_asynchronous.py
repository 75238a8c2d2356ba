"""The gateway's side of the asynchronous channel on a real socket: ids, acknowledgements, push, poll, and bad days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.model import Iin
from gateway.sandbox.dispatch import AsyncPolicy
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.participants import Participant as Address
from gateway.sandbox.postman import Postman
from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessageInfo,
    MessageState,
    MessageType,
    Operation,
    ReceiveStatus,
    Resend,
)
from gateway.shep.envelope import build_envelope
from gateway.shep.messages import ErrorInfo
from gateway.shep.payload import PayloadCodec
from gateway.signing.keys import SigningKey
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.xml import parse
from tests.sandbox.integrator import NOW
from tests.sandbox.participant import SENDER, Participant

POLICY = AsyncPolicy(answer_after_s=0, push_intervals_s=(10, 20))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(pki: ThrowawayPki, clock: Clock) -> Iterator[RunningSandbox]:
    """Nothing is pushed by itself: each test delivers when it wants to."""
    simulator = make_simulator(people=120, seed=7, pki_dir=pki.directory, async_policy=POLICY)
    with running_sandbox(simulator, now=clock, delivers=False) as running:
        yield running


@pytest.fixture
def sandbox(shared: RunningSandbox, clock: Clock) -> RunningSandbox:
    clock.now = NOW
    shared.simulator.asynchronous.clear()
    shared.dispatch.participants.clear()
    shared.orders.clear()
    shared.received.clear()
    return shared


@pytest.fixture
def deliver(sandbox: RunningSandbox, clock: Clock) -> Callable[[], int]:
    return Postman(sandbox.dispatch, now=clock).deliver_due


@pytest.fixture
def participant(sandbox: RunningSandbox, load_key: Callable[[str], SigningKey], trust: TrustStore) -> Participant:
    return Participant(sandbox, load_key("gateway"), trust)


@pytest.fixture
def pushed_to(sandbox: RunningSandbox, participant: Participant) -> Iterator[Participant]:
    """The same, with an address that everything is pushed to."""
    with participant.listening() as address:
        sandbox.dispatch.participants.put(Address(push_to=address))
        yield participant


@pytest.fixture
def wife(sandbox: RunningSandbox) -> Iin:
    return sandbox.population.exhibit("wife")


def received(sandbox: RunningSandbox) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{sandbox.url}/sandbox/received", trust_env=False).json()
    return document


def states(sandbox: RunningSandbox) -> list[tuple[str, list[str]]]:
    document = httpx.get(f"{sandbox.url}/sandbox/deliveries", trust_env=False).json()
    return [(one["state"], one["outcomes"]) for one in document]


# ---------------------------------------------------------------- as it should be


def test_a_request_is_acknowledged_with_decimal_ids_and_answered_by_push(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    ack = pushed_to.ask("gbdfl", wife)
    assert ack.message_id.isdecimal()
    assert ack.correlation_id.isdecimal()
    assert ack.session_id
    assert deliver() == 2
    news = pushed_to.next_news()
    assert (news.message_id, news.state) == (ack.message_id, MessageState.DELIVERED)
    answer = pushed_to.next_message()
    assert (answer.info.message_type, answer.info.correlation_id) == (MessageType.RESPONSE, ack.correlation_id)
    assert answer.info.message_id != ack.message_id
    assert pushed_to.answer("gbdfl", answer) == {wife}
    assert states(sandbox) == [("DELIVERED", ["acknowledged"])]
    assert deliver() == 0


def test_the_same_seed_gives_the_same_ids(participant: Participant, sandbox: RunningSandbox, wife: Iin) -> None:
    first = participant.ask("gbdfl", wife)
    sandbox.simulator.asynchronous.clear()
    second = participant.ask("gbdfl", wife)
    assert (first.message_id, first.correlation_id) == (second.message_id, second.correlation_id)


def test_an_answer_is_fetched_until_it_is_confirmed(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    ack = participant.ask("gbdfl", wife)
    assert deliver() == 0
    for _ in range(2):
        (answer,) = participant.fetch("gbdfl").messages
        assert answer.info.correlation_id == ack.correlation_id
    assert participant.status(answer.info.message_id).state is MessageState.ON_DELIVERY
    participant.confirm(answer, ReceiveStatus.NOT_ACCEPTED, Resend.RESEND)
    assert len(participant.fetch("gbdfl").messages) == 1
    participant.confirm(answer)
    assert participant.fetch("gbdfl").messages == ()
    assert states(sandbox) == [("DELIVERED", ["fetched", "fetched", "asked for again", "fetched", "accepted"])]


def test_what_is_neither_accepted_nor_wanted_again_is_not_delivered(
    participant: Participant, deliver: Callable[[], int], wife: Iin
) -> None:
    participant.ask("gbdfl", wife)
    deliver()
    (answer,) = participant.fetch("gbdfl").messages
    participant.confirm(answer, ReceiveStatus.NOT_ACCEPTED)
    assert participant.fetch("gbdfl").messages == ()
    assert participant.status(answer.info.message_id).state is MessageState.NOT_DELIVERED


def test_a_batch_has_the_amount_asked_for_in_the_order_of_due_time(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox
) -> None:
    people = [shown.iin for shown in sandbox.population.showcase()][:3]
    asked = [participant.ask("zags", iin).correlation_id for iin in people]
    deliver()
    batch = participant.fetch("zags", amount=2).messages
    assert [one.info.correlation_id for one in batch] == asked[:2]
    (last,) = participant.fetch("zags", correlation_id=asked[2]).messages
    assert last.info.correlation_id == asked[2]
    assert participant.fetch("gbdfl").messages == ()


def test_an_id_of_ours_is_kept_and_given_twice_it_is_one_message(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    question = participant.question("gbdfl", wife, message_id="ours-1")
    first = participant.send(question)
    again = participant.send(question)
    assert first.message_id == again.message_id == "ours-1"
    assert first.correlation_id == again.correlation_id
    deliver()
    assert len(participant.fetch("gbdfl").messages) == 1
    summary = received(sandbox)
    assert (summary["ids_sent_again"], summary["ids_sent_with_different_bytes"]) == (1, 0)
    assert [one["end"] for one in summary["messages"]][:2] == ["acknowledged", "duplicate"]


def test_an_id_used_for_another_message_is_refused_and_told_to_the_judge(
    participant: Participant, sandbox: RunningSandbox, wife: Iin
) -> None:
    participant.ask("gbdfl", wife, message_id="ours-1")
    other = participant.question("gbdfl", sandbox.population.exhibit("husband"), message_id="ours-1")
    assert participant.refused(other).data == "sandbox: id_used_for_another_message"
    same_signed_again = participant.question("gbdfl", wife, message_id="ours-1")
    assert participant.send(same_signed_again).message_id == "ours-1"


def test_the_state_of_a_message_is_told_and_that_of_an_unknown_one_too(participant: Participant, wife: Iin) -> None:
    ack = participant.ask("gbdfl", wife)
    assert participant.status(ack.message_id).state is MessageState.DELIVERED
    unknown = participant.status("4711")
    assert (unknown.state, unknown.status.code) == (MessageState.NOT_DELIVERED, "MESSAGE_NOT_FOUND")


def test_each_service_may_be_pushed_or_fetched(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    with participant.listening() as address:
        service = sandbox.simulator.systems["gbdfl"].service_ids[0]
        put = {"sender_id": SENDER.sender_id, "service_id": service, "push_to": address}
        added = httpx.post(f"{sandbox.url}/sandbox/participants", json=put, trust_env=False)
        assert (added.status_code, added.json()) == (201, put)
        participant.ask("gbdfl", wife)
        participant.ask("zags", wife)
        deliver()
        assert participant.next_message().info.service_id == service
        assert len(participant.fetch("zags").messages) == 1
        assert participant.fetch("gbdfl").messages == ()


def test_others_ask_us_and_our_answer_is_taken(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox
) -> None:
    sent = httpx.post(
        f"{sandbox.url}/sandbox/send",
        json={"service_id": "FUND_SERVICE", "data": "<Ask><n>1</n></Ask>", "to": "fund-test", "from": "clinic"},
        trust_env=False,
    )
    assert sent.status_code == 201
    assert deliver() == 1
    asked = pushed_to.next_message()
    assert asked.info.message_type is MessageType.REQUEST
    assert asked.info.sender.sender_id == "clinic"
    assert asked.info.message_id == sent.json()["message_id"]

    def answer(correlation_id: str) -> bytes:
        info = AsyncMessageInfo("FUND_SERVICE", MessageType.RESPONSE, NOW, SENDER, correlation_id=correlation_id)
        payload = parse(b"<Answer/>")
        return pushed_to.sign(async_channel.build_send_message(info, payload, PayloadCodec.ELEMENT))

    assert pushed_to.send(answer(asked.info.correlation_id)).correlation_id == asked.info.correlation_id
    assert pushed_to.refused(answer("4711")).data == "sandbox: unknown_correlation"
    kept = [(one["message_type"], one["end"]) for one in received(sandbox)["messages"]]
    assert kept == [("RESPONSE", "acknowledged"), ("", "fault SCE001: unknown_correlation")]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", "JSON object"),
        ('{"service_id": "S"}', "'data' is missing"),
        ('{"service_id": "S", "data": "<a", "to": "x"}', "'data' is not usable"),
        ('{"service_id": "S", "data": "<a/>", "codec": "zip"}', "'codec' is one of"),
        ('{"service_id": "S", "data": "<a/>", "message_type": "ASK"}', "'message_type' is one of"),
        ('{"who": "S"}', "'who' is not known"),
        ("{", "not JSON"),
    ],
)
def test_a_message_of_others_that_cannot_be_sent_says_why(document: str, said: str, sandbox: RunningSandbox) -> None:
    response = httpx.post(f"{sandbox.url}/sandbox/send", content=document, trust_env=False)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", "JSON object"),
        ('{"push_to": 1}', "JSON object"),
        ('{"push": "x"}', "'push' is not known"),
        ('{"push_to": "ftp://x"}', "http or https"),
        ('{"push_to": "http://x:99999"}', "http or https"),
    ],
)
def test_a_wrong_participant_is_refused_and_says_why(document: str, said: str, sandbox: RunningSandbox) -> None:
    response = httpx.post(f"{sandbox.url}/sandbox/participants", content=document, trust_env=False)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


# ---------------------------------------------------------------- gates


def test_what_is_not_ours_to_take_is_refused_with_a_signed_fault(
    participant: Participant, sandbox: RunningSandbox, wife: Iin, load_key: Callable[[str], SigningKey]
) -> None:
    question = participant.question("gbdfl", wife)
    unsigned = build_envelope(parse(question)[1])
    assert participant.refused(unsigned).code == "SCE007"
    assert participant.refused(question.replace(b"fund-test", b"fund-tost")).code == "SCE006"
    assert participant.refused(b"<" + b"x" * sandbox.simulator.bounds.max_bytes).code == "SCE001"
    stranger = Participant(sandbox, load_key("expired"), participant.trust)
    assert participant.refused(stranger.question("gbdfl", wife)).code == "SCE005"
    push = parse(
        b'<s:Body xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><changeMassageStatusNotification/></s:Body>'
    )
    response = participant.post(participant.sign(push))
    fault = async_channel.read_change_status_notification_ack(participant.body(response))
    assert isinstance(fault, ErrorInfo)
    assert fault.data == "sandbox: not_for_the_gateway"
    assert received(sandbox)["count"] == 4


def test_the_contract_is_served(sandbox: RunningSandbox) -> None:
    document = httpx.get(f"{sandbox.async_url}?wsdl", trust_env=False).text
    assert f'location="{sandbox.async_url}"' in document
    assert "IAsyncChannel" in document


# ---------------------------------------------------------------- bad days


def test_a_push_that_is_not_acknowledged_is_tried_again_and_then_stopped(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, clock: Clock, wife: Iin
) -> None:
    ack = pushed_to.ask("gbdfl", wife, message_id="ours-1")
    deliver()
    pushed_to.next_message()
    assert ack.message_id == "ours-1"
    pushed_to.answers[:] = [500] * 6
    pushed_to.ask("zags", wife)
    deliver()
    assert deliver() == 0
    for pause_s in (10, 20):
        clock.go(pause_s - 1)
        assert deliver() == 0
        clock.go(1)
        assert deliver() == 2  # the message, and the news of ours
    clock.go(1_000)
    assert deliver() == 0
    assert states(sandbox)[1] == ("DELIVERY_STOPPED", ["HTTP 500, not_xml"] * 3)


def test_a_participant_that_is_away_is_tried_again_until_it_is_back(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, clock: Clock, wife: Iin
) -> None:
    with participant.listening() as address:
        sandbox.dispatch.participants.put(Address(push_to=address))
    participant.ask("gbdfl", wife)
    deliver()
    assert states(sandbox) == [("ON_DELIVERY", ["unreachable"])]
    with participant.listening() as address:
        sandbox.dispatch.participants.put(Address(push_to=address))
        clock.go(10)
        deliver()  # a message keeps the address that it was to go to
        assert states(sandbox) == [("ON_DELIVERY", ["unreachable", "unreachable"])]


def test_everything_may_be_pushed_twice_with_the_same_content(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.TWICE, times=0))
    pushed_to.ask("gbdfl", wife)
    pushed_to.ask("zags", wife)
    deliver()
    messages = [pushed_to.next_message() for _ in range(4)]
    ids = [one.info.message_id for one in messages]
    assert sorted(ids) == sorted([ids[0], ids[0], ids[-1], ids[-1]])


def test_a_push_is_overtaken_by_the_next(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, clock: Clock, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.REORDER, seconds=100))
    asked = [pushed_to.ask("zags", wife).correlation_id for _ in range(2)]
    deliver()
    clock.go(100)
    deliver()
    assert [pushed_to.next_message().info.correlation_id for _ in range(2)] == asked[::-1]
    assert states(sandbox) == [("DELIVERED", ["acknowledged"])] * 2


def test_one_id_with_other_bytes_is_delivered_as_ordered(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.OTHER_BYTES))
    pushed_to.ask("gbdfl", wife)
    deliver()
    first, second = pushed_to.next_message(), pushed_to.next_message()
    assert first.info == second.info
    assert async_channel.build_forwarded_message(first) is not None
    assert build_envelope(async_channel.build_forwarded_message(first)) != build_envelope(
        async_channel.build_forwarded_message(second)
    )


def test_answers_change_places_come_late_or_not_at_all(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, clock: Clock, wife: Iin
) -> None:
    def asked_with(kind: Misbehaviour | None) -> str:
        if kind is not None:
            sandbox.orders.place(Order(kind, seconds=100))
        correlation_id = participant.ask("zags", wife).correlation_id
        deliver()
        return correlation_id

    def there() -> list[str]:
        return [one.info.correlation_id for one in participant.fetch("zags").messages]

    held = asked_with(Misbehaviour.REORDER)
    assert there() == []
    next_one = asked_with(None)
    assert there() == [next_one, held]
    late = asked_with(Misbehaviour.LATE)
    lost = asked_with(Misbehaviour.LOSE_MESSAGE)
    assert there() == [next_one, held]
    clock.go(100)
    assert there() == [next_one, held, late]
    assert lost not in there()
    alone = asked_with(Misbehaviour.REORDER)
    assert alone not in there()
    clock.go(100)
    assert there()[-1] == alone


def test_an_answer_may_belong_to_another_question_or_person_or_day(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    answers = []
    for kind in (Misbehaviour.WRONG_CORRELATION, Misbehaviour.OTHER_PERSON, Misbehaviour.SKEW):
        sandbox.orders.place(Order(kind, point="delivery", seconds=-7_200))
        ack = participant.ask("gbdfl", wife)
        deliver()
        *_, answer = participant.fetch("gbdfl").messages
        answers.append((answer, ack))
    (wrong, ack), (other, _), (skewed, _) = answers
    assert wrong.info.correlation_id != ack.correlation_id
    assert wife not in participant.answer("gbdfl", other)
    assert skewed.info.message_date == NOW - dt.timedelta(hours=2)


def test_a_push_may_be_signed_by_a_stranger(
    pushed_to: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.WRONG_SIGNATURE, point="delivery"))
    pushed_to.ask("gbdfl", wife)
    deliver()
    assert states(sandbox) == [("ON_DELIVERY", ["HTTP 500, not_xml"])]


def test_an_acknowledgement_may_be_lost_when_everything_is_done(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.LOSE_REPLY, message_type="REQUEST", iin=wife.value))
    with pytest.raises(httpx.RemoteProtocolError):
        participant.ask("gbdfl", wife)
    deliver()
    assert len(participant.fetch("gbdfl").messages) == 1
    (first, _) = received(sandbox)["messages"]
    assert (first["end"], first["misbehaviour"]) == ("acknowledged", "lose_reply")


def test_a_request_may_be_lost_before_anything_is_done(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.LOSE_REQUEST))
    with pytest.raises(httpx.RemoteProtocolError):
        participant.ask("gbdfl", wife)
    deliver()
    assert participant.fetch("gbdfl").messages == ()
    assert received(sandbox)["messages"][0]["end"] == "lost on arrival"


def test_an_outage_lasts_for_its_time_and_does_nothing(
    participant: Participant, sandbox: RunningSandbox, clock: Clock, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.OUTAGE, seconds=60))
    question = participant.question("gbdfl", wife)
    assert participant.post(question).status_code == 503
    clock.go(59)
    assert participant.post(question).status_code == 503
    clock.go(1)
    assert participant.post(question).status_code == 200
    assert sandbox.orders.waiting() == ()


def test_a_fault_on_order_stands_in_for_everything(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.FAULT, code="SCE909", operation="sendMessage"))
    assert participant.refused(participant.question("gbdfl", wife)).code == "SCE909"
    deliver()
    assert participant.fetch("gbdfl").messages == ()
    assert received(sandbox)["messages"][0]["end"] == "fault on order"


def test_an_acknowledgement_may_name_ids_that_nothing_later_has(
    participant: Participant, deliver: Callable[[], int], sandbox: RunningSandbox, wife: Iin
) -> None:
    sandbox.orders.place(Order(Misbehaviour.CHANGED_IDS))
    ack = participant.ask("gbdfl", wife)
    deliver()
    (answer,) = participant.fetch("gbdfl").messages
    assert answer.info.correlation_id != ack.correlation_id


def test_a_dripping_reply_is_complete_in_the_end(participant: Participant, sandbox: RunningSandbox, wife: Iin) -> None:
    sandbox.orders.place(Order(Misbehaviour.DRIP, bytes_per_second=200_000))
    assert participant.ask("gbdfl", wife).message_id


def test_the_clock_of_the_gateway_may_be_wrong(participant: Participant, sandbox: RunningSandbox, wife: Iin) -> None:
    sandbox.orders.place(Order(Misbehaviour.SKEW, seconds=3_600))
    assert participant.ask("gbdfl", wife).response_date == NOW + dt.timedelta(hours=1)


def test_a_running_sandbox_delivers_by_itself(
    pki: ThrowawayPki, load_key: Callable[[str], SigningKey], trust: TrustStore
) -> None:
    simulator = make_simulator(people=120, seed=7, pki_dir=pki.directory, async_policy=POLICY)
    with running_sandbox(simulator, now=lambda: NOW) as running:
        participant = Participant(running, load_key("gateway"), trust)
        with participant.listening() as address:
            running.dispatch.participants.put(Address(push_to=address))
            participant.ask("gbdfl", running.population.exhibit("wife"))
            assert participant.next_message().info.message_type is MessageType.RESPONSE


def test_every_operation_of_the_gateway_is_served_and_the_participants_is_not() -> None:
    assert set(Operation) - {Operation.CHANGE_STATUS_NOTIFICATION} == {
        Operation.SEND_MESSAGE,
        Operation.SEND_DELIVERY_NOTIFICATION,
        Operation.GET_MESSAGE_STATUS,
        Operation.GET_MESSAGES,
    }
