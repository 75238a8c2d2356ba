"""The world of the exchange serves here too."""

from __future__ import annotations

from tests.exchange.conftest import empty_sqlite, keys, register, store

__all__ = ["empty_sqlite", "keys", "register", "store"]
