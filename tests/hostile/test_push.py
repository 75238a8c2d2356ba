"""The wrapping corpus on POST /shep/async: no forgery brings a fact, and none closes a question of ours."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, select

from gateway.exchange.outbox import State
from gateway.registry.tables import FACT
from tests.exchange.asynchronous.world import SYSTEM, async_folder, make_world
from tests.exchange.world import OTHER, PERSON, Keys
from tests.hostile import wrapping

#: a forgery costs a verification and two rows; every so manieth of them is pushed
SAMPLE = 5


def test_no_wrapped_push_brings_another_ones_facts(store: Engine, keys: Keys, tmp_path: Path) -> None:
    world = make_world(store, keys, async_folder(tmp_path / "systems"))
    world.side.road.ask(SYSTEM, PERSON)
    genuine = world.shep.push(world.shep.answer())
    false = [
        forgery.data for forgery in wrapping.forgeries(genuine, genuine_text=PERSON.value, false_text=OTHER.value)
    ][::SAMPLE]
    assert len(false) > 30
    for data in false:
        reply = world.side.receiver.handle(data, received_at=world.clock())
        assert reply.status == 500
        world.work()
    assert world.inbox() == []
    assert world.exchange().state is State.ACKNOWLEDGED
    assert world.side.receiver.handle(genuine, received_at=world.clock()).status == 200
    world.work()
    with store.connect() as connection:
        assert {row["iin"] for row in connection.execute(select(FACT.c.iin)).mappings()} == {PERSON.value}


def test_no_wrapped_answer_to_get_messages_brings_anything(store: Engine, keys: Keys, tmp_path: Path) -> None:
    from gateway.errors import PeerError
    from gateway.exchange.asynchronous.fetching import Source
    from tests.exchange.asynchronous.world import SERVICE

    world = make_world(store, keys, async_folder(tmp_path / "systems", delivery="poll"))
    world.side.road.ask(SYSTEM, PERSON)
    world.shep.waiting = [world.shep.answer()]
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return b"<cut/>"

    world.shep.change = keep
    refused = 0
    try:
        world.side.fetcher.fetch(Source(SERVICE))
    except PeerError:
        refused += 1
    forged = [
        forgery.data for forgery in wrapping.forgeries(kept[0], genuine_text=PERSON.value, false_text=OTHER.value)
    ][::SAMPLE]
    for data in forged:
        world.shep.change = lambda _, data=data: data  # type: ignore[misc]
        try:
            world.side.fetcher.fetch(Source(SERVICE))
        except PeerError:
            refused += 1
    assert refused == len(forged) + 1
    assert world.inbox() == []
    assert world.shep.notified == []
