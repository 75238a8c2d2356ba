"""When each list last came, and whether it should have come again by now (R-04). An alert, never a failure of p.13."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection, and_, func, or_, select

from gateway.model import Citation
from gateway.registry.feeds import overdue
from gateway.registry.imports.feeds import RecordKind, Scope, feeds_of
from gateway.registry.spans import DayLaw
from gateway.registry.tables import IMPORT
from gateway.regulation.law import Frequency, Law

_LOG: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FeedAge:
    """One feed as it stands at a moment."""

    feed: str
    frequency: Frequency
    cites: tuple[Citation, ...]
    last_received: dt.datetime | None
    """None: it never came, so nothing says that it should have come again."""
    age_s: float | None
    overdue: bool


def feed_ages(connection: Connection, now: dt.datetime, law: Law) -> tuple[FeedAge, ...]:
    """Every feed that the Fund can see, in the order of gateway.registry.imports.feeds. Raises EditionNotInForce.

    Of the bodies of p.62 only full submissions count: p.63 wants all staff once in fourteen days, and a change (p.65)
    is none.
    """
    today = law.local_day(now)
    day_law = DayLaw.on(law, today)
    feeds = feeds_of(law)
    full_only = [feed.name for feed in feeds.values() if feed.kind is RecordKind.MILITARY]
    counts = or_(IMPORT.c.feed.not_in(full_only), and_(IMPORT.c.feed.in_(full_only), IMPORT.c.scope == Scope.FULL))
    query = (
        select(IMPORT.c.feed, func.max(IMPORT.c.received_at))
        .where(IMPORT.c.received_at <= now, counts)
        .group_by(IMPORT.c.feed)
    )
    last: dict[str, dt.datetime] = {row[0]: row[1] for row in connection.execute(query)}
    ages = []
    for feed in feeds.values():
        watched = law.feeds[feed.watched_as]
        came = last.get(feed.name)
        late = came is not None and overdue(watched, last_received=law.local_day(came), now=today, law=day_law)
        age_s = None if came is None else (now - came).total_seconds()
        ages.append(FeedAge(feed.name, watched.frequency, watched.cites, came, age_s, late))
    return tuple(ages)


def warn_of_overdue(ages: Iterable[FeedAge]) -> None:
    """One line of the log for each feed that is overdue."""
    for age in ages:
        if age.overdue and age.last_received is not None:
            _LOG.warning(
                "registry",
                action="feed_overdue",
                feed=age.feed,
                frequency=age.frequency.value,
                last_received=age.last_received.isoformat(),
            )
