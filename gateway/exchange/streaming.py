"""Step 9 for a message that is not in memory: written to the socket in pieces, its reply handed on in pieces.

The rules are those of gateway.exchange.transport: one POST, redirects and proxies of the environment are not followed,
TLS is verified, and what happens after the first byte of the request is OutcomeUnknown. A connection serves one call:
these are few and long.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from gateway.apart import PIECE_BYTES
from gateway.errors import ConfigurationError, OutcomeUnknown, PeerUnavailable

_HEADERS: Final = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": '""',
    "Accept": "text/xml",
    "Accept-Encoding": "identity",
    "User-Agent": "shep-gateway",
}
_NOT_AN_ADDRESS: Final = "this is not an http or https address"


class StreamingTransport(Protocol):
    """The port behind which HTTP with long bodies is."""

    def post(
        self,
        url: str,
        pieces: Iterable[bytes],
        size_bytes: int,
        take: Callable[[bytes], None],
        *,
        connect_timeout_s: float,
        transfer_timeout_s: float,
    ) -> int:
        """Send once; the reply goes to `take` as it comes. The HTTP status.

        Raises PeerUnavailable (surely nothing was sent), OutcomeUnknown (anything later), ConfigurationError (`url`),
        and whatever `pieces` and `take` raise, which ends the exchange.
        """
        ...


class HttpStreaming:
    """HTTP/1.1 over http.client. Safe to use from several threads.

    `transfer_timeout_s` is the whole time from the first byte sent to the last one received: a peer that drips is cut
    off by a watch that closes the socket, wherever the exchange is.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls if tls is not None else ssl.create_default_context()

    def post(
        self,
        url: str,
        pieces: Iterable[bytes],
        size_bytes: int,
        take: Callable[[bytes], None],
        *,
        connect_timeout_s: float,
        transfer_timeout_s: float,
    ) -> int:
        """See StreamingTransport. `connect_timeout_s` limits each of TCP and TLS."""
        address, port = _address(url)
        connection = self._connection(address, port, connect_timeout_s)
        try:
            try:
                connection.connect()
            except (OSError, UnicodeError) as error:
                raise PeerUnavailable(
                    f"no connection to the other side ({type(error).__name__}); nothing was sent, it is safe to ask"
                    " again"
                ) from None
            with _watched(connection.sock, transfer_timeout_s) as watch:
                return _exchange(connection, address, pieces, size_bytes, take, watch, transfer_timeout_s)
        finally:
            connection.close()

    def _connection(self, address: SplitResult, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
        host = address.hostname or ""
        if address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


def _exchange(
    connection: http.client.HTTPConnection,
    address: SplitResult,
    pieces: Iterable[bytes],
    size_bytes: int,
    take: Callable[[bytes], None],
    watch: _Watch,
    transfer_timeout_s: float,
) -> int:
    from_us = iter(pieces)
    with _unknown_when_cut(watch, transfer_timeout_s):
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.putrequest("POST", target, skip_accept_encoding=True)
        for name, value in (_HEADERS | _login(address)).items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(size_bytes))
        connection.endheaders()
    while True:
        piece = next(from_us, None)  # what it raises is no fault of the connection
        if piece is None:
            break
        with _unknown_when_cut(watch, transfer_timeout_s):
            connection.send(piece)
    with _unknown_when_cut(watch, transfer_timeout_s):
        response = connection.getresponse()
    while True:
        with _unknown_when_cut(watch, transfer_timeout_s):
            came = response.read(PIECE_BYTES)
            if not came and response.length:  # http.client does not tell a body that ends before its length
                raise http.client.IncompleteRead(b"", response.length)
        if not came:
            return response.status
        take(came)


def _address(url: str) -> tuple[SplitResult, int | None]:
    try:
        address = urlsplit(url)
        if address.scheme in ("http", "https") and address.hostname:
            return address, address.port
    except ValueError:
        pass
    raise ConfigurationError(_NOT_AN_ADDRESS, key="shep.sync_url")


def _login(address: SplitResult) -> dict[str, str]:
    if address.username is None:
        return {}
    login = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


class _Watch:
    """Ends an exchange at its deadline, and says that it did."""

    def __init__(self, watched: socket.socket, deadline_s: float) -> None:
        self._socket = watched
        self.ended = False
        self._timer = threading.Timer(deadline_s, self._end)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.ended = True
        try:
            # of a TLS connection too: the file below it ends, and whoever waits for it wakes
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it is over already


@contextmanager
def _watched(connected: socket.socket, deadline_s: float) -> Iterator[_Watch]:
    connected.settimeout(deadline_s)
    watch = _Watch(connected, deadline_s)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@contextmanager
def _unknown_when_cut(watch: _Watch, transfer_timeout_s: float) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if watch.ended or isinstance(error, TimeoutError):
            raise OutcomeUnknown(
                f"sent, and no complete reply within {transfer_timeout_s:g} s; it is not sent again",
                code="reply_timeout",
            ) from None
        raise OutcomeUnknown(
            "sent, and the connection broke before the reply was complete"
            f" ({type(error).__name__}); it is not sent again",
            code="reply_cut",
        ) from None
