"""Groups grow with the load: a lonely item is never kept waiting, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gateway.daemon.groups import Groups
from gateway.exchange.admission import Admission


class Work:
    """Doubles numbers; holds the first group until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        self.begun.set()
        assert self.go.wait(60)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


def test_what_comes_while_a_group_is_under_way_is_the_next_group() -> None:
    async def run() -> list[int]:
        work = Work()
        groups: Groups[int, int] = Groups(work, max_group=3)
        tasks = [asyncio.create_task(groups.result_of(0))]
        await asyncio.to_thread(work.begun.wait, 60)
        tasks += [asyncio.create_task(groups.result_of(number)) for number in range(1, 6)]
        await asyncio.sleep(0)
        work.go.set()
        results = await asyncio.gather(*tasks)
        groups.close()
        assert work.groups == [[0], [1, 2, 3], [4, 5]]
        return list(results)

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]


def test_an_error_reaches_its_group_and_nobody_else() -> None:
    async def run() -> list[object]:
        work = Work()
        work.go.set()
        groups: Groups[int, int] = Groups(work)
        try:
            return [await groups.result_of(1), *await asyncio.gather(groups.result_of(13), return_exceptions=True)]
        finally:
            assert await groups.result_of(2) == 4
            groups.close()

    first, failed = asyncio.run(run())
    assert first == 2
    assert isinstance(failed, ValueError)


def test_who_no_longer_waits_harms_nobody() -> None:
    async def run() -> int:
        work = Work()
        groups: Groups[int, int] = Groups(work)
        gone = asyncio.create_task(groups.result_of(1))
        await asyncio.to_thread(work.begun.wait, 60)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        work.go.set()
        result = await groups.result_of(2)
        groups.close()
        return result

    assert asyncio.run(run()) == 4


def test_what_is_in_hand_is_bounded_in_number_and_bytes() -> None:
    admission = Admission(max_requests=2, max_bytes=10)
    assert admission.enter()
    assert admission.enter()
    assert not admission.enter()
    assert admission.take(6)
    assert not admission.take(5)
    assert admission.take(4)
    admission.leave(6)
    assert admission.enter()
    assert (admission.requests, admission.bytes, admission.turned_away) == (2, 4, 2)


def test_what_comes_at_once_is_one_group() -> None:
    async def run() -> None:
        work = Work()
        work.go.set()
        groups: Groups[int, int] = Groups(work)
        assert await asyncio.gather(*(groups.result_of(number) for number in range(5))) == [0, 2, 4, 6, 8]
        groups.close()
        assert work.groups == [[0, 1, 2, 3, 4]]

    asyncio.run(run())


def test_an_answer_leaves_before_the_next_group_begins() -> None:
    async def run() -> None:
        told: list[int] = []
        seen: list[list[int]] = []

        def work(items: Sequence[int]) -> Sequence[int]:
            seen.append(list(told))
            return items

        groups: Groups[int, int] = Groups(work, max_group=1)
        ended = asyncio.Event()

        def done(result: int | Exception) -> None:
            assert isinstance(result, int)
            told.append(result)
            if len(told) == 3:
                ended.set()

        for number in range(3):
            groups.put(number, done)
        await ended.wait()
        groups.close()
        assert seen == [[], [0], [0, 1]]

    asyncio.run(run())


def test_a_group_that_waits_for_the_database_does_not_hold_the_event_loop() -> None:
    async def run() -> None:
        work = Work()
        groups: Groups[int, int] = Groups(work)
        task = asyncio.create_task(groups.result_of(1))
        await asyncio.to_thread(work.begun.wait, 60)
        await asyncio.sleep(0.01)  # the loop turns although the group has not ended
        assert not task.done()
        work.go.set()
        assert await task == 2
        groups.close()

    asyncio.run(run())
