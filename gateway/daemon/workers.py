"""Several processes behind one socket (docs/decisions/0027). The parent serves nothing: it starts them, and again.

The processes know nothing of each other: what they share is the database. A process that dies is started again after a
pause that grows while it keeps dying; SIGTERM and SIGINT let all of them drain, SIGHUP reaches all. When the parent
itself is killed, its processes see the end of a pipe and drain.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

import structlog

from gateway.errors import GatewayError, OperatorError

_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
#: a process that lived so long is started again at once
_SETTLED_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
#: after its drain time a process is killed: the whole must end within 30 s of the signal
_GRACE_S: Final = 1.0
_LOG: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """What a process gets from its parent."""

    #: its place, from 1 on; whoever is started again after it has the same
    number: int
    #: to be called when it listens
    ready: Callable[[], None]
    #: the end of a pipe that is closed when the parent is gone
    parent_gone: int


@dataclass(slots=True)
class _Place:
    """One of the processes, whichever holds the place now."""

    number: int
    pid: int = 0
    started_s: float = 0.0
    start_at_s: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    #: reading end; closed once the process is ready
    news: int | None = None
    is_ready: bool = False


@dataclass(slots=True)
class _Fleet:
    work: Callable[[Worker], None]
    drain_timeout_s: float
    on_ready: Callable[[], None]
    places: list[_Place]
    life: tuple[int, int] = field(default_factory=os.pipe)
    was_ready: bool = False
    kill_at_s: float | None = None

    # ------------------------------------------------------------ the parent

    def run(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for place in self.places:
                self._start(place)
            while any(place.pid for place in self.places) or self.kill_at_s is None:
                received = signal.sigtimedwait(_SIGNALS, self._patience_s())
                if received is not None:
                    self._hear(received.si_signo)
                self._reap()
                self._look_after()
        finally:
            self._kill()
            for end in self.life:
                os.close(end)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _patience_s(self) -> float:
        if not self.was_ready:
            return 0.05
        now_s = time.monotonic()
        moments = [place.start_at_s for place in self.places if not place.pid] if self.kill_at_s is None else []
        if self.kill_at_s is not None:
            moments.append(self.kill_at_s)
        return max(0.0, min([moment - now_s for moment in moments], default=60.0))

    def _hear(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT) and self.kill_at_s is None:
            self.kill_at_s = time.monotonic() + self.drain_timeout_s + _GRACE_S
            self._tell(signal.SIGTERM)
        elif number == signal.SIGHUP:
            self._tell(signal.SIGHUP)

    def _tell(self, number: int) -> None:
        for place in self.places:
            # before it is ready it has no handler: SIGHUP would end it
            if place.pid and (place.is_ready or number != signal.SIGHUP):
                os.kill(place.pid, number)

    def _reap(self) -> None:
        for place in self.places:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if not pid:
                continue
            place.pid = 0
            news = self._read_news(place)
            if self.kill_at_s is not None:
                continue
            if not self.was_ready:
                # what stops the first ones will stop all that follow: the operator has to mend it
                raise OperatorError(news or "a worker ended before it listened; see the log above", code="worker")
            now_s = time.monotonic()
            settled = now_s - place.started_s >= _SETTLED_S
            place.pause_s = _FIRST_PAUSE_S if settled else min(place.pause_s * 2, _LONGEST_PAUSE_S)
            place.start_at_s = now_s + (0 if settled else place.pause_s)
            _LOG.error(
                "workers",
                action="died",
                worker=place.number,
                status=os.waitstatus_to_exitcode(status),
                again_in_s=round(place.start_at_s - now_s, 1),
            )

    def _look_after(self) -> None:
        now_s = time.monotonic()
        for place in self.places:
            if place.pid and not place.is_ready and place.news is not None and _has_news(place.news):
                place.is_ready = True
        if not self.was_ready and all(place.is_ready for place in self.places):
            self.was_ready = True
            if self.kill_at_s is None:
                self.on_ready()
        if self.kill_at_s is None:
            for place in self.places:
                if not place.pid and now_s >= place.start_at_s:
                    self._start(place)
        elif now_s >= self.kill_at_s:
            _LOG.error("workers", action="killed", why="the drain time is over")
            self._kill()

    def _kill(self) -> None:
        for place in self.places:
            if place.pid:
                os.kill(place.pid, signal.SIGKILL)
                os.waitpid(place.pid, 0)
                place.pid = 0
                self._read_news(place)

    def _read_news(self, place: _Place) -> str:
        """Why it ended, if it said so."""
        if place.news is None:
            return ""
        with os.fdopen(place.news, "rb") as pipe:
            place.news = None
            return pipe.read().removeprefix(b"+").decode(errors="replace")

    # ------------------------------------------------------------ a process

    def _start(self, place: _Place) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._become_worker(place.number, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        place.pid, place.news, place.is_ready, place.started_s = pid, reading, False, time.monotonic()
        _LOG.info("workers", action="started", worker=place.number)

    def _become_worker(self, number: int, news: int) -> NoReturn:
        # its own writing end would keep the pipe open after the parent is gone
        os.close(self.life[1])
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = 0
        try:
            self.work(Worker(number, lambda: _tell_news(news, b"+"), self.life[0]))
        except GatewayError as error:
            _tell_news(news, error.message.encode())
            code = 2
        except KeyboardInterrupt:
            code = 0
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def supervise(
    work: Callable[[Worker], None], *, count: int, drain_timeout_s: float, on_ready: Callable[[], None]
) -> None:
    """Run `work` in `count` processes until SIGTERM or SIGINT. Call it before any thread or connection exists.

    `on_ready` is called when all of them listen for the first time. Raises OperatorError when one ends before that.
    """
    places = [_Place(number) for number in range(1, count + 1)]
    _Fleet(work, drain_timeout_s, on_ready, places).run()


def _has_news(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) == b"+"
    except BlockingIOError:
        return False


def _tell_news(pipe: int, text: bytes) -> None:
    try:
        os.write(pipe, text)
    except OSError:  # the parent is gone; the process will see it too
        return
