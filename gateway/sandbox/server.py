"""The sandbox on a socket: a Starlette application, run until stopped or for the length of a `with`."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from gateway.apart import Parting, Spool, TextApart
from gateway.errors import MalformedMessage, OperatorError
from gateway.listening import bind
from gateway.sandbox import judge_endpoints
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_endpoints import read_at_most, routes
from gateway.sandbox.dispatch import DEFAULT_POLICY, AsyncPolicy, Dispatch
from gateway.sandbox.misbehaviour import Order, Orders, read_order
from gateway.sandbox.participants import Participant, Participants
from gateway.sandbox.population import Population
from gateway.sandbox.postman import Postman
from gateway.sandbox.received import ReceivedLog
from gateway.sandbox.simulator import XML, Reply, SimulatedGateway
from gateway.shep.contract import ASYNC_CHANNEL, SYNC_CHANNEL, served_wsdl
from gateway.systems.finding import find_systems
from gateway.xml import XmlBounds

SYNC_PATH: Final = "/bip-sync-wss/"
ASYNC_PATH: Final = "/bip-async/"
DEFAULT_PEOPLE: Final = 1_000
DEFAULT_SEED: Final = 1
#: of a message; a large file in one is kept apart from it
BOUNDS: Final = XmlBounds(max_bytes=12_000_000)
#: of such a file as base64
_MAX_TEXT_BYTES: Final = 1_400_000_000
_MAX_ORDER_BYTES: Final = 10_000
_CHUNK_BYTES: Final = 65_536
#: how often a dripping answer sends its next bytes
_DRIPS_PER_S: Final = 10
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
    push_to: str = "",
    async_policy: AsyncPolicy = DEFAULT_POLICY,
) -> SimulatedGateway:
    """The sandbox with every built system and those of `systems_paths`.

    `push_to` is where messages for participants go who have not
    said otherwise; "" keeps them for getMessages. Raises KeyMaterialError, SystemFolderError, ConfigurationError.
    """
    return SimulatedGateway(
        population=Population(people, seed),
        systems=find_systems([resources.mappers_path(), *systems_paths]),
        pki_dir=pki_dir,
        orders=Orders(misbehaviours),
        participants=Participants([Participant(push_to=push_to)] if push_to else ()),
        async_policy=async_policy,
        bounds=BOUNDS,
    )


def make_app(simulator: SimulatedGateway, *, now: Clock) -> Starlette:
    """The HTTP face. `now` is asked once for each request."""

    def channel(
        answer: Callable[..., Reply], too_large: Callable[..., Reply]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                data = await read_at_most(request, simulator.bounds.max_bytes)
            except ClientDisconnect:
                return Response(status_code=400)
            if data is None:
                return _ReplyResponse(too_large(now=now()))
            # signing takes a millisecond of processor time: not in the event loop
            return _ReplyResponse(await anyio.to_thread.run_sync(lambda: answer(data, now=now())))

        return endpoint

    def wsdl(contract: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if "wsdl" not in request.query_params:
                return _json({"error": {"code": "method", "message": "POST a signed message here, or GET ?wsdl"}}, 405)
            return Response(served_wsdl(str(request.url.replace(query="")), contract), media_type=XML)

        return endpoint

    async def sync_channel(request: Request) -> Response:
        # the one channel on which a message may hold a large file: such a file goes to the disk as it comes
        parting = Parting(Spool, max_message_bytes=simulator.bounds.max_bytes, max_text_bytes=_MAX_TEXT_BYTES)
        try:
            async for chunk in request.stream():
                parting.feed(chunk)
            data, apart = parting.ended()
        except ClientDisconnect:
            return Response(status_code=400)
        except MalformedMessage:
            return _ReplyResponse(simulator.refuse_too_large(now=now()))
        # looked up at each request: a test may put another in its place
        ask = simulator.answer
        given = {} if apart is None else {"apart": apart}
        return _ReplyResponse(await anyio.to_thread.run_sync(lambda: ask(data, now=now(), **given)))

    asynchronous = simulator.asynchronous
    async_channel = channel(asynchronous.answer, asynchronous.refuse_too_large)

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
            Route(SYNC_PATH, wsdl(SYNC_CHANNEL), methods=["GET"]),
            Route(ASYNC_PATH, async_channel, methods=["POST"]),
            Route(ASYNC_PATH.rstrip("/"), async_channel, methods=["POST"]),
            Route(ASYNC_PATH, wsdl(ASYNC_CHANNEL), methods=["GET"]),
            Route("/", describe, methods=["GET"]),
            Route("/sandbox/misbehave", place, methods=["POST"]),
            Route("/sandbox/misbehave", waiting, methods=["GET"]),
            Route("/sandbox/misbehave", clear, methods=["DELETE"]),
            *judge_endpoints.routes(simulator, now=now),
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
        if reply.apart is not None:
            self.headers["content-length"] = str(reply.apart.size_with(reply.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        if self._reply.delay_s:
            with anyio.move_on_after(self._reply.delay_s):
                await receive()  # nothing more comes but the end of the connection
                return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._reply.apart is not None:
            await self._send_streamed(self._reply.apart, send)
            return
        body = self._reply.body
        end = len(body) if self._reply.cut_after_bytes is None else self._reply.cut_after_bytes
        rate = self._reply.bytes_per_second
        step = max(rate // _DRIPS_PER_S, 1) if rate else _CHUNK_BYTES
        for start in range(0, end, step):
            chunk = body[start : min(start + step, end)]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if rate:
                with anyio.move_on_after(len(chunk) / rate):
                    await receive()
                    return
        if self._reply.cut_after_bytes is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        # otherwise the server sees an answer without an end and closes the connection in its middle

    async def _send_streamed(self, apart: TextApart, send: Send) -> None:
        left = self._reply.cut_after_bytes
        for piece in apart.whole(self._reply.body):
            await send({"type": "http.response.body", "body": piece[:left], "more_body": True})
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


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
    with bound, Postman(simulator.dispatch, now=now).running():
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
    def async_url(self) -> str:
        """Where the asynchronous channel's operations go."""
        return f"{self.url}{ASYNC_PATH}"

    @property
    def dispatch(self) -> Dispatch:
        return self.simulator.dispatch

    @property
    def received(self) -> ReceivedLog:
        return self.simulator.received

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
    simulator: SimulatedGateway, *, now: Clock, host: str = "127.0.0.1", port: int = 0, delivers: bool = True
) -> Iterator[RunningSandbox]:
    """Run a sandbox in a thread; it listens when the block begins and is gone when it ends.

    With `delivers` false nothing is pushed: a test does so with a `Postman` of its own, when it wants to.
    """
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
        postman = Postman(simulator.dispatch, now=now).running() if delivers else contextlib.nullcontext()
        try:
            with postman:
                yield RunningSandbox(url, simulator)
        finally:
            server.should_exit = True
            thread.join()
