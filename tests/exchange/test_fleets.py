"""Several processes on one PostgreSQL: every row worked once; one that dies delays its rows by its lease at most."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Self

import pytest
from sqlalchemy import Engine, func
from sqlalchemy import select as sql_select

from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import due, outbox
from gateway.exchange.journal import Journal, MessageDirection
from gateway.exchange.limits import lease_of
from gateway.exchange.outbox import State
from gateway.exchange.tables import EXCHANGE
from gateway.signing.wss import verify_envelope
from tests.exchange.fleet import SECOND, UNBOUNDED, somebody
from tests.exchange.one_worker import Order
from tests.exchange.world import NOW, Keys, policy, systems

#: what a test waits for at most, on a machine that has much else to do
PATIENCE_S = 90.0
#: how late a process of such a machine may look, by the machine's clock
TARDY_S = 10.0
#: how much faster the clock runs where a lease has to end
FAST = 20.0


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Engine]:
    """PostgreSQL that remembers every state of every row."""
    engine = engine_for(postgresql_url)
    upgrade(engine)
    with writing(engine) as connection:
        for statement in (
            "CREATE TABLE history (number bigserial, message_id text, state text, lease_holder text, "
            "leased_until timestamptz, attempts int)",
            "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO history (message_id, state, lease_holder, leased_until, attempts) "
            "VALUES (NEW.message_id, NEW.state, NEW.lease_holder, NEW.leased_until, NEW.attempts); "
            "RETURN NEW; END $$",
            "CREATE TRIGGER remember AFTER INSERT OR UPDATE ON exchange FOR EACH ROW EXECUTE FUNCTION remember()",
        ):
            connection.exec_driver_sql(statement)
    yield engine
    engine.dispose()


def wishes(engine: Engine, number: int, *, first: int = 0) -> None:
    with writing(engine) as connection:
        for place in range(first, first + number):
            due.want(connection, somebody(place), "cbdi", at=NOW)


class Processes:
    """A fleet that runs; how each ended is known by its name."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self.ended: dict[str, int] = {}
        told = json.dumps([asdict(order) for order in orders])
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.exchange.one_worker", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_one(self, wait_s: float) -> bool:
        """Whether one ended by then, by itself."""
        assert self._nursery.stdout is not None
        if not select.select([self._nursery.stdout], [], [], wait_s)[0]:
            return False
        self._note(self._nursery.stdout.readline())
        return True

    def _note(self, lines: str) -> None:
        for line in lines.splitlines():
            if line.startswith("process-"):
                name, code = line.split()
                self.ended[name] = int(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._note(self._nursery.communicate(timeout=PATIENCE_S)[0])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._nursery.pid, signal.SIGKILL)
            self._nursery.communicate()


def wait_for(engine: Engine, answered: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    query = sql_select(func.count()).select_from(EXCHANGE).where(EXCHANGE.c.state == State.ANSWERED)
    while time.monotonic() < deadline_s:
        with reading(engine) as connection:
            if connection.execute(query).scalar_one() >= answered:
                return
        time.sleep(0.1)
    pytest.fail("not everything was answered")


def orders(url: str, keys: Keys, number: int, **changes: Any) -> list[Order]:
    begun_s = time.time()
    return [Order(url, f"process-{place}", str(keys.pki.directory), begun_s, **changes) for place in range(number)]


def accepted(engine: Engine) -> Counter[str]:
    entries = Journal(engine).list_entries(direction=MessageDirection.IN, limit=10_000)
    return Counter(entry.message_id for entry in entries if entry.verdict == "accepted")


@pytest.mark.parametrize("number", [2, 4])
def test_a_fleet_works_every_row_once(store: Engine, postgresql_url: str, keys: Keys, number: int) -> None:
    people = 24
    wishes(store, people)
    with Processes(orders(postgresql_url, keys, number)) as fleet:
        wait_for(store, people)
    assert fleet.ended == {f"process-{place}": 0 for place in range(number)}
    with reading(store) as connection:
        rows = outbox.find(connection)
    assert Counter(row.subject for row in rows) == {somebody(place): 1 for place in range(people)}
    assert {(row.state, row.attempts) for row in rows} == {(State.ANSWERED, 1)}
    assert accepted(store) == {row.message_id: 1 for row in rows}
    assert len({row.message_id.rpartition("-")[0] for row in rows}) > 1  # no process did it all alone
    for entry in Journal(store).list_entries(direction=MessageDirection.OUT, limit=3):
        record = Journal(store).get(entry.id)
        assert record is not None
        assert record.body is not None
        assert verify_envelope(record.body).certificate == keys["gateway"].certificate


@pytest.mark.parametrize(("number", "seed"), [(2, 1), (4, 2)])
def test_a_process_that_is_killed_loses_nothing_and_delays_its_rows_by_no_more_than_their_lease(
    store: Engine, postgresql_url: str, keys: Keys, number: int, seed: int
) -> None:
    chance = random.Random(seed)
    moment = chance.choice([(8, "after"), (9, "before"), (9, "after"), (10, "after"), (13, "before")])
    people = 20
    wishes(store, people)
    victim, *others = orders(postgresql_url, keys, number, speed=FAST)
    dies_at = (*moment, chance.randint(2, 5))
    doomed = Order(**{**asdict(victim), "dies_at": dies_at})
    with Processes([doomed, *others]) as fleet:
        deadline_s = time.monotonic() + PATIENCE_S
        while not fleet.wait_for_one(0.1) and time.monotonic() < deadline_s:  # it always has something to die of
            wishes(store, 2, first=people)
            people += 2
        wait_for(store, people)
    assert fleet.ended == {doomed.holder: -signal.SIGKILL, **{order.holder: 0 for order in others}}
    with reading(store) as connection:
        rows = outbox.find(connection)
        history = connection.exec_driver_sql("SELECT * FROM history ORDER BY number").mappings().all()
    # none lost, none twice
    assert Counter(row.subject for row in rows) == {somebody(place): 1 for place in range(people)}
    assert {row.state for row in rows} == {State.ANSWERED}
    assert accepted(store) == {row.message_id: 1 for row in rows}
    # what the dead process had was taken over when its lease ended, and not before
    lease = lease_of(
        connect_timeout_s=min(systems()["cbdi"].timeouts.connect_s, policy().connect_timeout_s),
        reply_timeout_s=min(systems()["cbdi"].timeouts.reply_s, policy().reply_timeout_s),
        limits=UNBOUNDED,
    )
    taken_over = 0
    for row in rows:
        states = [state for state in history if state["message_id"] == row.message_id]
        left = [state for state in states if state["lease_holder"].startswith(victim.holder)]
        if not left or states[-2]["lease_holder"].startswith(victim.holder):
            continue
        taken_over += 1
        until = left[-1]["leased_until"]
        following = next(
            state for state in states if state["state"] == "asked" and state["number"] > left[-1]["number"]
        )
        taken_at = following["leased_until"] - lease
        assert until <= taken_at <= until + TARDY_S * FAST * SECOND
    assert taken_over >= 1
