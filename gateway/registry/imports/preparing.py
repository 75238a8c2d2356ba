"""A file of any format as sorted lines of one layout, and back from a line to its number in the file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.registry.imports.checks import Refusal
from gateway.registry.imports.feeds import RecordKind
from gateway.registry.imports.formats import records_of
from gateway.registry.imports.lines import LAYOUTS
from gateway.registry.imports.sorting import sort_lines

_READ_BYTES: Final = 1 << 20
_BATCH_BYTES: Final = 16 << 20
_BATCH_LINES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Source:
    """Our own copy of a file, so that what is read twice is the same twice."""

    file: Path
    digest: str
    #: it is in the layout already, byte for byte; only its order is not known
    plain: bool
    #: bytes that end a line
    line_ends: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The header of the layout and sorted lines; what is no record at all stands beside it."""

    file: Path
    digest: str
    #: all records, those beside it too
    records: int
    unreadable: tuple[tuple[int, Refusal], ...] = ()
    #: lines that do not begin as a record does
    strays: frozenset[bytes] = frozenset()


def take_copy(path: Path, target: Path, kind: RecordKind, done: Callable[[int], None]) -> Source:
    """Copy, digest and look through a file in one reading. `done` is told the bytes so far."""
    header = LAYOUTS[kind].header
    digest = hashlib.blake2b(digest_size=32)
    plain, line_ends, size, chunk = True, 0, 0, b""
    with path.open("rb") as source, target.open("wb") as copy:
        while more := source.read(_READ_BYTES):
            chunk = more
            if size == 0:
                plain = chunk.startswith(header)
            # what a line of the layout has only where quotes are needed, or never
            plain = plain and not (b'"' in chunk or b"\r" in chunk or b"\x00" in chunk)
            line_ends += chunk.count(b"\n")
            digest.update(chunk)
            copy.write(chunk)
            size += len(chunk)
            done(size)
    return Source(target, digest.hexdigest(), plain and chunk.endswith(b"\n"), line_ends)


def digest_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def as_it_is(source: Source) -> Prepared:
    """A plain source, hoped to be sorted."""
    return Prepared(source.file, source.digest, source.line_ends - 1)


def sort(source: Source, kind: RecordKind, work: Path) -> Prepared:
    """Sorted lines of any source. Raises MalformedMessage when the file as a whole cannot be read."""
    unreadable: list[tuple[int, Refusal]] = []
    records = 0

    def batches() -> Iterator[list[bytes]]:
        nonlocal records
        if source.plain:
            for batch in _plain_batches(source.file):
                records += len(batch)
                yield batch
            return
        batch = []
        for number, line in records_of(source.file, kind):
            records += 1
            if isinstance(line, Refusal):
                unreadable.append((number, line))
            else:
                batch.append(line)
            if len(batch) >= _BATCH_LINES:
                yield batch
                batch = []
        yield batch

    target = work / "sorted"
    strays = frozenset(sort_lines(batches(), LAYOUTS[kind].header, work / "buckets", target))
    return Prepared(target, digest_of(target), records, tuple(unreadable), strays)


def numbers_of(source: Source, kind: RecordKind, lines: Set[bytes]) -> Iterator[tuple[int, bytes]]:
    """Where these lines stand in the file; each place of a line that stands there more than once."""
    if not lines:
        return
    if not source.plain:
        for number, line in records_of(source.file, kind):
            if line in lines and isinstance(line, bytes):
                yield number, line
        return
    first = 2  # the header is line 1
    for batch in _plain_batches(source.file):
        if not lines.isdisjoint(batch):
            for number, line in enumerate(batch, first):
                if line in lines:
                    yield number, line
        first += len(batch)


def _plain_batches(file: Path) -> Iterator[list[bytes]]:
    with file.open("rb") as content:
        content.readline()
        rest = b""
        while chunk := content.read(_BATCH_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield lines
