"""Processes of a fleet: `python -m tests.exchange.one_worker '[{"url": …}, …]'`, real rows and real signatures.

One process loads the program and forks: each child has two workers, and ends when the input is closed. Its clock is
the machine's, moved to the time of the throw-away PKI and, where a test waits for a lease to end, running faster. With
`dies_at` it kills itself there, as a machine that loses power. For each child that ends, its name and its code are
printed.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import telemetry
from gateway.database import engine_for
from gateway.exchange.workers import WorkerPool
from gateway.shep.contract import envelope_schema
from gateway.telemetry import Flow
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.exchange.fleet import Fleet
from tests.exchange.world import NOW, Keys, Register, law, systems, trust


@dataclass(frozen=True)
class Order:
    """What one process is told."""

    url: str
    holder: str
    pki: str
    #: time.time() of NOW, the same for the whole fleet
    begun_s: float
    #: how many times as fast its clock runs
    speed: float = 1.0
    #: step, "before" or "after", how often it was passed by then
    dies_at: tuple[int, str, int] | None = None

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=(time.time() - self.begun_s) * self.speed)


class PowerCut:
    """Ends the process at the nth passing of a place, with nothing that a program could do about it."""

    def __init__(self, number: int, when: str, nth: int) -> None:
        self._place, self._left = (number, when), nth

    def entered(self, number: int, flow: Flow) -> None:
        self._pass(number, "before")

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:
        self._pass(number, "after")

    def _pass(self, number: int, when: str) -> None:
        if (number, when) == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def work(order: Order, **loaded: Any) -> None:
    """One process, until the input is closed."""
    if order.dies_at is not None:
        telemetry.listen(PowerCut(*order.dies_at))
    engine = engine_for(order.url)
    ids = (f"{order.holder}-{number}" for number in range(1, 1_000_000))
    clock: Any = order.now
    fleet = Fleet(engine, register=Register(loaded["keys"]), clock=clock, new_message_id=lambda: next(ids), **loaded)
    pool = WorkerPool(
        lambda number, stop: fleet.worker(holder=f"{order.holder}/{number}", stop=stop),
        workers=2,
        interval_s=0.05,
        clock=clock,
    )
    pool.start()
    sys.stdin.read()
    pool.stop(60, lambda: None)
    engine.dispose()


def main(orders: list[Order]) -> None:
    # what is loaded before the fork is loaded once
    keys = Keys(ThrowawayPki(Path(orders[0].pki)))
    for name in ("gateway", "shep"):
        _ = keys[name]
    _ = law(), systems(), envelope_schema()
    trusted = trust(keys.pki)
    children: dict[int, str] = {}
    for order in orders:
        child = os.fork()
        if child == 0:
            work(order, keys=keys, _trust=trusted)
            os._exit(0)
        children[child] = order.holder
    while children:
        child, status = os.wait()
        print(children.pop(child), os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(
        [
            Order(**{**told, "dies_at": None if told["dies_at"] is None else tuple(told["dies_at"])})
            for told in json.loads(sys.argv[1])
        ]
    )
