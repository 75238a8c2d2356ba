"""Quotas and bounds of POST /shep/async on a real socket: what is refused early is never acknowledged."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from lxml import etree
from sqlalchemy import Engine, select
from starlette.applications import Starlette
from structlog.testing import capture_logs

from gateway.daemon.async_endpoint import ASYNC_PATH, async_routes
from gateway.daemon.connections import BoundedConnection
from gateway.database import reading, writing
from gateway.exchange import quota
from gateway.exchange.outbox import State
from gateway.exchange.quota import Counter, Limits, Period, Quotas
from gateway.exchange.tables import QUOTA
from gateway.fund import consumer
from gateway.listening import bind
from gateway.sandbox.dispatch import AsyncPolicy
from gateway.sandbox.participants import Participant as Address
from gateway.sandbox.postman import Postman
from gateway.sandbox.server import make_simulator
from gateway.settings import ServerSettings
from gateway.shep import async_channel
from gateway.shep.async_messages import AsyncMessage, MessageType
from gateway.shep.contract import envelope_schema
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.trust import throwaway_pki
from tests.exchange.asynchronous.world import SYSTEM, World, async_folder, make_world
from tests.exchange.world import NOW, PERSON, Keys, body_of

CLINIC = "clinic"
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(throwaway_pki.init(tmp_path_factory.mktemp("pki") / "pki", now=NOW))


@pytest.fixture
def make(engine: Engine, keys: Keys, tmp_path: Path) -> Callable[..., World]:
    """A world on each store, with the quotas given."""

    def make(**limits: int) -> World:
        quotas = Quotas(by_sender={CLINIC: Limits(**limits)})
        return make_world(engine, keys, async_folder(tmp_path / "systems"), quotas=quotas)

    return make


def question_about_a_person() -> etree._Element:
    payload = etree.Element(consumer.REQUEST, nsmap={"cs": consumer.NAMESPACE})
    etree.SubElement(payload, "iin").text = PERSON.value
    return payload


def asked(world: World, message_id: str, **info: Any) -> AsyncMessage:
    """A REQUEST of the clinic to a service of ours."""
    values = {
        "service_id": consumer.SERVICE_ID,
        "message_type": MessageType.REQUEST,
        "message_id": message_id,
        "correlation_id": f"c{message_id}",
        "sender": Sender(CLINIC, "p"),
        **info,
    }
    return world.shep.message(question_about_a_person(), PayloadCodec.ELEMENT, **values)


@contextlib.contextmanager
def listening(world: World, monkeypatch: pytest.MonkeyPatch, **server: int) -> Iterator[str]:
    """The address of the endpoint, served by the server that the program serves with."""
    monkeypatch.setattr("gateway.daemon.async_endpoint.now", world.clock)
    settings = SimpleNamespace(server=ServerSettings(**server))
    gateway: Any = SimpleNamespace(loaded=SimpleNamespace(settings=settings), asynchronous=world.side)
    bound, url = bind("127.0.0.1", 0, setting="server.port")
    config = uvicorn.Config(
        Starlette(routes=async_routes(gateway)),
        log_config=None,
        log_level="critical",
        lifespan="off",
        http=BoundedConnection.limited_to(64),
        timeout_graceful_shutdown=5,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    # accepted by the system from now on, and answered as soon as the server is there
    bound.listen()
    with bound:
        thread.start()
        try:
            yield f"{url}{ASYNC_PATH}"
        finally:
            running.should_exit = True
            thread.join()


def post(url: str, data: bytes) -> httpx.Response:
    return httpx.post(url, content=data, trust_env=False, timeout=60)


def read_reply(world: World, response: httpx.Response) -> Any:
    """The acknowledgement or the fault: signed by us, and as the channel's schema has it."""
    body = body_of(response.content, world.keys["gateway"])
    envelope_schema()(body)
    return async_channel.read_send_message_ack(body)


