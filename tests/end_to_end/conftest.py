"""One world for each store: a sandbox, a daemon, a database, throw-away keys."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sandbox.population import Population
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG, Process, World, gateway

PEOPLE = 200
SEED = 3


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(f"world-{request.param}")
    pki = throwaway_pki.init(folder / "pki", now=dt.datetime.now(dt.UTC))
    config = folder / "gateway.toml"
    if request.param == "sqlite":
        yield from _running(folder, pki, config, f"sqlite:///{folder / 'gateway.sqlite'}")
        return
    cluster = request.getfixturevalue("postgresql_cluster")
    name = f"gateway_world_{uuid.uuid4().hex[:12]}"
    cluster.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield from _running(folder, pki, config, f"{cluster.url}/{name}")
    finally:
        cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _running(folder: Path, pki: throwaway_pki.ThrowawayPki, config: Path, database_url: str) -> Iterator[World]:
    config.write_text(CONFIG.format(database_url=database_url, sync_url="http://127.0.0.1:1/"))
    people = ("--people", str(PEOPLE), "--seed", str(SEED))
    with Process(
        ("sandbox", "--port", "0", *people, "--config", str(config)), "sandbox on ", folder / "sandbox.log"
    ) as sandbox:
        config.write_text(CONFIG.format(database_url=database_url, sync_url=sandbox.url))
        upgraded = gateway("db", "upgrade", "--config", str(config))
        assert upgraded.code == 0, upgraded.stderr
        with Process(("run", "--config", str(config)), "listening on ", folder / "daemon.log") as daemon:
            yield World(folder, pki, config, sandbox, daemon)


@pytest.fixture(scope="session")
def population() -> Population:
    """The people whom the sandbox of `world` knows."""
    return Population(PEOPLE, SEED)
