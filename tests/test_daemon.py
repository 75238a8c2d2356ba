"""What the composition root decides itself: which keys may meet, and how its workers end."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway import daemon, database, settings
from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.exchange import due
from gateway.exchange.outbox import State
from gateway.exchange.tables import EXCHANGE
from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.sandbox.simulator import SimulatedGateway
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG, PATIENCE_S


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> throwaway_pki.ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("daemon") / "pki", now=daemon.now())


class Gate:
    """Holds the sandbox's answer back until the test lets it go."""

    def __init__(self, simulator: SimulatedGateway) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self._simulator = simulator

    def answer(self, data: bytes, *, now: dt.datetime) -> object:
        self.asked.set()
        assert self.go.wait(PATIENCE_S)
        return SimulatedGateway.answer(self._simulator, data, now=now)


@pytest.fixture
def sandbox(pki: throwaway_pki.ThrowawayPki) -> Iterator[RunningSandbox]:
    with running_sandbox(make_simulator(people=30, seed=1, pki_dir=pki.directory), now=daemon.now) as running:
        yield running


@pytest.fixture
def gate(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(sandbox.simulator)
    monkeypatch.setattr(sandbox.simulator, "answer", gate.answer)
    yield gate
    gate.go.set()


@pytest.fixture
def loaded(pki: throwaway_pki.ThrowawayPki, sandbox: RunningSandbox, database_url: str, tmp_path: Path):
    file = tmp_path / "gateway.toml"
    text = CONFIG.format(database_url=database_url, sync_url=sandbox.sync_url)
    file.write_text(text.replace("pki/", f"{pki.directory}/") + "[exchange]\nthreads = 1\n")
    loaded = settings.load(file, {})
    engine = daemon.open_store(loaded)
    database.upgrade(engine)
    engine.dispose()
    return loaded


def state_after(gateway: daemon.Gateway) -> list[str]:
    with reading(gateway.engine) as connection:
        return list(connection.execute(select(EXCHANGE.c.state)).scalars())


def test_a_question_in_hand_is_finished_when_there_is_time(loaded, gate: Gate, sandbox: RunningSandbox) -> None:
    with daemon.assemble(loaded) as gateway:
        with writing(gateway.engine) as connection:
            for iin in list(sandbox.population.persons())[:3]:
                due.want(connection, iin, "gbdfl", at=daemon.now())
        alarm = daemon.AlarmClock(gateway)
        alarm.start()
        assert gate.asked.wait(PATIENCE_S)
        alarm.take_no_more()
        gate.go.set()
        alarm.stop(PATIENCE_S)
        assert state_after(gateway) == [State.ANSWERED]  # and the two others were not begun


def test_a_question_in_hand_is_cut_off_when_there_is_none_and_stays_unknown(
    loaded, gate: Gate, sandbox: RunningSandbox
) -> None:
    with daemon.assemble(loaded) as gateway:
        with writing(gateway.engine) as connection:
            due.want(connection, sandbox.population.person(0), "gbdfl", at=daemon.now())
        alarm = daemon.AlarmClock(gateway)
        alarm.start()
        assert gate.asked.wait(PATIENCE_S)
        alarm.stop(0)
        assert state_after(gateway) == [State.UNKNOWN]


def test_a_test_hierarchy_is_refused_in_live_and_a_real_one_in_the_sandbox(loaded, monkeypatch) -> None:
    key, material = daemon.load_keys(loaded)(), daemon.load_trust(loaded).store.material
    live = dataclasses.replace(loaded, settings=loaded.settings.model_copy(update={"environment": "live"}))
    with pytest.raises(ConfigurationError) as refused:
        daemon.refuse_mixed_anchors(live, material)
    assert refused.value.key == "trust.folder"
    with pytest.raises(ConfigurationError) as refused:
        daemon.refuse_mixed_key(live, key)
    assert refused.value.key == "signing.key_file"
    monkeypatch.setattr(daemon.assembly, "is_test_authority", lambda name: False)
    with pytest.raises(ConfigurationError, match="not a test"):
        daemon.refuse_mixed_anchors(loaded, material)
    with pytest.raises(ConfigurationError, match="a real authority"):
        daemon.refuse_mixed_key(loaded, key)


def test_a_broken_part_shows_in_readiness_by_its_name(loaded) -> None:
    with daemon.assemble(loaded) as gateway:
        assert all(check.ok for check in daemon.readiness(gateway, daemon.now()))
        later = daemon.now() + dt.timedelta(days=20_000)
        codes = {check.name: check.code for check in daemon.readiness(gateway, later)}
        assert codes["certificate"] == "expired"
        assert codes["signature"] == codes["database"] == "ok"


def test_the_daemon_judges_by_the_law_of_one_s_own_folder_or_not_at_all(loaded, tmp_path: Path) -> None:
    law = tmp_path / "law"
    registry = loaded.settings.registry.model_copy(update={"law_folder": law})
    ours = dataclasses.replace(loaded, settings=loaded.settings.model_copy(update={"registry": registry}))
    with pytest.raises(ConfigurationError) as refused:
        daemon.assemble(ours)
    assert refused.value.key == "registry.law_folder"
    law.mkdir()
    act = "{act: '009', title: t, standing: assumed, held: h, clauses: [{id: 009 p.1, kk: a, en: b, ru: c}]}"
    (law / "009.yaml").write_text(act, encoding="utf-8")
    with daemon.assemble(ours) as gateway:
        assert {"004", "009"} < set(gateway.law.acts)
