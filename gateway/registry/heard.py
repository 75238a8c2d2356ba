"""Everything heard about some people, read by one statement, whatever their number and whatever was heard.

One row for each thing told, of all tables of facts alike: a UNION ALL with the columns that the rules look at, and no
others. The name of the import comes with the row that it brought. One row more says which state the tables about the
whole country are in, so that who keeps that state (gateway.registry.serving) needs no statement to know it still holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Date,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)

from gateway.database import UtcDateTime
from gateway.registry.tables import (
    CATEGORY_RECORD,
    FACT,
    IMPORT,
    MILITARY_EVENT,
    PAYMENT,
    PROVISIONAL_ENTRY,
    STATE_STOP,
    TECHNICAL_FAILURE,
    TREATY_INTERVAL,
)
from gateway.statements import FixedStatement, is_among


class Kind(IntEnum):
    """Which table a row comes from."""

    COUNTRY = 0
    ANSWER = 1
    CATEGORY = 2
    PAYMENT = 3
    MILITARY = 4
    TREATY = 5
    PROVISIONAL = 6


class Told(NamedTuple):
    """A row of any table of facts. What `name` to `flag` are, each branch of the statement says below."""

    kind: int
    iin: str
    version: int
    received_at: dt.datetime
    evidence: str
    name: str
    key: str
    source: str
    reason: str
    first: dt.date
    second: dt.date | None
    flag: bool
    attributes: Mapping[str, Any]


CountryVersion: TypeAlias = tuple[int, int, int]
"""The last import, and the numbers of rows about stops and failures. Rows are only added, so these tell the state."""


@dataclass(frozen=True, slots=True)
class Heard:
    country: CountryVersion
    people: Mapping[str, Mapping[int, list[Told]]]
    """By person and kind, in no order; of whom nothing was heard, nothing."""


def heard_about(connection: Connection, iins: Sequence[str], known_at: dt.datetime) -> Heard:
    """All that had arrived about these people by `known_at`."""
    rows = _STATEMENT.run(connection, iins=list(iins), known_at=known_at)
    country: CountryVersion = (0, 0, 0)
    people: dict[str, dict[int, list[Told]]] = {}
    for row in rows:
        told = Told._make(row)
        if told.kind == Kind.COUNTRY:
            country = (told.version, int(told.name), int(told.key))
            continue
        of_person = people.get(told.iin)
        if of_person is None:
            people[told.iin] = of_person = {}
        of_kind = of_person.get(told.kind)
        if of_kind is None:
            of_person[told.kind] = [told]
        else:
            of_kind.append(told)
    return Heard(country, people)


# ---------------------------------------------------------------- the statement

_TYPES: Final[Mapping[str, Any]] = {
    "name": String(),
    "key": String(),
    "source": String(),
    "reason": String(),
    "first": Date(),
    "second": Date(),
    "flag": Boolean(),
    "attributes": FACT.c.attributes.type,
}


def _branches(on_postgresql: bool) -> Iterator[Select[Any]]:
    def about(
        kind: Kind, table: Table, *, evidence: ColumnElement[Any] | None = None, **columns: ColumnElement[Any]
    ) -> Select[Any]:
        version: ColumnElement[Any] = table.c.version if "version" in table.c else literal_column("1")
        query = select(
            literal_column(str(int(kind))).label("kind"),
            table.c.iin,
            version.label("version"),
            table.c.received_at,
            (IMPORT.c.evidence if evidence is None else evidence).label("evidence"),
            *(_column(name, columns) for name in _TYPES),
        ).where(
            is_among(on_postgresql, table.c.iin, "iins"),
            table.c.received_at <= bindparam("known_at", type_=UtcDateTime()),
        )
        return query if evidence is not None else query.join_from(table, IMPORT, IMPORT.c.id == table.c.import_id)

    yield about(
        Kind.ANSWER,
        FACT,
        evidence=FACT.c.message_id,
        name=FACT.c.kind,
        key=FACT.c.key,
        source=FACT.c.system,
        first=FACT.c.valid_from,
        second=FACT.c.valid_to,
        flag=FACT.c.present,
        attributes=FACT.c.attributes,
    )
    yield about(
        Kind.CATEGORY,
        CATEGORY_RECORD,
        name=CATEGORY_RECORD.c.category,
        key=CATEGORY_RECORD.c.assigned_source,
        source=CATEGORY_RECORD.c.removed_source,
        reason=CATEGORY_RECORD.c.removed_reason,
        first=CATEGORY_RECORD.c.assigned_date,
        second=CATEGORY_RECORD.c.removed_date,
    )
    yield about(
        Kind.PAYMENT,
        PAYMENT,
        name=PAYMENT.c.payer_type,
        key=PAYMENT.c.reference,
        first=PAYMENT.c.period,
        second=PAYMENT.c.received_date,
        flag=PAYMENT.c.withdrawn,
    )
    yield about(
        Kind.MILITARY,
        MILITARY_EVENT,
        name=MILITARY_EVENT.c.body,
        key=MILITARY_EVENT.c.listed_as,
        first=MILITARY_EVENT.c.arrived_on,
        flag=MILITARY_EVENT.c.reserve_combat_training,
    )
    yield about(Kind.TREATY, TREATY_INTERVAL, first=TREATY_INTERVAL.c.first_day, second=TREATY_INTERVAL.c.first_day_off)
    yield about(
        Kind.PROVISIONAL,
        PROVISIONAL_ENTRY,
        evidence=PROVISIONAL_ENTRY.c.evidence,
        name=PROVISIONAL_ENTRY.c.category,
        key=PROVISIONAL_ENTRY.c.documents,
        first=PROVISIONAL_ENTRY.c.applied,
    )
    yield _country()


def _country() -> Select[Any]:
    """COUNTRY: `version` is the last import, `name` and `key` the numbers of rows about stops and failures."""
    counts = {
        "name": cast(select(func.count()).select_from(STATE_STOP).scalar_subquery(), String),
        "key": cast(select(func.count()).select_from(TECHNICAL_FAILURE).scalar_subquery(), String),
    }
    return select(
        literal_column(str(int(Kind.COUNTRY))).label("kind"),
        cast(null(), String).label("iin"),
        cast(select(func.coalesce(func.max(IMPORT.c.id), 0)).scalar_subquery(), Integer).label("version"),
        cast(null(), UtcDateTime()).label("received_at"),
        cast(null(), String).label("evidence"),
        *(_column(name, counts) for name in _TYPES),
    )


def _column(name: str, columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    # a NULL has to say its type: of two branches with NULL PostgreSQL would make text
    return columns.get(name, cast(null(), _TYPES[name])).label(name)


_STATEMENT: Final = FixedStatement("heard_about", lambda on_postgresql: union_all(*_branches(on_postgresql)))
