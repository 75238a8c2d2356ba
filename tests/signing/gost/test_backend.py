"""Choosing the means of signing, and the operator's word for variable time."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigurationError, KeyMaterialError
from gateway.signing.gost import curves, engine
from gateway.signing.gost.backend import choose_backend
from gateway.signing.gost.engine import Availability, EngineBackend
from gateway.signing.gost.own import OwnBackend

PRIVATE_KEY = (4_711).to_bytes(64, "little")


def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "available", lambda: Availability(False, "it is not installed here"))


def test_the_engine_is_taken_where_it_is(gost_engine: EngineBackend) -> None:
    assert choose_backend() is gost_engine
    assert choose_backend("engine") is gost_engine
    assert choose_backend().name == "engine"


def test_our_own_code_is_taken_where_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    _absent(monkeypatch)
    assert choose_backend("auto").name == "own"


def test_our_own_code_can_be_asked_for() -> None:
    assert isinstance(choose_backend("own"), OwnBackend)


def test_an_engine_that_is_asked_for_and_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _absent(monkeypatch)
    with pytest.raises(ConfigurationError, match="it is not installed here") as refused:
        choose_backend("engine")
    assert refused.value.key == "signing.gost_backend"


def test_an_unknown_preference_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="auto, engine, own"):
        choose_backend("kalkan")


def test_our_own_code_signs_only_with_the_operators_word() -> None:
    with pytest.raises(KeyMaterialError, match=r"signing\.allow_variable_time = true") as refused:
        choose_backend("own").sign512(PRIVATE_KEY, bytes(64))
    assert refused.value.code == "variable_time"
    allowed = choose_backend("own", allow_variable_time=True)
    signed = allowed.sign512(PRIVATE_KEY, bytes(64))
    assert choose_backend("own").verify512(allowed.public_key512(PRIVATE_KEY), bytes(64), signed)


def test_whether_gmpy2_calculates_can_be_asked() -> None:
    try:
        import gmpy2  # noqa: F401
    except ImportError:
        assert not curves.is_accelerated()
    else:
        assert curves.is_accelerated()
