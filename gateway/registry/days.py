"""The calendar of the Rules: months run from a day to the corresponding day (REGISTRY.md 3.5). Pure."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

ONE_DAY: Final = dt.timedelta(days=1)
_MONTHS_IN_YEAR: Final = 12


def add_months(day: dt.date, months: int) -> dt.date:
    """The corresponding date `months` later, clipped to the last day of a month that has no such date (A-05, A-06)."""
    years, month_index = divmod(day.month - 1 + months, _MONTHS_IN_YEAR)
    year, month = day.year + years, month_index + 1
    return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def month_of(day: dt.date) -> int:
    """The calendar month of a day as one number (gateway.registry.facts.Month)."""
    return day.year * _MONTHS_IN_YEAR + day.month - 1


def first_day(month: int) -> dt.date:
    return dt.date(month // _MONTHS_IN_YEAR, month % _MONTHS_IN_YEAR + 1, 1)


def last_day(month: int) -> dt.date:
    return first_day(month + 1) - ONE_DAY


def end_of_month(day: dt.date) -> dt.date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def birthday(birth: dt.date, years: int) -> dt.date:
    """The day on which `years` are reached. Whoever is born on 29 February reaches them on the 28th of a shorter year
    (A-06; the Rules are silent, A-43)."""
    return add_months(birth, years * _MONTHS_IN_YEAR)


def known_by_default(as_of: dt.date, now: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """R-81: what was known at the end of the day asked about; for today and later days, what is known now."""
    end_of_day = dt.datetime.combine(as_of + ONE_DAY, dt.time(), zone) - dt.timedelta(microseconds=1)
    return min(now, end_of_day)
