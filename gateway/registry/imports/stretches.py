"""What one process does of an import: a stretch of the sorted file compared, checked, and written as rows to stage."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from gateway.registry.imports.checks import Checker, Refusal
from gateway.registry.imports.compare import Appeared, Gone, Stretch, differences, first_at_least
from gateway.registry.imports.feeds import ListFeed, RecordKind, Scope
from gateway.registry.imports.lines import LAYOUTS, MAX_LINE_BYTES, fields_of, key_of
from gateway.regulation.law import Law

#: more than that and the file is not what it was taken for: nothing of it is applied
MAX_REFUSED_LINES: Final = 100_000
_FLUSH_ROWS: Final = 5_000

REPEATED: Final = Refusal("repeated_record", "the file speaks of this record more than once, and differently")


@dataclass(frozen=True, slots=True)
class Task:
    """One stretch of the new list, the same stretch of the one before it (None: there is none)."""

    feed: ListFeed
    scope: Scope
    new: Path
    new_stretch: Stretch
    old: Path | None
    old_stretch: Stretch
    #: lines refused the last time: they are looked at again although they did not change; sorted
    again: tuple[bytes, ...]
    rows: Path


@dataclass(slots=True)
class Outcome:
    absent: int = 0
    #: line → why it is refused
    refused: dict[bytes, tuple[Refusal, ...]] = field(default_factory=dict)


class TooManyRefused(Exception):
    """More lines are refused than a file with a few mistakes has."""


def examine(task: Task, law: Law) -> Outcome:
    """Write the rows of what differs to `task.rows`, in PostgreSQL's text format. Raises NotSorted, TooManyRefused."""
    outcome = Outcome()
    key_columns = LAYOUTS[task.feed.kind].key
    checker = Checker(task.feed, task.scope, law)
    with task.rows.open("wb") as rows:
        waiting: list[bytes] = []
        for change in _changes(task):
            if isinstance(change, Gone):
                outcome.absent += not change.record_is_listed and _is_open(change.line, task.feed)
                continue
            neighbours = [
                other
                for other in (change.before, change.after)
                if other != change.line and _same_record(other, change.line, key_columns)
            ]
            if neighbours:
                outcome.refused |= dict.fromkeys([change.line, *neighbours], (REPEATED,))
            else:
                row = checker.row(change.line)
                if isinstance(row, tuple):
                    outcome.refused[change.line] = row
                else:
                    waiting.append(row)
            if len(outcome.refused) > MAX_REFUSED_LINES:
                raise TooManyRefused
            if len(waiting) >= _FLUSH_ROWS:
                rows.writelines(waiting)
                waiting.clear()
        rows.writelines(waiting)
    return outcome


def _same_record(one: bytes, other: bytes, key_columns: int) -> bool:
    # mostly another person's: seen without taking the lines apart
    person = one[: one.find(b",") + 1]
    return bool(person) and other.startswith(person) and key_of(one, key_columns) == key_of(other, key_columns)


def _changes(task: Task) -> Iterator[Appeared | Gone]:
    layout = LAYOUTS[task.feed.kind]
    with task.new.open("rb") as new:
        if task.old is None:
            yield from differences(
                new,
                task.new_stretch,
                new,
                Stretch(task.new_stretch.end, task.new_stretch.end),
                header_bytes=len(layout.header),
                key_columns=layout.key,
            )
            return
        seen: set[bytes] = set()
        with task.old.open("rb") as old:
            for change in differences(
                new,
                task.new_stretch,
                old,
                task.old_stretch,
                header_bytes=len(layout.header),
                key_columns=layout.key,
            ):
                if isinstance(change, Appeared) and _among(change.line, task.again):
                    seen.add(change.line)
                yield change
        for line in task.again:
            if line not in seen:
                yield from _once_more(new, line, task.new_stretch, len(layout.header))


def _once_more(new: BinaryIO, line: bytes, stretch: Stretch, header_bytes: int) -> Iterator[Appeared]:
    place = first_at_least(new, line, stretch)
    start = max(header_bytes, place - 2 * MAX_LINE_BYTES)
    new.seek(start)
    earlier, rest = new.read(place - start), new.read(4 * MAX_LINE_BYTES)
    lines = rest.split(b"\n", 2)
    if place >= stretch.end or lines[0] != line:
        return
    before = earlier[:-1].rpartition(b"\n")[2] if earlier else b""
    while len(lines) == 3 and lines[1] == line:
        lines = lines[2].split(b"\n", 1)
        lines = [line, *lines] if len(lines) == 2 else [line, b"", b""]
    yield Appeared(line, before, lines[1] if len(lines) == 3 else b"")


def _among(line: bytes, lines: tuple[bytes, ...]) -> bool:
    at = bisect.bisect_left(lines, line)
    return at < len(lines) and lines[at] == line


def _is_open(line: bytes, feed: ListFeed) -> bool:
    """A record of which the list before said no removal."""
    fields = fields_of(line)
    return feed.kind is RecordKind.CATEGORIES and fields is not None and len(fields) > 4 and not fields[4]


def values_of(line: bytes) -> list[str | None]:
    """The values of one row that `examine` wrote."""
    return [
        None
        if value == "\\N"
        else value.replace("\\\\", "\x00").replace("\\t", "\t").replace("\x00", "\\")
        if "\\" in value
        else value
        for value in line.rstrip(b"\n").decode().split("\t")
    ]
