"""How much each caller may ask, in a minute and in a day. The counters stand in the database: one for the whole fleet.

They are read before a group of requests is answered and raised in the transaction that journals the answers, so a
caller can be ahead of its quota by the groups that are in hand at one moment, and by no more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from gateway.exchange.refusals import NamedRefusal, shown_id
from gateway.exchange.tables import QUOTA
from gateway.shep.dates import ALMATY
from gateway.shep.faults import FaultCode

#: counters of periods that ended that long ago are of no use to anybody
KEPT: Final = dt.timedelta(days=8)
_SENDER_WIDTH: Final = 256
#: counters that are remembered to have been warned of
_MOST_WARNED: Final = 10_000
_LOG: Final = structlog.get_logger()


class Period(StrEnum):
    MINUTE = "minute"
    #: a calendar day of Kazakhstan
    DAY = "day"


class Counter(NamedTuple):
    """One row: the requests of a sender in one period."""

    sender: str
    period: str
    starts_at: dt.datetime


class Verdict(StrEnum):
    WITHIN = "within"
    #: let through; the operator should know before the caller is blocked
    NEARLY_USED = "nearly_used"
    USED_UP = "used_up"


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests that are answered; 0: as many as come."""

    per_minute: int = 0
    per_day: int = 0


@dataclass(frozen=True, slots=True)
class Quotas:
    """What the operator allows: to each sender, or to those without a word of their own."""

    default: Limits = Limits()
    by_sender: Mapping[str, Limits] = field(default_factory=lambda: MappingProxyType({}))
    #: share of a quota from which on it is nearly used up
    warn_at: float = 0.8

    def counters(self, sender: str, at: dt.datetime) -> tuple[tuple[Counter, int], ...]:
        """The counters that a request of `sender` at `at` falls into, each with its limit."""
        limits = self.by_sender.get(sender, self.default)
        name = sender[:_SENDER_WIDTH]
        found = []
        if limits.per_minute:
            found.append((Counter(name, Period.MINUTE, at.replace(second=0, microsecond=0)), limits.per_minute))
        if limits.per_day:
            day = at.astimezone(ALMATY).replace(hour=0, minute=0, second=0, microsecond=0)
            found.append((Counter(name, Period.DAY, day.astimezone(dt.UTC)), limits.per_day))
        return tuple(found)

    def judge(self, used: int, limit: int) -> Verdict:
        """What one more request is, when `used` of `limit` are gone. Pure."""
        if used >= limit:
            return Verdict.USED_UP
        return Verdict.NEARLY_USED if used + 1 > limit * self.warn_at else Verdict.WITHIN


#: everybody may ask as much as the machine can do
UNLIMITED: Final = Quotas()


def used_up(counter: Counter, limit: int) -> NamedRefusal:
    """The refusal of a caller whose quota is gone."""
    text = f"the quota of {limit} requests a {counter.period} is used up; ask again in the next {counter.period}"
    return NamedRefusal(FaultCode.SERVICE_UNAVAILABLE, text, "quota_used_up")


class Meter:
    """Judges requests by the quotas, on whichever channel they came; of each counter that is nearly used up the log is
    told once. Safe to use from several threads."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._warned: set[Counter] = set()

    def counts(self, sender: str, at: dt.datetime) -> bool:
        """Whether a request of `sender` falls under any quota."""
        return bool(self._quotas.counters(sender, at))

    def judge(
        self, connection: Connection, asked: Sequence[tuple[str, dt.datetime]]
    ) -> tuple[tuple[Counter, ...] | NamedRefusal, ...]:
        """For each request, by its sender and when it came: the counters to raise once it is answered, or why it is
        refused. Each is counted for those that follow it."""
        limits = [self._quotas.counters(sender, at) for sender, at in asked]
        used = read(connection, (counter for counters in limits for counter, _ in counters))
        return tuple(self._judge_one(counters, used) for counters in limits)

    def _judge_one(
        self, counters: Sequence[tuple[Counter, int]], used: dict[Counter, int]
    ) -> tuple[Counter, ...] | NamedRefusal:
        judged = [(counter, limit, self._quotas.judge(used[counter], limit)) for counter, limit in counters]
        for counter, limit, verdict in judged:
            if verdict is Verdict.USED_UP:
                return used_up(counter, limit)
        for counter, limit, verdict in judged:
            used[counter] += 1
            if verdict is Verdict.NEARLY_USED:
                self._warn(counter, used[counter], limit)
        return tuple(counter for counter, _ in counters)

    def _warn(self, counter: Counter, used: int, limit: int) -> None:
        if counter in self._warned:
            return
        if len(self._warned) > _MOST_WARNED:
            self._warned.clear()
        self._warned.add(counter)
        _LOG.warning(
            "quota",
            action="nearly_used",
            sender=shown_id(counter.sender),
            period=counter.period,
            used=used,
            limit=limit,
        )


def read(connection: Connection, counters: Iterable[Counter]) -> dict[Counter, int]:
    """How much is used; 0 where nothing was asked yet."""
    wanted = list(dict.fromkeys(counters))
    found = dict.fromkeys(wanted, 0)
    if wanted:
        columns = (QUOTA.c.sender, QUOTA.c.period, QUOTA.c.starts_at)
        for sender, period, starts_at, count in connection.execute(
            select(*columns, QUOTA.c.count).where(tuple_(*columns).in_(wanted))
        ):
            found[Counter(sender, period, starts_at)] = count
    return found


def add(connection: Connection, used: Mapping[Counter, int]) -> None:
    """Raise the counters. Locks their rows until the transaction ends: call it shortly before the journal's append."""
    if not used:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # one order for all, so that two groups never wait for each other crosswise
    rows = [{**counter._asdict(), "count": used[counter]} for counter in sorted(used)]
    statement = insert(QUOTA).values(rows)
    statement = statement.on_conflict_do_update(
        index_elements=[QUOTA.c.sender, QUOTA.c.period, QUOTA.c.starts_at],
        set_={"count": QUOTA.c.count + statement.excluded.count},
    )
    connection.execute(statement)


def forget(connection: Connection, *, at: dt.datetime) -> int:
    """Remove counters of periods that are long over; how many went."""
    return connection.execute(delete(QUOTA).where(QUOTA.c.starts_at < at - KEPT)).rowcount
