"""POST /shep/async as a foreign client meets it: our ?wsdl, zeep's own messages and zeep's own signature."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import xmlsec
import zeep
from lxml import etree
from sqlalchemy import Engine
from starlette.applications import Starlette
from zeep.wsse.signature import Signature

from gateway.daemon.async_endpoint import ASYNC_PATH, async_routes
from gateway.database import engine_for, upgrade
from gateway.exchange.outbox import State
from gateway.settings import ServerSettings
from gateway.trust import throwaway_pki
from tests.exchange.asynchronous.world import SYSTEM, World, async_folder, make_world
from tests.exchange.world import NOW, PERSON, Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(throwaway_pki.init(tmp_path_factory.mktemp("pki") / "pki", now=NOW))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    engine = engine_for(f"sqlite:///{tmp_path / 'store.sqlite'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def world(store: Engine, keys: Keys, tmp_path: Path) -> World:
    world = make_world(store, keys, async_folder(tmp_path / "systems"))
    world.side.road.ask(SYSTEM, PERSON)
    return world


class Served:
    """The endpoint in this process, request by request."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def _ask(self, method: str, url: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
                return await client.request(method, url, **request)

        return asyncio.run(ask())

    def get(self, url: str) -> httpx.Response:
        return self._ask("GET", url)

    def post(self, url: str, **request: Any) -> httpx.Response:
        return self._ask("POST", url, **request)


def client(world: World, monkeypatch: pytest.MonkeyPatch, **server: Any) -> Served:
    monkeypatch.setattr("gateway.daemon.async_endpoint.now", world.clock)
    settings = SimpleNamespace(server=ServerSettings(**server))
    gateway: Any = SimpleNamespace(loaded=SimpleNamespace(settings=settings), asynchronous=world.side)
    return Served(Starlette(routes=async_routes(gateway)))


class Signs:
    """zeep's own WS-Security: one key to sign, another certificate to check."""

    def __init__(self, keys: Keys) -> None:
        sha256 = {
            "signature_method": xmlsec.constants.TransformRsaSha256,
            "digest_method": xmlsec.constants.TransformSha256,
        }
        pki = keys.pki
        self._theirs = Signature(str(pki.key("shep")), str(pki.certificate("shep")), **sha256)
        self._ours = Signature(str(pki.key("gateway")), str(pki.certificate("gateway")), **sha256)

    def apply(self, envelope: etree._Element, headers: dict[str, str]) -> Any:
        return self._theirs.apply(envelope, headers)

    def verify(self, envelope: etree._Element) -> etree._Element:
        return self._ours.verify(envelope)


class ThroughTheApp(zeep.Transport):
    def __init__(self, app: Served) -> None:
        super().__init__()
        self._app = app

    def load(self, url: str) -> bytes:
        reply = self._app.get(url)
        assert reply.status_code == 200
        return reply.content

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> Any:
        reply = self._app.post(address, content=message, headers=headers)
        return SimpleNamespace(
            status_code=reply.status_code, content=reply.content, headers=reply.headers, encoding="utf-8"
        )


def test_a_foreign_client_needs_nothing_but_our_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = client(world, monkeypatch)
    foreign = zeep.Client(f"http://testserver{ASYNC_PATH}?wsdl", transport=ThroughTheApp(app), wsse=Signs(world.keys))
    assert sorted(next(iter(foreign.wsdl.services.values())).ports["AsyncChannelClientHttpPort"].binding.all()) == [
        "changeMassageStatusNotification",
        "sendMessage",
    ]
    session = "{3c59dc04-8e88-4502-ab1f-0000000000cc}"
    reply = foreign.service.changeMassageStatusNotification(
        request={
            "notification": {
                "notificationId": "n1",
                "messageId": "7000001",
                "notificationDate": NOW,
                "messageState": "NOT_DELIVERED",
                "status": {"statusCode": "S", "statusMessage": "not now", "statusDate": NOW},
            },
            "requestDate": NOW,
            "sessionId": session,
        }
    )
    assert reply["sessionId"] == session
    assert world.exchange().state is State.UNKNOWN


def test_a_push_over_http_is_acknowledged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = client(world, monkeypatch).post(ASYNC_PATH, content=world.shep.push(world.shep.answer()))
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/xml")
    world.work()
    assert world.exchange().state is State.ANSWERED


def test_a_push_over_the_bound_is_refused_and_the_connection_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = client(world, monkeypatch, max_request_bytes=1_000).post(ASYNC_PATH, content=b"x" * 1_001)
    assert (reply.status_code, reply.headers["connection"]) == (500, "close")
    assert world.journal.list_entries(verdict="too_large")


def test_more_than_may_be_in_hand_is_turned_away_unread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = client(world, monkeypatch, max_bytes_in_hand=2_000_000, max_request_bytes=2_000_000)
    reply = app.post(ASYNC_PATH, content=b"x" * 2_000_001)
    assert (reply.status_code, reply.headers["connection"]) == (500, "close")
    assert b"SCE004" in reply.content
    assert world.inbox() == []


def test_a_get_without_wsdl_says_what_the_address_is_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client(world, monkeypatch).get(ASYNC_PATH).status_code == 405


def test_the_address_in_the_contract_is_the_public_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = client(world, monkeypatch, public_url="https://fund.example")
    assert b'location="https://fund.example/shep/async"' in app.get(f"{ASYNC_PATH}?wsdl").content
