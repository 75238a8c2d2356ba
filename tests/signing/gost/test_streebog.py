"""Streebog against RFC 6986 and against itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signing.gost.streebog import Streebog, streebog256, streebog512

M1 = b"012345678901234567890123456789012345678901234567890123456789012"
M2 = bytes.fromhex(
    "d1e520e2e5f2f0e82c20d1f2f0e8e1eee6e820e2edf3f6e82c20e2e5fef2fa20f120eceef0ff20f1f2f0e5ebe0ece820ede020f5f0e0e1"
    "f0fbff20efebfaeafb20c8e3eef0e5e2fb"
)


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        # RFC 6986, 10.1.1 and 10.2.1; the RFC prints numbers, these are their bytes from the lowest
        (
            M1,
            "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa"
            "00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48",
        ),
        (
            M2,
            "1e88e62226bfca6f9994f1f2d51569e0daf8475a3b0fe61a5300eee46d961376"
            "035fe83549ada2b8620fcd7c496ce5b33f0cb9dddc2b6460143b03dabac9fb28",
        ),
    ],
    ids=["M1", "M2"],
)
def test_the_512_bit_vectors_of_the_rfc(message: bytes, digest: str) -> None:
    assert streebog512(message).hex() == digest


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        # RFC 6986, 10.1.2 and 10.2.2
        (M1, "9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500"),
        (M2, "9dd2fe4e90409e5da87f53976d7405b0c0cac628fc669a741d50063c557e8f50"),
    ],
    ids=["M1", "M2"],
)
def test_the_256_bit_vectors_of_the_rfc(message: bytes, digest: str) -> None:
    assert streebog256(message).hex() == digest


@given(pieces=st.lists(st.binary(max_size=150), max_size=6), size=st.sampled_from((32, 64)))
def test_pieces_hash_as_the_whole(pieces: list[bytes], size: int) -> None:
    running = Streebog(digest_size=size)
    for piece in pieces:
        running.update(piece)
        running.digest()  # asking does not end it
    assert running.digest() == Streebog(b"".join(pieces), digest_size=size).digest()


def test_a_copy_goes_its_own_way() -> None:
    one = Streebog(M1)
    other = one.copy()
    other.update(b"more")
    assert one.digest() == streebog512(M1)
    assert other.digest() == streebog512(M1 + b"more")


def test_it_looks_like_a_hash_of_hashlib() -> None:
    running = Streebog(M1, digest_size=32)
    assert (running.name, running.digest_size, running.block_size) == ("streebog256", 32, 64)
    assert running.hexdigest() == running.digest().hex()


def test_other_digest_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="32 or 64"):
        Streebog(digest_size=48)
