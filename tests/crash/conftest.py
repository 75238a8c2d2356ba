"""Keys for the crash matrix."""

from __future__ import annotations

import datetime as dt

import pytest

from gateway.trust import throwaway_pki
from gateway.trust.throwaway_pki import ThrowawayPki


@pytest.fixture(scope="session")
def crash_pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("crash") / "pki", now=dt.datetime.now(dt.UTC))
