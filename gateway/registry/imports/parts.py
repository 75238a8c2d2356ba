"""Lists that come as signed messages, in parts: kept when they come, applied when all of a list are there.

Taking a part is cheap and happens in the transaction that journals its message. Applying is the work of an import
(gateway.registry.imports.run), and happens in one transaction of its own: killed before it, nothing of the list is
there, and the next run applies it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, func, insert, select, text, update

from gateway.database import reading, writing
from gateway.errors import MalformedMessage
from gateway.model import Provenance
from gateway.registry.imports.feeds import ListFeed, Scope, feeds_of
from gateway.registry.imports.lines import LAYOUTS
from gateway.registry.imports.run import (
    Contradicted,
    ImportResult,
    Progress,
    import_file,
    no_progress,
    not_noted,
)
from gateway.registry.tables import INCOMING_LIST, LIST_PART
from gateway.regulation.law import Law

_LOG: Final = structlog.get_logger()
#: numbers of missing parts that are named
_NAMED_MISSING: Final = 20


class ListState(StrEnum):
    OPEN = "open"
    """Parts are missing."""
    COMPLETE = "complete"
    """All are there; it waits to be applied."""
    APPLIED = "applied"
    REFUSED = "refused"
    """It is not what its parts say it is; nothing of it was applied."""
    SUPERSEDED = "superseded"
    """A full list that was made later had been applied when this one was complete."""


class PartOutcome(StrEnum):
    TAKEN = "taken"
    COMPLETE = "complete"
    """Taken, and it was the last one missing."""
    DUPLICATE = "duplicate"
    """The same part came before; nothing changed."""
    PART_CHANGED = "part_changed"
    """A part of this number came before with other records. That one stays: a person has to look."""
    LIST_CHANGED = "list_changed"
    """It speaks of the list otherwise than the parts before it. Nothing was taken."""
    LIST_CLOSED = "list_closed"
    """The list was refused or is superseded: send it anew, under a new id."""


#: what must not happen between honest programs
INCIDENTS: Final = frozenset({PartOutcome.PART_CHANGED, PartOutcome.LIST_CHANGED})


@dataclass(frozen=True, slots=True)
class ListPart:
    """One part of a list as it was signed. What is about the whole list is the same in every part."""

    list_id: str
    feed: ListFeed
    scope: Scope
    made_on: dt.date
    number: int
    """From 1 to `of`."""
    of: int
    digest: str
    """SHA-256 of the lines of all parts, each with its line feed, in order."""
    lines: tuple[bytes, ...] = field(repr=False)
    """Records as gateway.registry.imports.lines writes them."""


@dataclass(frozen=True, slots=True)
class PartResult:
    outcome: PartOutcome
    received: int
    """Parts that are there."""
    of: int


@dataclass(frozen=True, slots=True)
class IncomingList:
    """A list as it stands: for operators."""

    sender: str
    list_id: str
    feed: str
    scope: str
    made_on: dt.date
    state: ListState
    received: int
    of: int
    missing: tuple[int, ...]
    """The first of the numbers that are missing."""
    first_at: dt.datetime
    import_id: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class ListOutcome:
    """What became of a complete list."""

    sender: str
    list_id: str
    state: ListState
    problem: str = ""
    result: ImportResult | None = None


# ---------------------------------------------------------------- one part


def take_part(connection: Connection, part: ListPart, provenance: Provenance) -> PartResult:
    """Keep a part, in the transaction that journals its message. `provenance.system` is the sender of the message.

    Raises MalformedMessage when the number of the part cannot be.
    """
    if not 1 <= part.number <= part.of:
        raise MalformedMessage("the number of a part lies between 1 and the number of parts", code="part_number")
    sender = provenance.system
    _one_at_a_time(connection, sender, part.list_id)
    this_list = _is(INCOMING_LIST.c, sender, part.list_id)
    known = connection.execute(select(INCOMING_LIST).where(this_list)).mappings().one_or_none()
    if known is None:
        connection.execute(insert(INCOMING_LIST), _list_row(part, sender, provenance.received_at))
    else:
        outcome = _judged(connection, part, sender, known)
        if outcome is not None:
            if outcome in INCIDENTS:
                connection.execute(update(INCOMING_LIST).where(this_list).values(problem=outcome.value))
                _LOG.error("registry", action=outcome.value, feed=known["feed"], part=part.number)
            return PartResult(outcome, _received(connection, sender, part.list_id), known["parts"])
    connection.execute(insert(LIST_PART), _part_row(part, sender, provenance))
    received = _received(connection, sender, part.list_id)
    if received < part.of:
        return PartResult(PartOutcome.TAKEN, received, part.of)
    connection.execute(
        update(INCOMING_LIST)
        .where(this_list)
        .values(state=ListState.COMPLETE.value, completed_at=provenance.received_at)
    )
    return PartResult(PartOutcome.COMPLETE, received, part.of)


def _judged(connection: Connection, part: ListPart, sender: str, known: RowMapping) -> PartOutcome | None:
    """Why a part of a known list is not taken; None: it is."""
    same_list = _list_row(part, sender, known["first_at"])
    if any(known[name] != same_list[name] for name in ("feed", "scope", "made_on", "parts", "digest")):
        return PartOutcome.LIST_CHANGED
    before = connection.execute(
        select(LIST_PART.c.digest).where(_is(LIST_PART.c, sender, part.list_id), LIST_PART.c.part == part.number)
    ).scalar_one_or_none()
    if before is not None:
        return PartOutcome.DUPLICATE if before == _digest(part.lines) else PartOutcome.PART_CHANGED
    return None if known["state"] == ListState.OPEN else PartOutcome.LIST_CLOSED


def _one_at_a_time(connection: Connection, sender: str, list_id: str) -> None:
    """Two parts of one list at once would both find the other one missing. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:list, 0))"), {"list": f"{sender}\x1f{list_id}"}
        )


