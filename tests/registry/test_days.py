"""The calendar of the Rules."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registry.days import add_months, birthday, end_of_month, known_by_default

day = dt.date.fromisoformat
ALMATY = ZoneInfo("Asia/Almaty")


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-06-15", 3, "2026-09-15"),
        ("2026-11-30", 3, "2027-02-28"),
        ("2027-11-30", 3, "2028-02-29"),
        ("2026-03-31", 3, "2026-06-30"),
        ("2026-12-31", 1, "2027-01-31"),
        ("2026-02-28", 12, "2027-02-28"),
        ("2026-05-05", 0, "2026-05-05"),
    ],
)
def test_months_end_on_the_corresponding_date_or_the_last_day(start: str, months: int, end: str) -> None:
    assert add_months(day(start), months) == day(end)


@given(st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)), st.integers(0, 600))
def test_the_end_is_in_the_wanted_month_and_never_later_in_it_than_the_start(start: dt.date, months: int) -> None:
    end = add_months(start, months)
    assert (end.year - start.year) * 12 + end.month - start.month == months
    assert end.day == start.day or (end.day < start.day and end == end_of_month(end))


def test_who_is_born_on_29_february_comes_of_age_on_the_28th_of_a_shorter_year() -> None:
    assert birthday(day("2008-02-29"), 18) == day("2026-02-28")
    assert birthday(day("2008-03-14"), 18) == day("2026-03-14")


def test_a_past_day_is_answered_by_what_was_known_at_its_end() -> None:
    now = dt.datetime(2026, 5, 1, 12, tzinfo=ALMATY)
    assert known_by_default(day("2026-04-01"), now, ALMATY) == dt.datetime(
        2026, 4, 1, 23, 59, 59, 999999, tzinfo=ALMATY
    )
    assert known_by_default(day("2026-05-01"), now, ALMATY) == now
    assert known_by_default(day("2027-01-01"), now, ALMATY) == now
