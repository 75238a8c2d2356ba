"""Digests by OID, as OCSP and CMS name them (RFC 5754; national OIDs: PKI.md section 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gateway.signing.gost import asn1
from gateway.signing.gost.gost94 import gost94
from gateway.signing.gost.streebog import streebog256, streebog512

SHA_1: Final = "1.3.14.3.2.26"
SHA_256: Final = "2.16.840.1.101.3.4.2.1"
SHA_384: Final = "2.16.840.1.101.3.4.2.2"
SHA_512: Final = "2.16.840.1.101.3.4.2.3"
STREEBOG_512: Final = asn1.GOST_2015_512.digest_oid
STREEBOG_256: Final = asn1.GOST_2015_256.digest_oid
GOST_34311: Final = asn1.GOST_2004.digest_oid

DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        SHA_256: lambda data: hashlib.sha256(data).digest(),
        SHA_384: lambda data: hashlib.sha384(data).digest(),
        SHA_512: lambda data: hashlib.sha512(data).digest(),
        STREEBOG_512: streebog512,
        STREEBOG_256: streebog256,
        GOST_34311: gost94,
    }
)
"""What may stand under a signature. SHA-1 does not: it is used where RFC 6960 and RFC 2634 prescribe it as the mere
name of a key or a certificate."""


def sha1_name(data: bytes) -> bytes:
    """SHA-1 as a name of something that is proven otherwise."""
    return hashlib.sha1(data, usedforsecurity=False).digest()
