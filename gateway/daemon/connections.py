"""Connections within bounds: how many there are, and how long one request may take to arrive.

uvicorn closes connections that are idle between two requests; a client that sends its request a byte at a time, or
opens a connection and says nothing, is ours to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LOG = structlog.get_logger()


class BoundedConnection(HttpToolsProtocol):
    """One HTTP connection, which knows since when it waits for a whole request."""

    max_connections: ClassVar[int] = 1_024

    @classmethod
    def limited_to(cls, max_connections: int) -> type[BoundedConnection]:
        """The class for a server that keeps at most so many connections."""
        return type("BoundedConnection", (cls,), {"max_connections": max_connections})

    #: of the loop's clock; None while no request is being received
    receiving_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.receiving_since_s = self.loop.time()
        if len(self.connections) > self.max_connections:
            _LOG.warning("server", action="connection_refused", connections=len(self.connections))
            transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.receiving_since_s = self.loop.time()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.receiving_since_s = None


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
