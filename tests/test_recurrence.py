"""The language of schedules, and the moments that its rules mean."""

from __future__ import annotations

import datetime as dt
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recurrence import CIVIL_TIME, OnHoliday, Recurrence, parse_recurrence
from gateway.working_days import DayOff, WorkingCalendar

HOLIDAY = dt.date(2026, 3, 9)  # a Monday
CALENDAR = WorkingCalendar(
    {HOLIDAY: DayOff(HOLIDAY, "a holiday", True)}, frozenset({dt.date(2026, 3, 14)}), frozenset({2026})
)


def rule(text: str, on_holiday: OnHoliday = OnHoliday.RUN) -> Recurrence:
    return parse_recurrence(text, on_holiday=on_holiday, calendar=CALENDAR)


def civil(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=CIVIL_TIME)


def following(text: str, after: str, count: int = 3, on_holiday: OnHoliday = OnHoliday.RUN) -> list[str]:
    start = civil(after)
    found = islice(rule(text, on_holiday).between(start, start + dt.timedelta(days=4_000)), count)
    return [f"{moment.astimezone(CIVIL_TIME):%Y-%m-%d %H:%M}" for moment in found]


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("daily 03:15", "2026-06-01 03:15", ["2026-06-02 03:15", "2026-06-03 03:15", "2026-06-04 03:15"]),
        ("daily 15:00 09:00", "2026-06-01 10:00", ["2026-06-01 15:00", "2026-06-02 09:00", "2026-06-02 15:00"]),
        ("monthly 5 03:15", "2026-06-05 04:00", ["2026-07-05 03:15", "2026-08-05 03:15", "2026-09-05 03:15"]),
        ("monthly 31 03:15", "2026-01-31 04:00", ["2026-02-28 03:15", "2026-03-31 03:15", "2026-04-30 03:15"]),
        ("monthly last 03:15", "2028-01-31 04:00", ["2028-02-29 03:15", "2028-03-31 03:15", "2028-04-30 03:15"]),
        (
            "every 14 days from 2026-01-05 03:15",
            "2025-06-01 00:00",
            ["2026-01-05 03:15", "2026-01-19 03:15", "2026-02-02 03:15"],
        ),
        ("every 6 h", "2026-06-01 00:00", ["2026-06-01 05:00", "2026-06-01 11:00", "2026-06-01 17:00"]),
        ("every 5 min", "2026-06-01 00:01", ["2026-06-01 00:05", "2026-06-01 00:10", "2026-06-01 00:15"]),
        ("cron 15 3 * * 1-5", "2026-06-05 04:00", ["2026-06-08 03:15", "2026-06-09 03:15", "2026-06-10 03:15"]),
        ("cron 0 0 29 2 *", "2026-06-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("cron */30 8-9 * * *", "2026-06-01 08:00", ["2026-06-01 08:30", "2026-06-01 09:00", "2026-06-01 09:30"]),
        # crontab(5): restricted day and weekday, either is enough; 0 and 7 are Sunday
        ("cron 0 6 13 * 0", "2026-06-12 00:00", ["2026-06-13 06:00", "2026-06-14 06:00", "2026-06-21 06:00"]),
        ("cron 0 6 * * 7", "2026-06-12 00:00", ["2026-06-14 06:00", "2026-06-21 06:00", "2026-06-28 06:00"]),
        ("cron 5/20,50 0 1 1,7 *", "2026-02-01 00:00", ["2026-07-01 00:05", "2026-07-01 00:25", "2026-07-01 00:45"]),
        ("never", "2026-06-01 00:00", []),
    ],
)
def test_a_rule_means_these_moments_of_civil_time(text: str, after: str, expected: list[str]) -> None:
    assert following(text, after) == expected
    first = rule(text).next_after(civil(after))
    assert (first is None) == (not expected)
    if first is not None:
        assert f"{first.astimezone(CIVIL_TIME):%Y-%m-%d %H:%M}" == expected[0]


