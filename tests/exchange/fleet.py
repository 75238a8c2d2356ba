"""Workers for tests: a clock that is set by hand, crashes at any numbered step, and looks into the store."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from sqlalchemy import Engine, event, func, insert, select

from gateway.database import reading, writing
from gateway.exchange import due, outbox
from gateway.exchange.ask import Asker
from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.due import Due
from gateway.exchange.ending import Tried
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.exchange.limits import ExchangeLimits
from gateway.exchange.outbox import Exchange, NewExchange, State
from gateway.exchange.retry import RetryPolicy
from gateway.exchange.sending import StoredReply
from gateway.exchange.tables import EXCHANGE
from gateway.exchange.verification import TrustPolicy
from gateway.exchange.workers import Road, Worker
from gateway.model import Iin, Outcome, iin_control_digit
from gateway.shep import sync_channel
from gateway.systems.definition import SystemDefinition
from gateway.telemetry import Flow
from tests.exchange.world import NOW, Keys, Register, asker, body_of, invented, message_ids, systems, trust

HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)
UNBOUNDED = ExchangeLimits()
CBDI_SERVICE = "CBDI_DISABILITY_DRAFT"


@dataclass
class Clock:
    now: dt.datetime = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def tick(self, step: dt.timedelta = SECOND) -> None:
        self.now += step


class Crash(BaseException):
    """The process dies here: nothing catches it."""


@dataclass
class CrashAt:
    """A listener of steps that dies once, before or after a numbered step."""

    number: int
    when: Literal["before", "after"]
    fired: bool = False

    def entered(self, number: int, flow: Flow) -> None:
        self._maybe(number, "before")

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:
        if error is None:
            self._maybe(number, "after")

    def _maybe(self, number: int, when: str) -> None:
        if not self.fired and (number, when) == (self.number, self.when):
            self.fired = True
            raise Crash


@dataclass
class Fleet:
    """Any number of workers on one store, all against one register."""

    engine: Engine
    keys: Keys
    register: Register
    clock: Clock = field(default_factory=Clock)
    limits: ExchangeLimits = UNBOUNDED
    systems: Mapping[str, SystemDefinition] = field(default_factory=systems)
    new_message_id: Callable[[], str] = field(default_factory=message_ids)
    _made: int = 0
    #: read once for all workers
    _trust: TrustPolicy | None = None
    #: message ids of requests that were read already
    _ids: dict[bytes, str] = field(default_factory=dict)

    def asker(self) -> Asker:
        if self._trust is None:
            self._trust = trust(self.keys.pki)
        return asker(
            self.engine,
            self.keys,
            self.register,
            trust=self._trust,
            clock=self.clock,
            limits=self.limits,
            systems=self.systems,
            new_message_id=self.new_message_id,
        )

    def worker(self, *, roads: Mapping[str, Road] | None = None, **changes: Any) -> Worker:
        """A worker of a process of its own."""
        self._made += 1
        ours = self.asker()
        settings = {
            "engine": self.engine,
            "asker": ours,
            "roads": {"sync": ours} if roads is None else roads,
            "wire": ours.wire,
            "clock": self.clock,
            "holder": f"worker-{self._made}",
            **changes,
        }
        return Worker(**settings)

    def want(self, *people: Iin, system: str = "cbdi") -> None:
        with writing(self.engine) as connection:
            for person in people:
                due.want(connection, person, system, at=self.clock())

    def work(self, worker: Worker | None = None) -> int:
        """Turns until there is nothing to do at this moment; how many did something."""
        worker = self.worker() if worker is None else worker
        turns = 0
        while worker.work_once().worked:
            turns += 1
        return turns

    def work_through(self, step: dt.timedelta = HOUR, times: int = 12) -> None:
        """Work, and let time pass, so that everything comes to its end that comes to one by itself."""
        for _ in range(times):
            self.work()
            self.clock.tick(step)

    def row(self, message_id: str = "ours-1") -> Exchange:
        with reading(self.engine) as connection:
            found = outbox.get(connection, message_id)
        assert found is not None
        return found

    def rows(self) -> tuple[Exchange, ...]:
        with reading(self.engine) as connection:
            return outbox.find(connection)

    def sent(self) -> dict[str, list[bytes]]:
        """What the register received, by our message id."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for request in self.register.requests:
            if request not in self._ids:
                body = body_of(request, self.keys["gateway"])
                self._ids[request] = sync_channel.read_request(body).info.message_id
            found[self._ids[request]].append(request)
        return found