def _is(columns: Any, sender: str, list_id: str) -> ColumnElement[bool]:
    return and_(columns.sender == sender, columns.list_id == list_id)


def _received(connection: Connection, sender: str, list_id: str) -> int:
    query = select(func.count()).select_from(LIST_PART).where(_is(LIST_PART.c, sender, list_id))
    return int(connection.execute(query).scalar_one())


def _list_row(part: ListPart, sender: str, at: dt.datetime) -> dict[str, Any]:
    return {
        "sender": sender,
        "list_id": part.list_id,
        "feed": part.feed.name,
        "scope": part.scope.value,
        "made_on": part.made_on,
        "parts": part.of,
        "digest": part.digest,
        "state": ListState.OPEN.value,
        "first_at": at,
        "problem": "",
    }


def _part_row(part: ListPart, sender: str, provenance: Provenance) -> dict[str, Any]:
    return {
        "sender": sender,
        "list_id": part.list_id,
        "part": part.number,
        "digest": _digest(part.lines),
        "records": len(part.lines),
        "lines_zlib": zlib.compress(_joined(part.lines)),
        "message_id": provenance.message_id,
        "signer_subject": provenance.signer_subject,
        "signer_serial": provenance.signer_serial,
        "received_at": provenance.received_at,
    }


def _joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _digest(lines: Iterable[bytes]) -> str:
    return hashlib.sha256(_joined(lines)).hexdigest()


# ---------------------------------------------------------------- the whole list


def apply_complete(
    engine: Engine,
    *,
    law: Law,
    at: dt.datetime,
    folder: Path,
    processes: int = 2,
    progress: Progress = no_progress,
    contradicted: Contradicted = not_noted,
) -> tuple[ListOutcome, ...]:
    """Apply every list of which all parts are there, in the order in which they became complete.

    A list is known from `at` on, as a file is from the moment of its import; `contradicted` is of `import_file`.
    Raises StoreError.
    """
    with reading(engine) as connection:
        query = (
            select(INCOMING_LIST)
            .where(INCOMING_LIST.c.state == ListState.COMPLETE)
            .order_by(INCOMING_LIST.c.completed_at, INCOMING_LIST.c.sender, INCOMING_LIST.c.list_id)
        )
        waiting = connection.execute(query).mappings().all()
    outcomes = []
    for row in waiting:
        outcome = _apply(engine, row, law, at, folder, processes, progress, contradicted)
        outcomes.append(outcome)
        log = _LOG.info if outcome.state is ListState.APPLIED else _LOG.error
        log("registry", action=f"list_{outcome.state.value}", feed=row["feed"], code=outcome.problem)
    return tuple(outcomes)


