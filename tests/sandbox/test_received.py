"""What the sandbox keeps for judges: ids, digests and ends, and nothing about anybody."""

from __future__ import annotations

import httpx
import pytest

from gateway.sandbox import received
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.received import Received, ReceivedLog
from gateway.sandbox.server import RunningSandbox
from tests.sandbox.integrator import NOW, Client


def sent(message_id: str, message_sha256: str, sender_id: str = "a", operation: str = "SendMessage") -> Received:
    return Received(NOW, "sync", operation, message_sha256, "c", 1, sender_id=sender_id, message_id=message_id)


def test_an_id_is_one_of_a_sender_and_an_operation_that_sends() -> None:
    log = ReceivedLog()
    for one in (
        sent("1", "x"),
        sent("1", "x"),
        sent("2", "x"),
        sent("2", "y"),
        sent("1", "z", sender_id="b"),
        sent("1", "z", operation="getMessageStatus"),
        sent("", "q"),
        sent("", "r"),
    ):
        log.add(one)
    told = log.as_dict()
    assert (told["count"], told["ids"]) == (8, 3)
    assert (told["ids_sent_again"], told["ids_sent_with_different_bytes"]) == (2, 1)


def test_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "MAX_KEPT", 3)
    log = ReceivedLog()
    for number in range(5):
        log.add(sent(str(number), "x"))
    told = log.as_dict()
    assert (told["count"], told["ids"]) == (5, 3)
    assert [one["message_id"] for one in told["messages"]] == ["2", "3", "4"]


def test_every_end_of_a_question_is_told_without_the_person(sandbox: RunningSandbox, client: Client) -> None:
    httpx.delete(f"{sandbox.url}/sandbox/received", trust_env=False)
    subject = sandbox.population.exhibit("wife")
    question = client.request("gbdfl", subject, message_id="m-1")
    sandbox.orders.place(Order(Misbehaviour.FAULT, iin=subject.value))
    sandbox.orders.place(Order(Misbehaviour.OUTAGE, times=0, seconds=0.0, iin=subject.value))
    sandbox.orders.place(Order(Misbehaviour.LOSE_REQUEST, after=1))
    for data in (question, question, question.replace(b"m-1", b"m-2")):
        sandbox.simulator.answer(data, now=NOW)
    reply = httpx.get(f"{sandbox.url}/sandbox/received", trust_env=False)
    ends = [(one["message_id"], one["end"], one["misbehaviour"]) for one in reply.json()["messages"]]
    assert ends == [
        ("m-1", "out of service", "outage"),
        ("m-1", "fault on order", "fault"),
        ("", "fault SCE006: digest", ""),
    ]
    assert subject.value not in reply.text
    assert reply.json()["ids_sent_with_different_bytes"] == 0
