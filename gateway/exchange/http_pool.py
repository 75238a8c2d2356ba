"""Connections that are kept: which one carries the next request, when one is opened, and how many there may be."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from functools import partial
from typing import Final

from gateway.exchange.http_connection import Connection, Origin

#: how long a connection that nobody uses is kept
IDLE_S: Final = 30.0


class Pool:
    """The connections of one event loop; belongs to its thread. Each carries one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext, *, max_connections: int) -> None:
        self._loop = loop
        self._tls = tls
        self._max_connections = max_connections
        #: how many are taken or being opened
        self._taken = 0
        #: who waits until one is given back, in their order; the place goes from hand to hand
        self._waiting: deque[asyncio.Future[None]] = deque()
        #: who stands last was used last
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        #: all that are not closed
        self.opened: set[Connection] = set()

    def take_kept(self, origin: Origin) -> Connection | None:
        """One that is open and may be used at once, if there is one."""
        if self._taken >= self._max_connections:
            return None
        connection = self._fit(origin)
        if connection is not None:
            self._taken += 1
        return connection

    async def take(self, origin: Origin, timeout_s: float) -> Connection:
        """One that is kept or a new one; `timeout_s` limits each of: waiting for a free one, TCP, TLS.

        Raises OSError, of which TimeoutError, ssl.SSLError and the failures of names are kinds.
        """
        await self._wait_for_place(timeout_s)
        try:
            return self._fit(origin) or await self._open(origin, timeout_s)
        except BaseException:
            self._release_place()
            raise

    def give_back(self, connection: Connection) -> None:
        """It is kept when another request may follow on it, and closed otherwise."""
        if connection.is_fit_for_another():
            self._idle[connection] = self._loop.call_later(IDLE_S, self._drop, connection)
        else:
            connection.abort()
        self._release_place()

    def _fit(self, origin: Origin) -> Connection | None:
        while (found := next((one for one in reversed(self._idle) if one.origin == origin), None)) is not None:
            if found.is_fit_for_another():
                self._idle.pop(found).cancel()
                return found
            self._drop(found)
        return None

    def _drop(self, connection: Connection) -> None:
        self._idle.pop(connection).cancel()
        connection.abort()

    async def _wait_for_place(self, timeout_s: float) -> None:
        if self._taken < self._max_connections:
            self._taken += 1
            return
        place: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(timeout_s):
                await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._release_place()  # it came in the same moment
            raise

    def _release_place(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._taken -= 1

    async def _open(self, origin: Origin, timeout_s: float) -> Connection:
        if self._idle and self._taken + len(self._idle) > self._max_connections:
            self._drop(next(iter(self._idle)))  # of another origin
        connected = await self._connect(origin, self._loop.time() + timeout_s)
        async with asyncio.timeout(timeout_s):
            _, connection = await self._loop.create_connection(
                lambda: Connection(origin, self.opened),
                sock=connected,
                ssl=self._tls if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        if not connection.is_open():
            raise ConnectionResetError
        return connection

    async def _connect(self, origin: Origin, ends_at: float) -> socket.socket:
        """A dead address of several takes its share of the time, not all of it."""
        async with asyncio.timeout_at(ends_at):
            # not the loop's own, for whose end its close() would wait
            resolve = partial(socket.getaddrinfo, origin.host, origin.port, type=socket.SOCK_STREAM)
            found = await self._loop.run_in_executor(None, resolve)
        failure: OSError = ConnectionError("the name has no address")
        for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
            now = self._loop.time()
            connecting = socket.socket(family, kind, protocol)
            connecting.setblocking(False)
            try:
                async with asyncio.timeout_at(now + (ends_at - now) / left):
                    await self._loop.sock_connect(connecting, address)
            except OSError as error:
                connecting.close()
                failure = error
            except BaseException:
                connecting.close()
                raise
            else:
                return connecting
        raise failure
