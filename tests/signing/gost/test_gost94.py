"""GOST R 34.11-94 with the S-box of the TestParamSet."""

from __future__ import annotations

import pytest

from gateway.signing.gost.gost94 import gost94


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        # RFC 5831, 7.1 and 7.2
        (b"This is message, length=32 bytes", "b1c466d37519b82e8319819ff32595e047a28cb6f83eff1c6916a815a637fffa"),
        (
            b"Suppose the original message has length = 50 bytes",
            "471aba57a60a770d3a76130635c1fbea4ef14de51f78b4ae57dd893b62f55208",
        ),
        # published beside them for the same S-box
        (b"", "ce85b99cc46752fffee35cab9a7b0278abb4c2d2055cff685af4912c49490f8d"),
        (b"a", "d42c539e367c66e9c88a801f6649349c21871b4344c6a573f849fdce62f314dd"),
        (b"abc", "f3134348c44fb1b2a277729e2285ebb5cb5e0f29c975bc753b70497c06a4d51d"),
        (b"message digest", "ad4434ecb18f2c99b60cbe59ec3d2469582b65273f48de72db2fde16a4889a4d"),
    ],
)
def test_the_published_vectors(message: bytes, digest: str) -> None:
    assert gost94(message).hex() == digest
