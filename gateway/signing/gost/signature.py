"""GOST R 34.10-2012 (and 34.310-2004, the same arithmetic) in the packing of Kazakhstan (PKI.md section 1).

    digest        as the hash prints it; the integer e is its bytes read little-endian
    signature     r little-endian ‖ s little-endian
    public key    x little-endian ‖ y little-endian
    private key   little-endian

The Russian profile of X.509 and CMS (RFC 9215) writes s big-endian ‖ r big-endian: the same bytes backwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.errors import KeyMaterialError
from gateway.signing.gost.curves import Group

NonceSource: TypeAlias = Callable[[int], int]
"""Given q, a secret number k with 0 < k < q that is never used twice."""


def system_nonce(q: int) -> int:
    """From the operating system's generator."""
    return secrets.randbelow(q - 1) + 1


_ATTEMPTS: Final = 16


def reverse_packing(signature: bytes) -> bytes:
    """A signature in the packing of the other country: Kazakh from Russian and Russian from Kazakh."""
    return signature[::-1]


def private_number(group: Group, private_key: bytes) -> int:
    """Raises KeyMaterialError (`bad_private_key`) unless it is the curve's length and 0 < d < q."""
    size = group.curve.size_bytes
    d = int.from_bytes(private_key, "little")
    if len(private_key) != size or not 0 < d < group.curve.q:
        raise KeyMaterialError(
            f"a GOST private key cannot be used: it is not a number of {size} bytes below the order of"
            f" {group.curve.name}: the key file is damaged or of another kind",
            code="bad_private_key",
        )
    return d


def public_key(group: Group, private_key: bytes) -> bytes:
    """The public key of a private key. Raises KeyMaterialError (`bad_private_key`)."""
    point = group.multiply_generator(private_number(group, private_key))
    if point is None:  # cannot be for 0 < d < q
        raise ArithmeticError("a multiple of the generator below its order is infinity")
    size = group.curve.size_bytes
    return int(point[0]).to_bytes(size, "little") + int(point[1]).to_bytes(size, "little")


def read_signature(group: Group, signature: bytes) -> tuple[int, int] | None:
    """r and s; None unless it has the curve's length and both are between 0 and q (RFC 7091, 6.2 step 1)."""
    size, q = group.curve.size_bytes, group.curve.q
    if len(signature) != 2 * size:
        return None
    r = int.from_bytes(signature[:size], "little")
    s = int.from_bytes(signature[size:], "little")
    return (r, s) if 0 < r < q and 0 < s < q else None


def digest_number(group: Group, digest: bytes) -> int:
    """e (RFC 7091, 6.1 step 2). ValueError for a digest of another length: the caller paired hash and curve wrongly."""
    if len(digest) != group.curve.size_bytes:
        raise ValueError(f"a digest for {group.curve.name} has {group.curve.size_bytes} bytes, not {len(digest)}")
    return int.from_bytes(digest, "little") % group.curve.q or 1


def sign(group: Group, private_key: bytes, digest: bytes, *, nonce: NonceSource = system_nonce) -> bytes:
    """The signature of a digest (RFC 7091, 6.1). Not constant-time.

    Raises KeyMaterialError (`bad_private_key`), ValueError for a digest of another length or a nonce out of range.
    """
    d = private_number(group, private_key)
    e = digest_number(group, digest)
    q = group.curve.q
    for _ in range(_ATTEMPTS):
        # step 3
        k = nonce(q)
        if not 0 < k < q:
            raise ValueError("the nonce source gave a number that is not between 0 and q")
        # step 4
        point = group.multiply_generator(k)
        r = int(point[0]) % q if point is not None else 0
        # step 5
        s = (r * d + k * e) % q
        if r and s:
            size = group.curve.size_bytes
            return r.to_bytes(size, "little") + s.to_bytes(size, "little")
    raise ArithmeticError("no signature came out: the nonce source repeats itself")


def verify(group: Group, public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the signature of a digest holds (RFC 7091, 6.2).

    False for a signature of any other length, out of range or of something else. Raises KeyMaterialError
    (`bad_public_key`), ValueError for a digest of another length.
    """
    group.check_public_key(public_key)
    e = digest_number(group, digest)
    # step 1
    halves = read_signature(group, signature)
    if halves is None:
        return False
    r, s = halves
    q = group.curve.q
    # steps 4 to 7
    v = int(pow(group.number(e), -1, group.number(q)))
    return group.sum_has_x(s * v % q, -r * v % q, public_key, r)
