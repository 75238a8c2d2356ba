"""Which person is due to be asked about at which register: the pure rule, and the table of what it said."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.exchange.tables import DUE
from gateway.model import Iin
from gateway.shep.dates import ALMATY
from gateway.systems import Retry

#: after the attempts of system.toml a register is asked about this person once a day
_LONGEST_RETRY_DELAY: Final = dt.timedelta(days=1)
#: longer than any exchange can take (connect and reply timeouts together stay below eleven minutes)
LEASE: Final = dt.timedelta(minutes=15)


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
    #: attempts in a row without an answer
    failures: int = 0


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
    connection.execute(_insert(connection, Due(iin, system, at, Reason.WANTED)).on_conflict_do_nothing())


def put(connection: Connection, due: Due) -> None:
    """Write when the person is due next; whoever holds the row lets it go."""
    statement = _insert(connection, due)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[DUE.c.iin, DUE.c.system],
            set_={name: statement.excluded[name] for name in ("due_at", "reason", "failures", "leased_until")},
        )
    )


def _insert(connection: Connection, due: Due) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(DUE).values(
        iin=due.iin.value,
        system=due.system,
        due_at=due.due_at,
        reason=due.reason,
        failures=due.failures,
        leased_until=None,
    )


def take_due(connection: Connection, now: dt.datetime, limit: int, *, lease: dt.timedelta = LEASE) -> tuple[Due, ...]:
    """Take at most `limit` rows that are due, the longest due first, and hold them for `lease`.

    Two programs on one database never get the same row; a row whose holder died comes back when its lease ends.
    """
    free = or_(DUE.c.leased_until.is_(None), DUE.c.leased_until <= now)
    rows = connection.execute(
        select(DUE)
        .where(DUE.c.due_at <= now, free)
        .order_by(DUE.c.due_at, DUE.c.iin, DUE.c.system)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).mappings()
    taken = tuple(
        Due(Iin(row["iin"]), row["system"], row["due_at"], Reason(row["reason"]), row["failures"]) for row in rows
    )
    if taken:
        keys = [(due.iin.value, due.system) for due in taken]
        connection.execute(
            update(DUE).where(tuple_(DUE.c.iin, DUE.c.system).in_(keys)).values(leased_until=now + lease)
        )
    return taken
