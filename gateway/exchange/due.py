"""Which person is due to be asked about at which register: the pure rule, and the table of what it said.

A row is a wish. While a question that came of it is on its way the row names that question and is not due, so that a
wish is neither lost nor asked twice at once; when the question ends, the row gets its next time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Integer,
    and_,
    bindparam,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningUpdate

from gateway.database import UtcDateTime, as_records
from gateway.exchange.tables import DUE
from gateway.model import Iin
from gateway.prepared import Prepared
from gateway.shep.dates import ALMATY
from gateway.statements import FixedStatement, is_among
from gateway.systems.definition import Retry

#: after the attempts of system.toml a register is asked about this person once a day
_LONGEST_RETRY_DELAY: Final = dt.timedelta(days=1)
#: longer than making questions of the rows taken at once can take
LEASE: Final = dt.timedelta(minutes=2)


class Reason(StrEnum):
    #: never asked yet
    WANTED = "wanted"
    #: what we know is as old as system.toml allows
    REFRESH = "refresh"
    #: the person's standing changes on that day
    STANDING = "standing"
    #: the last attempts brought no answer
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Due:
    """One person at one register."""

    iin: Iin = field(repr=False)
    system: str
    due_at: dt.datetime
    reason: Reason
    #: questions in a row without an answer
    failures: int = 0
    #: who took it, with `take_due`
    holder: str = ""


# ---------------------------------------------------------------- the rule (pure)


def next_due(
    *, refresh_days: int, answered_at: dt.datetime, next_change: dt.date | None = None
) -> tuple[dt.datetime, Reason]:
    """When to ask again after an answer: when it gets too old, or on the day the standing changes if that is earlier.

    `next_change` is a day of Kazakhstan's civil calendar; one that is not later than the answer changes nothing.
    """
    refresh = answered_at + dt.timedelta(days=refresh_days)
    if next_change is not None:
        change = dt.datetime.combine(next_change, dt.time(), ALMATY).astimezone(dt.UTC)
        if answered_at < change < refresh:
            return change, Reason.STANDING
    return refresh, Reason.REFRESH


def retry_at(retry: Retry, *, failures: int, now: dt.datetime) -> dt.datetime:
    """When to ask again after `failures` attempts in a row without an answer (at least one)."""
    if failures >= retry.attempts:
        return now + _LONGEST_RETRY_DELAY
    delay_s = retry.first_delay_s * retry.factor ** (failures - 1)
    return now + min(dt.timedelta(seconds=min(delay_s, 86_400.0)), _LONGEST_RETRY_DELAY)


# ---------------------------------------------------------------- the table


def want(connection: Connection, iin: Iin, system: str, *, at: dt.datetime) -> None:
    """Have the register asked about the person from `at` on; a row that is there already stays as it is."""
    wanted = _insert(connection.dialect.name).on_conflict_do_nothing()
    connection.execute(wanted, _values(Due(iin, system, at, Reason.WANTED)))


def put(connection: Connection, due: Due) -> None:
    """Write when the person is due next; whoever holds the row lets it go, and no question is on its way any more."""
    put_all(connection, [due])


def put_all(connection: Connection, dues: Sequence[Due]) -> None:
    """`put` for several rows."""
    if not dues:
        return
    # in one order, or two transactions would wait for each other
    values = [_values(due) for due in sorted(dues, key=lambda one: (one.iin.value, one.system))]
    if connection.dialect.name == "postgresql":
        _PUT_RECORDS.run(connection, as_records(values))
    else:
        connection.execute(_PUT, values)


_WRITTEN: Final = ("due_at", "reason", "failures", "leased_until", "lease_holder", "message_id")
_inserted: Final = sqlite.insert(DUE)
_PUT: Final = _inserted.on_conflict_do_update(
    index_elements=[DUE.c.iin, DUE.c.system], set_={name: _inserted.excluded[name] for name in _WRITTEN}
)
_COLUMNS: Final = ", ".join(("iin", "system", *_WRITTEN))
_PUT_RECORDS: Final = Prepared(
    "due_put",
    f"""
