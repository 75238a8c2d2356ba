"""Which means makes and checks national signatures: one interface, chosen once at start.

A means certified in Kazakhstan is a third class with these methods (docs/reference/gost.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from gateway.errors import ConfigurationError
from gateway.signing.gost import engine
from gateway.signing.gost.own import OwnBackend

BACKEND_SETTING: Final = "signing.gost_backend"
PREFERENCES: Final = ("auto", "engine", "own")


class GostBackend(Protocol):
    """Digests and signatures in the packing of Kazakhstan (signature.py). Every method may be called by any thread.

    `verify…` is False for a signature that does not hold, of whatever form. All of them raise KeyMaterialError for a
    key that cannot be used (`bad_public_key`, `bad_private_key`), and ValueError for a digest whose length is not
    that of the curve.
    """

    @property
    def name(self) -> str:
        """What `doctor` shows."""
        ...

    def digest512(self, data: bytes) -> bytes:
        """Streebog-512."""
        ...

    def digest256(self, data: bytes) -> bytes:
        """Streebog-256."""
        ...

    def digest2004(self, data: bytes) -> bytes:
        """GOST 34.311-95, for old documents."""
        ...

    def digest512_of(self, pieces: Iterable[bytes]) -> bytes:
        """Streebog-512 of bytes that come in pieces."""
        ...

    def digest256_of(self, pieces: Iterable[bytes]) -> bytes:
        """Streebog-256 of bytes that come in pieces."""
        ...

    def public_key512(self, private_key: bytes) -> bytes:
        """The public key of a GOST-2015-512 private key."""
        ...

    def sign512(self, private_key: bytes, digest: bytes) -> bytes:
        """GOST-2015-512; the nonce comes from the operating system's generator."""
        ...

    def verify512(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        """GOST-2015-512."""
        ...

    def verify256(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        """GOST-2015-256: proven with published vectors only, no national sample was found (PKI.md section 8)."""
        ...

    def verify2004(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        """GOST 34.310-2004, for old documents."""
        ...


def choose_backend(preference: str = "auto", *, allow_variable_time: bool = False) -> GostBackend:
    """The backend to use from now on.

    "auto" is the engine where it can be used, else our own code. `allow_variable_time` lets our own code sign.
    Raises ConfigurationError for an unknown preference, and for "engine" where it cannot be used.
    """
    if preference not in PREFERENCES:
        raise ConfigurationError(f"is {preference!r}, one of {', '.join(PREFERENCES)} is known", key=BACKEND_SETTING)
    if preference != "own":
        found = engine.available()
        if found.usable:
            return engine.EngineBackend.shared()
        if preference == "engine":
            raise ConfigurationError(f"is 'engine', but {found.reason}", key=BACKEND_SETTING)
    return OwnBackend(allow_variable_time=allow_variable_time)
