"""What a job is, as the configuration and system.toml write it."""

from __future__ import annotations

import datetime as dt

import pytest

from gateway.jobs import Job, JobError, Missed, make_job
from gateway.recurrence import OnHoliday
from gateway.working_days import DayOff, WorkingCalendar


def job(**values: object) -> Job:
    return make_job("nightly", {"run": "an.action", "when": "daily 05:00", **values})


def test_what_is_not_written_has_its_default() -> None:
    plain = job()
    assert (plain.on_holiday, plain.missed, plain.system) == (OnHoliday.RUN, Missed.RUN_ONCE, "")
    written = job(on_holiday="skip", missed="run_all", missed_max_age_s=60)
    assert (written.on_holiday, written.missed, written.missed_max_age_s) == (OnHoliday.SKIP, Missed.RUN_ALL, 60)


def test_a_job_follows_the_calendar_that_it_is_given() -> None:
    holiday = dt.date(2026, 6, 2)
    calendar = WorkingCalendar({holiday: DayOff(holiday, "a holiday", True)}, frozenset(), frozenset({2026}))
    monday = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
    weekends_only = job(on_holiday="skip")
    first, second = (
        weekends_only.recurrence.next_after(monday),
        weekends_only.on(calendar).recurrence.next_after(monday),
    )
    assert first is not None
    assert second == first + dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"run": ""}, "run"),
        ({"when": 5}, "when"),
        ({"when": "hourly"}, "when"),
        ({"on_holiday": "rest"}, "on_holiday"),
        ({"missed": "retry"}, "missed"),
        ({"missed_max_age_s": -1}, "missed_max_age_s"),
        ({"missed_max_age_s": True}, "missed_max_age_s"),
        ({"cron": "* * * * *"}, "cron"),
    ],
)
def test_a_wrong_key_of_a_job_is_named(changes: dict[str, object], key: str) -> None:
    with pytest.raises(JobError) as refused:
        job(**changes)
    assert refused.value.key == key
