"""A nursery of programs that die where they are told to.

`python -m tests.crash.victim` reads one order a line and forks: the child is the real command line, `gateway run …`,
with one listener more, which kills the process with SIGKILL as it enters or leaves a numbered step, or writes down
which steps it passed. Forked from a process that has the program loaded, a birth costs little.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gateway.cli.main
from gateway import recurrence, resources, telemetry
from gateway.daemon import assembly
from gateway.regulation.reading import load_law
from gateway.shep import contract
from gateway.telemetry import Flow


@dataclass
class Executioner:
    """Kills the process at the `nth` passing of one side of one step of one flow."""

    flow: str
    step: int
    side: str
    nth: int

    def entered(self, number: int, flow: Flow) -> None:
        self._perhaps(number, flow, "before")

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:
        if error is None:
            self._perhaps(number, flow, "after")

    def _perhaps(self, number: int, flow: str, side: str) -> None:
        if (number, flow, side) == (self.step, self.flow, self.side):
            self.nth -= 1
            if self.nth == 0:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Recorder:
    """Writes one line for each step that was passed to its end."""

    file: Path

    def entered(self, number: int, flow: Flow) -> None:
        pass

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:
        if error is None:
            with self.file.open("a", encoding="ascii") as file:
                file.write(f"{flow} {number}\n")


def _move_clock(ahead_s: float) -> None:
    """The program's one clock, and its alarm's, some time ahead: leases have ended for whoever is started later."""
    clock, ahead = assembly.now, dt.timedelta(seconds=ahead_s)

    def now() -> dt.datetime:
        return clock() + ahead

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.now(tz) + ahead

    for name, module in list(sys.modules.items()):
        if getattr(module, "now", None) is clock:
            module.now = now  # type: ignore[attr-defined]
        # but not where it only asks whether something is a datetime
        is_alarm = name.startswith("apscheduler.") and name != "apscheduler.util"
        if is_alarm and getattr(module, "datetime", None) is dt.datetime:
            module.datetime = Later  # type: ignore[attr-defined]


def _be_born(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])
    if order["ahead_s"]:
        _move_clock(order["ahead_s"])
    if order["kill"] is not None:
        telemetry.listen(Executioner(**order["kill"]))
    if order["record"] is not None:
        telemetry.listen(Recorder(Path(order["record"])))
    sys.argv = ["gateway", *order["arguments"]]
    try:
        gateway.cli.main.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    # messages are fetched every second, so that no case waits for the next run of a job
    recurrence.SHORTEST_INTERVAL_S = 1  # type: ignore[misc]
    # what every child does first it finds loaded: modules, patterns, the channel's contract
    load_law(resources.path("config/regulation"))
    contract.load_contract(resources.path(contract.SYNC_CHANNEL))
    # a child that ended is buried by `wait`; the nursery itself ends with its standard input
    living: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "bear":
            child = os.fork()
            if child == 0:
                _be_born(order)
            living.add(child)
            print(json.dumps({"pid": child}), flush=True)
        else:  # "wait": how it ended, or null while it lives
            options = 0 if order["block"] else os.WNOHANG
            done, status = os.waitpid(order["pid"], options)
            living.discard(done)
            print(json.dumps({"status": os.waitstatus_to_exitcode(status) if done else None}), flush=True)

    # whoever gave the orders may have been killed before it could give the last ones
    for child in living:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
