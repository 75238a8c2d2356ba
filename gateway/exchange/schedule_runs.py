"""The rows of SCHEDULE_RUN: each run of each job once in the whole fleet, and what came of it.

The row is written before the run begins, by whichever process looks first; the process that leases it runs it. A
process that lives renews the lease; one that dies lets it end, and another takes the run over.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, or_, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.exchange.schedule import PlannedRun, plan
from gateway.exchange.tables import SCHEDULE_RUN
from gateway.jobs import Job

LEASE: Final = dt.timedelta(minutes=2)
#: a run that takes its process down each time is given up
MOST_ATTEMPTS: Final = 3
#: one process of the fleet plans at a time: what is due is decided from what all others have written
_PLANNING_LOCK: Final = 0x53484551


class Origin(StrEnum):
    SCHEDULE = "schedule"
    #: `gateway schedule run`
    HAND = "hand"


class RunState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    #: missed, and not made up for; or the first sight of a job, from which its moments are counted
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Lease:
    """A run in the hands of a process. `attempt` fences: who lost the lease can no longer say what came of it."""

    job: str
    scheduled_at: dt.datetime
    origin: Origin
    holder: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Run:
    """One row."""

    job: str
    scheduled_at: dt.datetime
    origin: Origin
    state: RunState
    code: str
    stands_for: int
    attempts: int
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    reason: str


def plan_runs(connection: Connection, jobs: Iterable[Job], now: dt.datetime) -> int:
    """Write down every run that is due at `now`; how many rows were written. Any process may, at any time.

    A job of which a run waits gets no further one: what comes due meanwhile is planned when that run has begun, so that
    a job that takes longer than its interval leaves no queue behind.
    """
    _one_at_a_time(connection)
    known, waiting = accounted_for(connection), _waiting(connection)
    written = 0
    for job in jobs:
        if job.name in waiting:
            continue
        after = known.get(job.name)
        if after is None:
            # nothing was missed before there was a schedule
            _insert(connection, job.name, (PlannedRun(now, skipped=True, stands_for=0),), code="first_sight")
            written += 1
            continue
        runs = plan(job, after=after, now=now)
        _insert(connection, job.name, runs, code="missed")
        written += len(runs)
    return written


def _one_at_a_time(connection: Connection) -> None:
    # SQLite's writers come one after the other by themselves
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PLANNING_LOCK})


def anything_due(connection: Connection, jobs: Iterable[Job], now: dt.datetime) -> bool:
    """Whether `plan_runs` would write. Only reads, so that a look that finds nothing takes no lock."""
    known, waiting = accounted_for(connection), _waiting(connection)
    for job in jobs:
        if job.name in waiting:
            continue
        after = known.get(job.name)
        if after is None or next(job.recurrence.between(after, now), None) is not None:
            return True
    return False


def anything_to_take(connection: Connection, jobs: Collection[str], now: dt.datetime) -> bool:
    """Whether `lease_one` may find something. Only reads."""
    dead = and_(SCHEDULE_RUN.c.state == RunState.RUNNING, SCHEDULE_RUN.c.leased_until <= now)
    waits = or_(SCHEDULE_RUN.c.state == RunState.WAITING, dead)
    found = connection.execute(select(SCHEDULE_RUN.c.job).where(SCHEDULE_RUN.c.job.in_(jobs), waits).limit(1))
    return found.first() is not None


def _waiting(connection: Connection) -> frozenset[str]:
    rows = connection.execute(select(SCHEDULE_RUN.c.job).where(SCHEDULE_RUN.c.state == RunState.WAITING).distinct())
    return frozenset(rows.scalars())


def accounted_for(connection: Connection) -> dict[str, dt.datetime]:
    """Up to which moment each job's runs are written down."""
    rows = connection.execute(
        select(SCHEDULE_RUN.c.job, func.max(SCHEDULE_RUN.c.scheduled_at))
        .where(SCHEDULE_RUN.c.origin == Origin.SCHEDULE)
        .group_by(SCHEDULE_RUN.c.job)
    )
    return {row[0]: row[1] for row in rows}


def _insert(connection: Connection, job: str, runs: Iterable[PlannedRun], *, code: str) -> None:
    rows = [
        {
            "job": job,
            "scheduled_at": run.scheduled_at,
            "origin": Origin.SCHEDULE.value,
            "state": (RunState.SKIPPED if run.skipped else RunState.WAITING).value,
            "code": code if run.skipped else "",
            "stands_for": run.stands_for,
            "attempts": 0,
            "holder": "",
            "reason": "",
        }
        for run in runs
    ]
    if rows:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(insert(SCHEDULE_RUN).on_conflict_do_nothing(), rows)


def order_by_hand(connection: Connection, job: str, *, now: dt.datetime, holder: str, reason: str) -> Lease | None:
    """A run that a person asked for, leased at once to `holder`; None while another run of the job is in hand."""
    if _is_running(connection, job, now):
        return None
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    written = connection.execute(
        insert(SCHEDULE_RUN)
        .values(
            job=job,
            scheduled_at=now,
            origin=Origin.HAND.value,
            state=RunState.RUNNING.value,
            code="",
            stands_for=1,
            attempts=1,
            holder=holder,
            leased_until=now + LEASE,
            started_at=now,
            reason=reason,
        )
        .on_conflict_do_nothing()
    )
    return Lease(job, now, Origin.HAND, holder, 1) if written.rowcount else None


def _is_running(connection: Connection, job: str, now: dt.datetime) -> bool:
    _one_at_a_time(connection)
    held = and_(SCHEDULE_RUN.c.state == RunState.RUNNING, SCHEDULE_RUN.c.leased_until > now)
    found = connection.execute(select(SCHEDULE_RUN.c.job).where(SCHEDULE_RUN.c.job == job, held).limit(1))
    return found.first() is not None


