"""Step 9: bytes to the other side and bytes back, and an honest account of what is known when that fails.

The question that every failure has to answer is whether the request may have arrived. Only what happened before
the first byte of the request was written is PeerUnavailable; everything later is OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import httpx

from gateway.errors import ConfigurationError, OutcomeUnknown, PeerUnavailable

if TYPE_CHECKING:
    import httpcore  # httpx's own transport; named for one annotation

#: SHEP.md 1.6: text/xml and the empty SOAPAction are the norm. No content coding: the bytes that are journalled
#: and verified are the bytes on the wire, and no small body can unpack into a large one.
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": '""',
    "Accept": "text/xml",
    "Accept-Encoding": "identity",
    "User-Agent": "shep-gateway",
}
#: httpcore says so just before the first byte of a request goes into the socket
_SENDING_STARTS: Final = "http11.send_request_headers.started"
#: and so when there is a connection, TLS not yet begun
_CONNECTED: Final = "connection.connect_tcp.complete"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, unread. `body` is exact."""

    status: int
    content_type: str
    body: bytes


class Transport(Protocol):
    """The port behind which HTTP is."""

    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        """Send once. Raises PeerUnavailable (surely nothing was sent), OutcomeUnknown (anything later)."""
        ...


class HttpxTransport:
    """HTTP/1.1 over httpx: redirects and proxies of the environment are not followed, TLS is verified.

    httpx limits each read, not the whole: a sender that drips one byte a second, in the headers even, would hold
    a worker for ever. So the exchange runs in an event loop of its own, where a deadline ends it wherever it is.
    One instance serves any number of threads. Close it (or use it as a context manager).
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, max_connections: int = 100) -> None:
        self._tls = tls if tls is not None else ssl.create_default_context()
        self._limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=30.0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="transport", daemon=True)
        self._thread.start()
        self._client = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        self._submitting = threading.Lock()
        self._closing = False

    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        """See Transport. `connect_timeout_s` limits each of: waiting for a free connection, TCP, TLS;
        `reply_timeout_s` is the whole time from the first byte sent to the last one received."""
        with self._submitting:
            if self._closing:
                raise PeerUnavailable("this program is stopping; nothing was sent, ask again after its start")
            exchange = asyncio.run_coroutine_threadsafe(
                self._post(url, content, connect_timeout_s, reply_timeout_s, max_reply_bytes), self._loop
            )
        return exchange.result()

    def close(self) -> None:
        """End every exchange that is under way, the connections and the loop. Calling it twice does nothing more.

        Whoever waits in `post` gets OutcomeUnknown (`cut_off`) or PeerUnavailable, as far as the exchange had come.
        """
        with self._submitting:
            if self._closing:
                return
            self._closing = True
            ended = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _end(self) -> None:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for exchange in under_way:
            exchange.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._client.aclose()

    async def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, limits=self._limits)

    async def _post(
        self, url: str, content: bytes, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        sending = False
        connection: httpcore.AsyncNetworkStream | None = None
        try:
            async with asyncio.timeout(None) as deadline:

                async def watch(event: str, about: Mapping[str, Any]) -> None:
                    nonlocal sending, connection
                    if event == _CONNECTED:
                        connection = about["return_value"]
                    elif event == _SENDING_STARTS:
                        sending = True
                        deadline.reschedule(asyncio.get_running_loop().time() + reply_timeout_s)

                request = self._client.build_request(
                    "POST",
                    url,
                    content=content,
                    headers=_HEADERS,
                    # until the request goes out httpx's own limits end it: they close what is half open
                    timeout=httpx.Timeout(None, connect=connect_timeout_s, pool=connect_timeout_s),
                    extensions={"trace": watch},
                )
                response = await self._client.send(request, stream=True)
                try:
                    body = await _read(response, max_reply_bytes)
                finally:
                    await response.aclose()
                return Reply(response.status_code, response.headers.get("Content-Type", ""), body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ConfigurationError("this is not an http or https address", key="shep.sync_url") from None
        except asyncio.CancelledError:  # by close()
            if not sending:
                if connection is not None:
                    await connection.aclose()  # a TLS handshake that is broken off leaves it open
                raise PeerUnavailable(
                    "this program stopped before anything was sent; it is safe to ask again"
                ) from None
            raise OutcomeUnknown(
                "sent, and this program stopped before the reply was complete; it is not sent again", code="cut_off"
            ) from None
        except (TimeoutError, httpx.HTTPError) as error:
            if not sending:
                raise PeerUnavailable(
                    f"no connection to the other side ({_named(error)}); nothing was sent, it is safe to ask again"
                ) from None
            if isinstance(error, TimeoutError):
                raise OutcomeUnknown(
                    f"sent, and no complete reply within {reply_timeout_s:g} s; it is not sent again",
                    code="reply_timeout",
                ) from None
            raise OutcomeUnknown(
                f"sent, and the connection broke before the reply was complete ({_named(error)}); it is not sent again",
                code="reply_cut",
            ) from None


async def _read(response: httpx.Response, max_reply_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_reply_bytes:
            raise OutcomeUnknown(
                f"sent, and the reply is larger than {max_reply_bytes} bytes; nothing of it was read",
                code="reply_too_large",
            )
    return bytes(body)


def _named(error: Exception) -> str:
    """The kind of failure; the text of a network library may hold the address with its credentials."""
    return type(error).__name__
