"""How long the journal keeps what: bodies first, then whole rows from the beginning of the chain, in bounded batches.

What was taken away is said in the chain itself before it goes: a missing body is covered by a note, and the latest cut
is repeated by one, so that verification tells retention from damage.

Kept whatever their age: the messages of an exchange that is open, what came in and is not done, the answer that a
repeated request gets again, and the messages that facts of the registry rest on (`keep_evidence_of_facts`).
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from sqlalchemy import Column, Connection, Engine, Row, and_, delete, func, insert, or_, select

from gateway.database import reading, writing
from gateway.errors import StoreError
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.exchange.journal.chain import BODIES_REMOVED, CUT, Removal, cut_note, moment
from gateway.exchange.journal.stored_bodies import REACH, detach
from gateway.exchange.journal.walking import ends_of
from gateway.exchange.outbox import CLOSED
from gateway.exchange.tables import (
    EVIDENCE,
    EXCHANGE,
    INBOX,
    JOURNAL,
    JOURNAL_BODY,
    JOURNAL_CUT,
    JOURNAL_EVIDENCE,
    JOURNAL_HEAD,
    STORED_FILE,
)
from gateway.registry.tables import FACT, LIST_PART, PROVISIONAL_ENTRY, TECHNICAL_FAILURE

#: rows looked at, and bodies deleted, in one transaction
BODY_BATCH: Final = 1_000
#: rows cut off in one transaction; each cut writes a note, and nobody appends meanwhile
CUT_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Everything before these moments may go; None keeps it for ever."""

    bodies_before: dt.datetime | None = None
    #: the same for a serviceId or a register's slug; the later of both moments counts
    bodies_before_of: Mapping[str, dt.datetime] = field(default_factory=dict)
    rows_before: dt.datetime | None = None
    keep_evidence_of_facts: bool = True

    @classmethod
    def of_days(
        cls,
        now: dt.datetime,
        *,
        bodies: int | None,
        bodies_of: Mapping[str, int],
        rows: int | None,
        keep_evidence_of_facts: bool = True,
    ) -> RetentionPolicy:
        def before(days: int | None) -> dt.datetime | None:
            return None if days is None else now - dt.timedelta(days=days)

        named = {name: now - dt.timedelta(days=days) for name, days in bodies_of.items()}
        return cls(before(bodies), named, before(rows), keep_evidence_of_facts)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or with `dry_run` would go."""

    bodies: int = 0
    #: as they were on the wire
    body_bytes: int = 0
    rows: int = 0
    #: bodies old enough that something still needs
    needed: int = 0
    #: the row where the cut stopped because something still needs it; None: it went as far as age allows
    cut_stopped_at: int | None = None

    def as_dict(self) -> dict[str, int | None]:
        return {
            "bodies": self.bodies,
            "body_bytes": self.body_bytes,
            "rows": self.rows,
            "needed": self.needed,
            "cut_stopped_at": self.cut_stopped_at,
        }


def prune(
    engine: Engine, journal: JournalWriter, policy: RetentionPolicy, *, at: dt.datetime, dry_run: bool = False
) -> Pruned:
    """Take away what the policy no longer keeps. Stopped at any moment, it goes on where it was the next time.

    `at` is the moment of the notes. Raises StoreError.
    """
    bodies, body_bytes, needed = _prune_bodies(engine, journal, policy, at, dry_run=dry_run)
    rows, stopped_at = _cut(engine, journal, policy, at, dry_run=dry_run)
    return Pruned(bodies, body_bytes, rows, needed, stopped_at)


# ---------------------------------------------------------------- bodies


def _prune_bodies(
    engine: Engine, journal: JournalWriter, policy: RetentionPolicy, at: dt.datetime, *, dry_run: bool
) -> tuple[int, int, int]:
    limits = dict(policy.bodies_before_of)
    if policy.bodies_before is not None:
        limits[""] = policy.bodies_before
    if not limits:
        return 0, 0, 0
    bodies = body_bytes = needed = 0
    said = dry_run
    for rows in _batches(lambda after: _rows_with_body(engine, after)):
        if all(row.at >= max(limits.values()) for row in rows):
            break  # numbers and moments go together: from here on everything is younger
        old = [row for row in rows if _is_old(row, limits)]
        with reading(engine) as connection:
            keep = _needed(connection, old, policy)
        gone = [row for row in old if row.id not in keep]
        needed += len(old) - len(gone)
        if not gone:
            continue
        if not said:
            _say(engine, journal, limits, at)
            said = True
        if not dry_run:
            with writing(engine) as connection:
                _take_bodies(connection, journal, [row.id for row in gone])
        bodies += len(gone)
        body_bytes += sum(row.body_bytes for row in gone)
    return bodies, body_bytes, needed


def _take_bodies(connection: Connection, journal: JournalWriter, gone: Sequence[int]) -> None:
    body = JOURNAL_BODY.c
    reach = body.journal_id.between(gone[0], gone[-1] + REACH)
    detach(connection, journal.seal, and_(reach, body.base_id.in_(gone), body.journal_id.not_in(gone)))
    connection.execute(delete(JOURNAL_BODY).where(body.journal_id.in_(gone)))


def _rows_with_body(engine: Engine, after: int) -> Sequence[Row[Any]]:
    query = (
        select(*_LOOKED_AT)
        .join(JOURNAL_BODY, JOURNAL_BODY.c.journal_id == JOURNAL.c.id)
        .where(JOURNAL_BODY.c.journal_id > after)
        .order_by(JOURNAL_BODY.c.journal_id)
        .limit(BODY_BATCH)
    )
    with reading(engine) as connection:
        return connection.execute(query).all()


_LOOKED_AT: Final[tuple[Column[Any], ...]] = (
    JOURNAL.c.id,
    JOURNAL.c.at,
    JOURNAL.c.system,
    JOURNAL.c.service_id,
    JOURNAL.c.message_id,
    JOURNAL.c.correlation_id,
    JOURNAL.c.body_bytes,
    JOURNAL.c.row_sha256,
)


def _batches(read: Callable[[int], Sequence[Row[Any]]], after: int = 0) -> Iterator[Sequence[Row[Any]]]:
    while rows := read(after):
        yield rows
        after = rows[-1].id


def _is_old(row: Row[Any], limits: Mapping[str, dt.datetime]) -> bool:
    return any(row.at < limits[name] for name in ("", row.system, row.service_id) if name in limits)


def _say(engine: Engine, journal: JournalWriter, limits: Mapping[str, dt.datetime], at: dt.datetime) -> None:
    """The notes that let verification accept the gaps, before there are any."""
    with writing(engine) as connection:
        last_id = connection.execute(select(JOURNAL_HEAD.c.last_id)).scalar_one()
        removals = [Removal(last_id, moment(before), name) for name, before in sorted(limits.items())]
        journal.append_many(connection, [_note(at, BODIES_REMOVED, removal.note()) for removal in removals])


def _note(at: dt.datetime, verdict: str, note: str) -> JournalEntry:
    return JournalEntry(at=at, direction=MessageDirection.OUT, step=0, kind=EntryKind.NOTE, verdict=verdict, note=note)


# ---------------------------------------------------------------- whole rows


def _cut(
    engine: Engine, journal: JournalWriter, policy: RetentionPolicy, at: dt.datetime, *, dry_run: bool
) -> tuple[int, int | None]:
    before = policy.rows_before
    if before is None:
        return 0, None
    count, stopped_at = 0, None
    with reading(engine) as connection:
        ends = ends_of(connection)
    # the last row stays: the chain always has an end that can be seen
    for rows in _batches(lambda after: _rows_after(engine, after, ends.last_id), ends.before_id):
        with reading(engine) as connection:
            keep = _needed(connection, rows, policy)
        gone = []
        for row in rows:
            if row.at >= before or row.id in keep:
                stopped_at = row.id if row.id in keep and row.at < before else None
                break
            gone.append(row)
        if gone and not dry_run:
            _cut_off(engine, journal, gone[-1], at)
        count += len(gone)
        if len(gone) < len(rows):
            break
    return count, stopped_at


def _rows_after(engine: Engine, after: int, end: int) -> Sequence[Row[Any]]:
    query = select(*_LOOKED_AT).where(JOURNAL.c.id > after, JOURNAL.c.id < end).order_by(JOURNAL.c.id).limit(CUT_BATCH)
    with reading(engine) as connection:
        return connection.execute(query).all()


def _cut_off(engine: Engine, journal: JournalWriter, last: Row[Any], at: dt.datetime) -> None:
    with writing(engine) as connection:
        # the note first: whoever appends holds the chain's end before it looks at evidence, so must we
        note_id = journal.append(connection, _note(at, CUT, cut_note(last.id, last.row_sha256)))
        used = select(JOURNAL_EVIDENCE.c.sha256).where(JOURNAL_EVIDENCE.c.journal_id <= last.id).distinct()
        evidence = connection.execute(used).scalars().all()
        connection.execute(delete(JOURNAL_EVIDENCE).where(JOURNAL_EVIDENCE.c.journal_id <= last.id))
        for sha256 in evidence:
            still_used = select(JOURNAL_EVIDENCE.c.sha256).where(JOURNAL_EVIDENCE.c.sha256 == sha256).exists()
            connection.execute(delete(EVIDENCE).where(EVIDENCE.c.sha256 == sha256, ~still_used))
        body = JOURNAL_BODY.c
        detach(
            connection,
            journal.seal,
            and_(body.journal_id.between(last.id + 1, last.id + REACH), body.base_id <= last.id),
        )
        connection.execute(delete(JOURNAL_BODY).where(body.journal_id <= last.id))
        connection.execute(delete(JOURNAL).where(JOURNAL.c.id <= last.id))
        connection.execute(delete(JOURNAL_CUT))
        connection.execute(insert(JOURNAL_CUT), {"last_id": last.id, "row_sha256": last.row_sha256, "note_id": note_id})


# ---------------------------------------------------------------- what is still needed


#: where the registry names the message that a fact of it rests on
_EVIDENCE_OF_FACTS: Final = (
    FACT.c.message_id,
    LIST_PART.c.message_id,
    PROVISIONAL_ENTRY.c.evidence,
    TECHNICAL_FAILURE.c.evidence,
)


def _needed(connection: Connection, rows: Sequence[Row[Any]], policy: RetentionPolicy) -> set[int]:
    """Which of these rows, given in order, something still needs."""
    if not rows:
        return set()
    first, last = rows[0].id, rows[-1].id
    found: set[int] = set()
    for column, condition in (
        (EXCHANGE.c.request_journal_id, EXCHANGE.c.state.not_in(CLOSED)),
        (EXCHANGE.c.reply_journal_id, EXCHANGE.c.state.not_in(CLOSED)),
        (INBOX.c.request_journal_id, INBOX.c.state != "done"),
        (INBOX.c.reply_journal_id, or_(INBOX.c.state != "done", INBOX.c.flow == "sync")),
        (STORED_FILE.c.request_journal_id, STORED_FILE.c.state == "uploading"),
    ):
        found.update(connection.execute(select(column).where(condition, column.between(first, last))).scalars())
    if policy.keep_evidence_of_facts:
        names = {name for row in rows for name in (row.message_id, row.correlation_id) if name}
        rested_on = {
            name
            for column in _EVIDENCE_OF_FACTS
            for name in connection.execute(select(column).where(column.in_(names)).distinct()).scalars()
        }
        found.update(row.id for row in rows if rested_on & {row.message_id, row.correlation_id})
    return found


# ---------------------------------------------------------------- space


def stored_bytes(engine: Engine) -> int:
    """What the journal costs now: the file of SQLite, the tables and indexes of the journal on PostgreSQL."""
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        sizes = (func.pg_total_relation_size(table.name) for table in _PRUNED)
        return sum(connection.execute(select(*sizes)).one())


_PRUNED: Final = (JOURNAL_BODY, JOURNAL, JOURNAL_EVIDENCE, EVIDENCE)


def free_space(engine: Engine, *, compact: bool = False) -> None:
    """Give back what pruning left empty.

    Without `compact` nobody waits for it: SQLite gives free pages back to the disk, PostgreSQL keeps them for rows to
    come, and gives back only those at a table's end. `compact` gives everything back, needs room for a copy, and on
    both stores nothing is journalled meanwhile. Raises StoreError.
    """
    connection = engine.raw_connection()
    driver: Any = connection.driver_connection
    try:
        if engine.dialect.name == "sqlite":
            _free_sqlite(driver, compact=compact)
        else:
            _free_postgresql(driver, compact=compact)
    except (sqlite3.Error, psycopg.Error) as error:
        raise StoreError(
            f"the database could not give space back ({type(error).__name__}); see that it has room for a copy, then "
            "run `gateway journal prune` again"
        ) from error
    finally:
        connection.close()


def _free_postgresql(driver: Any, *, compact: bool) -> None:
    driver.autocommit = True
    try:
        for table in _PRUNED:
            driver.execute(f"VACUUM {'(FULL, ANALYZE)' if compact else '(ANALYZE)'} {table.name}")
    finally:
        driver.autocommit = False


def _free_sqlite(driver: Any, *, compact: bool) -> None:
    if compact:
        driver.execute("PRAGMA auto_vacuum=INCREMENTAL")  # takes effect with the VACUUM
        driver.execute("VACUUM")
    else:
        # a few pages at a time: whoever wants to write comes in between
        while True:
            free = driver.execute("PRAGMA freelist_count").fetchone()[0]
            driver.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
            if driver.execute("PRAGMA freelist_count").fetchone()[0] in (0, free):
                break
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_PAGES_AT_ONCE: Final = 2_000
