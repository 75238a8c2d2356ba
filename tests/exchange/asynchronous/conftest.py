"""Fixtures of the asynchronous channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.exchange.asynchronous.world import World, async_folder, make_world
from tests.exchange.world import Keys


@pytest.fixture
def make(engine: Engine, keys: Keys, tmp_path: Path) -> Callable[..., World]:
    """A world on each store; the arguments are of `async_folder`, and `changes` of `make_world`."""

    def make(*, changes: dict[str, Any] | None = None, **folder: Any) -> World:
        return make_world(engine, keys, async_folder(tmp_path / "systems", **folder), **(changes or {}))

    return make


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """Ids are the gateway's, and answers are pushed."""
    return make()
