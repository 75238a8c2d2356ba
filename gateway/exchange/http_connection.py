"""One HTTP/1.1 connection of ours: the bytes of a request go out, and one whole reply comes back or what cut it.

RFC 9112 section 6.3 says where a reply ends. A connection on which anything is not as it should be is never used for
a second request: the rest of one reply would be read as the next one.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.errors import OutcomeUnknown
from gateway.exchange.transport import Reply

#: of a reply, between two pieces of its body: its head with interim replies, what stands around chunks, trailers
MAX_FRAMING_BYTES: Final = 102_400
#: RFC 9110 sections 15.3.5 and 15.4.5
_WITHOUT_BODY: Final = frozenset({204, 304})

Done = Callable[[Reply | OutcomeUnknown], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom a connection leads to."""

    tls: bool
    host: str
    port: int


class Connection(asyncio.Protocol):
    """A connection and the reply that is awaited on it. It belongs to the thread of its event loop."""

    def __init__(self, origin: Origin, opened: set[Connection]) -> None:
        """`opened` holds it from when it is open until it is closed."""
        self.origin = origin
        self._opened = opened
        self._done: Done | None = None
        self._outcome: Reply | OutcomeUnknown | None = None

    def ask(self, request: bytes, max_reply_bytes: int, done: Done) -> None:
        """Send a request, once. `done` is told what came of it, once; nothing is raised later."""
        self._done = done
        self._outcome = None
        self._max_reply_bytes = max_reply_bytes
        self._content_types: list[bytes] = []
        self._body = bytearray()
        self._framing_bytes = 0
        self._has_head = False
        self._ends_by_closing = True
        self._transport.write(request)

    def is_open(self) -> bool:
        """Whether nothing is known that speaks against a request."""
        return self._is_clean and not self._transport.is_closing()

    def is_fit_for_another(self) -> bool:
        """Whether the last reply ended where it should, and the other side has neither closed since nor said more.

        Asks the socket itself, which may know what the loop was not told yet.
        """
        return self._done is None and self.is_open() and not self._arrived.poll(0)

    def end(self, outcome: OutcomeUnknown) -> None:
        """Close at once; what is awaited becomes `outcome`."""
        self.abort()
        self._settle(outcome)
        self._tell()

    def abort(self) -> None:
        """Close at once, without the goodbye of TLS: it would have to be waited for."""
        self._is_clean = False
        self._transport.abort()

    # ------------------------------------------------------------ what the loop says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._is_clean = True
        self._parser = HttpResponseParser(self)
        self._arrived = select.poll()
        self._arrived.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.abort()  # nobody asked
            return
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._is_clean = False
            self._settle(_cut(type(error).__name__))
        if self._framing_bytes > MAX_FRAMING_BYTES:
            self._settle(_cut("too much around its body"))
        self._tell()

    def eof_received(self) -> None:
        if self._done is not None:
            if self._has_head and self._ends_by_closing:
                self._complete()
            self._settle(_cut("closed by the other side"))
        self.abort()
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_clean = False
        self._opened.discard(self)
        self._settle(_cut("closed" if exc is None else type(exc).__name__))
        self._tell()

    # ------------------------------------------------------------ what the parser says

    def on_message_begin(self) -> None:
        if self._outcome is not None:
            # bytes after the reply: nobody knows whose they are (an empty line alone begins nothing)
            self._is_clean = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        match name.lower():
            case b"content-type":
                self._content_types.append(value)
            case b"content-length":
                self._ends_by_closing = False
            case b"transfer-encoding":
                self._ends_by_closing = False
                if value.lower() != b"chunked":  # RFC 9112 section 6.1: no other was asked for
                    self._settle(_cut("a transfer coding nobody asked for"))

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._version = self._parser.get_http_version()
        if self._version not in ("1.0", "1.1"):
            self._settle(_cut("another version of HTTP"))
        if self._parser.get_status_code() in _WITHOUT_BODY:
            self._ends_by_closing = False

    def on_body(self, part: bytes) -> None:
        self._framing_bytes = 0
        self._body += part
        if len(self._body) > self._max_reply_bytes:
            self._settle(
                OutcomeUnknown(
                    f"sent, and the reply is larger than {self._max_reply_bytes} bytes; nothing of it was read",
                    code="reply_too_large",
                )
            )

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            # RFC 9110 section 15.2: an interim reply; the one that counts is still to come
            self._content_types.clear()
            self._has_head, self._ends_by_closing = False, True
            return
        if (
            not self._parser.should_keep_alive()
            or self._version != "1.1"
            or self._transport.get_write_buffer_size()  # it has answered and not heard all
        ):
            self._is_clean = False
        self._complete()

    # ------------------------------------------------------------ the outcome

    def _complete(self) -> None:
        content_type = b", ".join(self._content_types).decode("latin-1")
        self._settle(Reply(self._parser.get_status_code(), content_type, bytes(self._body)))

    def _settle(self, outcome: Reply | OutcomeUnknown) -> None:
        """The first outcome counts."""
        if self._outcome is None:
            self._outcome = outcome
            self._is_clean = self._is_clean and isinstance(outcome, Reply)

    def _tell(self) -> None:
        """Not from within the parser: what follows the reply has a say in whether the connection is used again."""
        if self._done is not None and self._outcome is not None:
            done, self._done = self._done, None
            done(self._outcome)


def _cut(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"sent, and the connection broke before the reply was complete ({why}); it is not sent again",
        code="reply_cut",
    )
