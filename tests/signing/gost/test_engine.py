"""OpenSSL's gost engine behind our interface, and our code against it."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError
from gateway.signing.gost import engine, signature
from gateway.signing.gost.asn1 import FAMILIES, GOST_2015_512
from gateway.signing.gost.backend import GostBackend
from gateway.signing.gost.curves import Group
from gateway.signing.gost.engine import EngineBackend
from gateway.signing.gost.own import OwnBackend
from tests.signing.gost import crosscheck

ENGINE_CHECKS = 500
GOSTCRYPTO_CHECKS = 5
PRIVATE_KEY = (4_711).to_bytes(64, "little")
DIGEST = bytes(range(64))


def test_our_code_and_the_engine_agree(gost_engine: EngineBackend, own: OwnBackend) -> None:
    assert list(crosscheck.against_engine(ENGINE_CHECKS, seed=1, own=own)) == []


def test_our_code_without_gmpy2_and_the_engine_agree(gost_engine: EngineBackend, plain_own: OwnBackend) -> None:
    assert list(crosscheck.against_engine(40, seed=2, own=plain_own)) == []


def test_our_code_and_gostcrypto_agree() -> None:
    pytest.importorskip("gostcrypto")
    assert list(crosscheck.against_gostcrypto(GOSTCRYPTO_CHECKS, seed=3)) == []


@given(data=st.binary(max_size=500))
def test_digests_agree(data: bytes) -> None:
    found = engine.available()
    if not found.usable:
        pytest.skip(found.reason)
    gost_engine, own = EngineBackend.shared(), OwnBackend()
    assert gost_engine.digest512(data) == own.digest512(data)
    assert gost_engine.digest256(data) == own.digest256(data)
    assert gost_engine.digest2004(data) == own.digest2004(data)
    pieces = [data[at : at + 70] for at in range(0, len(data), 70)]
    assert gost_engine.digest512_of(pieces) == own.digest512_of(pieces) == own.digest512(data)
    assert gost_engine.digest256_of(pieces) == own.digest256_of(pieces) == own.digest256(data)


# ---------------------------------------------------------------- refused


def test_what_our_code_refuses_the_engine_refuses(gost_engine: EngineBackend, own: OwnBackend) -> None:
    public_key = own.public_key512(PRIVATE_KEY)
    signed = gost_engine.sign512(PRIVATE_KEY, DIGEST)
    q = GOST_2015_512.curve.q.to_bytes(64, "little")
    for bad in (b"", signed[:-1], signed + b"\0", bytes(128), signed[:64] + q, q + signed[64:], signed[::-1]):
        assert not gost_engine.verify512(public_key, DIGEST, bad)
    for private_key in (b"", bytes(64), q, b"\xff" * 64):
        with pytest.raises(KeyMaterialError) as refused:
            gost_engine.sign512(private_key, DIGEST)
        assert refused.value.code == "bad_private_key"
    for bad_key in (b"", bytes(128), public_key[:-1], public_key[::-1], b"\xff" * 128):
        with pytest.raises(KeyMaterialError) as refused:
            gost_engine.verify512(bad_key, DIGEST, signed)
        assert refused.value.code == "bad_public_key"
    with pytest.raises(ValueError, match="has 64 bytes"):
        gost_engine.sign512(PRIVATE_KEY, bytes(32))


def test_a_refusal_leaves_no_error_for_others(gost_engine: EngineBackend, own: OwnBackend) -> None:
    """libcrypto's error queue belongs to the thread; `ssl` would report what it finds there."""
    public_key = own.public_key512(PRIVATE_KEY)
    assert not gost_engine.verify512(public_key, DIGEST, b"\x01" * 128)
    peek = gost_engine._library.ERR_peek_error
    peek.restype = ctypes.c_ulong
    assert peek() == 0


# ---------------------------------------------------------------- memory and threads


