"""What wakes by the clock. APScheduler only rings: what is due, and who has it, stands in the database."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Final

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from gateway.daemon.assembly import Gateway, now
from gateway.daemon.asynchronous import make_inbox_workers
from gateway.daemon.job_runner import JobRunner
from gateway.daemon.outbound import make_workers
from gateway.errors import GatewayError
from gateway.exchange.schedule_runs import Lease

#: how often evidence in use is looked through for what ends soon
_EVIDENCE_INTERVAL_S: Final = 60
#: runs of jobs that one process has in hand; fewer than APScheduler has threads
_MOST_RUNS: Final = 4
_LOG: Final = structlog.get_logger()


class AlarmClock:
    """Rings for each process (its questions, its evidence, its keys) and for the jobs of the fleet."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stopping = threading.Event()
        self._workers = make_workers(gateway, now)
        self._inbox_workers = make_inbox_workers(gateway, now)
        self._hands = threading.BoundedSemaphore(_MOST_RUNS)
        self._runner = JobRunner(gateway.engine, gateway.schedule, now)
        self._scheduler = BackgroundScheduler(timezone=dt.UTC)
        options = gateway.loaded.settings
        self._every(options.schedule.look_interval_s, self._look_for_runs, at_once=True)
        if gateway.trust.refresh is not None:
            # what was fetched is in this process's memory, so each process renews its own
            self._every(_EVIDENCE_INTERVAL_S, self._renew_evidence)
        self._every(options.rotation.interval_s, gateway.rotation.look)

    def _every(self, interval_s: float, work: Callable[[], object], *, at_once: bool = False) -> None:
        first = {"next_run_time": now()} if at_once else {}
        self._scheduler.add_job(
            work, "interval", seconds=interval_s, max_instances=1, coalesce=True, misfire_grace_time=None, **first
        )

    def rotate_now(self) -> None:
        """Keys, certificates and anchors are read again, changed or not."""
        self._scheduler.add_job(self._gateway.rotation.look, kwargs={"force": True}, misfire_grace_time=None)

    def start(self) -> None:
        self._scheduler.start()
        self._workers.start()
        self._inbox_workers.start()

    def take_no_more(self) -> None:
        """Each worker ends after the question in hand; no further run of a job begins."""
        self._stopping.set()
        self._workers.take_no_more()
        self._inbox_workers.take_no_more()

    def stop(self, wait_s: float) -> None:
        """End it. A question still in hand after `wait_s` is cut off: its row says that the outcome is unknown."""
        self.take_no_more()
        self._workers.stop(wait_s, self._gateway.transport.close)
        self._inbox_workers.stop(wait_s, self._gateway.transport.close)
        self._scheduler.shutdown(wait=True)

    def _look_for_runs(self) -> None:
        # only what begins at once is leased: a run that waited here would look as if its process had died
        while not self._stopping.is_set() and self._hands.acquire(blocking=False):
            lease = None
            try:
                lease = self._runner.look()
            except GatewayError as error:
                _LOG.error("schedule", action="look_failed", code=error.code)
            if lease is None:
                self._hands.release()
                return
            self._scheduler.add_job(self._run, args=(lease,), misfire_grace_time=None)

    def _run(self, lease: Lease) -> None:
        try:
            self._runner.run(lease)
        except GatewayError as error:
            # the run keeps its row; this process or another one takes it when the database answers again
            _LOG.error("schedule", action="outcome_not_written", job=lease.job, code=error.code)
        finally:
            self._hands.release()

    def _renew_evidence(self) -> None:
        trust = self._gateway.trust
        if trust.refresh is not None:
            report = trust.refresh(trust.store.material, now=now())
            if report.failures:
                # what could not be renewed ends and is unknown then; `gateway pki check` names it
                _LOG.warning("trust", action="evidence_not_renewed", count=len(report.failures))
