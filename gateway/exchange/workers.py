"""Who does the work: takes what is due, one row at a time, and carries it as far as it goes.

Any number of workers in any number of processes share one database. Each row is leased, so that it has one worker, and
becomes anybody's when the lease ends. Nothing is remembered between two rows but what stands in the database.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection, Engine

from gateway import telemetry
from gateway.database import writing
from gateway.errors import GatewayError, OperatorError, StoreError
from gateway.exchange import circuit, due, outbox
from gateway.exchange.ask import Asker
from gateway.exchange.due import Due
from gateway.exchange.ending import Tried, release_wish
from gateway.exchange.outbox import Exchange, State
from gateway.exchange.reconcile import recover
from gateway.exchange.retry import is_too_old
from gateway.exchange.sending import StoredReply, Wire
from gateway.systems.definition import Retry
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()

#: for a wish whose system can no longer be looked up: once a day, until somebody puts its folder back
_WITHOUT_SYSTEM: Final = Retry(attempts=1, first_delay_s=0.0, factor=1.0)
#: how often a worker looks for rows that somebody else left behind
_RECOVERY_S: Final = 1.0

#: codes of rows that are quarantined here
NO_CHANNEL: Final = "channel_not_configured"
TOO_OLD: Final = "too_old"
ATTEMPTS_USED_UP: Final = "attempts_used_up"
BYTES_GONE: Final = "bytes_gone"


class Road(Protocol):
    """How rows of one channel travel. Every method is safe to call from several threads and raises StoreError.

    `send` and `take_reply` write what came of it into the row, fenced by the row's lease.
    """

    @property
    def flow(self) -> Flow: ...

    def ask_due(self, wish: Due, *, holder: str) -> object:
        """Steps 2 to 13 for a wish that was taken; None when somebody else took it meanwhile. Raises for what is wrong
        on our side, and then nothing was sent or StoreError."""
        ...

    def lease_of(self, row: Exchange) -> dt.timedelta:
        """How long the row is held while it is posted."""
        ...

    def tried(self, row: Exchange, *, trial: bool = False, posted: bool = True) -> Tried:
        """By what it is retried. Raises OperatorError when its system is not known any more."""
        ...

    def can_ask(self, row: Exchange) -> bool:
        """Whether the gateway can be asked what became of the message."""
        ...

    def reconcile(self, row: Exchange) -> bool:
        """For a leased row that may have arrived: True, the same bytes may go again now; False, whatever was found out
        stands in the row, and it is no longer leased."""
        ...

    def send(self, row: Exchange, body: bytes, *, trial: bool = False) -> object:
        """Steps 9 to 13 for a leased row."""
        ...

    def take_reply(self, row: Exchange, reply: StoredReply, *, trial: bool = False, posted: bool = True) -> object:
        """Steps 11 to 13 for a leased row and a reply that is stored already; `posted` False: by somebody else."""
        ...


@dataclass(frozen=True, slots=True)
class Worked:
    """What one turn came to. Without work `retry_at` says when there may be some, if that is known."""

    worked: bool
    retry_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class _Leased:
    row: Exchange
    road: Road
    tried: Tried
    #: how it stood before it was taken
    before: State


class Worker:
    """One worker. Not to be shared between threads; `holder` is its own in the whole fleet."""

    def __init__(
        self,
        *,
        engine: Engine,
        asker: Asker,
        roads: Mapping[str, Road],
        wire: Wire,
        clock: Callable[[], dt.datetime],
        holder: str,
        batch: int = 1,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`roads` by channel; `batch` wishes are taken at once; `stop` is asked between two rows."""
        self._engine = engine
        self._asker = asker
        self._roads = roads
        self._wire = wire
        self._clock = clock
        self._holder = holder
        self._batch = batch
        self._stop = stop
        self._recovered_at: dt.datetime | None = None

    def work_once(self) -> Worked:
        """Do the most urgent thing that is due: a row of what we send, else wishes to ask. Raises StoreError."""
        now = self._clock()
        if self._recovered_at is None or now - self._recovered_at >= dt.timedelta(seconds=_RECOVERY_S):
            recover(self._engine, now, can_ask=self._can_ask)
            self._recovered_at = now
        leased, held = self._lease(now)
        if leased is not None:
            self._carry(leased)
            return Worked(True)
        wishes = self._take_wishes(now, held)
        if not wishes:
            return Worked(False, min(held.values(), default=None))
        self._ask(wishes)
        return Worked(True)

    # ------------------------------------------------------------ rows

    def _lease(self, now: dt.datetime) -> tuple[_Leased | None, dict[str, dt.datetime]]:
        """The next row that may be sent, with those that may never be put aside; and the services held back."""
        while True:
            with contextlib.ExitStack() as steps, writing(self._engine) as connection:
                held = dict(circuit.held_services(connection, now))
                rows = outbox.find_due(connection, now, 1, without=held)
                if not rows:
                    return None, held
                (row,) = rows
                road, tried = self._road_of(connection, row, now)
                if road is None or tried is None:
                    continue  # it waits for the operator now: take the next one
                steps.enter_context(step(1, road.flow))
                admission = circuit.ask_leave(connection, row.service_id, tried.circuit, now)
                if not admission.admitted:  # somebody else was faster
                    continue
                taken = outbox.take(connection, row, holder=self._holder, leased_until=now + road.lease_of(row))
            trial = road.tried(row, trial=admission.trial)
            return _Leased(taken, road, trial, row.state), held

    def _road_of(self, connection: Connection, row: Exchange, now: dt.datetime) -> tuple[Road | None, Tried | None]:
        """How the row travels; none, and the row quarantined, when it must not."""
        road = self._roads.get(row.channel)
        code = ""
        tried = None
        if road is None:
            code = NO_CHANNEL
        else:
            try:
                tried = road.tried(row)
            except OperatorError as error:
                code = error.code
            else:
                if is_too_old(row.due_at, policy=tried.retry, now=now):
                    code = TOO_OLD
        if not code:
            return road, tried
        self._put_aside(connection, row, code, now, leased=False)
        return None, None

    def _put_aside(self, connection: Connection, row: Exchange, code: str, now: dt.datetime, *, leased: bool) -> None:
        if outbox.quarantine(connection, row.message_id, code=code, lease=row.lease if leased else None):
            release_wish(connection, row, now)
            _LOG.warning("exchange", action="quarantined", message_id=row.message_id, system=row.system, code=code)

    def _carry(self, leased: _Leased) -> None:
        row, flow = leased.row, leased.road.flow
        with telemetry.message(flow, message_id=row.message_id, system=row.system, service_id=row.service_id):
            self._take_on(leased)

    def _take_on(self, leased: _Leased) -> None:
        row, road = leased.row, leased.road
        try:
            if leased.before is State.UNKNOWN:
                reply = self._wire.unread_reply(row)
                if reply is not None:
                    road.take_reply(row, reply, posted=False)
                    return
                if row.attempts > leased.tried.retry.attempts:
                    self._give_up(row, ATTEMPTS_USED_UP)
                    return
                if not road.reconcile(row):
                    return
            body = self._body_of(row)
            if body is not None:
                road.send(row, body, trial=leased.tried.trial)
        except Exception as error:  # one row must not keep the others from being sent: its lease ends, it is recovered
            code = error.code if isinstance(error, GatewayError) else type(error).__name__
            _LOG.error("exchange", action="row_failed", message_id=row.message_id, system=row.system, code=code)
            if isinstance(error, StoreError):
                raise

    def _body_of(self, row: Exchange) -> bytes | None:
        """The bytes to be sent; none, and the row quarantined, when the journal cannot give them."""
        code = BYTES_GONE
        body = None
        try:
            body = self._wire.bytes_of(row)
        except StoreError as error:
            if not error.code.startswith("journal_"):
                raise
            code = error.code
        if body is None:
            self._give_up(row, code)
        return body

    def _give_up(self, row: Exchange, code: str) -> None:
        with writing(self._engine) as connection:
            self._put_aside(connection, row, code, self._clock(), leased=True)

    def _can_ask(self, row: Exchange) -> bool:
        road = self._roads.get(row.channel)
        return road is not None and road.can_ask(row)

    # ------------------------------------------------------------ wishes

    def _take_wishes(self, now: dt.datetime, held: Mapping[str, dt.datetime]) -> tuple[Due, ...]:
        with step(1, "out.sync"), writing(self._engine) as connection:
            without = self._asker.systems_asked_through(held)
            return due.take_due(connection, now, self._batch, holder=self._holder, without=without)

    def _ask(self, wishes: Sequence[Due]) -> None:
        together: list[Due] = []
        left: list[Due] = []
        for wish in wishes:
            (together if self._goes_in_groups(wish) else left).append(wish)
        if together and not self._stop():
            self._ask_together(together)
            together = []
        while left and not self._stop():
            self._ask_one(left.pop(0))
        if together or left:
            with writing(self._engine) as connection:
                due.let_go(connection, together + left)

    def _goes_in_groups(self, wish: Due) -> bool:
        try:
            system = self._asker.system(wish.system)
        except OperatorError:
            return False
        return self._roads.get(system.channel) is self._asker

    def _ask_together(self, wishes: Sequence[Due]) -> None:
        """Questions that share their transactions."""
        try:
            results = self._asker.ask_all_due(wishes, holder=self._holder)
        except Exception as error:  # what was begun is recovered when its leases end
            code = error.code if isinstance(error, GatewayError) else type(error).__name__
            _LOG.error("exchange", action="group_failed", wishes=len(wishes), code=code)
            raise
        for wish, result in zip(wishes, results, strict=True):
            if isinstance(result, Exception):
                self._failed(wish, result)

    def _ask_one(self, wish: Due) -> None:
        try:
            road = self._roads.get(self._asker.system(wish.system).channel)
            if road is None:
                raise OperatorError("the channel of the system is not configured", code=NO_CHANNEL)
            road.ask_due(wish, holder=self._holder)
        except Exception as error:  # one wish must not keep the others from being asked
            self._failed(wish, error)
            if isinstance(error, StoreError):
                raise

    def _failed(self, wish: Due, error: Exception) -> None:
        """No question could be made of a wish."""
        code = error.code if isinstance(error, GatewayError) else type(error).__name__
        _LOG.error("exchange", action="wish_failed", system=wish.system, code=code)
        try:
            retry = self._asker.system(wish.system).retry
        except OperatorError:
            retry = _WITHOUT_SYSTEM
        with writing(self._engine) as connection:
            due.give_back(connection, wish, retry=retry, now=self._clock())