def lease_one(connection: Connection, jobs: Collection[str], now: dt.datetime, *, holder: str) -> Lease | None:
    """Take the run that has waited longest among `jobs`, or one whose holder died. A job never overlaps itself.

    A run that took its process down MOST_ATTEMPTS times is closed as failed (`holder_died`).
    """
    _one_at_a_time(connection)
    dead = and_(SCHEDULE_RUN.c.state == RunState.RUNNING, SCHEDULE_RUN.c.leased_until <= now)
    connection.execute(
        update(SCHEDULE_RUN)
        .where(dead, or_(SCHEDULE_RUN.c.attempts >= MOST_ATTEMPTS, SCHEDULE_RUN.c.origin == Origin.HAND))
        .values(state=RunState.FAILED.value, code="holder_died", leased_until=None, finished_at=now)
    )
    busy = select(SCHEDULE_RUN.c.job).where(SCHEDULE_RUN.c.state == RunState.RUNNING, SCHEDULE_RUN.c.leased_until > now)
    row = (
        connection.execute(
            select(SCHEDULE_RUN)
            .where(
                SCHEDULE_RUN.c.job.in_(jobs),
                SCHEDULE_RUN.c.job.not_in(busy),
                or_(SCHEDULE_RUN.c.state == RunState.WAITING, dead),
            )
            .order_by(SCHEDULE_RUN.c.scheduled_at, SCHEDULE_RUN.c.job)
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    lease = Lease(row["job"], row["scheduled_at"], Origin(row["origin"]), holder, row["attempts"] + 1)
    connection.execute(
        update(SCHEDULE_RUN)
        .where(_is(lease))
        .values(
            state=RunState.RUNNING.value,
            attempts=lease.attempt,
            holder=holder,
            leased_until=now + LEASE,
            started_at=now,
        )
    )
    return lease


def renew(connection: Connection, leases: Collection[Lease], now: dt.datetime) -> None:
    """The process lives and still works on these."""
    for lease in leases:
        connection.execute(update(SCHEDULE_RUN).where(_is_held(lease)).values(leased_until=now + LEASE))


def finish(connection: Connection, lease: Lease, *, now: dt.datetime, code: str = "") -> bool:
    """What came of it: `code` is that of the error, "" when it was done. False: the lease was lost meanwhile."""
    result = connection.execute(
        update(SCHEDULE_RUN)
        .where(_is_held(lease))
        .values(state=(RunState.FAILED if code else RunState.DONE).value, code=code, leased_until=None, finished_at=now)
    )
    return result.rowcount == 1


def _is(lease: Lease) -> ColumnElement[bool]:
    return and_(
        SCHEDULE_RUN.c.job == lease.job,
        SCHEDULE_RUN.c.scheduled_at == lease.scheduled_at,
        SCHEDULE_RUN.c.origin == lease.origin.value,
    )


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        _is(lease),
        SCHEDULE_RUN.c.state == RunState.RUNNING,
        SCHEDULE_RUN.c.holder == lease.holder,
        SCHEDULE_RUN.c.attempts == lease.attempt,
    )


def forget(connection: Connection, *, before: dt.datetime) -> int:
    """Delete runs older than `before`, never one in hand nor a job's latest: its next run is counted from there."""
    latest = (
        select(SCHEDULE_RUN.c.job, func.max(SCHEDULE_RUN.c.scheduled_at))
        .where(SCHEDULE_RUN.c.origin == Origin.SCHEDULE)
        .group_by(SCHEDULE_RUN.c.job)
    )
    result = connection.execute(
        delete(SCHEDULE_RUN).where(
            SCHEDULE_RUN.c.scheduled_at < before,
            SCHEDULE_RUN.c.state != RunState.RUNNING,
            tuple_(SCHEDULE_RUN.c.job, SCHEDULE_RUN.c.scheduled_at).not_in(latest),
        )
    )
    return result.rowcount


def last_runs(connection: Connection) -> dict[str, Run]:
    """The latest run of each job that began or was closed, by hand or not; what merely waits is not one."""
    return _latest(connection, SCHEDULE_RUN.c.code != "first_sight", SCHEDULE_RUN.c.state != RunState.WAITING)


def last_successes(connection: Connection) -> dict[str, dt.datetime]:
    """When each job was last done."""
    rows = connection.execute(
        select(SCHEDULE_RUN.c.job, func.max(SCHEDULE_RUN.c.finished_at))
        .where(SCHEDULE_RUN.c.state == RunState.DONE)
        .group_by(SCHEDULE_RUN.c.job)
    )
    return {row[0]: row[1] for row in rows}


def _latest(connection: Connection, *conditions: ColumnElement[bool]) -> dict[str, Run]:
    newest = (
        select(SCHEDULE_RUN.c.job, func.max(SCHEDULE_RUN.c.scheduled_at).label("at"))
        .where(*conditions)
        .group_by(SCHEDULE_RUN.c.job)
        .subquery()
    )
    rows = connection.execute(
        select(SCHEDULE_RUN).join(
            newest, and_(SCHEDULE_RUN.c.job == newest.c.job, SCHEDULE_RUN.c.scheduled_at == newest.c.at)
        )
    ).mappings()
    return {row["job"]: _run(row) for row in rows}


def _run(row: RowMapping) -> Run:
    return Run(
        row["job"],
        row["scheduled_at"],
        Origin(row["origin"]),
        RunState(row["state"]),
        row["code"],
        row["stands_for"],
        row["attempts"],
        row["started_at"],
        row["finished_at"],
        row["reason"],
    )
