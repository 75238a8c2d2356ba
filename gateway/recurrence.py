"""When something recurs: a small language, and the moments that it means. Pure; civil time is Kazakhstan's.

every 300 s · every 5 min · every 6 h       multiples of that time since 1970-01-01T00:00Z, the same in every process
daily 03:15 · daily 09:00 15:00             once or several times a day
monthly 5 03:15 · monthly last 03:15        a day after the month's last one is the last one
every 14 days from 2026-01-05 03:15         counted from that day
cron 15 3 * * 1-5                           minute hour day month weekday, as crontab(5)
never                                       by hand only
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from gateway.working_days import WorkingCalendar

CIVIL_TIME: Final = ZoneInfo("Asia/Almaty")
#: no job is so urgent, and what is missed over a year is still counted in a moment
SHORTEST_INTERVAL_S: Final = 10
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ONE_DAY: Final = dt.timedelta(days=1)
#: longer than any pause between two days of a calendar rule (29 February) and of any run of holidays
_HORIZON_DAYS: Final = 9 * 366
_LONGEST_HOLIDAY_DAYS: Final = 31
_WEEKENDS_ONLY: Final = WorkingCalendar()
_UNITS: Final = {"s": 1, "min": 60, "h": 3_600}
_INTERVAL: Final = re.compile(r"every ([1-9][0-9]{0,6}) (s|min|h)")
_DAYS: Final = re.compile(r"every ([1-9][0-9]{0,3}) days? from ([0-9]{4}-[0-9]{2}-[0-9]{2}) (.+)")
_MONTHLY: Final = re.compile(r"monthly ([1-9][0-9]?|last) (.+)")
_CRON_PART: Final = re.compile(r"(\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([1-9][0-9]?))?")


class OnHoliday(StrEnum):
    """What a day off does to a run that falls on it. Only rules made of days know days off."""

    RUN = "run"
    SKIP = "skip"
    #: at the same time of the next working day; runs that meet there are one
    NEXT_WORKING_DAY = "next_working_day"


class Recurrence(Protocol):
    """Moments in UTC, in order, each once."""

    def between(self, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
        """Every moment m with after < m <= until."""
        ...

    def next_after(self, after: dt.datetime) -> dt.datetime | None:
        """The first moment later than `after`; None when there is none within nine years."""
        ...


@dataclass(frozen=True, slots=True)
class Never:
    """Nothing recurs."""

    def between(self, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:  # noqa: ARG002
        return iter(())

    def next_after(self, after: dt.datetime) -> dt.datetime | None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class Interval:
    """Multiples of a time since the epoch, so that every process of a fleet means the same moments."""

    every_s: int

    def between(self, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
        moment = self.next_after(after)
        while moment <= until:
            yield moment
            moment += dt.timedelta(seconds=self.every_s)

    def next_after(self, after: dt.datetime) -> dt.datetime:
        return _EPOCH + ((after - _EPOCH) // dt.timedelta(seconds=self.every_s) + 1) * dt.timedelta(
            seconds=self.every_s
        )


@dataclass(frozen=True, slots=True)
class OnDays:
    """The same times of day on every day that `falls_on` says, with days off as `on_holiday` says."""

    falls_on: Callable[[dt.date], bool]
    times: tuple[dt.time, ...]
    on_holiday: OnHoliday = OnHoliday.RUN
    calendar: WorkingCalendar = _WEEKENDS_ONLY

    def between(self, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
        day, last = after.astimezone(CIVIL_TIME).date(), until.astimezone(CIVIL_TIME).date()
        while day <= last:
            if self._runs_on(day):
                for time in self.times:
                    moment = dt.datetime.combine(day, time, CIVIL_TIME).astimezone(dt.UTC)
                    if after < moment <= until:
                        yield moment
            day += _ONE_DAY

    def next_after(self, after: dt.datetime) -> dt.datetime | None:
        return next(self.between(after, after + dt.timedelta(days=_HORIZON_DAYS)), None)

    def _runs_on(self, day: dt.date) -> bool:
        if self.on_holiday is OnHoliday.RUN:
            return self.falls_on(day)
        if not self.calendar.is_working(day):
            return False
        if self.falls_on(day):
            return True
        if self.on_holiday is OnHoliday.SKIP:
            return False
        # the days off straight before this one: what fell on them runs today
        for back in range(1, _LONGEST_HOLIDAY_DAYS + 1):
            earlier = day - back * _ONE_DAY
            if self.calendar.is_working(earlier):
                return False
            if self.falls_on(earlier):
                return True
        return False


def parse_recurrence(text: str, *, on_holiday: OnHoliday, calendar: WorkingCalendar) -> Recurrence:
    """The rule that `text` means. Raises ValueError that says what to write."""
    rule = " ".join(text.split())
    if rule == "never":
        return Never()
    if interval := _INTERVAL.fullmatch(rule):
        every_s = int(interval[1]) * _UNITS[interval[2]]
        if every_s < SHORTEST_INTERVAL_S:
            raise ValueError(f"nothing recurs faster than every {SHORTEST_INTERVAL_S} s")
        if on_holiday is not OnHoliday.RUN:
            raise ValueError('an interval knows no days off; write a rule of days, or on_holiday = "run"')
        return Interval(every_s)
    falls_on, times = _days(rule)
    return OnDays(falls_on, times, on_holiday, calendar)


def _days(rule: str) -> tuple[Callable[[dt.date], bool], tuple[dt.time, ...]]:
    if rule.startswith("daily "):
        return (lambda _: True), _times(rule.removeprefix("daily "))
    if monthly := _MONTHLY.fullmatch(rule):
        wanted = 31 if monthly[1] == "last" else int(monthly[1])
        if wanted > 31:
            raise ValueError("a month has 31 days at most")
        return (lambda day: day.day == min(wanted, calendar.monthrange(day.year, day.month)[1])), _times(monthly[2])
    if days := _DAYS.fullmatch(rule):
        every, start = int(days[1]), _date(days[2])
        return (lambda day: day >= start and (day - start).days % every == 0), _times(days[3])
    if rule.startswith("cron "):
        return _cron(rule.removeprefix("cron "))
    raise ValueError(
        "write one of: every 300 s; daily 03:15; monthly 5 03:15; monthly last 03:15; "
        "every 14 days from 2026-01-05 03:15; cron 15 3 * * 1-5; never"
    )


def _times(text: str) -> tuple[dt.time, ...]:
    found = set()
    for part in text.split(" "):
        if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", part):
            raise ValueError(f"{part!r} is not a time of day such as 03:15")
        found.add(dt.time.fromisoformat(part))
    return tuple(sorted(found))


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a day of the calendar") from None


def _cron(text: str) -> tuple[Callable[[dt.date], bool], tuple[dt.time, ...]]:
    fields = text.split(" ")
    if len(fields) != 5:
        raise ValueError("cron has five fields: minute hour day month weekday")
    bounds = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
    minutes, hours, days, months, weekdays = (
        _cron_field(field, name, least, most) for field, (name, least, most) in zip(fields, bounds, strict=True)
    )
    weekdays = {weekday % 7 for weekday in weekdays}  # 0 and 7 are Sunday
    # crontab(5): when both day and weekday are restricted, either is enough
    either = not fields[2].startswith("*") and not fields[4].startswith("*")

    def falls_on(day: dt.date) -> bool:
        on_day, on_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        return day.month in months and ((on_day or on_weekday) if either else (on_day and on_weekday))

    return falls_on, tuple(dt.time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes))


def _cron_field(field: str, name: str, least: int, most: int) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        match = _CRON_PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not a {name} of cron: write *, a number, 1-5 or */15, joined by commas")
        everything, first, last, stride = match.groups()
        start = least if everything == "*" else int(first)
        end = most if everything == "*" or (stride and not last) else int(last or first)
        if not least <= start <= end <= most:
            raise ValueError(f"{part!r} is outside of {name} {least}-{most}")
        values.update(range(start, end + 1, int(stride or 1)))
    return values
