"""What the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.signing.gost import engine
from gateway.signing.gost.own import OwnBackend

SAMPLES = Path(__file__).parents[3] / ".." / "shared" / "samples" / "pki-test"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The public test hierarchy of the national authority."""
    if not SAMPLES.is_dir():
        pytest.skip("shared/samples/pki-test is not beside the checkout")
    return SAMPLES


@pytest.fixture(scope="session")
def gost_engine() -> engine.EngineBackend:
    """OpenSSL's gost engine."""
    found = engine.available()
    if not found.usable:
        pytest.skip(found.reason)
    return engine.EngineBackend.shared()


@pytest.fixture(scope="session")
def own() -> OwnBackend:
    """Our own code, allowed to sign."""
    return OwnBackend(allow_variable_time=True)


@pytest.fixture(scope="session")
def plain_own() -> OwnBackend:
    """Our own code as it runs where gmpy2 is not installed."""
    return OwnBackend(allow_variable_time=True, number=int)
