"""A sorted list against the one before it: what is in one and not in the other. No database, two processes.

Unchanged stretches are found by comparing bytes, a stretch at a time, so that a night costs what changed and the
reading of two files. Lines are looked at one by one only around a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from gateway.registry.imports.lines import MAX_LINE_BYTES, key_of

#: held of each file at a time
_WINDOW_BYTES: Final = 4 << 20
#: a line and its neighbours on both sides must lie in the window
_MARGIN_BYTES: Final = 4 * MAX_LINE_BYTES
_FIRST_STRETCH_BYTES: Final = 4_096
_LONGEST_STRETCH_BYTES: Final = 1 << 18


class NotSorted(Exception):
    """The file is not in the order of its bytes: it has to be sorted first."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes [`first`, `end`) of a file: whole lines."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Appeared:
    """A line of the new file that the old one does not have, with its neighbours in the new file (empty: none)."""

    line: bytes
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A line of the old file that the new one does not have, and whether the new one speaks of its record."""

    line: bytes
    record_is_listed: bool


class _Window:
    """A moving view of a stretch of a file. `at` is where the next line begins; it never leaves [first, end]."""

    def __init__(self, file: BinaryIO, stretch: Stretch) -> None:
        self._file = file
        self._end = stretch.end
        #: place in the file of the first byte that is held
        self._base = max(0, stretch.first - _MARGIN_BYTES)
        self.held = b""
        self.at = stretch.first - self._base
        self._fill(self._base)

    @property
    def place(self) -> int:
        return self._base + self.at

    @property
    def left(self) -> int:
        """Bytes of the stretch that are held and not read."""
        return min(len(self.held), self._end - self._base) - self.at

    @property
    def done(self) -> bool:
        return self.place >= self._end

    @property
    def is_last(self) -> bool:
        """Nothing of the file is left."""
        return self.at >= len(self.held)

    def settle(self) -> None:
        """See that a line, its neighbours and a long stretch are held."""
        if not self._to_the_end and len(self.held) - self.at < _LONGEST_STRETCH_BYTES + _MARGIN_BYTES:
            self._fill(max(0, self.place - _MARGIN_BYTES))

    def line(self) -> bytes:
        end = self.held.find(b"\n", self.at)
        if end < 0 or end - self.at > MAX_LINE_BYTES:
            raise NotSorted  # a line that no record has: the reader of formats will refuse it by its number
        return self.held[self.at : end]

    def before(self) -> bytes:
        if self.at == 0:
            return b""
        return self.held[self.held.rfind(b"\n", 0, self.at - 1) + 1 : self.at - 1]

    def after(self, line: bytes) -> bytes:
        """The first line behind `line`, which is the current one, that differs from it."""
        start = self.at
        while self.held.startswith(line + b"\n", start):
            start += len(line) + 1
            if start + MAX_LINE_BYTES > len(self.held):
                break
        end = self.held.find(b"\n", start)
        return self.held[start:end] if end >= 0 else b""

    def pass_over(self, length: int) -> None:
        self.at += length

    def _fill(self, base: int) -> None:
        place = self.place
        self._file.seek(base)
        # beyond the end of the stretch too: the neighbour of its last line is there
        self.held = self._file.read(_WINDOW_BYTES)
        self._to_the_end = len(self.held) < _WINDOW_BYTES
        self._base, self.at = base, place - base


def differences(
    new: BinaryIO, new_stretch: Stretch, old: BinaryIO, old_stretch: Stretch, *, header_bytes: int, key_columns: int
) -> Iterator[Appeared | Gone]:
    """What differs between two stretches of sorted lines. Raises NotSorted when the new one is not sorted.

    The old one is trusted to be: it is the file that an earlier run found sorted, by its digest.
    """
    ours, theirs = _Window(new, new_stretch), _Window(old, old_stretch)
    size = _FIRST_STRETCH_BYTES
    while not (ours.done or theirs.done):
        ours.settle()
        theirs.settle()
        same, size = _equal_bytes(ours, theirs, size)
        if same:
            ours.pass_over(same)
            theirs.pass_over(same)
            continue
        a, b = ours.line(), theirs.line()
        if a == b:
            ours.pass_over(len(a) + 1)
            theirs.pass_over(len(b) + 1)
        elif a < b:
            yield from _appeared(ours, a, header_bytes)
        else:
            yield Gone(b, _is_listed(b, ours, a, header_bytes, key_columns))
            theirs.pass_over(len(b) + 1)
    while not ours.done:
        ours.settle()
        yield from _appeared(ours, ours.line(), header_bytes)
    while not theirs.done:
        theirs.settle()
        b = theirs.line()
        ours.settle()
        yield Gone(b, _is_listed(b, ours, b"", header_bytes, key_columns))
        theirs.pass_over(len(b) + 1)
    ours.settle()
    if ours.place > header_bytes and not ours.is_last and ours.line() < ours.before():
        raise NotSorted  # across the end of the stretch


def _equal_bytes(ours: _Window, theirs: _Window, size: int) -> tuple[int, int]:
    """How many bytes of whole lines are the same from here on, and how many to try the next time."""
    size = min(size, ours.left, theirs.left)
    if ours.held.startswith(theirs.held[theirs.at : theirs.at + size], ours.at):
        end = ours.held.rfind(b"\n", ours.at, ours.at + size) + 1
        return max(0, end - ours.at), min(size * 2, _LONGEST_STRETCH_BYTES)
    # the first difference lies in [low, size): halve it
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        if ours.held.startswith(theirs.held[theirs.at + low : theirs.at + middle], ours.at + low):
            low = middle
        else:
            high = middle
    end = ours.held.rfind(b"\n", ours.at, ours.at + low) + 1
    return max(0, end - ours.at), _FIRST_STRETCH_BYTES


def _appeared(ours: _Window, line: bytes, header_bytes: int) -> Iterator[Appeared]:
    before = ours.before() if ours.place > header_bytes else b""
    if line < before:
        raise NotSorted
    # of lines that are the same only the first is one
    if line != before or ours.place == header_bytes:
        yield Appeared(line, before, ours.after(line))
    ours.pass_over(len(line) + 1)


def _is_listed(line: bytes, ours: _Window, current: bytes, header_bytes: int, key_columns: int) -> bool:
    key = key_of(line, key_columns)
    before = ours.before() if ours.place > header_bytes else b""
    return any(key_of(other, key_columns) == key for other in (current, before) if other)


# ---------------------------------------------------------------- places in a sorted file


def line_start(file: BinaryIO, place: int, size: int) -> int:
    """The first place from `place` on where a line begins; `size` when there is none."""
    if place <= 0:
        return 0
    file.seek(place - 1)
    while chunk := file.read(MAX_LINE_BYTES):
        found = chunk.find(b"\n")
        if found >= 0:
            return min(size, file.tell() - len(chunk) + found + 1)
    return size


def first_at_least(file: BinaryIO, wanted: bytes, stretch: Stretch) -> int:
    """Where the first line that is not less than `wanted` begins in a stretch of sorted lines; its end if none is."""
    low, high = stretch.first, stretch.end
    while low < high:
        middle = line_start(file, (low + high) // 2, stretch.end)
        if middle >= high:
            # one line, perhaps two, is left: walk
            file.seek(low)
            while low < high:
                line = file.readline(MAX_LINE_BYTES + 1)
                if line.rstrip(b"\n") >= wanted:
                    return low
                low += len(line)
            return low
        file.seek(middle)
        line = file.readline(MAX_LINE_BYTES + 1)
        if line.rstrip(b"\n") < wanted:
            low = middle + len(line)
        else:
            high = middle
    return low
