"""Which days people of the state work, as data: one TOML file for each year in config/calendar.

Weekends are Saturday and Sunday. A year without a file has nothing but its weekends: `covers` says so.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigurationError

_SATURDAY: Final = 5
_ONE_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayOff:
    """A holiday, or a working day off in place of one. `proven` False: the day is our reading, not the act's."""

    day: dt.date
    name: str
    proven: bool


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """Days off by date, weekends that are worked, and the years that somebody has written down."""

    days_off: Mapping[dt.date, DayOff] = field(default_factory=dict)
    worked_weekends: frozenset[dt.date] = frozenset()
    years: frozenset[int] = frozenset()

    def covers(self, year: int) -> bool:
        """Whether the holidays of that year are known."""
        return year in self.years

    def is_working(self, day: dt.date) -> bool:
        if day in self.worked_weekends:
            return True
        return day.weekday() < _SATURDAY and day not in self.days_off

    def next_working(self, day: dt.date) -> dt.date:
        """That day, or the first working day after it."""
        while not self.is_working(day):
            day += _ONE_DAY
        return day


def load_working_calendar(folder: Path) -> WorkingCalendar:
    """Every `YYYY.toml` of the folder. Raises ConfigurationError naming file and key."""
    days_off: dict[dt.date, DayOff] = {}
    worked: set[dt.date] = set()
    years = set()
    for file in sorted(folder.glob("[0-9][0-9][0-9][0-9].toml")):
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"cannot be read: {error}", file=str(file)) from None
        year = int(file.stem)
        for table in values.pop("day_off", []):
            one = _day_off(table, year, file)
            days_off[one.day] = one
        worked.update(_day(day, year, file, "worked_weekends") for day in values.pop("worked_weekends", []))
        for key in values:
            raise ConfigurationError(
                "is not a key of a calendar; see docs/reference/schedules.md", file=str(file), key=key
            )
        years.add(year)
    return WorkingCalendar(days_off, frozenset(worked), frozenset(years))


def _day_off(table: Any, year: int, file: Path) -> DayOff:
    if not isinstance(table, dict) or set(table) != {"day", "name", "proven"}:
        raise ConfigurationError("a day off has day, name and proven", file=str(file), key="day_off")
    name, proven = table["name"], table["proven"]
    if not isinstance(name, str) or not isinstance(proven, bool):
        raise ConfigurationError("name is a text, proven is true or false", file=str(file), key="day_off")
    return DayOff(_day(table["day"], year, file, "day_off.day"), name, proven)


def _day(value: Any, year: int, file: Path, key: str) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime) or value.year != year:
        raise ConfigurationError(f"is a date of {year}, for example {year}-01-01", file=str(file), key=key)
    return value
