"""The first answers about people whose facts differ in nothing that the rules look at: computed once for all of them.

Of most people the registry knows one record of one category and nothing else. While no stop and no failure is declared,
the day of assignment of such a record does not matter once it has come; so those who have the same category from the
same source and list, and the same removal, are one class. The rules compute the answer of one of each class, and the
store copies it to the others. Only people without an answer are filled in this way: the others have one that may have
to be kept as history (gateway.registry.cached).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
)

from gateway.registry.cached import grounds_of, put_grounds, row_of
from gateway.registry.people import ABOUT_PEOPLE, Country, facts_about
from gateway.registry.standing import standing
from gateway.registry.tables import CATEGORY_RECORD, STANDING, STANDING_TOUCHED
from gateway.regulation.law import Law

#: people looked at in one transaction
PAGE: Final = 50_000
#: of fewer each is computed alone
WORTH_IT: Final = 500
#: what makes two records the same to the rules; the day of assignment is not among it
_CLASS: Final = (
    "category",
    "assigned_source",
    "removed_date",
    "removed_source",
    "removed_reason",
    "import_id",
    "received_at",
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """People with numbers in (`after`, `last`]."""

    after: str
    last: str

    def holds(self, iin: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(iin > self.after, iin <= self.last)


def next_stretch(connection: Connection, after: str, country: Country) -> Stretch | None:
    """The next people many of whom wait for their first answer; None: nowhere, or each life has to be looked at."""
    if country.state_stops or country.failures:
        return None
    while True:
        # the index gives the page, and who of it waits is asked of these few: the planner thinks that nobody does, and
        # would read the whole of both tables for each page
        page = (
            select(STANDING_TOUCHED.c.iin)
            .where(STANDING_TOUCHED.c.iin > after, STANDING_TOUCHED.c.touched_at <= country.known_at)
            .order_by(STANDING_TOUCHED.c.iin)
            .limit(PAGE)
        )
        found = page.subquery()
        last = connection.execute(select(func.max(found.c.iin))).scalar_one()
        if last is None:
            return None
        stretch = Stretch(after, last)
        if (
            connection.execute(select(func.count()).select_from(_waiting(country, stretch).subquery())).scalar_one()
            >= WORTH_IT
        ):
            return stretch
        after = last


def answer_alike(
    connection: Connection, stretch: Stretch, *, as_of: dt.date, country: Country, law: Law, law_name: str
) -> int:
    """Give those people of the stretch an answer who are alike; the others wait on. Returns how many have one now."""
    waiting = _temporary("waiting", Column("iin", String(12)))
    alike = _temporary("alike", Column("iin", String(12)), Column("class", Integer()))
    answers = _temporary(
        "class_answer",
        Column("class", Integer()),
        *(Column(column.name, column.type) for column in STANDING.c if column.name != "iin"),
    )
    for table in (waiting, alike, answers):
        table.create(connection)
    # their marks are locked before their facts are read: who writes facts now waits, and marks them again
    marks = _waiting(country, stretch).with_for_update(of=STANDING_TOUCHED)
    connection.execute(insert(waiting).from_select(["iin"], marks))
    _analyze(connection, waiting)
    connection.execute(
        insert(alike).from_select(["iin", "class"], _with_class(waiting, stretch, as_of, country.known_at))
    )
    _analyze(connection, alike)
    one_of_each = select(func.min(alike.c.iin), alike.c["class"]).group_by(alike.c["class"])
    classes = {row[0]: row[1] for row in connection.execute(one_of_each)}
    rows, grounds = [], set()
    for iin, facts in facts_about(connection, sorted(classes), country, law):
        answer = standing(facts, as_of=as_of, known_at=law.local_day(country.known_at), law=law)
        why = grounds_of(answer.because, answer.readings)
        grounds.add(why)
        row = row_of(iin, answer, country.known_at, law_name, why)
        del row["iin"]
        rows.append({"class": classes[iin], **row})
    put_grounds(connection, grounds)
    if rows:
        connection.execute(insert(answers), rows)
        _copy(connection, alike, answers)
    count = connection.execute(select(func.count()).select_from(alike)).scalar_one()
    for table in (answers, alike, waiting):
        table.drop(connection)
    return int(count)


def _copy(connection: Connection, alike: Table, answers: Table) -> None:
    columns = [column.name for column in STANDING.c if column.name != "iin"]
    chosen = select(alike.c.iin, *(answers.c[name] for name in columns)).join_from(
        alike, answers, answers.c["class"] == alike.c["class"]
    )
    connection.execute(insert(STANDING).from_select(["iin", *columns], chosen.order_by(alike.c.iin)))
    connection.execute(delete(STANDING_TOUCHED).where(STANDING_TOUCHED.c.iin.in_(select(alike.c.iin))))


def _waiting(country: Country, stretch: Stretch) -> Select[Any]:
    answered = exists().where(STANDING.c.iin == STANDING_TOUCHED.c.iin, stretch.holds(STANDING.c.iin))
    return select(STANDING_TOUCHED.c.iin).where(
        stretch.holds(STANDING_TOUCHED.c.iin),
        STANDING_TOUCHED.c.touched_at <= country.known_at,
        not_(answered.correlate(STANDING_TOUCHED)),
    )


def _with_class(waiting: Table, stretch: Stretch, as_of: dt.date, known_at: dt.datetime) -> Select[Any]:
    """Those who have one record and nothing else, and of which class they are."""
    record = CATEGORY_RECORD
    other = record.alias("other")
    another_row = or_(
        other.c.category != record.c.category,
        other.c.assigned_date != record.c.assigned_date,
        other.c.version != record.c.version,
    )
    nothing_else = [_nobody(other, record, stretch, another_row)]
    nothing_else += [_nobody(table, record, stretch) for table in ABOUT_PEOPLE if table is not record]
    return (
        select(record.c.iin, func.dense_rank().over(order_by=[record.c[name] for name in _CLASS]))
        .join_from(waiting, record, record.c.iin == waiting.c.iin)
        .where(stretch.holds(record.c.iin), record.c.assigned_date <= as_of, record.c.received_at <= known_at)
        .where(*nothing_else)
    )


def _nobody(
    table: FromClause, record: Table, stretch: Stretch, *conditions: ColumnElement[bool]
) -> ColumnElement[bool]:
    # the stretch is said of every table, so that each is read once and in order
    same_person = (table.c.iin == record.c.iin, stretch.holds(table.c.iin))
    return not_(exists().select_from(table).where(*same_person, *conditions).correlate(record))


def _temporary(name: str, *columns: Column[Any]) -> Table:
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"])


def _analyze(connection: Connection, table: Table) -> None:
    connection.execute(text(f"ANALYZE {'' if connection.dialect.name == 'postgresql' else 'temp.'}{table.name}"))
