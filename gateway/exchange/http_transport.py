"""Steps 9 and 10 over HTTP/1.1: many messages at the same time on connections that are kept, each with its deadlines.

The bytes are handled in an event loop in a thread of its own. A group of messages costs one hand-over to it.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, unquote, urlsplit

import uvloop

from gateway.errors import ConfigurationError, OutcomeUnknown, PeerUnavailable
from gateway.exchange.http_connection import Connection, Origin
from gateway.exchange.http_pool import Pool
from gateway.exchange.transport import Outcome, Post, Reply

#: SHEP.md 1.6: text/xml and the empty SOAPAction are the norm. No content coding: the bytes that are journalled
#: and verified are the bytes on the wire, and no small body can unpack into a large one.
_HEADERS: Final = (
    'Content-Type: text/xml; charset=utf-8\r\nSOAPAction: ""\r\nAccept: text/xml\r\nAccept-Encoding: identity\r\n'
    "User-Agent: shep-gateway\r\n"
)

_STOPPED: Final = "this program stopped before anything was sent; it is safe to ask again"


@dataclass(frozen=True, slots=True)
class _Address:
    """An address of the configuration, read."""

    origin: Origin
    #: of a request, as far as the length of its content
    head: bytes = field(repr=False)


#: told once what became of one message; an Exception that is no Outcome is a mistake of this program
Settle = Callable[[Outcome | Exception], None]


@dataclass(frozen=True, slots=True)
class _Message:
    """What goes out, and whereto."""

    origin: Origin
    request: bytes = field(repr=False)
    post: Post


class _Group:
    """Messages that are on their way together; whoever sent them waits until each has its outcome."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._outcomes: dict[int, Outcome | Exception] = {}
        self._complete = threading.Lock()
        self._complete.acquire()

    def settle(self, number: int, outcome: Outcome | Exception) -> None:
        """For the thread of the loop; once for each."""
        self._outcomes[number] = outcome
        if len(self._outcomes) == self._size:
            self._complete.release()

    def wait(self) -> tuple[Outcome, ...]:
        """The outcomes, in the order of the messages. Raises what is none: a mistake of this program."""
        self._complete.acquire()
        outcomes = []
        for number in range(self._size):
            outcome = self._outcomes[number]
            if not isinstance(outcome, Reply | PeerUnavailable | OutcomeUnknown):
                raise outcome
            outcomes.append(outcome)
        return tuple(outcomes)


class HttpTransport:
    """The Transport of the program: redirects and proxies of the environment are not followed, TLS is verified.

    A deadline ends an exchange wherever it is: a sender that drips one byte a second, in the headers even, would hold
    a worker for ever. One instance serves any number of threads of the process that made it. Close it (or use it as a
    context manager).
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, max_connections: int = 100) -> None:
        tls = tls if tls is not None else ssl.create_default_context()
        tls.set_alpn_protocols(["http/1.1"])
        self._loop = uvloop.new_event_loop()
        self._pool = Pool(self._loop, tls, max_connections=max_connections)
        self._connecting: set[asyncio.Task[Connection]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="transport", daemon=True)
        self._thread.start()
        self._submitting = threading.Lock()
        self._closing = False

    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        """See Transport. `connect_timeout_s` limits each of: waiting for a free connection, TCP, TLS;
        `reply_timeout_s` is the whole time from the first byte sent to the last one received."""
        (outcome,) = self.post_many((Post(url, content, connect_timeout_s, reply_timeout_s, max_reply_bytes),))
        if isinstance(outcome, Reply):
            return outcome
        raise outcome

    def post_many(self, posts: Sequence[Post]) -> tuple[Outcome, ...]:
        """See Transport. The limits of each are those of `post`: of more messages than there may be connections
        the later ones wait for the earlier ones, `connect_timeout_s` at most."""
        if not posts:
            return ()
        messages = [_message(post) for post in posts]
        group = _Group(len(posts))
        with self._submitting:
            if self._closing:
                why = "this program is stopping; nothing was sent, ask again after its start"
                return tuple(PeerUnavailable(why) for _ in posts)
            self._loop.call_soon_threadsafe(self._begin, messages, group)
        return group.wait()

    def close(self) -> None:
        """End every exchange that is under way, the connections and the loop. Calling it twice does nothing more.

        Whoever waits gets OutcomeUnknown (`cut_off`) or PeerUnavailable, as far as the exchange had come.
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

    # ------------------------------------------------------------ in the loop

    def _begin(self, messages: list[_Message], group: _Group) -> None:
        for number, message in enumerate(messages):
            settle = partial(group.settle, number)
            connection = self._pool.take_kept(message.origin)
            if connection is not None:
                self._send(connection, message, settle)
            else:
                connecting = self._loop.create_task(self._pool.take(message.origin, message.post.connect_timeout_s))
                self._connecting.add(connecting)
                connecting.add_done_callback(partial(self._connected, message, settle))

    def _connected(self, message: _Message, settle: Settle, connecting: asyncio.Task[Connection]) -> None:
        self._connecting.discard(connecting)
        try:
            connection = connecting.result()
        except asyncio.CancelledError:
            settle(PeerUnavailable(_STOPPED))
        except OSError as error:
            why = type(error).__name__  # the text of a network library may hold the address with its credentials
            settle(
                PeerUnavailable(f"no connection to the other side ({why}); nothing was sent, it is safe to ask again")
            )
        except Exception as error:
            settle(error)
        else:
            self._send(connection, message, settle)

    def _send(self, connection: Connection, message: _Message, settle: Settle) -> None:
        def done(outcome: Reply | OutcomeUnknown) -> None:
            deadline.cancel()
            self._pool.give_back(connection)
            settle(outcome)

        if self._closing:  # it was made in the same moment
            self._pool.give_back(connection)
            settle(PeerUnavailable(_STOPPED))
            return
        timeout_s = message.post.reply_timeout_s
        deadline = self._loop.call_later(timeout_s, _end_late, connection, timeout_s)
        connection.ask(message.request, message.post.max_reply_bytes, done)

    async def _end(self) -> None:
        while self._connecting or self._pool.opened:
            for connecting in self._connecting:
                connecting.cancel()
            for connection in tuple(self._pool.opened):
                connection.end(
                    OutcomeUnknown(
                        "sent, and this program stopped before the reply was complete; it is not sent again",
                        code="cut_off",
                    )
                )
            await asyncio.sleep(0)


def _end_late(connection: Connection, reply_timeout_s: float) -> None:
    connection.end(
        OutcomeUnknown(
            f"sent, and no complete reply within {reply_timeout_s:g} s; it is not sent again", code="reply_timeout"
        )
    )


def _message(post: Post) -> _Message:
    """Raises ConfigurationError."""
    address = _address(post.url)
    return _Message(address.origin, b"%b%d\r\n\r\n%b" % (address.head, len(post.content), post.content), post)


@lru_cache(maxsize=64)
def _address(url: str) -> _Address:
    """An address of the configuration, read. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        tls = {"http": False, "https": True}[parts.scheme]
        port = (443 if tls else 80) if parts.port is None else parts.port
        if not host or " " in parts.netloc or not url.isprintable():
            raise ValueError
    except (ValueError, KeyError):
        raise ConfigurationError("this is not an http or https address", key="shep.sync_url") from None
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else ""
    )
    named = (f"[{host}]" if ":" in host else host) + ("" if parts.port is None else f":{port}")
    head = f"POST {target} HTTP/1.1\r\nHost: {named}\r\n{_HEADERS}"
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        head += f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    return _Address(Origin(tls, host, port), f"{head}Content-Length: ".encode("ascii"))