def fault_of(world: World, response: httpx.Response) -> ErrorInfo:
    assert response.status_code == 500
    assert response.headers["content-type"].startswith("text/xml")
    fault = read_reply(world, response)
    assert isinstance(fault, ErrorInfo)
    return fault


def acknowledged(world: World, response: httpx.Response) -> str:
    assert response.status_code == 200
    ack = read_reply(world, response)
    assert not isinstance(ack, ErrorInfo)
    return str(ack.message_id)


def ids(world: World) -> list[str]:
    return sorted(row["message_id"] for row in world.inbox())


def counted(world: World) -> dict[str, int]:
    with reading(world.engine) as connection:
        return {row.period: row.count for row in connection.execute(select(QUOTA).where(QUOTA.c.sender == CLINIC))}


# ---------------------------------------------------------------- quotas


def test_a_push_beyond_the_quota_is_no_acknowledged_one_and_is_taken_when_it_is_delivered_again(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(per_minute=1, per_day=10)
    first, second = (world.shep.push(asked(world, name)) for name in ("m1", "m2"))
    with listening(world, monkeypatch) as url:
        assert acknowledged(world, post(url, first)) == "m1"
        fault = fault_of(world, post(url, second))
        assert (fault.code, ids(world)) == (FaultCode.SERVICE_UNAVAILABLE, ["m1"])
        assert "ask again in the next minute" in fault.message
        assert [entry.message_id for entry in world.journal.list_entries(verdict="quota_used_up")] == ["m2"]
        world.clock.move(minutes=1)
        assert acknowledged(world, post(url, second)) == "m2"
    assert ids(world) == ["m1", "m2"]
    # what was refused was not counted
    assert counted(world)["day"] == 2
    assert world.work() == 2


def test_what_came_before_is_acknowledged_again_although_nothing_is_left_of_the_quota(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(per_day=1)
    message = asked(world, "m1")
    with listening(world, monkeypatch) as url:
        # each time under a signature of its own, as a gateway delivers again
        replies = [post(url, world.shep.push(message)) for _ in range(3)]
    assert [acknowledged(world, reply) for reply in replies] == ["m1"] * 3
    assert (ids(world), counted(world)) == (["m1"], {"day": 1})


def test_another_message_under_a_known_id_stays_an_incident_whatever_is_left(make: Callable[..., World]) -> None:
    world = make(per_day=1)
    world.push(asked(world, "m1"))
    world.push(asked(world, "m1", message_type=MessageType.UPDATE))
    assert [entry.message_id for entry in world.journal.list_entries(verdict="id_reused")] == ["m1"]


def test_the_quota_is_one_for_both_channels(make: Callable[..., World]) -> None:
    world = make(per_day=2)
    midnight = dt.datetime(2026, 5, 31, 19, tzinfo=dt.UTC)  # of Kazakhstan
    with writing(world.engine) as connection:
        # what POST /shep/sync answered
        quota.add(connection, {Counter(CLINIC, Period.DAY, midnight): 1})
    assert world.push(asked(world, "m1")).status == 200
    assert world.push(asked(world, "m2")).status == 500
    assert counted(world) == {"day": 2}


def test_a_sender_hears_nothing_of_the_quota_of_another(make: Callable[..., World]) -> None:
    world = make(per_day=1)
    for name in ("m1", "m2"):
        assert world.push(asked(world, name, sender=Sender("hospital", "p"))).status == 200
    assert (ids(world), counted(world)) == (["m1", "m2"], {})


def test_an_answer_that_we_asked_for_falls_under_no_quota(engine: Engine, keys: Keys, tmp_path: Path) -> None:
    quotas = Quotas(Limits(per_day=1))
    world = make_world(engine, keys, async_folder(tmp_path / "systems"), quotas=quotas)
    for number in range(3):
        world.side.road.ask(SYSTEM, PERSON)
        assert world.push(world.shep.answer(message_id=f"900000{number}")).status == 200
    world.work()
    assert {row.state for row in world.exchanges()} == {State.ANSWERED}


def test_the_log_is_told_once_before_a_caller_is_refused(make: Callable[..., World]) -> None:
    world = make(per_day=3)
    with capture_logs() as logs:
        for number in range(3):
            world.push(asked(world, f"m{number}"))
    told = [(line["sender"], line["period"], line["used"]) for line in logs if line["action"] == "nearly_used"]
    assert told == [(CLINIC, "day", 3)]


def test_what_cannot_be_stored_is_not_counted(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(per_day=1)

    def fail(*_: object) -> object:
        raise RuntimeError("between the count and the inbox")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.exchange.inbox.register_many", fail)
        assert world.push(asked(world, "m1")).status == 500
    assert counted(world) == {}
    assert world.push(asked(world, "m1")).status == 200


def test_the_gateway_brings_again_what_the_quota_refused_and_nothing_is_lost(
    make: Callable[..., World], keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(per_minute=1)
    simulator = make_simulator(
        people=2, seed=1, pki_dir=keys.pki.directory, async_policy=AsyncPolicy(push_intervals_s=(60, 60, 60))
    )
    dispatch = simulator.dispatch
    postman = Postman(dispatch, now=world.clock)
    question = etree.tostring(question_about_a_person()).decode()
    with contextlib.closing(postman._client), listening(world, monkeypatch) as url:
        dispatch.participants.put(Address(push_to=url))
        for _ in range(3):
            sent = {"service_id": consumer.SERVICE_ID, "data": question, "to": "fund-test", "from": CLINIC}
            dispatch.send(sent, now=world.clock())
        for _ in range(3):
            postman.deliver_due()
            world.clock.move(minutes=1)
    assert [(one["state"], one["outcomes"]) for one in dispatch.deliveries()] == [
        ("DELIVERED", ["fault SCE004"] * refused + ["acknowledged"]) for refused in range(3)
    ]
    assert len(world.inbox()) == 3
    assert world.work() == 3


# ---------------------------------------------------------------- what is in hand


def test_more_than_can_be_held_gets_a_fault_that_the_channel_knows_and_is_taken_when_it_comes_again(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    slow, other = (world.shep.push(asked(world, name)) for name in ("m1", "m2"))
    with listening(world, monkeypatch, max_requests_in_hand=1) as url, capture_logs() as logs:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 60) as connection:
            head = (
                f"POST {ASYNC_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(slow)}\r\nExpect: 100-continue\r\n\r\n"
            )
            connection.sendall(head.encode())
            # it is in hand when the server wants to have its body
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100")
            for _ in range(2):
                assert fault_of(world, post(url, other)).code == FaultCode.SERVICE_UNAVAILABLE
            connection.sendall(slow)
            assert b"200 OK" in connection.recv(1_000)
        assert ids(world) == ["m1"]
        # nothing of it was read, and so nothing of it is written
        assert [entry.message_id for entry in world.journal.list_entries(direction="in")] == ["m1"]
        assert acknowledged(world, post(url, other)) == "m2"
    assert ids(world) == ["m1", "m2"]
    turned_away = [line for line in logs if line["action"] == "turned_away"]
    assert [(line["flow"], line["in_hand"]) for line in turned_away] == [("in.push", 1)]


def test_more_bytes_than_can_be_held_are_not_read_to_their_end(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    padding = b"<!--" + b"x" * 300_000 + b"-->"
    with listening(world, monkeypatch, max_bytes_in_hand=100_000) as url:
        # streamed: what is refused is answered before all of it is there
        response = httpx.post(url, content=padding, trust_env=False, timeout=60)
        assert fault_of(world, response).code == FaultCode.SERVICE_UNAVAILABLE
        assert response.headers["connection"] == "close"
        assert world.journal.list_entries() == ()
        # and what was held is free again
        assert acknowledged(world, post(url, world.shep.push(asked(world, "m1")))) == "m1"
