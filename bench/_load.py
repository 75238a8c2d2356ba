"""The load generator, a process of its own: sends requests that were signed before, over real sockets.

`python -m bench._load PORT FILE --connections N --seconds S [--rate R] [--skip N]` prints one JSON document. Without
a rate every connection asks again as soon as it has its answer. With one, requests have moments at which they are to
be sent, whether or not earlier ones are answered, and latency counts from that moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import uvloop


def requests_of(file: Path, skip: int) -> Iterator[bytes]:
    """Messages of a file, after the first `skip`: length, newline, message."""
    stream = file.open("rb")
    for _ in range(skip):
        stream.seek(int(stream.readline()), os.SEEK_CUR)
    return _requests(stream)


def _requests(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while header := stream.readline():
            message = stream.read(int(header))
            yield (
                b'POST /shep/sync HTTP/1.1\r\nHost: bench\r\nContent-Type: text/xml\r\nSOAPAction: ""\r\n'
                b"Content-Length: %d\r\n\r\n" % len(message)
            ) + message


#: how often it is looked whose moment has come: waking for each of them would cost more than sending them
_TICK_S: Final = 0.004


class Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = bytearray()
        self._need = 0
        self._since_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._load.opened.append(self)

    def ask(self, request: bytes, since_s: float) -> None:
        self._since_s = since_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._need = end + 4 + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self._buffer) >= self._need:
            ok = self._buffer.startswith(b"HTTP/1.1 200")
            self._buffer.clear()
            self._need = 0
            self._load.done(time.perf_counter() - self._since_s, ok)
            self._load.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.lost()


class Load:
    """Everything that is sent, and how long each answer took."""

    def __init__(self, messages: Iterator[bytes], seconds: float, rate: float) -> None:
        self._messages = messages
        self._seconds = seconds
        self._rate = rate
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._in_hand = 0
        self._ending = False
        self.ended = asyncio.Event()
        self.start_s = 0.0
        self.opened: list[Connection] = []
        self.samples: list[tuple[float, float]] = []
        self.refused = 0
        self.ran_out = False

    def free(self, connection: Connection) -> None:
        if self._ending:
            if not self._in_hand:
                self.ended.set()
            return
        if self._rate:
            if self._due:
                self._ask(connection, self._due.popleft())
            else:
                self._free.append(connection)
        else:
            self._ask(connection, time.perf_counter())

    def _ask(self, connection: Connection, since_s: float) -> None:
        message = next(self._messages, None)
        if message is None:
            self.ran_out = self._ending = True
            if not self._in_hand:
                self.ended.set()
            return
        self._in_hand += 1
        connection.ask(message, since_s)

    def done(self, seconds: float, ok: bool) -> None:
        self._in_hand -= 1
        self.samples.append((time.perf_counter() - self.start_s, seconds))
        self.refused += not ok
        if time.perf_counter() - self.start_s > self._seconds:
            self._ending = True

    def lost(self) -> None:
        self.ended.set()

    async def run(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        # what is measured is answering over connections that are there, not opening a hundred of them at once
        self.start_s = time.perf_counter()
        for connection in self.opened:
            self.free(connection)
        if self._rate:
            await self._follow_the_clock()
        await self.ended.wait()

    async def _follow_the_clock(self) -> None:
        sent = 0
        while (now_s := time.perf_counter()) - self.start_s < self._seconds and not self._ending:
            while sent / self._rate <= now_s - self.start_s:
                moment_s = self.start_s + sent / self._rate
                sent += 1
                if self._free:
                    self._ask(self._free.popleft(), moment_s)
                else:
                    self._due.append(moment_s)
            await asyncio.sleep(_TICK_S)
        self._ending = True
        if not self._in_hand:
            self.ended.set()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args()

    async def run() -> Load:
        load = Load(requests_of(options.file, options.skip), options.seconds, options.rate)
        await load.run(options.port, options.connections)
        return load

    load = uvloop.run(run())
    seconds = time.perf_counter() - load.start_s
    quarters = [[], [], [], []]  # type: list[list[float]]
    for at_s, took_s in load.samples:
        quarters[min(3, int(4 * at_s / options.seconds))].append(took_s)
    took = [took_s for _, took_s in load.samples]
    document = {
        "answers": len(load.samples),
        "refused": load.refused,
        "seconds": seconds,
        "cpu_s": time.process_time(),
        "p50_ms": percentile(took, 0.50) * 1e3,
        "p99_ms": percentile(took, 0.99) * 1e3,
        "p99_ms_by_quarter": [percentile(quarter, 0.99) * 1e3 for quarter in quarters],
        "took_ms": [round(took_s * 1e3, 1) for took_s in took],
        "ran_out": load.ran_out,
    }
    print(json.dumps(document))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


if __name__ == "__main__":
    main()
