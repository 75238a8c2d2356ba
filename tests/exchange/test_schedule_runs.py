"""Each run of each job once in the fleet, on both stores."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from multiprocessing.queues import Queue

from sqlalchemy import Engine, select

from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import schedule_runs
from gateway.exchange.schedule_runs import LEASE, MOST_ATTEMPTS, Lease, Origin, RunState
from gateway.exchange.tables import SCHEDULE_RUN
from gateway.jobs import Job, make_job

START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def job(name: str = "often", when: str = "every 60 s", **changes: object) -> Job:
    return make_job(name, {"run": "an.action", "when": when, **changes})


def plan(engine: Engine, *jobs: Job, at: dt.datetime) -> int:
    with writing(engine) as connection:
        return schedule_runs.plan_runs(connection, jobs, at)


def take(engine: Engine, *jobs: Job, at: dt.datetime, holder: str = "one") -> Lease | None:
    with writing(engine) as connection:
        return schedule_runs.lease_one(connection, [job.name for job in jobs], at, holder=holder)


def finish(engine: Engine, lease: Lease | None, *, at: dt.datetime, code: str = "") -> bool:
    assert lease is not None
    with writing(engine) as connection:
        return schedule_runs.finish(connection, lease, now=at, code=code)


def states(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        rows = connection.execute(select(SCHEDULE_RUN).order_by(SCHEDULE_RUN.c.scheduled_at)).mappings()
        return [(row["state"], row["code"]) for row in rows]


def test_a_job_seen_for_the_first_time_has_missed_nothing(engine: Engine) -> None:
    daily = job(when="daily 05:00")
    with reading(engine) as connection:
        assert schedule_runs.anything_due(connection, [daily], START)
    assert plan(engine, daily, at=START) == 1
    assert states(engine) == [("skipped", "first_sight")]
    assert take(engine, daily, at=START) is None
    with reading(engine) as connection:
        assert not schedule_runs.anything_due(connection, [daily], START)
        assert schedule_runs.last_runs(connection) == {}


def test_a_run_is_written_once_leased_once_and_says_what_came_of_it(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    at = START + MINUTE
    assert plan(engine, often, at=at) == 1
    assert plan(engine, often, at=at) == 0
    lease = take(engine, often, at=at)
    assert take(engine, often, at=at, holder="two") is None
    assert finish(engine, lease, at=at + MINUTE / 2)
    assert not finish(engine, lease, at=at + MINUTE / 2)
    with reading(engine) as connection:
        run = schedule_runs.last_runs(connection)["often"]
        assert schedule_runs.last_successes(connection) == {"often": at + MINUTE / 2}
    assert (run.state, run.scheduled_at, run.started_at, run.finished_at) == (RunState.DONE, at, at, at + MINUTE / 2)


def test_a_failed_run_keeps_the_code_and_the_next_one_comes_by_the_schedule(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    plan(engine, often, at=START + MINUTE)
    assert finish(engine, take(engine, often, at=START + MINUTE), at=START + MINUTE, code="store")
    assert take(engine, often, at=START + MINUTE) is None
    plan(engine, often, at=START + 2 * MINUTE)
    assert finish(engine, take(engine, often, at=START + 2 * MINUTE), at=START + 2 * MINUTE)
    assert states(engine)[1:] == [("failed", "store"), ("done", "")]


def test_a_run_whose_holder_died_is_taken_over_when_its_lease_ends(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    plan(engine, often, at=START + MINUTE)
    first = take(engine, often, at=START + MINUTE)
    later = START + MINUTE + LEASE
    second = take(engine, often, at=later, holder="two")
    assert second is not None
    assert (second.attempt, second.holder) == (2, "two")
    assert not finish(engine, first, at=later)
    assert finish(engine, second, at=later)


def test_a_holder_that_lives_keeps_its_run(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    plan(engine, often, at=START + MINUTE)
    lease = take(engine, often, at=START + MINUTE)
    assert lease is not None
    with writing(engine) as connection:
        schedule_runs.renew(connection, [lease], START + 2 * MINUTE)
    assert take(engine, often, at=START + MINUTE + LEASE, holder="two") is None


def test_a_run_that_takes_its_process_down_each_time_is_given_up(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    at = START + MINUTE
    plan(engine, often, at=at)
    for _ in range(MOST_ATTEMPTS):
        assert take(engine, often, at=at) is not None
        at += LEASE
    assert take(engine, often, at=at) is None
    assert states(engine)[-1] == ("failed", "holder_died")


def test_a_job_slower_than_its_interval_leaves_no_queue_and_never_overlaps_itself(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    plan(engine, often, at=START + MINUTE)
    first = take(engine, often, at=START + MINUTE)
    for minute in range(2, 9):
        plan(engine, often, at=START + minute * MINUTE)
        with writing(engine) as connection:
            assert first is not None
            schedule_runs.renew(connection, [first], START + minute * MINUTE)
    assert take(engine, often, at=START + 8 * MINUTE) is None
    finish(engine, first, at=START + 8 * MINUTE)
    finish(engine, take(engine, often, at=START + 8 * MINUTE), at=START + 8 * MINUTE)
    assert plan(engine, often, at=START + 8 * MINUTE) == 1
    with reading(engine) as connection:
        counted = connection.execute(select(SCHEDULE_RUN.c.stands_for).order_by(SCHEDULE_RUN.c.scheduled_at)).scalars()
        assert list(counted) == [0, 1, 1, 6]


def test_a_run_by_hand_is_a_row_with_its_reason_and_moves_no_schedule(engine: Engine) -> None:
    daily = job(when="daily 05:00")
    plan(engine, daily, at=START)
    at = START + MINUTE
    with writing(engine) as connection:
        lease = schedule_runs.order_by_hand(connection, daily.name, now=at, holder="hand", reason="after the repair")
        again = schedule_runs.order_by_hand(connection, daily.name, now=at, holder="two", reason="")
    assert again is None
    assert finish(engine, lease, at=at)
    with reading(engine) as connection:
        assert schedule_runs.accounted_for(connection) == {daily.name: START}
        run = schedule_runs.last_runs(connection)[daily.name]
    assert (run.origin, run.reason) == (Origin.HAND, "after the repair")


def test_a_run_by_hand_whose_process_died_is_closed_and_not_taken_over(engine: Engine) -> None:
    often = job()
    with writing(engine) as connection:
        schedule_runs.order_by_hand(connection, often.name, now=START, holder="hand", reason="")
    assert take(engine, often, at=START + LEASE) is None
    assert states(engine) == [("failed", "holder_died")]


def test_old_runs_are_forgotten_but_the_one_that_the_next_is_counted_from(engine: Engine) -> None:
    often = job()
    plan(engine, often, at=START)
    for minute in range(1, 4):
        plan(engine, often, at=START + minute * MINUTE)
        finish(engine, take(engine, often, at=START + minute * MINUTE), at=START + minute * MINUTE)
    with writing(engine) as connection:
        assert schedule_runs.forget(connection, before=START + dt.timedelta(days=1)) == 3
        assert schedule_runs.accounted_for(connection) == {often.name: START + 3 * MINUTE}


#: many runs were missed, and each is made up for
OUTAGE_END = START + dt.timedelta(hours=3)
FLEET = tuple(
    job(name, when, missed="run_all") for name, when in (("a", "every 60 s"), ("b", "every 90 s"), ("c", "every 120 s"))
)


def _process(url: str, holder: str, told: Queue[list[tuple[str, str]]]) -> None:
    """One daemon of the fleet: plans, takes, runs, until nothing is left that it may take."""
    engine, ran, idle = engine_for(url), [], False
    while not idle:
        written = plan(engine, *FLEET, at=OUTAGE_END)
        lease = take(engine, *FLEET, at=OUTAGE_END, holder=holder)
        if lease is not None:
            ran.append((lease.job, lease.scheduled_at.isoformat()))
            assert finish(engine, lease, at=OUTAGE_END)
        idle = not written and lease is None
    engine.dispose()
    told.put(ran)


def test_two_processes_on_one_postgresql_run_each_run_once(postgresql_url: str) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    plan(engine, *FLEET, at=START)
    context = multiprocessing.get_context("spawn")
    told: Queue[list[tuple[str, str]]] = context.Queue()
    processes = [context.Process(target=_process, args=(postgresql_url, str(n), told)) for n in range(2)]
    for process in processes:
        process.start()
    ran = [run for _ in processes for run in told.get(timeout=300)]
    for process in processes:
        process.join(300)
    # what one process left because the other had the job in hand, a third takes
    _process(postgresql_url, "third", told)
    ran += told.get(timeout=300)
    expected = {(one.name, at.isoformat()) for one in FLEET for at in one.recurrence.between(START, OUTAGE_END)}
    assert sorted(ran) == sorted(expected)
    assert {state for state, _ in states(engine)[len(FLEET) :]} == {"done"}
    engine.dispose()
