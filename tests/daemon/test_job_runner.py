"""What becomes of a run: done, failed with a code, kept from others while it is in hand."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from gateway.daemon import job_runner
from gateway.daemon.job_runner import JobRunner
from gateway.daemon.jobs import Action, Schedule
from gateway.database import reading
from gateway.errors import ConfigurationError, OperatorError, PeerUnavailable
from gateway.exchange import schedule_runs
from gateway.exchange.schedule_runs import LEASE, Origin, Run, RunState
from gateway.jobs import make_job
from gateway.working_days import WorkingCalendar

START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> dt.datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


def runner(engine: Engine, clock: Clock, work: Callable[[dt.datetime, str], None]) -> JobRunner:
    job = make_job("often", {"run": "an.action", "when": "every 60 s"})
    return JobRunner(
        engine, Schedule({job.name: job}, {"an.action": Action("an.action", work)}, WorkingCalendar()), clock
    )


def last(engine: Engine) -> Run:
    with reading(engine) as connection:
        return schedule_runs.last_runs(connection)["often"]


def test_what_is_due_is_run_once_at_its_moment_and_then_nothing_is_due(engine: Engine, clock: Clock) -> None:
    ran: list[dt.datetime] = []
    one, two = (runner(engine, clock, lambda at, _: ran.append(at)) for _ in range(2))
    assert one.look() is None
    clock.at += MINUTE
    lease = one.look()
    assert two.look() is None
    assert lease is not None
    assert one.run(lease) == ""
    assert (one.look(), two.look(), ran) == (None, None, [START + MINUTE])
    assert last(engine).state is RunState.DONE


@pytest.mark.parametrize(
    ("error", "code"), [(PeerUnavailable("gone"), "peer_unavailable"), (KeyError("x"), "internal")]
)
def test_a_run_that_fails_keeps_its_code_and_takes_nothing_down(
    engine: Engine, clock: Clock, error: Exception, code: str
) -> None:
    def work(at: dt.datetime, system: str) -> None:
        raise error

    this = runner(engine, clock, work)
    this.look()
    clock.at += MINUTE
    lease = this.look()
    assert lease is not None
    assert this.run(lease) == code
    assert (last(engine).state, last(engine).code) == (RunState.FAILED, code)


def test_a_run_that_another_process_took_over_says_nothing_more(engine: Engine, clock: Clock) -> None:
    other = runner(engine, clock, lambda at, _: None)

    def work(at: dt.datetime, system: str) -> None:
        clock.at += LEASE
        taken = other.look()
        assert taken is not None
        other.run(taken)

    this = runner(engine, clock, work)
    this.look()
    clock.at += MINUTE
    lease = this.look()
    assert lease is not None
    this.run(lease)
    assert (last(engine).state, last(engine).attempts) == (RunState.DONE, 2)


def test_a_lease_is_renewed_while_the_work_goes_on(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = threading.Event()
    monkeypatch.setattr(job_runner, "LEASE", dt.timedelta(milliseconds=4))
    monkeypatch.setattr(schedule_runs, "renew", lambda connection, leases, now: renewed.set())

    def work(at: dt.datetime, system: str) -> None:
        assert renewed.wait(60)

    assert runner(engine, clock, work).run_by_hand("often", reason="") == ""


def test_a_run_by_hand_is_recorded_with_its_reason(engine: Engine, clock: Clock) -> None:
    this = runner(engine, clock, lambda at, _: None)
    assert this.run_by_hand("often", reason="after the repair") == ""
    assert (last(engine).origin, last(engine).reason) == (Origin.HAND, "after the repair")


def test_by_hand_no_job_overlaps_itself_and_an_unknown_name_is_told_the_known_ones(
    engine: Engine, clock: Clock
) -> None:
    this = runner(engine, clock, lambda at, _: None)
    this.look()
    clock.at += MINUTE
    assert this.look() is not None
    with pytest.raises(OperatorError, match="in hand") as busy:
        this.run_by_hand("often", reason="")
    assert busy.value.code == "job_running"
    with pytest.raises(ConfigurationError, match="the jobs are: often"):
        this.run_by_hand("ofte", reason="")
