"""One running process: it listens, wakes by the clock, and drains when it is told to end.

With `server.workers` above one there are several of them behind one socket: gateway.daemon.workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette

from gateway import database, settings
from gateway.daemon.accepting import Acceptor, Holdings
from gateway.daemon.alarm import AlarmClock
from gateway.daemon.assembly import Gateway, assemble
from gateway.daemon.connections import BoundedConnection, close_slow
from gateway.daemon.endpoints import App
from gateway.daemon.observing import Observing, observe
from gateway.daemon.workers import Worker, supervise
from gateway.errors import ConfigurationError
from gateway.listening import bind
from gateway.signing.keys import SigningKey


def serve(
    loaded: settings.LoadedSettings, *, on_listening: Callable[[str], None], key: SigningKey | None = None
) -> None:
    """Run until SIGTERM or SIGINT: endpoints, and the alarm clock.

    A signal stops taking work; what is in hand is finished, and after `server.drain_timeout_s` cut off.
    `on_listening` gets the address; `key` as in `assemble`. Raises OperatorError.
    """
    options = loaded.settings.server
    _refuse_workers_on_sqlite(loaded)
    bound, url = bind(options.host, options.port, setting="server.port")
    with bound:
        if options.workers == 1:
            run_one(loaded, bound, on_listening=lambda: on_listening(url), key=key)
            return

        # whichever worker is asked for /metrics answers for all of them
        holdings = Holdings(options.workers)
        with tempfile.TemporaryDirectory(prefix="gateway-metrics-") as shared:

            def work(worker: Worker) -> None:
                run_one(
                    loaded,
                    bound,
                    on_listening=worker.ready,
                    key=key,
                    parent_gone=worker.parent_gone,
                    shared_metrics=Path(shared),
                    place=Place(holdings, worker.number - 1),
                )

            supervise(
                work, count=options.workers, drain_timeout_s=options.drain_timeout_s, on_ready=lambda: on_listening(url)
            )


def run_one(
    loaded: settings.LoadedSettings,
    bound: socket.socket,
    *,
    on_listening: Callable[[], None],
    key: SigningKey | None = None,
    parent_gone: int | None = None,
    shared_metrics: Path | None = None,
    place: Place | None = None,
) -> None:
    """One process on a bound socket. It drains too when `parent_gone`, the end of a pipe, is closed at the other.

    `place`: among the processes that share the socket; None: there is one process.
    """
    with assemble(loaded, key=key) as gateway:
        observing = observe(gateway, shared_metrics)
        leave_alone_what_stays()
        _Server(gateway, AlarmClock(gateway), observing, on_listening, parent_gone, place).run(sockets=[bound])


def leave_alone_what_stays() -> None:
    """What was made for the whole life of the process is not looked through for garbage again and again: a twentieth
    of a served answer's processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _refuse_workers_on_sqlite(loaded: settings.LoadedSettings) -> None:
    if loaded.settings.server.workers > 1 and database.is_sqlite(settings.database_url(loaded)):
        raise ConfigurationError(
            "several workers need PostgreSQL: SQLite is for one process; set database.url, or workers = 1",
            file=str(loaded.file),
            key="server.workers",
        )


@dataclass(frozen=True, slots=True)
class Place:
    """One of several processes behind a socket, from 0 on."""

    holdings: Holdings
    number: int


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens, bounds its connections and drains against one deadline."""

    def __init__(
        self,
        gateway: Gateway,
        alarm: AlarmClock,
        observing: Observing,
        on_listening: Callable[[], None],
        parent_gone: int | None,
        place: Place | None,
    ) -> None:
        options = gateway.loaded.settings.server
        self._alarm = alarm
        self._observing = observing
        self._on_listening = on_listening
        self._parent_gone = parent_gone
        self._place = place
        self._acceptor: Acceptor | None = None
        self._drain_s = options.drain_timeout_s
        self._request_timeout_s = options.request_timeout_s
        self._deadline_s: float | None = None
        self._app = App(gateway, self._lifespan, observing)
        super().__init__(
            uvicorn.Config(
                self._app,
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                lifespan="on",
                http=BoundedConnection.limited_to(options.max_connections, self._app.sync),
                timeout_graceful_shutdown=int(options.drain_timeout_s),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._place is None or sockets is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._accept(self._place, sockets[0])
        if self.started:
            self._on_listening()

    def _accept(self, place: Place, bound: socket.socket) -> None:
        config, state = self.config, self.server_state

        def make() -> asyncio.Protocol:
            protocol: Any = config.http_protocol_class
            made: asyncio.Protocol = protocol(config=config, server_state=state, app_state=self.lifespan.state)
            return made

        self._acceptor = Acceptor(
            bound, make, holdings=place.holdings, number=place.number, held=lambda: len(state.connections)
        )
        self.servers = [self._acceptor]  # type: ignore[list-item]

    async def on_tick(self, counter: int) -> bool:
        self._observing.metrics.flush()
        if self._acceptor is not None:
            self._acceptor.tell()
        if counter % 10 == 0:  # ten ticks are a second
            close_slow(self.server_state.connections, self._request_timeout_s)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain()
        super().handle_exit(sig, frame)

    def _drain(self) -> None:
        self._deadline_s = time.monotonic() + self._drain_s
        self._alarm.take_no_more()

    def _end_without_parent(self, pipe: int) -> None:
        asyncio.get_running_loop().remove_reader(pipe)
        self._drain()
        self.should_exit = True

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._alarm.start()
        loop = asyncio.get_running_loop()
        # delivered in the event loop, between two requests' steps and not inside one
        loop.add_signal_handler(signal.SIGHUP, self._alarm.rotate_now)
        if self._parent_gone is not None:
            loop.add_reader(self._parent_gone, self._end_without_parent, self._parent_gone)
        try:
            yield
        finally:
            left_s = self._drain_s if self._deadline_s is None else self._deadline_s - time.monotonic()
            await anyio.to_thread.run_sync(lambda: self._alarm.stop(left_s))
            await anyio.to_thread.run_sync(self._app.sync.close)
            # here and not after `run`: uvicorn ends with the signal that it got, and nothing comes after it
            await anyio.to_thread.run_sync(self._observing.stop)
