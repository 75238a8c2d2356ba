"""Runs what is due: leases a run, does the job's action, keeps the lease while it works, writes what came of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from sqlalchemy import Engine

from gateway.daemon.jobs import Schedule
from gateway.database import reading, writing
from gateway.errors import ConfigurationError, GatewayError, OperatorError
from gateway.exchange import schedule_runs
from gateway.exchange.schedule_runs import LEASE, Lease

_LOG: Final = structlog.get_logger()


def holder_name() -> str:
    """Who holds a lease: readable for the operator, and never the same for two processes."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class JobRunner:
    """One process's hands. Safe to use from several threads."""

    def __init__(self, engine: Engine, schedule: Schedule, clock: Callable[[], dt.datetime]) -> None:
        self._engine = engine
        self._schedule = schedule
        self._clock = clock
        self._holder = holder_name()

    def look(self) -> Lease | None:
        """Write down what is due, and take one run; None when there is none for us. Raises StoreError."""
        at, jobs = self._clock(), self._schedule.jobs
        with reading(self._engine) as connection:
            due = schedule_runs.anything_due(connection, jobs.values(), at)
            waits = due or schedule_runs.anything_to_take(connection, jobs.keys(), at)
        if due:
            with writing(self._engine) as connection:
                schedule_runs.plan_runs(connection, jobs.values(), at)
        if not waits:
            return None
        with writing(self._engine) as connection:
            return schedule_runs.lease_one(connection, jobs.keys(), at, holder=self._holder)

    def run(self, lease: Lease) -> str:
        """Do it; the code of what went wrong, "" when it was done. Raises StoreError when that cannot be written."""
        job = self._schedule.jobs[lease.job]
        code = ""
        with self._kept(lease):
            try:
                self._schedule.actions[job.action].work(self._clock(), job.system)
            except GatewayError as error:
                code = error.code
            except Exception as error:  # a job that breaks takes nothing else down
                # its text may quote what it worked on
                code = "internal"
                _LOG.error("schedule", action="broke", job=lease.job, code=type(error).__name__)
        with writing(self._engine) as connection:
            ours = schedule_runs.finish(connection, lease, now=self._clock(), code=code)
        if not ours:
            _LOG.error("schedule", action="lease_lost", job=lease.job, scheduled_at=lease.scheduled_at.isoformat())
        elif code:
            _LOG.error("schedule", action="failed", job=lease.job, code=code)
        else:
            _LOG.info("schedule", action="done", job=lease.job, scheduled_at=lease.scheduled_at.isoformat())
        return code

    def run_by_hand(self, name: str, *, reason: str) -> str:
        """One run of the job now, recorded with its reason; the code as in `run`. Raises OperatorError."""
        if name not in self._schedule.jobs:
            known = ", ".join(self._schedule.jobs) or "none"
            raise ConfigurationError(f"there is no job {name!r}; the jobs are: {known}", key="JOB")
        with writing(self._engine) as connection:
            lease = schedule_runs.order_by_hand(connection, name, now=self._clock(), holder=self._holder, reason=reason)
        if lease is None:
            raise OperatorError(
                f"a run of {name} is in hand; wait for it, see `gateway schedule list`", code="job_running"
            )
        return self.run(lease)

    @contextlib.contextmanager
    def _kept(self, lease: Lease) -> Iterator[None]:
        """The lease is renewed for as long as this process lives and works."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(LEASE.total_seconds() / 4):
                try:
                    with writing(self._engine) as connection:
                        schedule_runs.renew(connection, [lease], self._clock())
                except GatewayError as error:
                    # it is tried again while the lease lasts; after that another process may take the run over
                    _LOG.warning("schedule", action="lease_not_renewed", job=lease.job, code=error.code)

        keeper = threading.Thread(target=renew, name=f"lease of {lease.job}", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()