class _Library:
    """libcrypto with some functions replaced."""

    def __init__(self, real: Any, **replaced: Callable[..., Any]) -> None:
        self._real = real
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Counting(_Library):
    """libcrypto that remembers what was given out and not yet given back."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.alive: list[Any] = []
        self.given = 0
        for function in ("EVP_PKEY_CTX_new", "d2i_PUBKEY", "d2i_PKCS8_PRIV_KEY_INFO", "EVP_PKCS82PKEY"):
            setattr(self, function, self._giving(getattr(real, function)))
        for function in ("EVP_PKEY_CTX_free", "PKCS8_PRIV_KEY_INFO_free", "EVP_PKEY_free", "CRYPTO_free"):
            setattr(self, function, self._taking(getattr(real, function)))

    def _giving(self, real: Callable[..., int | None]) -> Callable[..., int | None]:
        def call(*arguments: Any) -> int | None:
            pointer = real(*arguments)
            if pointer:
                self.alive.append(pointer)
                self.given += 1
            return pointer

        return call

    def _taking(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(pointer: Any, *more: Any) -> None:
            self.alive.remove(pointer.value if isinstance(pointer, ctypes.c_void_p) else pointer)
            real(pointer, *more)

        return call

    def i2d_PUBKEY(self, key: int, out: Any) -> int:  # noqa: N802  (OpenSSL's name)
        length: int = self._real.i2d_PUBKEY(key, out)
        self.alive.append(out._obj.value)
        return length


def test_everything_is_given_back_to_openssl(monkeypatch: pytest.MonkeyPatch, own: OwnBackend) -> None:
    found = engine.available()
    if not found.usable:
        pytest.skip(found.reason)
    library = _Counting(EngineBackend.shared()._library)
    monkeypatch.setattr(engine, "_load_library", lambda: library)
    backend = EngineBackend()
    private_keys = [secret.to_bytes(64, "little") for secret in range(1, engine.KNOWN_PUBLIC_KEYS + 20)]
    signed = backend.sign512(PRIVATE_KEY, DIGEST)
    for private_key in private_keys:
        backend.sign512(private_key, DIGEST)
        public_key = backend.public_key512(private_key)
        assert not backend.verify512(public_key, DIGEST, signed)
    monkeypatch.setattr(library, "EVP_PKEY_sign", lambda *arguments: 0, raising=False)
    monkeypatch.setattr(library, "EVP_PKEY_verify", lambda *arguments: -1, raising=False)
    for work in (
        lambda: backend.sign512(PRIVATE_KEY, DIGEST),
        lambda: backend.verify512(own.public_key512(PRIVATE_KEY), DIGEST, signed),
    ):
        with pytest.raises(KeyMaterialError):
            work()
    assert len(library.alive) == engine.KNOWN_PUBLIC_KEYS + engine.KNOWN_PRIVATE_KEYS
    assert library.given > 4 * len(private_keys)
    backend._public.cache_clear()
    backend._private.cache_clear()
    gc.collect()
    assert library.alive == []


def test_threads_may_share_it(gost_engine: EngineBackend, own: OwnBackend) -> None:
    private_keys = [secret.to_bytes(64, "little") for secret in range(1, 3 * engine.KNOWN_PRIVATE_KEYS)]
    public_keys = [own.public_key512(private_key) for private_key in private_keys]

    def check(number: int) -> bool:
        place = number % len(private_keys)
        digest = number.to_bytes(64, "little")
        signed = gost_engine.sign512(private_keys[place], digest)
        other = public_keys[(place + 1) % len(public_keys)]
        return gost_engine.verify512(public_keys[place], digest, signed) and not gost_engine.verify512(
            other, digest, signed
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(400)))


# ---------------------------------------------------------------- not there, or broken


def _without(monkeypatch: pytest.MonkeyPatch, name: str, replacement: Any) -> str:
    monkeypatch.setattr(engine, name, replacement)
    monkeypatch.setattr(EngineBackend, "_shared", None)
    found = engine.available()
    assert not found.usable
    return found.reason


def test_without_openssl_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = _without(monkeypatch, "_LIBRARIES", ("libcrypto-that-does-not-exist.so",))
    assert "no OpenSSL with engines" in reason


def test_an_openssl_without_engines_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine._PROTOTYPES, "ENGINE_that_was_dropped", (None, ()))
    reason = _without(monkeypatch, "_LIBRARIES", engine._LIBRARIES)
    assert "built without engines" in reason or "no OpenSSL" in reason


def test_without_the_engine_the_package_is_named(monkeypatch: pytest.MonkeyPatch, gost_engine: EngineBackend) -> None:
    library = _Library(gost_engine._library, ENGINE_by_id=lambda name: None)
    assert "libengine-gost-openssl" in _without(monkeypatch, "_load_library", lambda: library)


def test_an_engine_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch, gost_engine: EngineBackend) -> None:
    library = _Library(gost_engine._library, ENGINE_init=lambda pointer: 0)
    assert "does not start" in _without(monkeypatch, "_load_library", lambda: library)


def test_an_engine_without_the_digests_is_named(monkeypatch: pytest.MonkeyPatch, gost_engine: EngineBackend) -> None:
    library = _Library(gost_engine._library, ENGINE_get_digest=lambda pointer, number: None)
    assert "has no digest md_gost12_512" in _without(monkeypatch, "_load_library", lambda: library)


def test_an_engine_with_wrong_answers_is_not_used(monkeypatch: pytest.MonkeyPatch, gost_engine: EngineBackend) -> None:
    library = _Library(gost_engine._library, EVP_PKEY_verify=lambda *arguments: 1)
    assert "known answers" in _without(monkeypatch, "_load_library", lambda: library)


_BY_FILE = """
from gateway.signing.gost import engine

