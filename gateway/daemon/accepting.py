"""Connections of one socket, spread evenly over the processes behind it.

Whichever process wakes first takes what has come, so that of two one may hold twice as many, and every request of those
waits twice as long. Here a process that holds more than another leaves the next connection to it for a moment. Nobody
relies on the other: what is still there after a moment in which the other took nothing is taken.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable
from typing import Final

import structlog

#: how long a connection is left to a process that holds fewer
_LEFT_FOR_S: Final = 0.005
#: of many connections one process may hold this share more than another: taken by turns, one at a time, they would
#: wait for as many turns
_SHARE: Final = 8
#: when the system has no more files for us
_PAUSE_S: Final = 1.0
_BACKLOG: Final = 2_048
#: taken before those that are held have their turn
_AT_ONCE: Final = 32
_LOG: Final = structlog.get_logger()


class Holdings:
    """How many connections each process holds, in memory that all of them share. Made before they are."""

    def __init__(self, count: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 8 * count)).cast("q")

    def tell(self, number: int, held: int) -> None:
        """Process `number`, from 0 on, holds so many."""
        self._counts[number] = held

    def least(self) -> int:
        """What the process holds that holds fewest."""
        return min(self._counts)

    def is_above_another(self, number: int) -> bool:
        """Whether another process holds fewer, by more than makes a difference."""
        least = self.least()
        return self._counts[number] > least + least // _SHARE


class Acceptor:
    """Accepts the connections of a listening socket, one at a time. For one event loop."""

    def __init__(
        self,
        bound: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        holdings: Holdings,
        number: int,
        held: Callable[[], int],
    ) -> None:
        """`held`: how many connections this process, `number`, holds now."""
        self._bound = bound
        self._make = make
        self._holdings = holdings
        self._number = number
        self._held = held
        self._loop = asyncio.get_running_loop()
        #: accepted, and not yet among those that are held
        self._beginning: set[asyncio.Task[object]] = set()
        self._later: asyncio.TimerHandle | None = None
        bound.setblocking(False)
        bound.listen(_BACKLOG)
        self._listen()

    def tell(self) -> None:
        """Say how many are held, after some have ended."""
        self._holdings.tell(self._number, self._held() + len(self._beginning))

    def close(self) -> None:
        """Accept no more."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        else:
            self._loop.remove_reader(self._bound)

    async def wait_closed(self) -> None:
        """Until what was accepted is held."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _listen(self) -> None:
        self._later = None
        self._loop.add_reader(self._bound, self._ready)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._bound)
        self._later = self._loop.call_later(seconds, then)

    def _ready(self) -> None:
        self.tell()
        for _ in range(_AT_ONCE):
            if self._holdings.is_above_another(self._number):
                self._leave()
                return
            if not self._accept():
                return

    def _leave(self) -> None:
        least = self._holdings.least()
        self._pause(_LEFT_FOR_S, lambda: self._look_again(least))

    def _look_again(self, least: int) -> None:
        if self._holdings.is_above_another(self._number) and self._holdings.least() > least:
            self._leave()  # the other one is at it
            return
        self._listen()
        self._accept()

    def _accept(self) -> bool:
        """Take a connection; whether there was one."""
        try:
            connection, _ = self._bound.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # no more, another process was quicker, or the client is gone again
        except OSError as error:
            _LOG.error("server", action="accept_failed", code=type(error).__name__, number=error.errno)
            self._pause(_PAUSE_S, self._listen)
            return False
        connection.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        self.tell()
        return True

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()  # the client is gone again
