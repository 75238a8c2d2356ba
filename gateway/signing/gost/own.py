"""The national algorithms in our own Python: always there, and the judge of every other backend in the tests.

Verifying takes no secret and is always allowed. Signing takes time that depends on the key, which somebody who can
measure many signatures could use: it needs the operator's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gateway.errors import KeyMaterialError
from gateway.signing.gost import signature
from gateway.signing.gost.curves import CRYPTOPRO_A, TC26_256_A, TC26_512_A, Group
from gateway.signing.gost.gost94 import gost94
from gateway.signing.gost.streebog import Streebog, streebog256, streebog512

VARIABLE_TIME_SETTING: Final = "signing.allow_variable_time"


class OwnBackend:
    """GostBackend without any library; gmpy2 makes it about four times faster where it is installed. Thread-safe.

    In: whether it may sign; the type of number to calculate with, for tests.
    """

    name = "own"

    def __init__(self, *, allow_variable_time: bool = False, number: Callable[[int], int] | None = None) -> None:
        self.allow_variable_time = allow_variable_time
        self._group512 = Group(TC26_512_A, number=number)
        self._group256 = Group(TC26_256_A, number=number)
        self._group2004 = Group(CRYPTOPRO_A, number=number)

    def digest512(self, data: bytes) -> bytes:
        return streebog512(data)

    def digest256(self, data: bytes) -> bytes:
        return streebog256(data)

    def digest2004(self, data: bytes) -> bytes:
        return gost94(data)

    def digest512_of(self, pieces: Iterable[bytes]) -> bytes:
        return self._hash_of(Streebog(), pieces)

    def digest256_of(self, pieces: Iterable[bytes]) -> bytes:
        return self._hash_of(Streebog(digest_size=32), pieces)

    @staticmethod
    def _hash_of(running: Streebog, pieces: Iterable[bytes]) -> bytes:
        for piece in pieces:
            running.update(piece)
        return running.digest()

    def public_key512(self, private_key: bytes) -> bytes:
        # once for each key file, when it is loaded: nothing to measure repeatedly
        return signature.public_key(self._group512, private_key)

    def sign512(self, private_key: bytes, digest: bytes) -> bytes:
        if not self.allow_variable_time:
            raise KeyMaterialError(
                "our own GOST code does not sign in constant time: install OpenSSL's gost engine (Debian package"
                f" libengine-gost-openssl), or accept it with {VARIABLE_TIME_SETTING} = true",
                code="variable_time",
            )
        return signature.sign(self._group512, private_key, digest)

    def verify512(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return signature.verify(self._group512, public_key, digest, signature_bytes)

    def verify256(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return signature.verify(self._group256, public_key, digest, signature_bytes)

    def verify2004(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return signature.verify(self._group2004, public_key, digest, signature_bytes)
