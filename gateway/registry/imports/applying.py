"""Rows of a list into the store: staged, compared with what is known, and what differs inserted. One transaction.

The statements are the same on both stores; only the staging is not: PostgreSQL takes it with COPY.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    MetaData,
    Select,
    Table,
    and_,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    text,
)

from gateway.registry.facts import ListedAs
from gateway.registry.imports.checks import STAGED, TABLES
from gateway.registry.imports.feeds import ListFeed, RecordKind, Scope
from gateway.registry.imports.lines import LAYOUTS
from gateway.registry.imports.stretches import values_of
from gateway.registry.tables import CATEGORY_RECORD, FACT, IMPORT, MILITARY_EVENT, STANDING_TOUCHED, TREATY_INTERVAL
from gateway.registry.touched import touch_selected

_COPY_BYTES: Final = 1 << 20
_BATCH_ROWS: Final = 5_000
_SERVING: Final = (ListedAs.LISTED.value, ListedAs.ADDED.value)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is being applied, and when it arrived: `arrived_on` is the day of the Rules."""

    import_id: int
    feed: ListFeed
    scope: Scope
    received_at: dt.datetime
    arrived_on: dt.date
    #: the reading `military_expiry` lets a submission end by itself: then hearing the same again is news
    military_expires: bool


#: from so many on the planner's picture of a table is another
_MANY_ROWS: Final = 50_000
#: of PostgreSQL, for the lists of a whole country: one import sorts and compares at a time
_SORTING_MB: Final = 256


@dataclass(frozen=True, slots=True)
class Applied:
    rows: int
    """Rows inserted: each one says something that was not known."""
    ended: int
    """Of them, those about what a full list no longer names, where the law takes that for an end (p.61, p.64)."""
    absent: int
    """Open category records that a full list does not name; 0 when the lists were compared without the store."""


def apply_rows(connection: Connection, arrival: Arrival, files: Iterable[Path], *, count_absent: bool) -> Applied:
    """Insert what the staged rows say that is not known, and touch the people concerned."""
    kind = arrival.feed.kind
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL work_mem = '{_SORTING_MB}MB'"))
    staged = _stage(connection, kind, files)
    # before anything is inserted: the planner knows nothing yet of rows that are
    absent = _absent(connection, arrival, staged) if count_absent else 0
    news = _temporary("staged_news", kind, Column("version", CATEGORY_RECORD.c.version.type))
    news.create(connection)
    ended = 0
    for ends, query in _queries(arrival, staged):
        count = _written(connection, insert(news).from_select([*STAGED[kind], "version"], query))
        ended += count if ends else 0
    _analyze(connection, news)
    table = TABLES[kind]
    constants: dict[str, Any] = {"import_id": arrival.import_id, "received_at": arrival.received_at}
    if kind is RecordKind.MILITARY:
        constants |= {"body": arrival.feed.body, "arrived_on": arrival.arrived_on}
    columns = [*STAGED[kind], "version"]
    written = _written(
        connection,
        insert(table).from_select(
            [*columns, *constants],
            select(
                *(news.c[name] for name in columns),
                *(literal(value, table.c[name].type) for name, value in constants.items()),
            ).order_by(*(news.c[name] for name in columns[: LAYOUTS[kind].key])),
        ),
    )
    touch_selected(connection, select(news.c.iin).distinct(), arrival.received_at)
    if kind is RecordKind.MILITARY and arrival.military_expires:
        touch_selected(connection, select(staged.c.iin).distinct(), arrival.received_at)
    if arrival.scope is Scope.FULL and _is_first_full(connection, arrival):
        # from now on the list says who is of its categories, and no longer the registers' answers
        touch_selected(connection, select(FACT.c.iin).distinct(), arrival.received_at)
    news.drop(connection)
    staged.drop(connection)
    if written >= _MANY_ROWS and connection.dialect.name == "postgresql":
        # what is computed next must not be planned for yesterday's tables; autovacuum comes minutes later
        connection.execute(text(f"ANALYZE {table.name}, {STANDING_TOUCHED.name}"))
    return Applied(written, ended, absent)


