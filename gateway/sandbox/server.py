"""The sandbox on a socket: a Starlette application, run until stopped or for the length of a `with`."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import resources
from gateway.errors import OperatorError
from gateway.listening import bind
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_endpoints import read_at_most, routes
from gateway.sandbox.misbehaviour import Order, Orders, read_order
from gateway.sandbox.population import Population
from gateway.sandbox.simulator import XML, Reply, SimulatedGateway
from gateway.shep.contract import served_wsdl
from gateway.systems import find_systems

SYNC_PATH: Final = "/bip-sync-wss/"
DEFAULT_PEOPLE: Final = 1_000
DEFAULT_SEED: Final = 1
_MAX_ORDER_BYTES: Final = 10_000
_CHUNK_BYTES: Final = 65_536
#: a slow answer still waiting does not hold up the end of the process
_DRAIN_S: Final = 1

Clock = Callable[[], dt.datetime]


def make_simulator(
    *,
    people: int,
    seed: int,
    pki_dir: Path,
    systems_paths: Sequence[Path] = (),
    misbehaviours: Sequence[Order] = (),
) -> SimulatedGateway:
    """The sandbox with every built system and those of `systems_paths`.

    Raises KeyMaterialError, SystemFolderError, ConfigurationError.
    """
    return SimulatedGateway(
        population=Population(people, seed),
        systems=find_systems([resources.mappers_path(), *systems_paths]),
        pki_dir=pki_dir,
        orders=Orders(misbehaviours),
    )


def make_app(simulator: SimulatedGateway, *, now: Clock) -> Starlette:
    """The HTTP face. `now` is asked once for each request."""

    async def sync_channel(request: Request) -> Response:
        try:
            data = await read_at_most(request, simulator.bounds.max_bytes)
        except ClientDisconnect:
            return Response(status_code=400)
        if data is None:
            return _ReplyResponse(simulator.refuse_too_large(now=now()))
        # signing takes a millisecond of processor time: not in the event loop
        return _ReplyResponse(await anyio.to_thread.run_sync(lambda: simulator.answer(data, now=now())))

    async def wsdl(request: Request) -> Response:
        if "wsdl" not in request.query_params:
            return _json({"error": {"code": "method", "message": "POST a signed message here, or GET ?wsdl"}}, 405)
        return Response(served_wsdl(str(request.url.replace(query=""))), media_type=XML)

    async def describe(_: Request) -> Response:
        return _json(simulator.describe())

    async def waiting(_: Request) -> Response:
        return _json([order.as_dict() for order in simulator.orders.waiting()])

    async def place(request: Request) -> Response:
        try:
            data = await read_at_most(request, _MAX_ORDER_BYTES)
            order = read_order(json.loads(data or b"null"), sorted(simulator.systems))
        except ClientDisconnect:
            return Response(status_code=400)
        except (ValueError, RecursionError):
            return _json({"error": {"code": "bad_order", "message": "the order is not JSON"}}, 400)
        except OperatorError as error:
            return _json({"error": {"code": error.code, "message": error.message}}, 400)
        simulator.orders.place(order)
        return _json(order.as_dict(), 201)

    async def clear(_: Request) -> Response:
        simulator.orders.clear()
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route(SYNC_PATH, sync_channel, methods=["POST"]),
            Route(SYNC_PATH.rstrip("/"), sync_channel, methods=["POST"]),
            Route(SYNC_PATH, wsdl, methods=["GET"]),
            Route("/", describe, methods=["GET"]),
            Route("/sandbox/misbehave", place, methods=["POST"]),
            Route("/sandbox/misbehave", waiting, methods=["GET"]),
            Route("/sandbox/misbehave", clear, methods=["DELETE"]),
            *routes(simulator.authority, now=now),
        ]
    )


def _json(document: object, status: int = 200) -> JSONResponse:
    return JSONResponse(document, status_code=status)


class _ReplyResponse(Response):
    """Sends a Reply in chunks, late or only in part where it says so."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body, reply.http_status, media_type=reply.content_type)
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        if self._reply.delay_s:
            with anyio.move_on_after(self._reply.delay_s):
                await receive()  # nothing more comes but the end of the connection
                return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = self._reply.body
        end = len(body) if self._reply.cut_after_bytes is None else self._reply.cut_after_bytes
        for start in range(0, end, _CHUNK_BYTES):
            chunk = body[start : min(start + _CHUNK_BYTES, end)]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._reply.cut_after_bytes is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        # otherwise the server sees an answer without an end and closes the connection in its middle


# ---------------------------------------------------------------- running


class _Server(uvicorn.Server):
    """Tells when it listens, or that it never will."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        # an answer cut short on purpose is no error worth a line
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=30,
        lifespan="off",
    )


def serve(
    host: str,
    port: int,
    simulator: SimulatedGateway,
    *,
    now: Clock,
    on_listening: Callable[[str], None],
) -> None:
    """Run until SIGINT or SIGTERM. Port 0 takes a free one; `on_listening` gets the address, as http://host:port."""
    bound, url = bind(host, port, setting="--port")
    with bound:
        _Server(_config(make_app(simulator, now=now)), lambda: on_listening(url)).run(sockets=[bound])


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox in a thread of this process."""

    url: str
    simulator: SimulatedGateway

    @property
    def sync_url(self) -> str:
        """Where signed requests go: the setting shep.sync_url."""
        return f"{self.url}{SYNC_PATH}"

    @property
    def population(self) -> Population:
        return self.simulator.population

    @property
    def orders(self) -> Orders:
        return self.simulator.orders

    @property
    def authority(self) -> Authority:
        return self.simulator.authority


@contextlib.contextmanager
def running_sandbox(
    simulator: SimulatedGateway, *, now: Clock, host: str = "127.0.0.1", port: int = 0
) -> Iterator[RunningSandbox]:
    """Run a sandbox in a thread; it listens when the block begins and is gone when it ends."""
    bound, url = bind(host, port, setting="--port")
    listening = threading.Event()
    server = _Server(_config(make_app(simulator, now=now)), listening.set)

    def run() -> None:
        try:
            server.run(sockets=[bound])
        finally:
            listening.set()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    with bound:
        thread.start()
        listening.wait()
        if not server.started:
            thread.join()
            raise OperatorError("the sandbox did not start; run `gateway sandbox` to see why", code="sandbox")
        try:
            yield RunningSandbox(url, simulator)
        finally:
            server.should_exit = True
            thread.join()