class Works(Protocol):
    """What a thread of the pool does, turn by turn."""

    def work_once(self) -> Worked:
        """One turn. Raises StoreError."""
        ...


class WorkerPool:
    """Workers in threads. They look for work every `interval_s`, and at once when they are woken."""

    def __init__(
        self,
        make: Callable[[int, Callable[[], bool]], Works],
        *,
        workers: int,
        interval_s: float,
        clock: Callable[[], dt.datetime],
    ) -> None:
        """`make(number, stop)` makes a worker, with a holder name of its own."""
        self._stopping = threading.Event()
        self._woken = threading.Condition()
        self._interval_s = interval_s
        self._clock = clock
        self._threads = [
            threading.Thread(
                target=self._run, args=(make(number, self._stopping.is_set),), name=f"worker-{number}", daemon=True
            )
            for number in range(1, workers + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be work: a schedule fired, or a row was made."""
        with self._woken:
            self._woken.notify_all()

    def take_no_more(self) -> None:
        """Each worker ends after what it has in hand."""
        self._stopping.set()

    def stop(self, wait_s: float, cut_off: Callable[[], None]) -> None:
        """End all workers. What is in hand after `wait_s` is cut off: its row says that the outcome is unknown."""
        self.take_no_more()
        self.wake()
        deadline_s = time.monotonic() + max(wait_s, 0)
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(max(deadline_s - time.monotonic(), 0))
        if any(thread.is_alive() for thread in started):
            _LOG.warning("exchange", action="cut_off")
            cut_off()
            for thread in started:
                thread.join()

    def _run(self, worker: Works) -> None:
        while not self._stopping.is_set():
            pause_s = self._interval_s
            try:
                turn = worker.work_once()
            except Exception as error:  # the store is away, or worse: readiness tells; the next turn tries again
                code = error.code if isinstance(error, GatewayError) else type(error).__name__
                _LOG.error("exchange", action="turn_failed", code=code)
            else:
                if turn.worked:
                    continue
                if turn.retry_at is not None:
                    pause_s = min(pause_s, (turn.retry_at - self._clock()).total_seconds())
            with self._woken:
                if not self._stopping.is_set():
                    self._woken.wait(max(pause_s, 0.001))
