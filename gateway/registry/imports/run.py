"""One file taken in: copied, compared, checked, applied. Killed at any moment, it may be run again as if nothing was.

Nothing is visible before the one transaction that applies everything. What lies on disk until then lies in a folder
that the next run of the same feed clears.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import structlog
from sqlalchemy import Connection, Engine, func, insert, select, text

from gateway.database import reading, writing
from gateway.errors import MalformedMessage, StoreError
from gateway.registry.imports.applying import Arrival, apply_rows
from gateway.registry.imports.checks import check
from gateway.registry.imports.compare import NotSorted, Stretch, first_at_least, line_start
from gateway.registry.imports.feeds import ListFeed, RecordKind, Scope
from gateway.registry.imports.keeping import (
    Kept,
    alone,
    forget_others,
    keep,
    kept_list,
    last_import,
    snapshot_digest,
    workplace,
)
from gateway.registry.imports.lines import LAYOUTS, MAX_LINE_BYTES, key_of
from gateway.registry.imports.preparing import Prepared, Source, as_it_is, numbers_of, sort, take_copy
from gateway.registry.imports.stretches import (
    MAX_REFUSED_LINES,
    REPEATED,
    Outcome,
    Task,
    TooManyRefused,
    examine,
)
from gateway.registry.processes import pool
from gateway.registry.tables import IMPORT, REFUSED_LINE
from gateway.regulation.law import Law

_LOG: Final = structlog.get_logger()
#: pg_advisory_xact_lock: one import is applied at a time, so that their numbers have no gaps
_IMPORT_LOCK: Final = 0x53484551
#: a smaller file is not worth more than one process
_ALONE_BYTES: Final = 8 << 20
#: stretches for each process: progress is told when one is done
_STRETCHES: Final = 8

Progress: TypeAlias = Callable[[str, int, int], None]
"""Phase, done, total."""


def no_progress(phase: str, done: int, total: int) -> None:
    """For those who do not look."""


def nothing_else(connection: Connection, import_id: int) -> None:
    """For those who have nothing to write beside the list."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Lines of one list that contradict each other (`repeated_record`): none of them counts, somebody has to look."""

    import_id: int
    feed: str
    received_at: dt.datetime
    lines: tuple[int, ...]
    """As RefusedLine.line."""


Contradicted: TypeAlias = Callable[[Connection, Contradiction], None]
"""Writes of an incident, in the transaction of the import and last in it: the journal, in a room above this one."""


def not_noted(connection: Connection, contradiction: Contradiction) -> None:
    """For those who keep no journal: the refused lines stand in `refused_line` all the same."""


@dataclass(frozen=True, slots=True, order=True)
class RefusedLine:
    line: int
    """The line of the file, the header being the first; in XML the ordinal of the record."""
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    import_id: int
    read: int
    """Records in the file, refused ones among them."""
    applied: int
    """Rows written; each says something that was not known."""
    unchanged: int
    refused: tuple[RefusedLine, ...]
    absent: int
    """Records that a full list no longer names. Of categories they stay as they are: absence is not removal
    (docs/decisions/0034). A service or a place on the treaty list ends with it, and is counted in `applied` too."""


