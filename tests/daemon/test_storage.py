"""The temporary storage as the settings say it: a login of its own, and room for the largest file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from gateway.daemon.storage import load_storage
from gateway.database import engine_for, upgrade
from gateway.errors import ConfigurationError
from gateway.exchange.journal import JournalWriter
from gateway.settings import StorageSettings
from gateway.trust import throwaway_pki
from tests.exchange.asynchronous.world import Clock
from tests.exchange.test_temporary_storage import NoTransport
from tests.exchange.world import NOW, Keys, message_ids, policy, trust


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(throwaway_pki.init(tmp_path_factory.mktemp("pki") / "pki", now=NOW))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = engine_for(f"sqlite:///{tmp_path / 'store.sqlite'}")
    upgrade(engine)
    return engine


def gateway(engine: Engine, keys: Keys, **section: Any) -> Any:
    return SimpleNamespace(
        loaded=SimpleNamespace(settings=SimpleNamespace(storage=StorageSettings(**section)), file=Path("gateway.toml")),
        engine=engine,
        journal=JournalWriter(),
        transport=NoTransport(),
        keys=lambda: keys["gateway"],
        trust=trust(keys.pki),
        policy=policy(),
    )


@pytest.mark.parametrize("section", [{}, {"sender_id": "store"}, {"password": SecretStr("hush")}])
def test_without_its_login_the_error_says_what_to_set(engine: Engine, keys: Keys, section: dict[str, Any]) -> None:
    clock = Clock()
    with pytest.raises(ConfigurationError, match="GATEWAY_STORAGE__PASSWORD"):
        load_storage(gateway(engine, keys, **section), clock=clock, new_message_id=message_ids())
