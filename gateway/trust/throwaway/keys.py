"""Keys of the throw-away PKI, in both families behind one value.

`cryptography` cannot put a GOST key into a certificate, so certificates are built by hand and ask a key for four
things only: its public part, the OIDs of its algorithms, a digest and a signature.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Final

from asn1crypto import core, pem
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from gateway.errors import KeyMaterialError
from gateway.signing.certificate_asn1 import AlgorithmIdentifier
from gateway.signing.gost import asn1
from gateway.signing.gost.backend import GostBackend, choose_backend

RSA_BITS: Final = 2_048
ROOT_RSA_BITS: Final = 3_072

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_SHA256_WITH_RSA: Final = "1.2.840.113549.1.1.11"
_GOST: Final = asn1.GOST_2015_512


class Family(StrEnum):
    """Which keys a hierarchy has."""

    RSA = "rsa"
    GOST = "gost"

    @property
    def suffix(self) -> str:
        """What file names of this family end with, before the last dot. RSA came first and has none."""
        return "" if self is Family.RSA else f"-{self.value}"


@dataclass(frozen=True, slots=True, eq=False)
class MintedKey:
    """A private key and what is written beside its signatures."""

    family: Family
    spki_der: bytes
    pkcs8_der: bytes = field(repr=False)
    signature_oid: str
    digest_oid: str
    digest: Callable[[bytes], bytes] = field(repr=False)
    #: over the bytes themselves; hashing is part of it
    sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def signature_algorithm(self) -> Any:
        """The AlgorithmIdentifier, with NULL parameters as both families are issued (PKI.md section 2)."""
        return AlgorithmIdentifier({"algorithm": self.signature_oid, "parameters": core.Null()})

    @property
    def key_identifier(self) -> bytes:
        """SHA-1 of the public key's bits: a name, not a proof (RFC 5280, 4.2.1.2 (1))."""
        return hashlib.sha1(public_key_bits(self.spki_der), usedforsecurity=False).digest()

    @property
    def pkcs8_pem(self) -> bytes:
        return bytes(pem.armor("PRIVATE KEY", self.pkcs8_der))


def public_key_bits(spki_der: bytes) -> bytes:
    """Content of the BIT STRING in a SubjectPublicKeyInfo: what key identifiers and OCSP's issuerKeyHash digest."""
    return bytes(core.OctetBitString(_Spki.load(spki_der)["public_key"].native).native)


class _Spki(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", core.Any), ("public_key", core.OctetBitString)]  # noqa: RUF012


def generate(family: Family, *, rsa_bits: int = RSA_BITS) -> MintedKey:
    """A new key."""
    if family is Family.RSA:
        return _of_rsa(rsa.generate_private_key(public_exponent=65_537, key_size=rsa_bits))
    value = (secrets.randbelow(_GOST.curve.q - 1) + 1).to_bytes(_GOST.curve.size_bytes, "little")
    return _of_gost(value)


def read_key(pem_text: bytes) -> MintedKey:
    """A key that this package wrote. Raises KeyMaterialError (`key_file_damaged`)."""
    try:
        _, _, der = pem.unarmor(pem_text)
        private = asn1.read_private_key(der)
        if private.family == _GOST.name:
            return _of_gost(private.value)
        key = load_der_private_key(der, None)
    except (ValueError, TypeError):
        raise KeyMaterialError("is no key of a throw-away PKI: mint a new one", code="key_file_damaged") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyMaterialError("is neither an RSA nor a GOST-2015 key: mint a new PKI", code="key_file_damaged")
    return _of_rsa(key)


def _of_rsa(key: rsa.RSAPrivateKey) -> MintedKey:
    return MintedKey(
        Family.RSA,
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        _SHA256_WITH_RSA,
        _SHA256,
        lambda data: hashlib.sha256(data).digest(),
        lambda data: key.sign(data, padding.PKCS1v15(), SHA256()),
    )


def _of_gost(value: bytes) -> MintedKey:
    backend = _backend()
    public = asn1.PublicKey(_GOST, backend.public_key512(value))
    return MintedKey(
        Family.GOST,
        asn1.write_public_key(public),
        asn1.write_private_key(asn1.PrivateKey(_GOST.name, value)),
        _GOST.signature_oid,
        _GOST.digest_oid,
        backend.digest512,
        lambda data: backend.sign512(value, backend.digest512(data)),
    )


@cache
def _backend() -> GostBackend:
    # keys that protect nothing may be used in variable time
    return choose_backend(allow_variable_time=True)