@cache
def _people() -> tuple[Iin, ...]:
    serials = (f"850101{number:05d}" for number in range(30_000, 33_000))
    return tuple(invented(eleven) for eleven in serials if iin_control_digit(eleven) is not None)


def somebody(number: int) -> Iin:
    """An invented person for each number."""
    return _people()[number]


def not_idempotent(slug: str = "cbdi") -> dict[str, SystemDefinition]:
    return {**systems(), slug: replace(systems()[slug], idempotent=False)}


def count(engine: Engine, table: Any) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def put_row(engine: Engine, message_id: str, *, due_at: dt.datetime | None = None, **changes: Any) -> Exchange:
    """A waiting row with bytes in the journal, without any signing: for tests of the rows themselves."""
    values: dict[str, Any] = {
        "message_id": message_id,
        "system": "cbdi",
        "service_id": CBDI_SERVICE,
        "asked_at": NOW,
        **changes,
    }
    leasing = {name: values.pop(name) for name in ("holder", "leased_until") if name in values}
    with writing(engine) as connection:
        number = JournalWriter().append(
            connection,
            JournalEntry(
                NOW,
                MessageDirection.OUT,
                8,
                EntryKind.REQUEST,
                message_id=message_id,
                body=b"<a/>",
                system=values["system"],
                service_id=values["service_id"],
            ),
        )
        new = NewExchange(request_journal_id=number, **values)
        return outbox.record(connection, new, due_at=due_at, **leasing)


def put_rows(engine: Engine, due: Mapping[str, dt.datetime]) -> None:
    """Many waiting rows at once, all with the bytes of one journal entry."""
    first, *others = due
    put_row(engine, first, due_at=due[first])
    with writing(engine) as connection:
        row = dict(connection.execute(select(EXCHANGE).where(EXCHANGE.c.message_id == first)).mappings().one())
        connection.execute(
            insert(EXCHANGE), [{**row, "message_id": message_id, "due_at": due[message_id]} for message_id in others]
        )


def without_sync(engine: Engine) -> None:
    """For tests of many transactions on SQLite that are not about durability."""
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF").close())


@dataclass
class Recording:
    """A road without signatures: it notes who was sent when."""

    engine: Engine
    clock: Clock
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)
    sent: list[tuple[dt.datetime, str]] = field(default_factory=list)
    flow: Flow = "out.sync"

    def ask_due(self, wish: Due, *, holder: str) -> None:
        raise AssertionError("nobody is due")

    def lease_of(self, row: Exchange) -> dt.timedelta:
        return HOUR

    def tried(self, row: Exchange, *, trial: bool = False, posted: bool = True) -> Tried:
        return Tried(RetryPolicy(3, 1, 2, 60, repeatable=True), self.circuit, trial, posted)

    def can_ask(self, row: Exchange) -> bool:
        return True

    def reconcile(self, row: Exchange) -> bool:
        return True

    def send(self, row: Exchange, body: bytes, *, trial: bool = False) -> None:
        self.sent.append((self.clock(), row.message_id))
        with writing(self.engine) as connection:
            outbox.settle(
                connection,
                row.message_id,
                state=State.ANSWERED,
                outcome=Outcome.FOUND,
                at=self.clock(),
                lease=row.lease,
            )

    def take_reply(self, row: Exchange, reply: StoredReply, *, trial: bool = False, posted: bool = True) -> None:
        raise AssertionError("nothing was stored")
