"""Fixtures of the exchange; tests/fund uses them too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade
from gateway.trust import throwaway_pki
from tests.exchange.world import NOW, Keys, Register


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(throwaway_pki.init(tmp_path_factory.mktemp("pki") / "pki", now=NOW))


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy: what does not depend on the store is tested on a copy of it."""
    file = tmp_path_factory.mktemp("store") / "empty.sqlite"
    engine = engine_for(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()
    return file


@pytest.fixture
def store(empty_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    file = tmp_path / "store.sqlite"
    shutil.copy(empty_sqlite, file)
    engine = engine_for(f"sqlite:///{file}")
    yield engine
    engine.dispose()


@pytest.fixture
def register(keys: Keys) -> Register:
    return Register(keys)