library = engine._load_library()
by_id = library.ENGINE_by_id
class Blind:
    def __getattr__(self, name): return getattr(library, name)
    def ENGINE_by_id(self, name): return None if name == b"gost" else by_id(name)
engine._load_library = Blind
files = engine._engine_files()
assert engine._load_engine_file(Blind(), files[0].with_name("missing.so")) is None
assert engine.available().usable, engine.available().reason
"""


def test_the_engine_is_found_by_its_file_too(gost_engine: EngineBackend) -> None:
    """In a process of its own: libcrypto takes an engine only once."""
    if not engine._engine_files():
        pytest.skip("the engine is outside the folders of distributions")
    done = subprocess.run([sys.executable, "-c", _BY_FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    no_loader = _Library(gost_engine._library, ENGINE_by_id=lambda name: None)
    assert engine._load_engine_file(no_loader, Path("gost.so")) is None


@pytest.mark.parametrize(
    ("function", "result", "what"),
    [
        ("EVP_PKEY_CTX_new", None, "sign"),
        ("EVP_PKEY_sign_init", 0, "sign"),
        ("EVP_PKEY_sign", -1, "sign"),
        ("EVP_PKEY_CTX_new", None, "verify"),
        ("EVP_PKEY_verify_init", 0, "verify"),
        ("EVP_PKEY_verify", -1, "verify"),
        ("d2i_PUBKEY", None, "verify"),
        ("d2i_PKCS8_PRIV_KEY_INFO", None, "sign"),
        ("EVP_PKCS82PKEY", None, "sign"),
        ("i2d_PUBKEY", 0, "public key"),
        ("EVP_Digest", 0, "digest"),
    ],
)
def test_a_failure_inside_openssl_is_an_error_and_never_an_answer(
    monkeypatch: pytest.MonkeyPatch, gost_engine: EngineBackend, own: OwnBackend, function: str, result: Any, what: str
) -> None:
    public_key = own.public_key512(PRIVATE_KEY)
    signed = gost_engine.sign512(PRIVATE_KEY, DIGEST)
    gost_engine._public.cache_clear()
    gost_engine._private.cache_clear()
    broken = _Library(gost_engine._library, **{function: lambda *arguments: result})
    monkeypatch.setattr(gost_engine, "_library", broken)
    works: dict[str, Callable[[], object]] = {
        "sign": lambda: gost_engine.sign512(PRIVATE_KEY, DIGEST),
        "verify": lambda: gost_engine.verify512(public_key, DIGEST, signed),
        "public key": lambda: gost_engine.public_key512(PRIVATE_KEY),
        "digest": lambda: gost_engine.digest512(b"x"),
    }
    with pytest.raises(KeyMaterialError, match="could not") as failed:
        works[what]()
    assert failed.value.code == "engine_failed"


@pytest.mark.parametrize("name", ["gost-2015-512", "gost-2015-256", "gost-2004"])
def test_every_family_verifies_with_both(gost_engine: EngineBackend, own: OwnBackend, name: str) -> None:
    family = FAMILIES[name]
    group = Group(family.curve)
    private_key = (99).to_bytes(family.curve.size_bytes, "little")
    public_key = signature.public_key(group, private_key)
    digest = bytes(range(family.curve.size_bytes))
    signed = signature.sign(group, private_key, digest)
    backends: tuple[GostBackend, ...] = (gost_engine, own)
    for backend in backends:
        assert crosscheck._verify(backend, family, public_key, digest, signed)
        assert not crosscheck._verify(backend, family, public_key, digest[::-1], signed)