def _written(connection: Connection, statement: Insert) -> int:
    # of an INSERT the number is thrown away unless one asks
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


# ---------------------------------------------------------------- staging


def _temporary(name: str, kind: RecordKind, *more: Column[Any]) -> Table:
    return Table(
        name,
        MetaData(),
        *(Column(column, TABLES[kind].c[column].type) for column in STAGED[kind]),
        *more,
        prefixes=["TEMPORARY"],
    )


def _stage(connection: Connection, kind: RecordKind, files: Iterable[Path]) -> Table:
    staged = _temporary("staged", kind)
    staged.create(connection)
    for file in files:
        if connection.dialect.name == "postgresql":
            _copy(connection, staged, file)
        else:
            _insert(connection, staged, file)
    _analyze(connection, staged)
    return staged


def _copy(connection: Connection, staged: Table, file: Path) -> None:
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {staged.name} ({', '.join(staged.c.keys())}) FROM STDIN") as copy,
        file.open("rb") as rows,
    ):
        while chunk := rows.read(_COPY_BYTES):
            copy.write(chunk)


def _insert(connection: Connection, staged: Table, file: Path) -> None:
    readers = [_READERS.get(column.type.python_type, str) for column in staged.c]
    with file.open("rb") as rows:
        while batch := list(islice(rows, _BATCH_ROWS)):
            connection.execute(
                insert(staged),
                [
                    {
                        name: None if value is None else reader(value)
                        for name, reader, value in zip(staged.c.keys(), readers, values_of(line), strict=True)
                    }
                    for line in batch
                ],
            )


_READERS: Final[dict[type, Any]] = {
    dt.date: dt.date.fromisoformat,
    bool: "true".__eq__,
    Decimal: Decimal,
}


def _analyze(connection: Connection, table: Table) -> None:
    # without it the planner takes a temporary table for a small one
    connection.execute(text(f"ANALYZE {'' if connection.dialect.name == 'postgresql' else 'temp.'}{table.name}"))


# ---------------------------------------------------------------- what is news


def _queries(arrival: Arrival, staged: Table) -> Sequence[tuple[bool, Select[Any]]]:
    """What differs from what is known; True where the query is about what is no longer listed."""
    match arrival.feed.kind:
        case RecordKind.MILITARY if arrival.scope is Scope.FULL:
            return (False, _newly_listed(arrival, staged)), (True, _no_longer_listed(arrival, staged))
        case RecordKind.MILITARY:
            return ((False, _changed_service(arrival, staged)),)
        case RecordKind.TREATY if arrival.scope is Scope.FULL:
            return (False, _changed_records(arrival, staged)), (True, _off_the_list(arrival, staged))
        case _:
            return ((False, _changed_records(arrival, staged)),)


def _latest(table: Table, key: Sequence[str]) -> tuple[FromClause, ColumnElement[bool]]:
    """The table under another name, and the condition that a row of it is the last version of its record."""
    known, later = table.alias("known"), table.alias("later")
    same = and_(*(later.c[name] == known.c[name] for name in key))
    return known, not_(exists().where(same, later.c.version > known.c.version))


def _changed_records(arrival: Arrival, staged: Table) -> Select[Any]:
    kind = arrival.feed.kind
    columns = STAGED[kind]
    key = columns[: LAYOUTS[kind].key]
    known, is_latest = _latest(TABLES[kind], key)
    same_record = and_(*(known.c[name] == staged.c[name] for name in key), is_latest)
    differs = or_(*(known.c[name].is_distinct_from(staged.c[name]) for name in columns if name not in key))
    return (
        select(*(staged.c[name] for name in columns), func.coalesce(known.c.version, 0) + 1)
        .select_from(staged.outerjoin(known, same_record))
        .where(or_(known.c.iin.is_(None), differs))
    )


def _last_word(arrival: Arrival) -> tuple[FromClause, ColumnElement[bool]]:
    known, is_latest = _latest(MILITARY_EVENT, ("iin", "body"))
    return known, and_(known.c.body == arrival.feed.body, is_latest)


