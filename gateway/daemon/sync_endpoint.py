"""POST /shep/sync: from the socket to `gateway.exchange.serve` and back, within bounds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import anyio.to_thread
import structlog
from starlette.types import Receive, Scope, Send

from gateway.daemon.assembly import Gateway, now
from gateway.daemon.groups import Groups
from gateway.exchange.admission import Admission
from gateway.exchange.refusals import failure_of
from gateway.exchange.serve import Opened, ServedReply
from gateway.telemetry import step

SYNC_PATH: Final = "/shep/sync"
#: verified with its group; what is larger would keep everybody else waiting, and goes to a thread of its own
_INLINE_BYTES: Final = 64_000
#: how often the log says that requests are turned away
_TOLD_EVERY_S: Final = 1.0
_LOG: Final = structlog.get_logger()


class _Received(NamedTuple):
    """A request nobody has looked into yet."""

    data: bytes
    received_at: dt.datetime
    peer: str


class SyncEndpoint:
    """An ASGI application for the one path that carries the load: nothing stands between it and the server."""

    def __init__(self, gateway: Gateway) -> None:
        options = gateway.loaded.settings.server
        self._server = gateway.server
        self._max_bytes = options.max_request_bytes
        # who fetches evidence may wait for somebody else's server: not together with others
        self._inline_bytes = 0 if gateway.trust.refresh is not None else _INLINE_BYTES
        self.admission = Admission(max_requests=options.max_requests_in_hand, max_bytes=options.max_bytes_in_hand)
        self._groups: Groups[Opened | _Received, ServedReply] = Groups(self._answer)
        self._told_at_s = 0.0
        self.path = SYNC_PATH

    def close(self) -> None:
        """When no request is in hand any more."""
        self._groups.close()

    # ------------------------------------------------------------ gateway.daemon.connections.SmallRequests

    def admit(self, length: int) -> bool:
        """Whether a request of that length is small, and there is room for it. It is let in by that."""
        if length > min(self._inline_bytes, self._max_bytes):
            return False
        if not self.admission.has_room(length):
            return False  # the ordinary way counts it, and says so
        return self.admission.enter() and self.admission.take(length)

    def leave(self, length: int) -> None:
        """See gateway.daemon.connections.SmallRequests."""
        self.admission.leave(length)

    def take(self, data: bytes, peer: str, done: Callable[[ServedReply | None], None]) -> None:
        """See gateway.daemon.connections.SmallRequests."""

        def told(result: ServedReply | Exception) -> None:
            if isinstance(result, Exception):
                _LOG.error("exchange", action="unanswered", code=failure_of(result))
                done(None)
            else:
                done(result)

        self._groups.put(_Received(data, now(), peer), told)

    def _answer(self, items: Sequence[Opened | _Received]) -> Sequence[ServedReply]:
        server = self._server
        return server.answer_many(
            [
                item
                if isinstance(item, Opened)
                else server.open(item.data, received_at=item.received_at, peer=item.peer)
                for item in items
            ]
        )

    # ------------------------------------------------------------ the ordinary way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.admission.enter():
            await self._turn_away(send)
            return
        held = [0]
        try:
            await self._exchange(scope, receive, send, held)
        finally:
            self.admission.leave(held[0])

    async def _exchange(self, scope: Scope, receive: Receive, send: Send, held: list[int]) -> None:
        received_at = now()
        client = scope.get("client")
        peer = client[0] if client else ""
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                # cut in the middle: nobody is left to answer, and nothing of it was read
                _LOG.warning("exchange", action="request_cut", received_bytes=held[0])
                return
            chunk: bytes = message.get("body", b"")
            if not self.admission.take(len(chunk)):
                await self._turn_away(send, close=True)
                return
            held[0] += len(chunk)
            if held[0] > self._max_bytes:
                opened = self._server.too_large(held[0], received_at=received_at, peer=peer)
                # the rest is not read: the connection cannot be used again
                await _send(send, await self._groups.result_of(opened), close=True)
                return
            chunks.append(chunk)
            if not message.get("more_body", False):
                break
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        item: Opened | _Received = _Received(data, received_at, peer)
        if len(data) > self._inline_bytes:
            item = await anyio.to_thread.run_sync(lambda: self._server.open(data, received_at=received_at, peer=peer))
        await _send(send, await self._groups.result_of(item))

    async def _turn_away(self, send: Send, *, close: bool = False) -> None:
        at = now()
        if at.timestamp() - self._told_at_s >= _TOLD_EVERY_S:
            self._told_at_s = at.timestamp()
            _LOG.warning(
                "exchange",
                action="turned_away",
                in_hand=self.admission.requests,
                in_hand_bytes=self.admission.bytes,
                turned_away=self.admission.turned_away,
            )
        await _send(send, self._server.overloaded(at=at), close=close)


async def _send(send: Send, reply: ServedReply, *, close: bool = False) -> None:
    headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", b"%d" % len(reply.body))]
    if close:
        headers.append((b"connection", b"close"))
    with step(9, "in.sync"):
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
