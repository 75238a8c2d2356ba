"""Which runs of a job are due: the pure rule. A run is known by the job and the moment for which it was scheduled.

What stands in the database is gateway.exchange.schedule_runs; who wakes it is gateway.daemon.alarm.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from gateway.jobs import Job, Missed

#: a run that begins within this time of its moment is on time; only what is later was missed
ON_TIME: Final = dt.timedelta(minutes=5)
#: how many missed runs of one job are made up for at once under run_all; the rest wait for the next look
MOST_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One row to write. `stands_for` counts the moments that it covers: its own, and earlier ones that were missed."""

    scheduled_at: dt.datetime
    skipped: bool = False
    stands_for: int = 1


def plan(job: Job, *, after: dt.datetime, now: dt.datetime) -> tuple[PlannedRun, ...]:
    """The runs to write down at `now`, in order, when every moment up to `after` is accounted for.

    Each moment m with after < m <= now is a run of its own, or is counted in the `stands_for` of a later one: none is
    lost and none is there twice. Under run_all at most MOST_AT_ONCE come at once and the rest at the next look.
    """
    planned: list[PlannedRun] = []
    covered = 0  # moments that have no row of their own, and the last of them
    last: dt.datetime | None = None
    for moment in job.recurrence.between(after, now):
        if job.missed is Missed.RUN_ONCE or not _is_run(job, moment, now):
            covered, last = covered + 1, moment
            continue
        if last is not None:
            planned.append(PlannedRun(last, skipped=True, stands_for=covered))
            covered, last = 0, None
        planned.append(PlannedRun(moment))
        if len(planned) >= MOST_AT_ONCE:
            return tuple(planned)
    if last is not None:
        planned.append(PlannedRun(last, skipped=not _is_run(job, last, now), stands_for=covered))
    return tuple(planned)


def _is_run(job: Job, moment: dt.datetime, now: dt.datetime) -> bool:
    if moment > now - ON_TIME:
        return True
    return job.missed is not Missed.SKIP and moment >= now - dt.timedelta(seconds=job.missed_max_age_s)