def import_file(
    engine: Engine,
    path: Path,
    feed: ListFeed,
    scope: Scope,
    *,
    law: Law,
    received_at: dt.datetime,
    folder: Path,
    evidence: str | None = None,
    processes: int = 2,
    progress: Progress = no_progress,
    beside: Callable[[Connection, int], None] = nothing_else,
    contradicted: Contradicted = not_noted,
) -> ImportResult:
    """Take a file of `feed` in. `folder` keeps the lists to compare with; `evidence` stands in for the file's name.

    `beside` writes in the same transaction what must not be without the list; `contradicted` what the journal has to
    say of records that contradict each other (decision 0066).

    Raises MalformedMessage (the file is not what it should be: nothing was applied) and StoreError.
    """
    if scope not in feed.scopes:
        raise MalformedMessage(f"{feed.name} has no full list: import the file as changes", code="no_full_list")
    # other lists are small or have no full form; they are compared with the store
    keeps = feed.kind is RecordKind.CATEGORIES and scope is Scope.FULL
    with alone(folder, feed.name) as home, workplace(home) as work:
        with reading(engine) as connection:
            last = last_import(connection, feed.name)
        forget_others(home, None if last is None else last["id"])
        source, kept = _read(path, work, feed, lambda: kept_list(home, last) if keeps else None, progress)
        prepared, outcome, rows = _compare(source, feed, scope, work, kept, processes, law, progress)
        refused = _refused(source, feed, scope, prepared, outcome, law)
        refused_lines = b"".join(line + b"\n" for line in sorted(outcome.refused))
        arrived_on = law.local_day(received_at)
        expires = law.reading("military_expiry").value == "fourteen_days"
        progress("apply", 0, 1)
        with writing(engine) as connection:
            number = _next_number(connection)
            if last_import(connection, feed.name) != last:
                raise StoreError("another list of this feed was applied meanwhile: import this one again")
            arrival = Arrival(number, feed, scope, received_at, arrived_on, expires)
            applied = apply_rows(connection, arrival, rows, count_absent=kept is None)
            result = ImportResult(
                import_id=number,
                read=prepared.records,
                applied=applied.rows,
                unchanged=prepared.records - len({one.line for one in refused}) - (applied.rows - applied.ended),
                refused=refused,
                absent=applied.ended + (applied.absent if kept is None else outcome.absent),
            )
            _record(
                connection,
                result,
                arrival,
                evidence=evidence or path.name,
                digest=source.digest,
                kept_digest=snapshot_digest(prepared.digest, refused_lines) if keeps else None,
            )
            beside(connection, number)
            if keeps:
                keep(home, number, prepared.file, refused_lines)
            contradiction = _contradiction(result, feed, received_at)
            if contradiction is not None:
                # the last thing: a journal has one end, and everybody waits for it
                contradicted(connection, contradiction)
        if contradiction is not None:
            _LOG.error(
                "registry", action="records_contradict", feed=feed.name, number=number, lines=len(contradiction.lines)
            )
        forget_others(home, number)
        progress("apply", 1, 1)
    return result


# ---------------------------------------------------------------- reading


def _read(
    path: Path, work: Path, feed: ListFeed, look_for_kept: Callable[[], Kept | None], progress: Progress
) -> tuple[Source, Kept | None]:
    """Our copy of the file, while the list before it is digested beside: both are the time of one digest."""
    size = path.stat().st_size
    with ThreadPoolExecutor(1) as beside:
        kept = beside.submit(look_for_kept)
        source = take_copy(path, work / "source", feed.kind, lambda done: progress("read", done, size))
        return source, kept.result()


# ---------------------------------------------------------------- comparing


def _compare(
    source: Source,
    feed: ListFeed,
    scope: Scope,
    work: Path,
    kept: Kept | None,
    processes: int,
    law: Law,
    progress: Progress,
) -> tuple[Prepared, Outcome, Sequence[Path]]:
    try:
        if source.plain:
            prepared = as_it_is(source)
            try:
                return prepared, *_examined(prepared, feed, scope, work, kept, processes, law, progress)
            except NotSorted:
                pass
        progress("sort", 0, 1)
        prepared = sort(source, feed.kind, work)
        return prepared, *_examined(prepared, feed, scope, work, kept, processes, law, progress)
    except TooManyRefused:
        raise MalformedMessage(
            f"more than {MAX_REFUSED_LINES} lines are refused: this is not a list of {feed.name}, or its sender has to "
            "correct it; nothing was applied",
            code="too_many_refused",
        ) from None


def _examined(
    prepared: Prepared,
    feed: ListFeed,
    scope: Scope,
    work: Path,
    kept: Kept | None,
    processes: int,
    law: Law,
    progress: Progress,
) -> tuple[Outcome, Sequence[Path]]:
    tasks = _tasks(prepared, feed, scope, work, kept, processes)
    outcomes: list[Outcome] = []
    if len(tasks) == 1:
        outcomes.append(examine(tasks[0], law))
    else:
        with pool(processes, _take_law, law) as workers:
            futures = [workers.submit(_examine, task) for task in tasks]
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    outcomes.append(future.result())
                    progress("compare", done, len(tasks))
            except BaseException:
                workers.shutdown(cancel_futures=True)
                raise
    together = Outcome()
    for outcome in outcomes:
        together.absent += outcome.absent
        together.refused |= outcome.refused
    if len(together.refused) > MAX_REFUSED_LINES:
        raise TooManyRefused
    return together, [task.rows for task in tasks]