INSERT INTO due ({_COLUMNS}) SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::due, $1::jsonb)
ON CONFLICT (iin, system) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _WRITTEN)}
""",  # noqa: S608 - made of names of our own
)


def _insert(dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(DUE) if dialect == "postgresql" else sqlite.insert(DUE)


def _values(due: Due) -> dict[str, Any]:
    return {
        "iin": due.iin.value,
        "system": due.system,
        "due_at": due.due_at,
        "reason": due.reason,
        "failures": due.failures,
        "leased_until": None,
        "lease_holder": "",
        "message_id": None,
    }


def take_due(
    connection: Connection,
    now: dt.datetime,
    limit: int,
    *,
    holder: str = "",
    lease: dt.timedelta = LEASE,
    without: Collection[str] = (),
) -> tuple[Due, ...]:
    """Take at most `limit` rows that are due, the longest due first, and hold them for `lease`.

    Two programs on one database never get the same row; a row whose holder died comes back when its lease ends. Rows
    of the systems `without` are passed over.
    """
    rows = _TAKE.run(connection, now=now, most=limit, until=now + lease, holder=holder, without=list(without))
    taken = [Due(Iin(row[0]), row[1], row[2], Reason(row[3]), row[4], holder) for row in rows]
    return tuple(sorted(taken, key=lambda due: (due.due_at, due.iin.value, due.system)))


def _taking(on_postgresql: bool) -> ReturningUpdate[Any]:
    chosen = (
        select(DUE.c.iin, DUE.c.system)
        .where(
            DUE.c.due_at <= bindparam("now", type_=UtcDateTime()),
            DUE.c.message_id.is_(None),
            or_(DUE.c.leased_until.is_(None), DUE.c.leased_until <= bindparam("now", type_=UtcDateTime())),
            not_(is_among(on_postgresql, DUE.c.system, "without")),
        )
        .order_by(DUE.c.due_at, DUE.c.iin, DUE.c.system)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return (
        update(DUE)
        .where(DUE.c.iin == chosen.c.iin, DUE.c.system == chosen.c.system)
        .values(leased_until=bindparam("until", type_=UtcDateTime()), lease_holder=bindparam("holder"))
        .returning(DUE.c.iin, DUE.c.system, DUE.c.due_at, DUE.c.reason, DUE.c.failures)
    )


_TAKE: Final = FixedStatement("due_take", _taking)


def link(connection: Connection, due: Due, message_id: str) -> bool:
    """Name the question that was made of a row; in the transaction that stores the question. False: the row was taken
    by somebody else meanwhile, or another question is on its way; then nothing must be sent."""
    return link_all(connection, [(due, message_id)])


def link_all(connection: Connection, questions: Sequence[tuple[Due, str]]) -> bool:
    """`link` for several rows. False: one at least was taken by somebody else; let the transaction roll back."""
    values = [
        {"this_iin": due.iin.value, "this_system": due.system, "this_holder": due.holder, "question": message_id}
        for due, message_id in questions
    ]
    if connection.dialect.name == "postgresql":
        linked = len(_LINK_RECORDS.run(connection, as_records(values)))
    else:
        linked = sum(connection.execute(_LINK, one).rowcount for one in values)
    return linked == len(values)


_LINKED: Final = """
UPDATE due SET message_id = {this}question, leased_until = NULL, lease_holder = ''
"""
_FREE_TO_ASK: Final = """
    due.iin = {this}this_iin AND due.system = {this}this_system AND due.message_id IS NULL
    AND due.leased_until IS NOT NULL AND due.lease_holder = {this}this_holder
"""
_LINK: Final = text(f"{_LINKED} WHERE {_FREE_TO_ASK}".format(this=":"))
_LINK_RECORDS: Final = Prepared(
    "due_link",
    _LINKED.format(this="wish.")
    + """
FROM jsonb_to_recordset($1::jsonb) AS wish(this_iin text, this_system text, this_holder text, question text)
WHERE """
    + _FREE_TO_ASK.format(this="wish.")
    + " RETURNING 1",
)


def put_off(connection: Connection, iin: Iin, system: str, *, message_id: str, retry: Retry, now: dt.datetime) -> None:
    """The question ended without an answer: a new one is due by the rule of system.toml. Nothing happens when the row
    names another question, or none."""
    row = and_(DUE.c.iin == iin.value, DUE.c.system == system, DUE.c.message_id == message_id)
    failures = connection.execute(select(DUE.c.failures).where(row).with_for_update()).scalar()
    if failures is not None:
        at = retry_at(retry, failures=failures + 1, now=now)
        put(connection, Due(iin, system, at, Reason.RETRY, failures + 1))


def give_back(connection: Connection, due: Due, *, retry: Retry, now: dt.datetime) -> None:
    """No question could be made of a row that was taken: it is due again by the rule of system.toml."""
    at = retry_at(retry, failures=due.failures + 1, now=now)
    connection.execute(
        update(DUE)
        .where(and_(DUE.c.iin == due.iin.value, DUE.c.system == due.system, DUE.c.lease_holder == due.holder))
        .values(due_at=at, reason=Reason.RETRY, failures=due.failures + 1, leased_until=None, lease_holder="")
    )


def let_go(connection: Connection, dues: Sequence[Due]) -> None:
    """Rows that were taken and not worked on are due as before."""
    for due in dues:
        connection.execute(
            update(DUE)
            .where(and_(DUE.c.iin == due.iin.value, DUE.c.system == due.system, DUE.c.lease_holder == due.holder))
            .values(leased_until=None, lease_holder="")
        )


def bring_forward(connection: Connection, system: str, *, at: dt.datetime) -> int:
    """Have everyone of whom the register was asked already asked about again from `at` on; how many that are."""
    result = connection.execute(
        update(DUE)
        .where(DUE.c.system == system, DUE.c.due_at > at, DUE.c.failures == 0)
        .values(due_at=at, reason=Reason.REFRESH.value)
    )
    return result.rowcount


def question_of(connection: Connection, iin: Iin, system: str) -> str | None:
    """The question about the person that is on its way to the register."""
    return connection.execute(select(DUE.c.message_id).where(DUE.c.iin == iin.value, DUE.c.system == system)).scalar()


def claim(connection: Connection, iin: Iin, system: str, message_id: str) -> None:
    """A question that a person sends again is on its way: no other is made of the row meanwhile."""
    connection.execute(
        update(DUE)
        .where(DUE.c.iin == iin.value, DUE.c.system == system, DUE.c.message_id.is_(None))
        .values(message_id=message_id, leased_until=None, lease_holder="")
    )
