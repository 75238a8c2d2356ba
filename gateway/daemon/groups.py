"""Requests that are in hand together are answered together: one read, one commit (docs/decisions/0025).

A request that finds nothing under way is a group of its own at once; what comes while a group is under way is the next
group. So groups grow with the load, and a lonely request is as quick as it can be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

#: what one commit carries at most: larger groups make everybody in them wait longer and save little more
MAX_GROUP: Final = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


class Groups(Generic[Item, Result]):
    """Collects items in the event loop and hands them, group by group, to `work` in a thread of its own."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], *, max_group: int = MAX_GROUP) -> None:
        """`work` gives one result for each item, in their order; what it raises reaches everybody of the group."""
        self._work = work
        self._max_group = max_group
        self._waiting: deque[tuple[Item, Callable[[Result | Exception], None]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="groups")
        #: a group is under way, or about to begin
        self._busy = False

    def put(self, item: Item, done: Callable[[Result | Exception], None]) -> None:
        """Have `work` look at one item. `done` is called in the event loop with what it made of it, or raised."""
        self._waiting.append((item, done))
        if not self._busy:
            self._begin_soon()

    async def result_of(self, item: Item) -> Result:
        """What `work` makes of one item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: Result | Exception) -> None:
            if future.cancelled():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.put(item, done)
        return await future

    def close(self) -> None:
        """End the thread, after the group that is under way."""
        self._thread.shutdown(wait=True)

    def _begin_soon(self) -> None:
        # after the loop has read once more: with whatever else has arrived by now
        self._busy = True
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._max_group, len(self._waiting)))]
        self._thread.submit(self._run, asyncio.get_running_loop(), group)

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        group: Sequence[tuple[Item, Callable[[Result | Exception], None]]],
    ) -> None:
        results: Sequence[Result | Exception]
        try:
            results = self._work([item for item, _ in group])
        except Exception as error:
            results = [error] * len(group)
        loop.call_soon_threadsafe(self._end, [done for _, done in group], results)

    def _end(
        self, waiting: Sequence[Callable[[Result | Exception], None]], results: Sequence[Result | Exception]
    ) -> None:
        for done, result in zip(waiting, results, strict=True):
            done(result)
        if self._waiting:
            self._begin_soon()
        else:
            self._busy = False