def test_days_off_leave_a_run_alone_drop_it_or_move_it_to_the_next_working_day() -> None:
    # Friday 6 March; the weekend; Monday is a holiday; Saturday 14 March is worked
    after, text = "2026-03-06 00:00", "daily 08:00"
    assert following(text, after, 3) == ["2026-03-06 08:00", "2026-03-07 08:00", "2026-03-08 08:00"]
    for skips in (OnHoliday.SKIP, OnHoliday.NEXT_WORKING_DAY):
        assert following(text, after, 3, skips) == ["2026-03-06 08:00", "2026-03-10 08:00", "2026-03-11 08:00"]
    assert following("daily 08:00", "2026-03-13 09:00", 1, OnHoliday.SKIP) == ["2026-03-14 08:00"]
    on_the_seventh = "monthly 7 08:00"
    assert following(on_the_seventh, after, 2, OnHoliday.SKIP) == ["2026-04-07 08:00", "2026-05-07 08:00"]
    assert following(on_the_seventh, after, 2, OnHoliday.NEXT_WORKING_DAY) == ["2026-03-10 08:00", "2026-04-07 08:00"]


def test_a_run_that_moves_over_the_turn_of_a_month_is_not_forgotten() -> None:
    # 31 January 2026 is a Saturday
    assert following("monthly last 08:00", "2026-01-30 09:00", 1, OnHoliday.NEXT_WORKING_DAY) == ["2026-02-02 08:00"]


def test_rows_of_days_off_longer_than_a_month_move_nothing() -> None:
    start = dt.date(2026, 6, 1)
    off = {day: DayOff(day, "closed", False) for day in (start + dt.timedelta(days=n) for n in range(60))}
    closed = WorkingCalendar(off, frozenset(), frozenset({2026}))
    moved = parse_recurrence("monthly 2 08:00", on_holiday=OnHoliday.NEXT_WORKING_DAY, calendar=closed)
    found = list(moved.between(civil("2026-06-01 00:00"), civil("2026-08-01 00:00")))
    assert [f"{one.astimezone(CIVIL_TIME):%m-%d}" for one in found] == ["07-31"]  # that of 2 July, not of 2 June


def test_civil_time_changed_in_2024_and_not_since() -> None:
    # at 2024-03-01 00:00 +06:00 the clocks of Almaty went back by an hour
    moments = list(rule("daily 23:30").between(civil("2024-02-28 00:00"), civil("2024-03-03 00:00")))
    assert [moment.strftime("%d %H:%M") for moment in moments] == ["28 17:30", "29 17:30", "01 18:30", "02 18:30"]
    year = list(rule("daily 02:30").between(civil("2026-01-01 00:00"), civil("2027-01-01 00:00")))
    assert len(year) == 365
    assert {later - earlier for earlier, later in pairwise(year)} == {dt.timedelta(days=1)}


RULES = st.sampled_from(
    (
        "every 300 s",
        "every 7 min",
        "daily 03:15",
        "daily 00:00 12:00 23:59",
        "monthly 31 00:00",
        "monthly last 23:59",
        "every 14 days from 2026-01-05 03:15",
        "cron 15 3 * * 1-5",
        "cron 0 6 13 * 5",
    )
)
MOMENTS = st.integers(0, 366 * 86_400).map(lambda s: dt.datetime(2025, 12, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=s))


@given(RULES, st.sampled_from(OnHoliday), MOMENTS, st.integers(0, 40_000), st.integers(0, 40_000))
def test_a_time_cut_in_two_holds_the_same_moments(
    text: str, on_holiday: OnHoliday, start: dt.datetime, first_min: int, second_min: int
) -> None:
    if text.startswith(("every 300", "every 7 min")):
        on_holiday = OnHoliday.RUN
    recurrence = rule(text, on_holiday)
    middle = start + dt.timedelta(minutes=first_min)
    end = middle + dt.timedelta(minutes=second_min)
    whole = list(recurrence.between(start, end))
    assert whole == [*recurrence.between(start, middle), *recurrence.between(middle, end)]
    assert whole == sorted(set(whole))
    assert all(start < moment <= end for moment in whole)
    if whole:
        assert recurrence.next_after(start) == whole[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hourly",
        "daily",
        "daily 3:15",
        "daily 24:00",
        "daily 03:15 x",
        "monthly 0 03:15",
        "monthly 32 03:15",
        "monthly 5",
        "every 9 s",
        "every 0 min",
        "every 14 days from 2026-02-30 03:15",
        "cron 15 3 * *",
        "cron 60 3 * * *",
        "cron 5-1 3 * * *",
        "cron x 3 * * *",
        "cron 0 0 0 * *",
        "cron 0 0 * 13 *",
        "cron 0 0 * * 8",
    ],
)
def test_what_is_no_rule_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        rule(text)


def test_an_interval_knows_no_days_off() -> None:
    with pytest.raises(ValueError, match="no days off"):
        rule("every 300 s", OnHoliday.SKIP)
