"""RC2-40, against what OpenSSL's legacy provider enciphers."""

from __future__ import annotations

import pytest

from gateway.signing.gost.rc2 import decrypt_rc2_40_cbc

IV = bytes(range(8))
_LONGER = b"another plain text, of forty bytes exact" + b"\x08" * 8


@pytest.mark.parametrize(
    ("key", "cipher", "plain"),
    [
        # openssl enc -rc2-40-cbc -provider legacy -provider default -K … -iv 0001020304050607
        ("0102030405", "976cb21ca1ce71fef3f7677e8b9a2c9617abddd79af52d7b", b"hello rc2 forty bits\x04\x04\x04\x04"),
        (
            "ffffffffff",
            "ab83f4e2fe64cb54f177c49f2c1328ded3674803738968e2eff8a5322b2eb4acbe8f9e1aa11fcfe5826fa5f3d1170380",
            _LONGER,
        ),
        (
            "0000000000",
            "f216653306ed02c9bebb6156c269831ce074b2dbd18977a596a5bb5e09bcd0ecac3b32aedb5be309abf14dc275a8a1bf",
            _LONGER,
        ),
        (
            "8a3c51d07e",
            "8568a2caa7278f395904805721ab84f62036cbd85055546ab63bc4bbc7e0fdb9f15f0a99a7620afe2bd54aa205cf4881",
            _LONGER,
        ),
    ],
)
def test_what_openssl_enciphers_is_read(key: str, cipher: str, plain: bytes) -> None:
    assert decrypt_rc2_40_cbc(bytes.fromhex(key), IV, bytes.fromhex(cipher)) == plain


@pytest.mark.parametrize(("key", "iv", "data"), [(b"1234", IV, b""), (b"12345", b"1", b""), (b"12345", IV, b"1")])
def test_other_lengths_are_refused(key: bytes, iv: bytes, data: bytes) -> None:
    with pytest.raises(ValueError, match="RC2-40"):
        decrypt_rc2_40_cbc(key, iv, data)
