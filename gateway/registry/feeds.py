"""004 p.5-6, p.17-19, p.40, p.42, p.52, p.54, p.63: by which way and how often data come, and what is left out. Pure.

R-03, R-04, R-21, R-24.
"""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from gateway.registry.days import month_of
from gateway.registry.spans import DayLaw
from gateway.regulation.law import Feed, Frequency, Law


def overdue(feed: Feed, *, last_received: dt.date, now: dt.date, law: DayLaw) -> bool:
    """R-04: whether the feed should have come by the end of `now`. An alert, never by itself a failure of p.13."""
    match feed.frequency:
        case Frequency.DAILY:
            return (now - last_received).days > law.number("daily_feed_days")
        case Frequency.MONTHLY:
            # a whole calendar month without receipt
            return month_of(now) - month_of(last_received) > 1
        case Frequency.EVERY_14_CALENDAR_DAYS:
            return (now - last_received).days > law.number("military_submission_days")
        case _:  # pragma: no cover - mypy proves it
            assert_never(feed.frequency)


def exchanged(marking: str, law: Law) -> bool:
    """R-03 (p.5): state secrets and restricted service information are not; a message so marked is refused whole."""
    return marking not in law.forbidden_markings
