"""Which runs are due: no moment is lost, none is there twice, whatever was missed."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.schedule import MOST_AT_ONCE, ON_TIME, PlannedRun, plan
from gateway.jobs import Job, Missed, make_job

MONDAY = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def job(when: str = "daily 05:00", **changes: object) -> Job:
    """05:00 of civil time is 00:00 UTC."""
    return make_job("nightly", {"run": "an.action", "when": when, **changes})


def planned(job: Job, *, days: float, now: dt.datetime = MONDAY) -> list[tuple[int, bool, int]]:
    """The runs planned at `now` when everything up to `days` ago is accounted for: (days ago, skipped, stands for)."""
    runs = plan(job, after=now - days * DAY, now=now)
    return [((now - run.scheduled_at) // DAY, run.skipped, run.stands_for) for run in runs]


def test_what_is_on_time_runs_whatever_the_policy_says() -> None:
    for missed in Missed:
        assert planned(job(missed=missed), days=1) == [(0, False, 1)]
        assert planned(job(missed=missed), days=1, now=MONDAY + ON_TIME - dt.timedelta(seconds=1)) == [(0, False, 1)]


def test_missed_runs_are_made_up_for_by_one_by_each_or_by_none() -> None:
    late = MONDAY + dt.timedelta(hours=3)
    assert planned(job(missed="run_once"), days=3, now=late) == [(0, False, 3)]
    assert planned(job(missed="run_all"), days=3, now=late) == [(2, False, 1), (1, False, 1), (0, False, 1)]
    assert planned(job(missed="skip"), days=3, now=late) == [(0, True, 3)]
    assert planned(job(missed="skip"), days=3) == [(1, True, 2), (0, False, 1)]


def test_what_was_missed_too_long_ago_is_skipped() -> None:
    late, two_days = MONDAY + dt.timedelta(hours=3), 2 * 86_400
    every = job(missed="run_all", missed_max_age_s=two_days)
    assert planned(every, days=5, now=late) == [(2, True, 3), (1, False, 1), (0, False, 1)]
    monthly = job("monthly 1 05:00", missed_max_age_s=two_days)
    assert planned(monthly, days=4, now=MONDAY + 3 * DAY) == [(3, True, 1)]
    assert planned(monthly, days=4, now=MONDAY + 2 * DAY) == [(2, False, 1)]


def test_a_great_many_missed_runs_come_in_portions() -> None:
    often = job("every 60 s", missed="run_all")
    runs = plan(often, after=MONDAY - DAY, now=MONDAY)
    assert len(runs) == MOST_AT_ONCE
    assert plan(often, after=runs[-1].scheduled_at, now=MONDAY)[0].scheduled_at > runs[-1].scheduled_at


@given(
    st.sampled_from(("daily 05:00", "daily 05:00 17:30", "every 5 min", "monthly last 00:00", "cron 0 6 13 * 5")),
    st.sampled_from(Missed),
    st.integers(0, 10 * 86_400),
    st.lists(st.integers(1, 4 * 86_400), min_size=1, max_size=12),
)
def test_every_moment_is_a_run_or_stands_in_one_and_none_is_there_twice(
    when: str, missed: Missed, max_age_s: int, looks_s: list[int]
) -> None:
    """Looks at any times, with any pauses between them, add up to the moments of the rule."""
    this = job(when, missed=missed, missed_max_age_s=max_age_s)
    accounted = now = MONDAY
    rows: list[PlannedRun] = []
    for look_s in looks_s:
        now += dt.timedelta(seconds=look_s)
        while found := plan(this, after=accounted, now=now):
            rows += found
            accounted = found[-1].scheduled_at
    moments = list(this.recurrence.between(MONDAY, now))
    taken = [run.scheduled_at for run in rows]
    assert taken == sorted(set(taken))
    assert set(taken) <= set(moments)
    assert sum(run.stands_for for run in rows) == len(moments)
    if missed is Missed.RUN_ALL and max_age_s == 10 * 86_400 and sum(looks_s) < max_age_s:
        assert taken == moments
        assert not any(run.skipped for run in rows)
