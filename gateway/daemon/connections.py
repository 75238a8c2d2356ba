"""Connections within bounds: how many there are, and how long one request may take to arrive.

uvicorn closes connections that are idle between two requests; a client that sends its request a byte at a time, or
opens a connection and says nothing, is ours to end.

Small requests to the path that carries the load are taken in here and answered by one write, without a task, a scope
and events of their own: half of what HTTP costs. All others go uvicorn's way, and so does whatever is out of the
ordinary: no length, an expectation, no room, a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Protocol

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.exchange.serve import ServedReply
from gateway.telemetry import step

_LOG = structlog.get_logger()

_STATUS_LINES: Final = {200: b"HTTP/1.1 200 OK\r\n", 500: b"HTTP/1.1 500 Internal Server Error\r\n"}
#: for a defect of ours: nothing signed can be said then
_BROKEN: Final = ServedReply(500, b"", "")


class SmallRequests(Protocol):
    """Who answers POSTs of one path whose length is known and small."""

    path: str

    def admit(self, length: int) -> bool:
        """Whether a request of that length may come; it holds its place until `leave`."""
        ...

    def leave(self, length: int) -> None:
        """It was answered, or its sender is gone."""
        ...

    def take(self, data: bytes, peer: str, done: Callable[[ServedReply | None], None]) -> None:
        """Answer; `done` is called in the event loop, with None when something broke here."""
        ...


class BoundedConnection(HttpToolsProtocol):
    """One HTTP connection, which knows since when it waits for a whole request."""

    max_connections: ClassVar[int] = 1_024
    small: ClassVar[SmallRequests | None] = None

    @classmethod
    def limited_to(cls, max_connections: int, small: SmallRequests | None = None) -> type[BoundedConnection]:
        """The class for a server that keeps at most so many connections; `small` answers small requests."""
        return type("BoundedConnection", (cls,), {"max_connections": max_connections, "small": small})

    #: of the loop's clock; None while no request is being received
    receiving_since_s: float | None = None
    #: a small request that is being received or answered, and its length
    _held: tuple[RequestResponseCycle, int] | None = None
    #: a small request that is whole and being answered
    _taken: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.receiving_since_s = self.loop.time()
        if len(self.connections) > self.max_connections:
            _LOG.warning("server", action="connection_refused", connections=len(self.connections))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._held is not None and not self._taken:
            # cut in the middle: nobody is left to answer, and nothing of it was read
            cycle, _ = self._held
            _LOG.warning("exchange", action="request_cut", received_bytes=len(cycle.body))
            self._let_go()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.receiving_since_s = self.loop.time()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.receiving_since_s = None
        if self._held is not None and self._held[0] is self.cycle:
            self._take(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # called when a request's head is there, or, for one that came before its time, when its turn has come
        length = self._length_of_small(cycle)
        if self.small is None or length is None or not self.small.admit(length):
            super()._start_asgi_task(cycle, app)
            return
        self._held = cycle, length
        if not cycle.more_body:
            self._take(cycle)

    def _length_of_small(self, cycle: RequestResponseCycle) -> int | None:
        """The length of a request that is answered here; None for all others."""
        scope = cycle.scope
        if (
            self.small is None
            or scope["path"] != self.small.path
            or scope["method"] != "POST"
            or cycle.waiting_for_100_continue
            or self.flow.write_paused
            or self._held is not None
        ):
            return None
        length = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = int(value)  # the parser let nothing but digits through
            elif name in (b"transfer-encoding", b"upgrade"):
                return None
        return length

    def _take(self, cycle: RequestResponseCycle) -> None:
        if self.small is None or self._taken:  # pragma: no cover - only with one who answers, and once
            return
        self._taken = True
        peer = "" if self.client is None else self.client[0]
        self.small.take(bytes(cycle.body), peer, lambda reply: self._answer(cycle, reply))

    def _answer(self, cycle: RequestResponseCycle, reply: ServedReply | None) -> None:
        self._let_go()
        if cycle.disconnected or self.transport.is_closing():
            return
        if reply is None:
            reply, cycle.keep_alive = _BROKEN, False
        head = [_STATUS_LINES[reply.status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"content-type: text/xml; charset=utf-8\r\ncontent-length: %d\r\n" % len(reply.body))
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        head.append(reply.body)
        cycle.response_started = cycle.response_complete = True
        with step(9, "in.sync"):
            self.transport.write(b"".join(head))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _let_go(self) -> None:
        if self._held is not None and self.small is not None:
            _, length = self._held
            self._held, self._taken = None, False
            self.small.leave(length)


def close_slow(connections: Iterable[Any], timeout_s: float) -> int:
    """Close those that have waited longer for a whole request; how many there were."""
    slow = []
    for connection in connections:
        since_s = getattr(connection, "receiving_since_s", None)
        if since_s is not None and connection.loop.time() - since_s > timeout_s:
            slow.append(connection)
    for connection in slow:
        _LOG.warning("server", action="too_slow")
        connection.transport.close()
    return len(slow)