def _tasks(
    prepared: Prepared, feed: ListFeed, scope: Scope, work: Path, kept: Kept | None, processes: int
) -> Sequence[Task]:
    """Stretches of the list, cut where one record's lines end and another's begin, and the same ones of the old."""
    layout = LAYOUTS[feed.kind]
    size, header = prepared.file.stat().st_size, len(layout.header)
    old_size = header if kept is None else kept.file.stat().st_size
    parts = 1 if size < _ALONE_BYTES else processes * _STRETCHES
    again = () if kept is None else kept.refused
    tasks: list[Task] = []
    with prepared.file.open("rb") as new, (prepared.file if kept is None else kept.file).open("rb") as old:
        at, old_at, before = header, header, b""
        for part in range(1, parts + 1):
            end, old_end = size, old_size
            if part < parts:
                end = line_start(new, max(at, header + (size - header) * part // parts), size)
                end, first = _next_record(new, end, size, layout.key)
                if first < before:
                    raise NotSorted
                before = first
                old_end = first_at_least(old, first, Stretch(old_at, old_size)) if end < size else old_size
            rows = work / f"rows.{part}"
            old_file = None if kept is None else kept.file
            tasks.append(
                Task(feed, scope, prepared.file, Stretch(at, end), old_file, Stretch(old_at, old_end), again, rows)
            )
            at, old_at = end, old_end
    return tasks


def _next_record(file: BinaryIO, place: int, size: int, key_columns: int) -> tuple[int, bytes]:
    """Where the first line from `place` on begins that is of another record than the one before it, and that line."""
    file.seek(place)
    before = b""
    while place < size:
        line = file.readline(MAX_LINE_BYTES + 1).rstrip(b"\n")
        if before and key_of(line, key_columns) != key_of(before, key_columns):
            return place, line
        before = line
        place += len(line) + 1
    return size, b""


#: in a worker: the law it was started with
_here: dict[str, Law] = {}


def _take_law(law: Law) -> None:
    _here["law"] = law


def _examine(task: Task) -> Outcome:
    return examine(task, _here["law"])


# ---------------------------------------------------------------- what is refused


def _refused(
    source: Source, feed: ListFeed, scope: Scope, prepared: Prepared, outcome: Outcome, law: Law
) -> tuple[RefusedLine, ...]:
    why = dict(outcome.refused)
    for line in prepared.strays:
        verdict = check(line, feed, scope, law)
        if isinstance(verdict, tuple):  # always: what does not begin with four digits has no IIN
            why[line] = verdict
    found = [
        RefusedLine(number, refusal.code, refusal.message)
        for number, line in numbers_of(source, feed.kind, why.keys())
        for refusal in why[line]
    ]
    found += [RefusedLine(number, refusal.code, refusal.message) for number, refusal in prepared.unreadable]
    return tuple(sorted(set(found)))


def _contradiction(result: ImportResult, feed: ListFeed, received_at: dt.datetime) -> Contradiction | None:
    lines = tuple(one.line for one in result.refused if one.code == REPEATED.code)
    return Contradiction(result.import_id, feed.name, received_at, lines) if lines else None


# ---------------------------------------------------------------- the row of the import


def _next_number(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _IMPORT_LOCK})
    return int(connection.execute(select(func.coalesce(func.max(IMPORT.c.id), 0) + 1)).scalar_one())


def _record(
    connection: Connection,
    result: ImportResult,
    arrival: Arrival,
    *,
    evidence: str,
    digest: str,
    kept_digest: str | None,
) -> None:
    refused = len({one.line for one in result.refused})
    connection.execute(
        insert(IMPORT),
        {
            "id": result.import_id,
            "feed": arrival.feed.name,
            "scope": arrival.scope.value,
            "evidence": evidence,
            "digest": digest,
            "snapshot_digest": kept_digest,
            "received_at": arrival.received_at,
            "lines_read": result.read,
            "applied": result.applied,
            "unchanged": result.unchanged,
            "refused": refused,
            "absent": result.absent,
        },
    )
    if result.refused:
        connection.execute(
            insert(REFUSED_LINE),
            [
                {"import_id": result.import_id, "line": one.line, "code": one.code, "message": one.message}
                for one in result.refused
            ],
        )
