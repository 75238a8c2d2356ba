"""Asks about the people whose facts are due. The alarm clock is elsewhere; all state is in the table `due`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Engine

from gateway.database import writing
from gateway.errors import GatewayError, StoreError
from gateway.exchange import due
from gateway.exchange.ask import Asker
from gateway.exchange.due import Due, Reason
from gateway.exchange.outbox import State
from gateway.systems import Retry

_LOG: Final = structlog.get_logger()

#: for a row whose system can no longer be looked up: once a day, until somebody puts its folder back
_WITHOUT_SYSTEM: Final = Retry(attempts=1, first_delay_s=0.0, factor=1.0)


@dataclass(frozen=True, slots=True)
class PollReport:
    """What one round did."""

    taken: int = 0
    answered: int = 0
    #: something came back that must not be used
    refused: int = 0
    #: no usable reply; the old question is never sent again, a new one is asked later
    unknown: int = 0
    unreachable: int = 0
    #: wrong on our side: nothing was sent
    failed: int = 0


def poll_once(
    asker: Asker, engine: Engine, now: dt.datetime, limit: int, *, stop: Callable[[], bool] = lambda: False
) -> PollReport:
    """Ask at most `limit` (person, register) pairs that are due at `now`, one after the other.

    Each row is taken and let go by itself, so several programs share the work and `stop` (asked before each row) ends
    a round early without leaving anything held. A row without an answer becomes due again by the retry rule of
    system.toml; reads are asked anew, with a new message id. Raises StoreError when the database cannot be used.
    """
    counts = dict.fromkeys(("taken", *State, "failed"), 0)
    while counts["taken"] < limit and not stop():
        with writing(engine) as connection:
            taken = due.take_due(connection, now, 1)
        if not taken:
            break
        counts["taken"] += 1
        counts[_poll(asker, engine, taken[0], now)] += 1
    report = PollReport(
        taken=counts["taken"],
        answered=counts[State.ANSWERED],
        refused=counts[State.REFUSED],
        unknown=counts[State.UNKNOWN],
        unreachable=counts[State.UNREACHABLE],
        failed=counts["failed"],
    )
    if report.taken:
        _LOG.info("polling", action="polled", taken=report.taken, answered=report.answered, failed=report.failed)
    return report


def _poll(asker: Asker, engine: Engine, row: Due, now: dt.datetime) -> str:
    retry = _WITHOUT_SYSTEM
    try:
        retry = asker.system(row.system).retry
        result = asker.ask(row.system, row.iin)
    except Exception as error:  # one row must not keep the others from being asked
        code = error.code if isinstance(error, GatewayError) else type(error).__name__
        _LOG.error("polling", action="poll_failed", system=row.system, code=code)
        _put_off(engine, row, retry, now)
        if isinstance(error, StoreError):
            raise
        return "failed"
    if result.state is not State.ANSWERED:  # an answer has put the next day into the row itself (step 13)
        _put_off(engine, row, retry, now)
    return result.state


def _put_off(engine: Engine, row: Due, retry: Retry, now: dt.datetime) -> None:
    failures = row.failures + 1
    at = due.retry_at(retry, failures=failures, now=now)
    with writing(engine) as connection:
        due.put(connection, Due(row.iin, row.system, at, Reason.RETRY, failures))