def _apply(
    engine: Engine,
    row: RowMapping,
    law: Law,
    at: dt.datetime,
    folder: Path,
    processes: int,
    progress: Progress,
    contradicted: Contradicted,
) -> ListOutcome:
    sender, list_id = row["sender"], row["list_id"]
    feed, scope = feeds_of(law).get(row["feed"]), Scope(row["scope"])
    if feed is None:
        return _close(engine, sender, list_id, ListState.REFUSED, "no_such_feed")
    with reading(engine) as connection:
        superseded = _is_superseded(connection, row)
    if superseded:
        return _close(engine, sender, list_id, ListState.SUPERSEDED, "later_list_applied")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="parts-", suffix=".csv") as file:
        file.write(LAYOUTS[feed.kind].header)
        if _write_lines(engine, sender, list_id, row["parts"], file) != row["digest"]:
            return _close(engine, sender, list_id, ListState.REFUSED, "digest")
        file.flush()
        try:
            result = import_file(
                engine,
                Path(file.name),
                feed,
                scope,
                law=law,
                received_at=at,
                folder=folder,
                evidence=f"list {list_id}",
                processes=processes,
                progress=progress,
                beside=lambda connection, number: _closed(connection, sender, list_id, ListState.APPLIED, number),
                contradicted=contradicted,
            )
        except MalformedMessage as error:
            return _close(engine, sender, list_id, ListState.REFUSED, error.code)
    return ListOutcome(sender, list_id, ListState.APPLIED, result=result)


def _is_superseded(connection: Connection, row: RowMapping) -> bool:
    """A list that was on its way longer than the next full one says nothing any more."""
    query = select(func.max(INCOMING_LIST.c.made_on)).where(
        INCOMING_LIST.c.feed == row["feed"],
        INCOMING_LIST.c.scope == Scope.FULL,
        INCOMING_LIST.c.state == ListState.APPLIED,
    )
    last = connection.execute(query).scalar_one()
    return last is not None and row["made_on"] < last


def _write_lines(engine: Engine, sender: str, list_id: str, parts: int, file: BinaryIO | Any) -> str:
    """All lines in order, one part at a time; their digest."""
    digest = hashlib.sha256()
    for number in range(1, parts + 1):
        with reading(engine) as connection:
            query = select(LIST_PART.c.lines_zlib).where(_is(LIST_PART.c, sender, list_id), LIST_PART.c.part == number)
            lines = zlib.decompress(connection.execute(query).scalar_one())
        digest.update(lines)
        file.write(lines)
    return digest.hexdigest()


def _close(engine: Engine, sender: str, list_id: str, state: ListState, problem: str) -> ListOutcome:
    with writing(engine) as connection:
        _closed(connection, sender, list_id, state, None, problem)
    return ListOutcome(sender, list_id, state, problem)


def _closed(
    connection: Connection, sender: str, list_id: str, state: ListState, import_id: int | None, problem: str = ""
) -> None:
    connection.execute(
        update(INCOMING_LIST)
        .where(_is(INCOMING_LIST.c, sender, list_id))
        .values(state=state.value, import_id=import_id, problem=problem)
    )
    # the journal keeps the messages; here they would only be a second copy of personal data
    connection.execute(update(LIST_PART).where(_is(LIST_PART.c, sender, list_id)).values(lines_zlib=None))


# ---------------------------------------------------------------- for operators


def incoming_lists(connection: Connection) -> tuple[IncomingList, ...]:
    """Every list of which a part came, the last one first."""
    order = (INCOMING_LIST.c.first_at.desc(), INCOMING_LIST.c.sender, INCOMING_LIST.c.list_id)
    found = []
    for row in connection.execute(select(INCOMING_LIST).order_by(*order)).mappings().all():
        query = select(LIST_PART.c.part).where(_is(LIST_PART.c, row["sender"], row["list_id"]))
        there = set(connection.execute(query).scalars())
        missing = [number for number in range(1, row["parts"] + 1) if number not in there]
        found.append(
            IncomingList(
                row["sender"],
                row["list_id"],
                row["feed"],
                row["scope"],
                row["made_on"],
                ListState(row["state"]),
                len(there),
                row["parts"],
                tuple(missing[:_NAMED_MISSING]),
                row["first_at"],
                row["import_id"],
                row["problem"],
            )
        )
    return tuple(found)


def late_lists(lists: Sequence[IncomingList], now: dt.datetime, allowed: dt.timedelta) -> tuple[IncomingList, ...]:
    """Those of which parts have been missing for longer than `allowed`."""
    return tuple(one for one in lists if one.state is ListState.OPEN and now - one.first_at > allowed)


def warn_of_late(lists: Iterable[IncomingList]) -> None:
    """One line of the log for each list of which parts are missing too long."""
    for one in lists:
        _LOG.warning("registry", action="list_parts_missing", feed=one.feed, received=one.received, parts=one.of)
