"""The calendar that comes with the program, and what is refused in one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gateway import resources
from gateway.errors import ConfigurationError
from gateway.working_days import load_working_calendar


def test_the_shipped_calendar_makes_up_for_holidays_on_weekends() -> None:
    calendar = load_working_calendar(resources.path("config/calendar"))
    assert calendar.covers(2026)
    assert not calendar.covers(1999)
    # Nauryz 2026 takes Saturday to Monday, and its two days of the weekend are made up for
    off = [day for day in range(16, 31) if not calendar.is_working(dt.date(2026, 3, day))]
    assert off == [21, 22, 23, 24, 25, 28, 29]
    assert calendar.next_working(dt.date(2026, 3, 21)) == dt.date(2026, 3, 26)
    assert calendar.next_working(dt.date(2026, 3, 26)) == dt.date(2026, 3, 26)


def test_a_day_off_in_place_of_another_is_a_weekday_and_is_marked_as_our_reading() -> None:
    calendar = load_working_calendar(resources.path("config/calendar"))
    instead = [one for one in calendar.days_off.values() if one.name.startswith("in place of")]
    assert instead
    assert all(one.day.weekday() < 5 and not one.proven for one in instead)


def test_a_weekend_that_is_worked_is_a_working_day(tmp_path: Path) -> None:
    (tmp_path / "2026.toml").write_text("worked_weekends = [2026-01-10]\n")
    calendar = load_working_calendar(tmp_path)
    assert calendar.is_working(dt.date(2026, 1, 10))
    assert not calendar.is_working(dt.date(2026, 1, 11))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("worked_weekend = []", "worked_weekend"),
        ("worked_weekends = [2025-01-10]", "worked_weekends"),
        ("worked_weekends = [1]", "worked_weekends"),
        ("[[day_off]]\nday = 2026-01-01\nname = 'x'", "day_off"),
        ("[[day_off]]\nday = 2026-01-01\nname = 'x'\nproven = 'yes'", "day_off"),
        ("[[day_off]]\nday = 2026-01-01T00:00:00\nname = 'x'\nproven = true", "day_off.day"),
        ("[[day_off", ""),
    ],
)
def test_a_wrong_calendar_is_named_by_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "2026.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_working_calendar(tmp_path)
    assert (refused.value.file, refused.value.key) == (str(file), key)
