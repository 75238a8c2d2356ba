"""Of two processes behind one socket neither holds much more than the other, and no connection is left standing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.daemon.accepting import Acceptor, Holdings

WAIT_S = 30


class Held(asyncio.Protocol):
    """Greets whoever comes with its number."""

    def __init__(self, holders: set[Held], number: int) -> None:
        self._holders, self._number = holders, number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._holders.add(self)
        transport.write(b"%d" % self._number)

    def connection_lost(self, _: Exception | None) -> None:
        self._holders.discard(self)


class Process:
    """What one process of the fleet does; two of them in one event loop here."""

    def __init__(self, bound: socket.socket, holdings: Holdings, number: int) -> None:
        self.held: set[Held] = set()
        self.bound = bound.dup()
        self.acceptor = Acceptor(
            self.bound,
            lambda: Held(self.held, number),
            holdings=holdings,
            number=number,
            held=lambda: len(self.held),
        )


@pytest.fixture
def bound() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


@contextlib.asynccontextmanager
async def processes(bound: socket.socket, count: int) -> AsyncIterator[list[Process]]:
    holdings = Holdings(2)
    running = [Process(bound, holdings, number) for number in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.acceptor.close()
            one.bound.close()
            await one.acceptor.wait_closed()
            for held in one.held:
                held.transport.abort()
        await asyncio.sleep(0.01)  # what was aborted is closed in the next round of the loop


async def client(bound: socket.socket, opened: contextlib.ExitStack) -> tuple[bytes, socket.socket]:
    """A connection and who holds it."""
    connection = opened.enter_context(socket.create_connection(bound.getsockname(), WAIT_S))
    connection.setblocking(False)
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1), WAIT_S), connection


@pytest.fixture
def opened() -> Any:
    with contextlib.ExitStack() as opened:
        yield opened


def test_connections_are_spread_evenly(
    bound: socket.socket, opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a busy machine may need longer than is waited for otherwise
    monkeypatch.setattr("gateway.daemon.accepting._LEFT_FOR_S", 0.2)

    async def run() -> tuple[list[int], list[int]]:
        async with processes(bound, 2) as both:
            clients = [await client(bound, opened) for _ in range(20)]
            first = [len(one.held) for one in both]
            # those of one process end: the next ones are for it
            for number, connection in clients:
                if number == b"0":
                    connection.close()
            while both[0].held:
                await asyncio.sleep(0.001)
            both[0].acceptor.tell()
            clients += await asyncio.gather(*(client(bound, opened) for _ in range(10)))
            return first, [len(one.held) for one in both]

    first, then = asyncio.run(run())
    assert max(first) - min(first) <= 2
    assert max(then) - min(then) <= 2


@pytest.mark.parametrize(("held", "other", "leaves"), [(1, 0, True), (1, 1, False), (8, 8, False), (10, 8, True)])
def test_who_holds_more_leaves_the_next_one(held: int, other: int, *, leaves: bool) -> None:
    holdings = Holdings(2)
    holdings.tell(0, held)
    holdings.tell(1, other)
    assert holdings.is_above_another(0) is leaves
    assert not holdings.is_above_another(1)


def test_of_many_connections_one_process_may_hold_a_few_more(
    bound: socket.socket, opened: contextlib.ExitStack
) -> None:
    """Taken in turns, one at a time, a crowd would wait for as many turns of both event loops."""
    holdings = Holdings(2)
    holdings.tell(1, 40)
    crowd = [opened.enter_context(socket.create_connection(bound.getsockname(), WAIT_S)) for _ in range(10)]

    async def run() -> int:
        held: set[Held] = set()
        mine = bound.dup()
        acceptor = Acceptor(mine, lambda: Held(held, 0), holdings=holdings, number=0, held=lambda: 38 + len(held))
        turns = 0
        while len(held) < 8:  # 46 are too many beside 40, 45 are not
            turns += 1
            await asyncio.sleep(0)
        acceptor.close()
        mine.close()
        await acceptor.wait_closed()
        for one in held:
            one.transport.abort()
        await asyncio.sleep(0.01)
        return turns

    assert asyncio.run(run()) < len(crowd)


def test_a_process_that_takes_nothing_keeps_nobody_waiting(bound: socket.socket, opened: contextlib.ExitStack) -> None:
    """The other one holds none, because it is dead or has too much to do."""

    async def run() -> list[bytes]:
        async with processes(bound, 1):
            return [(await client(bound, opened))[0] for _ in range(5)]

    assert asyncio.run(run()) == [b"0"] * 5


def test_after_its_end_nothing_is_accepted(bound: socket.socket, opened: contextlib.ExitStack) -> None:
    async def run() -> None:
        async with processes(bound, 1):
            await client(bound, opened)
            # left for the other one, for a moment
            opened.enter_context(socket.create_connection(bound.getsockname(), WAIT_S))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client(bound, opened), 0.05)

    asyncio.run(run())


def test_without_files_for_more_it_waits_and_goes_on(
    bound: socket.socket, opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(socket.socket):
        refused = 0

        def accept(self) -> Any:
            if not self.refused:
                self.refused += 1
                raise OSError(errno.EMFILE, "too many files")
            return super().accept()

    monkeypatch.setattr("gateway.daemon.accepting._PAUSE_S", 0.01)

    async def run() -> bytes:
        held: set[Held] = set()
        full = Full(fileno=bound.dup().detach())
        acceptor = Acceptor(full, lambda: Held(held, 7), holdings=Holdings(1), number=0, held=lambda: len(held))
        try:
            return (await client(bound, opened))[0]
        finally:
            acceptor.close()
            full.close()
            for one in held:
                one.transport.abort()
            await asyncio.sleep(0.01)

    assert asyncio.run(run()) == b"7"
