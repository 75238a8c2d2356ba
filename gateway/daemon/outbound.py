"""What sends: limits from the settings, and the workers of one process."""

from __future__ import annotations

import datetime as dt
import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway import settings
from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.limits import ExchangeLimits
from gateway.exchange.workers import Road, Worker, WorkerPool

if TYPE_CHECKING:
    from gateway.daemon.assembly import Gateway


def load_limits(loaded: settings.LoadedSettings) -> ExchangeLimits:
    """How hard services may be tried; system.toml says what differs for one."""
    section = loaded.settings.exchange
    return ExchangeLimits(
        circuit=CircuitPolicy(
            failures=section.circuit_failures,
            cool_down_s=section.circuit_cool_down_s,
            longest_cool_down_s=section.circuit_longest_cool_down_s,
            trial_s=section.circuit_longest_cool_down_s,
            requests_per_s=section.requests_per_s,
        ),
        oldest_s=section.oldest_s,
        lease_margin_s=section.lease_margin_s,
    )


def jitter() -> float:
    return random.random()  # noqa: S311 - it spreads retries and guards nothing


def new_holder() -> str:
    """A name for who leases a row: unique, and readable for the operator. A process makes one after it was started."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def make_workers(gateway: Gateway, clock: Callable[[], dt.datetime]) -> WorkerPool:
    """The workers of this process, not started yet. Call it in the process that runs them."""
    section = gateway.loaded.settings.exchange
    # a bounded rate is shared out question by question; without one several are taken in one transaction
    batch = 1 if section.requests_per_s else section.batch
    roads: Mapping[str, Road] = gateway.roads
    holder = new_holder()

    def make(number: int, stop: Callable[[], bool]) -> Worker:
        return Worker(
            engine=gateway.engine,
            asker=gateway.asker,
            roads=roads,
            wire=gateway.asker.wire,
            clock=clock,
            holder=f"{holder}:{number}",
            batch=batch,
            stop=stop,
        )

    return WorkerPool(make, workers=section.threads, interval_s=section.interval_s, clock=clock)
