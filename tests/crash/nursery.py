"""Daemons as children of a process that has the program loaded: born, watched, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.end_to_end.program import environment

#: reaching it is a failure and not a measurement
PATIENCE_S = 120.0
#: between two looks at something that will be so
LOOK_S = 0.02


@dataclass(frozen=True)
class Point:
    """One side of one passing of one numbered step: where a daemon is killed."""

    flow: str
    step: int
    side: str
    nth: int = 1


class Nursery:
    """Not to be shared between threads. Use as a context manager; no child outlives it."""

    def __init__(self) -> None:
        self._living: set[int] = set()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=Path(__file__).resolve().parents[2],
            text=True,
            start_new_session=True,  # it ends with its standard input, not with what ends a group of processes
        )
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for pid in list(self._living):
            self.kill(pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()

    def bear(
        self,
        config: Path,
        log: Path,
        *,
        kill: Point | None = None,
        record: Path | None = None,
        ahead_s: float = 0.0,
    ) -> Daemon:
        """`gateway run`, its clock `ahead_s` seconds ahead; killed at a point, or its steps written down."""
        born = self._order(
            do="bear",
            arguments=["run", "--config", str(config)],
            environment={},
            log=str(log),
            kill=None if kill is None else vars(kill),
            record=None if record is None else str(record),
            ahead_s=ahead_s,
        )
        self._living.add(born["pid"])
        return Daemon(self, born["pid"], log)

    def ended(self, pid: int, *, block: bool = False) -> int | None:
        """How a child ended; None while it lives."""
        status = self._order(do="wait", pid=pid, block=block)["status"]
        if status is not None:
            self._living.discard(pid)
        return None if status is None else int(status)

    def kill(self, pid: int) -> None:
        """End a child that may have ended already."""
        if pid in self._living and self.ended(pid) is None:
            os.kill(pid, signal.SIGKILL)
            self.ended(pid, block=True)

    def _order(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass
class Daemon:
    """One child."""

    _nursery: Nursery
    pid: int
    log: Path
    #: how it ended, once it has
    status: int | None = None

    @property
    def lives(self) -> bool:
        if self.status is None:
            self.status = self._nursery.ended(self.pid)
        return self.status is None

    @property
    def was_killed(self) -> bool:
        return not self.lives and self.status == -signal.SIGKILL

    def await_listening(self) -> bool:
        """False: it ended first."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.log.exists() and "listening on " in self.log.read_text(encoding="utf-8"):
                return True
            if not self.lives:
                return False
            time.sleep(LOOK_S)
        raise AssertionError(f"the daemon did not come up; see {self.log}")

    def kill(self) -> None:
        self._nursery.kill(self.pid)