def _service(
    staged: Table, known: FromClause, is_last: ColumnElement[bool], is_news: ColumnElement[bool]
) -> Select[Any]:
    return (
        select(
            staged.c.iin,
            staged.c.listed_as,
            staged.c.reserve_combat_training,
            staged.c.changed_on,
            func.coalesce(known.c.version, 0) + 1,
        )
        .select_from(staged.outerjoin(known, and_(known.c.iin == staged.c.iin, is_last)))
        .where(is_news)
    )


def _newly_listed(arrival: Arrival, staged: Table) -> Select[Any]:
    """p.63: on the full list, and not known to serve in this body in this way."""
    known, is_last = _last_word(arrival)
    return _service(staged, known, is_last, not_(_serves_alike(known, staged)))


def _changed_service(arrival: Arrival, staged: Table) -> Select[Any]:
    """p.65: a hiring of one who was not there, a dismissal of one who was."""
    known, is_last = _last_word(arrival)
    added = staged.c.listed_as == ListedAs.ADDED.value
    serves = func.coalesce(known.c.listed_as.in_(_SERVING), False)
    return _service(
        staged, known, is_last, or_(and_(added, not_(_serves_alike(known, staged))), and_(not_(added), serves))
    )


def _serves_alike(known: FromClause, staged: Table) -> ColumnElement[bool]:
    return func.coalesce(
        and_(
            known.c.listed_as.in_(_SERVING),
            known.c.reserve_combat_training == staged.c.reserve_combat_training,
        ),
        False,
    )


def _no_longer_listed(arrival: Arrival, staged: Table) -> Select[Any]:
    """p.64: the body's next submission that does not contain the person ends it."""
    known, is_last = _last_word(arrival)
    return select(
        known.c.iin,
        literal(ListedAs.ABSENT.value),
        known.c.reserve_combat_training,
        literal(None, MILITARY_EVENT.c.changed_on.type),
        known.c.version + 1,
    ).where(is_last, known.c.listed_as.in_(_SERVING), not_(exists().where(staged.c.iin == known.c.iin)))


def _off_the_list(arrival: Arrival, staged: Table) -> Select[Any]:
    """p.61: whom the full list does not name is off it from the day it arrived (A-29)."""
    known, is_latest = _latest(TREATY_INTERVAL, ("iin", "first_day"))
    named = exists().where(staged.c.iin == known.c.iin, staged.c.first_day == known.c.first_day)
    # an interval that has not begun stays: it has no day to lose
    return select(
        known.c.iin,
        known.c.first_day,
        literal(arrival.arrived_on, TREATY_INTERVAL.c.first_day_off.type),
        known.c.version + 1,
    ).where(is_latest, known.c.first_day_off.is_(None), known.c.first_day <= arrival.arrived_on, not_(named))


# ---------------------------------------------------------------- counts


def _absent(connection: Connection, arrival: Arrival, staged: Table) -> int:
    """Open records of the feed's categories that a full list does not name."""
    if arrival.feed.kind is not RecordKind.CATEGORIES or arrival.scope is not Scope.FULL:
        return 0
    key = STAGED[RecordKind.CATEGORIES][: LAYOUTS[RecordKind.CATEGORIES].key]
    known, is_latest = _latest(CATEGORY_RECORD, key)
    named = exists().where(*(staged.c[name] == known.c[name] for name in key))
    query = select(func.count()).where(
        is_latest, known.c.category.in_(sorted(arrival.feed.categories)), known.c.removed_date.is_(None), not_(named)
    )
    return int(connection.execute(query.select_from(known)).scalar_one())


def _is_first_full(connection: Connection, arrival: Arrival) -> bool:
    if arrival.feed.kind is not RecordKind.CATEGORIES:
        return False
    query = select(func.count()).where(IMPORT.c.feed == arrival.feed.name, IMPORT.c.scope == Scope.FULL.value)
    return connection.execute(query).scalar_one() == 0
