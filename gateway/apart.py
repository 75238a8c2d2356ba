"""A message whose one long text lies in a file: how a file of hundreds of megabytes is sent, read, signed and checked.

The contract of the temporary storage puts a file into the Body as base64 (SHEP.md 4), and the Body is what is signed.
No tree can hold that, and none has to: canonicalisation leaves a text of letters, digits and `+ / =` as it is, so the
canonical Body is that of the short message, which has a mark in the place of the text, with the text put back. What is
parsed, read and journalled is the short message; the text is streamed past it and digested with it.

Why the place cannot be forged: the text reaches from a `>` to a `<` and has neither `<` nor `&`, so in the message as
it came it is character data exactly where the mark is character data of the short message. A mark that the short
message then has in its canonical Body once, as the whole text of an element, stands for that element's text.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import MalformedMessage

#: read and written at once; a multiple of 3 and of 4, so that every piece is base64 of its own
PIECE_BYTES: Final = 12 * 8_192
#: a text that is longer is kept apart when a message is read
SHORTEST_APART_BYTES: Final = 1_500_000

_MARK: Final = re.compile(rb"apart:sha256=([0-9a-f]{64});bytes=([1-9][0-9]{0,14})")
#: base64, and the white space that may stand in it
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n"


@dataclass(frozen=True, slots=True)
class TextApart:
    """The text, and what stands for it."""

    #: of the text as it is on the wire, lower-case hexadecimal
    sha256: str
    size_bytes: int
    #: the text as it is on the wire, from its beginning at every call
    pieces: Callable[[], Iterator[bytes]] = field(repr=False)

    @property
    def mark(self) -> str:
        """What the short message has in its place; it is what the journal says about the text."""
        return f"apart:sha256={self.sha256};bytes={self.size_bytes}"

    def beside(self, short: bytes) -> tuple[bytes, bytes]:
        """What stands before and after the text. Raises MalformedMessage (`mark`) unless the mark is there once."""
        before, found, after = short.partition(self.mark.encode())
        if not found or self.mark.encode() in after:
            raise MalformedMessage("the place of the long text in the message is not clear", code="mark")
        return before, after

    def whole(self, short: bytes) -> Iterator[bytes]:
        """The message as it is on the wire. Raises as `beside`, before the first piece."""
        before, after = self.beside(short)
        return _joined(before, self.pieces(), after)

    def canonical(self, short: bytes) -> Iterator[bytes]:
        """The same of canonical bytes: a line ends as the parser of the other side leaves it (XML 1.0, 2.11)."""
        before, after = self.beside(short)
        return _joined(before, _with_line_feeds(self.pieces()), after)

    def size_with(self, short: bytes) -> int:
        """Size of the message on the wire."""
        return len(short) - len(self.mark) + self.size_bytes


def _joined(before: bytes, pieces: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    yield before
    yield from pieces
    yield after


def _with_line_feeds(pieces: Iterable[bytes]) -> Iterator[bytes]:
    ended = False
    for piece in pieces:
        if ended and piece.startswith(b"\n"):
            piece = piece[1:]  # noqa: PLW2901 - its carriage return was written as a line feed
        ended = piece.endswith(b"\r") if piece else ended
        yield piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in piece else piece


def mark_in(short: bytes) -> tuple[str, int] | None:
    """SHA-256 and size of the text that is kept apart from a message of the journal; None: it is whole."""
    found = _MARK.search(short)
    return None if found is None else (found[1].decode(), int(found[2]))


class Spool:
    """A file without a name that ends with this object: on disk, seen by nobody, read by any number of threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises OSError."""
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".spool-")
        os.unlink(name)
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._closing = weakref.finalize(self, os.close, descriptor)

    def write(self, data: bytes) -> None:
        """Raises OSError (the disk is full)."""
        self._digest.update(data)
        self._size_bytes += len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def text(self) -> TextApart:
        """What was written. The spool stays open as long as it."""
        return TextApart(self._digest.hexdigest(), self._size_bytes, self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        at = 0
        while piece := os.pread(self._descriptor, PIECE_BYTES, at):
            yield piece
            at += len(piece)

    def close(self) -> None:
        self._closing()


class Parting:
    """Takes a message as it comes in pieces, and keeps a long text apart while it does.

    A message without one stays whole, byte for byte. At most one text is kept apart.
    """

    def __init__(self, spool: Callable[[], Spool], *, max_message_bytes: int, max_text_bytes: int) -> None:
        """`max_message_bytes` bounds everything but the text."""
        self._spool = spool
        self._max_message_bytes = max_message_bytes
        self._max_text_bytes = max_text_bytes
        self._before = bytearray()
        self._after = bytearray()
        self._kept: Spool | None = None
        self._kept_bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Raises MalformedMessage (`too_large`, `file_too_large`, `bad_content`) and OSError."""
        if self._kept is None:
            self._before += data
            start = self._before.rfind(b">") + 1
            if len(self._before) - start < SHORTEST_APART_BYTES or not _is_text(self._before[start:]):
                self._check_size()
                return
            self._kept = self._spool()
            data = bytes(self._before[start:])
            del self._before[start:]
        if self._ended:
            self._after += data
        else:
            text, end, rest = data.partition(b"<")
            self._keep(self._kept, text)
            if end:
                self._ended = True
                self._after += end + rest
        self._check_size()

    def ended(self) -> tuple[bytes, TextApart | None]:
        """The message, or the short message and the text. Raises MalformedMessage (`mark`)."""
        if self._kept is None:
            return bytes(self._before), None
        text = self._kept.text()
        short = bytes(self._before) + text.mark.encode() + bytes(self._after)
        text.beside(short)
        return short, text

    def _keep(self, spool: Spool, text: bytes) -> None:
        if not _is_text(text):
            raise MalformedMessage("a long text of the message is not base64", code="bad_content")
        self._kept_bytes += len(text)
        if self._kept_bytes > self._max_text_bytes:
            raise MalformedMessage(
                f"the file in the message has more than {self._max_text_bytes} bytes as base64", code="file_too_large"
            )
        spool.write(text)

    def _check_size(self) -> None:
        if len(self._before) + len(self._after) > self._max_message_bytes:
            raise MalformedMessage(
                f"the message has more than {self._max_message_bytes} bytes beside its file", code="too_large"
            )


def _is_text(data: bytes | bytearray) -> bool:
    return not data.translate(None, _LETTERS)
