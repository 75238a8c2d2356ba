"""Requests that are in hand together are answered together: one read, one commit (docs/decisions/0025).

Nobody waits for a timer. A request that finds nothing under way is a group of its own at once; what comes while a group
is under way is the next group. So groups grow with the load, and a lonely request is as quick as it can be.
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
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="groups")
        self._busy = False

    async def result_of(self, item: Item) -> Result:
        """What `work` makes of one item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._busy:
            self._begin()
        return await future

    def close(self) -> None:
        """End the thread, after the group that is under way."""
        self._thread.shutdown(wait=True)

    def _begin(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._max_group, len(self._waiting)))]
        self._busy = True
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._work, [item for item, _ in group])
        running.add_done_callback(lambda done: self._end([future for _, future in group], done))

    def _end(self, futures: Sequence[asyncio.Future[Result]], done: asyncio.Future[Sequence[Result]]) -> None:
        self._busy = False
        if self._waiting:
            self._begin()
        error = done.exception()
        results: Sequence[Result] = [] if error is not None else done.result()
        for number, future in enumerate(futures):
            if future.cancelled():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(results[number])
