"""A PKCS#12 file as the national authority hands it out (PKI.md section 1, p12), for tests of what reads it.

Three-key 3DES over the key, RC2 with 40 bits over the one certificate, HMAC-SHA1, 1024 iterations, salts of 20 bytes,
indefinite lengths inside. It protects nothing, which is the point; nothing outside the throw-away PKI writes it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from asn1crypto import core
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.signing.certificate import Certificate
from gateway.signing.gost.pkcs12 import derive
from gateway.trust.throwaway import der

ITERATIONS: Final = 1_024
_SALT_BYTES: Final = 20
_BLOCK_BYTES: Final = 8

_DATA: Final = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA: Final = "1.2.840.113549.1.7.6"
_SHROUDED_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.2"
_CERTIFICATE_BAG: Final = "1.2.840.113549.1.12.10.1.3"
_X509_CERTIFICATE: Final = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME: Final = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID: Final = "1.2.840.113549.1.9.21"
_WITH_3DES: Final = "1.2.840.113549.1.12.1.3"
_WITH_RC2_40: Final = "1.2.840.113549.1.12.1.6"
_SHA1: Final = "1.3.14.3.2.26"

#: purposes of derived bytes (RFC 7292, B.3)
_KEY, _INITIAL_VECTOR, _MAC = 1, 2, 3


def write_container(pkcs8_der: bytes, certificate: Certificate, password: str) -> bytes:
    """BER of the container with one key and its certificate; the alias is the subject key identifier in hexadecimal."""
    secret = password.encode("utf-16-be") + b"\x00\x00"
    identifier = certificate.ski or b""
    attributes = der.element(
        der.SET,
        der.sequence(der.oid(_FRIENDLY_NAME), der.element(der.SET, core.BMPString(identifier.hex()).dump())),
        der.sequence(der.oid(_LOCAL_KEY_ID), der.element(der.SET, der.octets(identifier))),
    )

    salt = secrets.token_bytes(_SALT_BYTES)
    shrouded = der.sequence(_encryption(_WITH_3DES, salt), der.octets(_encrypt_3des(pkcs8_der, secret, salt)))
    key_bags = der.sequence(der.sequence(der.oid(_SHROUDED_KEY_BAG), der.explicit(0, shrouded), attributes))

    value = der.sequence(der.oid(_X509_CERTIFICATE), der.explicit(0, der.octets(certificate.der)))
    certificate_bags = der.sequence(der.sequence(der.oid(_CERTIFICATE_BAG), der.explicit(0, value), attributes))
    salt = secrets.token_bytes(_SALT_BYTES)
    encrypted = der.indefinite(
        der.SEQUENCE,
        core.Integer(0).dump(),
        der.indefinite(
            der.SEQUENCE,
            der.oid(_DATA),
            _encryption(_WITH_RC2_40, salt),
            der.indefinite(0xA0, der.octets(_encrypt_rc2_40(certificate_bags, secret, salt))),
        ),
    )

    safe = der.indefinite(
        der.SEQUENCE,
        der.indefinite(der.SEQUENCE, der.oid(_DATA), der.indefinite(0xA0, der.octets(key_bags))),
        der.indefinite(der.SEQUENCE, der.oid(_ENCRYPTED_DATA), der.indefinite(0xA0, encrypted)),
    )
    salt = secrets.token_bytes(_SALT_BYTES)
    mac = hmac.new(_derive(secret, salt, _MAC, 20), safe, hashlib.sha1).digest()
    digest_info = der.sequence(der.sequence(der.oid(_SHA1), core.Null().dump()), der.octets(mac))
    return der.sequence(
        core.Integer(3).dump(),
        der.sequence(der.oid(_DATA), der.explicit(0, der.octets(safe))),
        der.sequence(digest_info, der.octets(salt), core.Integer(ITERATIONS).dump()),
    )


def _encryption(dotted: str, salt: bytes) -> bytes:
    return der.sequence(der.oid(dotted), der.sequence(der.octets(salt), core.Integer(ITERATIONS).dump()))


# ---------------------------------------------------------------- the old ciphers


def _derive(secret: bytes, salt: bytes, purpose: int, size: int) -> bytes:
    return derive("sha1", secret, salt, ITERATIONS, purpose, size)


def _padded(data: bytes) -> bytes:
    missing = _BLOCK_BYTES - len(data) % _BLOCK_BYTES
    return data + bytes((missing,)) * missing


def _encrypt_3des(data: bytes, secret: bytes, salt: bytes) -> bytes:
    key, vector = _derive(secret, salt, _KEY, 24), _derive(secret, salt, _INITIAL_VECTOR, 8)
    encryptor = Cipher(TripleDES(key), CBC(vector)).encryptor()
    return encryptor.update(_padded(data)) + encryptor.finalize()


def _encrypt_rc2_40(data: bytes, secret: bytes, salt: bytes) -> bytes:
    words = _rc2_words(_derive(secret, salt, _KEY, 5))
    previous = _derive(secret, salt, _INITIAL_VECTOR, 8)
    data = _padded(data)
    out = []
    for place in range(0, len(data), _BLOCK_BYTES):
        block = bytes(a ^ b for a, b in zip(data[place : place + _BLOCK_BYTES], previous, strict=True))
        previous = _rc2_block(words, block)
        out.append(previous)
    return b"".join(out)


# RFC 2268, section 2: digits of π
_PI: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)


def _rc2_words(key: bytes) -> list[int]:
    """The key schedule; as many effective bits as the key has."""
    size = len(key)
    table = bytearray(key.ljust(128, b"\x00"))
    for place in range(size, 128):
        table[place] = _PI[table[place - 1] + table[place - size] & 0xFF]
    table[128 - size] = _PI[table[128 - size]]
    for place in range(127 - size, -1, -1):
        table[place] = _PI[table[place + 1] ^ table[place + size]]
    return [int.from_bytes(table[place : place + 2], "little") for place in range(0, 128, 2)]


def _rc2_block(words: list[int], block: bytes) -> bytes:
    """RFC 2268, section 3: five mixing rounds, a mashing one, six, a mashing one, five."""
    r = [int.from_bytes(block[place : place + 2], "little") for place in range(0, _BLOCK_BYTES, 2)]
    for turn in range(16):
        for i, rotation in enumerate((1, 2, 3, 5)):
            value = r[i] + words[4 * turn + i] + (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3]) & 0xFFFF
            r[i] = (value << rotation | value >> 16 - rotation) & 0xFFFF
        if turn in (4, 10):
            for i in range(4):
                r[i] = r[i] + words[r[i - 1] & 63] & 0xFFFF
    return b"".join(value.to_bytes(2, "little") for value in r)
