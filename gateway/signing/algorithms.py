"""The table of algorithms that XML signatures may use. An algorithm is added as a row; nothing else names one.

What is refused by name is refused with its reason; whatever is not in the table is refused as unknown. A digest
method must be of a family that the signature method allows, so that a swapped digest is caught before any
arithmetic (PKI.md section 4). URIs: RFC 9231; the national and the non-standard SHA-1 ones: SHEP.md 5.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from gateway.errors import SignatureRefused
from gateway.signing import national, steps
from gateway.signing.certificate import Certificate
from gateway.signing.gost.asn1 import PublicKey as NationalPublicKey
from gateway.signing.gost.backend import GostBackend

#: an RSA modulus below this is refused (bits)
MIN_RSA_BITS: Final = 2_048
#: an RSA modulus above this is refused (bits): a stranger's key must not decide how long we calculate
MAX_RSA_BITS: Final = 8_192

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
SHA256_URI: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
SHA384_URI: Final = _MORE + "sha384"
SHA512_URI: Final = "http://www.w3.org/2001/04/xmlenc#sha512"
RSA_SHA256_URI: Final = _MORE + "rsa-sha256"
RSA_SHA384_URI: Final = _MORE + "rsa-sha384"
RSA_SHA512_URI: Final = _MORE + "rsa-sha512"
ECDSA_SHA256_URI: Final = _MORE + "ecdsa-sha256"
ECDSA_SHA384_URI: Final = _MORE + "ecdsa-sha384"
_PKIGOVKZ: Final = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:"
GOST_2015_512_URI: Final = _PKIGOVKZ + "gostr34102015-gostr34112015-512"
GOST_2015_256_URI: Final = _PKIGOVKZ + "gostr34102015-gostr34112015-256"
GOST_2004_URI: Final = _MORE + "gost34310-gost34311"
STREEBOG_512_URI: Final = _PKIGOVKZ + "gostr34112015-512"
STREEBOG_256_URI: Final = _PKIGOVKZ + "gostr34112015-256"
GOST_34311_URI: Final = _MORE + "gost34311"


@dataclass(frozen=True, slots=True)
class DigestAlgorithm:
    uri: str
    name: str
    family: str
    size_bytes: int
    digest: Callable[[bytes], bytes]
    #: the same of bytes that come in pieces and are never together in memory
    digest_of: Callable[[Iterable[bytes]], bytes]


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    uri: str
    name: str
    #: "rsa-sha2", "ecdsa-sha2", "gost-2015-512", "gost-2015-256", "gost-2004"
    family: str
    #: Certificate.key_family of the keys that may be used with it
    key_families: frozenset[str]
    #: families of digest that its SignedInfo may carry
    digest_families: frozenset[str]
    #: the digest that we write beside it
    digest_uri: str
    #: (certificate, signed bytes, SignatureValue as XML carries it) → whether it holds.
    #: Raises KeyMaterialError when the certificate's key cannot be read.
    holds: Callable[[Certificate, bytes, bytes], bool]
    #: (private key of the family, bytes to sign) → SignatureValue as XML carries it; None: it is only verified here
    sign: Callable[[Any, bytes], bytes] | None
    #: what its correctness was proven with, where that is less than messages and certificates of real senders
    proven_by: str = ""

    def __hash__(self) -> int:
        return hash(self.uri)

    @property
    def description(self) -> str:
        """Name with the limit of its proof, for `--explain`."""
        return f"{self.name} (proven by {self.proven_by} only)" if self.proven_by else self.name


# ---------------------------------------------------------------- RSA PKCS#1 v1.5 and ECDSA on `cryptography`

_PKCS1 = padding.PKCS1v15()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def _sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def _sha2_of(name: str) -> Callable[[Iterable[bytes]], bytes]:
    def digest_of(pieces: Iterable[bytes]) -> bytes:
        running = hashlib.new(name)
        for piece in pieces:
            running.update(piece)
        return running.digest()

    return digest_of


@lru_cache(maxsize=256)
def _rsa_key(certificate: Certificate) -> rsa.RSAPublicKey | None:
    """None: it has another key. Raises SignatureRefused (`key_size`)."""
    key = certificate.public_key
    if not isinstance(key, rsa.RSAPublicKey):
        return None
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise SignatureRefused(
            "key_size",
            f"the certificate has an RSA key of {key.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted",
            step=steps.CERTIFICATE,
        )
    return key


def _rsa(uri: str, name: str, digest_uri: str, hash_algorithm: HashAlgorithm) -> SignatureAlgorithm:
    def holds(certificate: Certificate, data: bytes, signature: bytes) -> bool:
        key = _rsa_key(certificate)
        if key is None:
            return False
        try:
            key.verify(signature, data, _PKCS1, hash_algorithm)
        except InvalidSignature:
            return False
        return True

    def sign(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
        return key.sign(data, _PKCS1, hash_algorithm)

    return SignatureAlgorithm(uri, name, "rsa-sha2", frozenset({"rsa"}), frozenset({"sha2"}), digest_uri, holds, sign)


def _ecdsa(
    uri: str, name: str, key_family: str, half_bytes: int, digest_uri: str, hash_algorithm: HashAlgorithm
) -> SignatureAlgorithm:
    ecdsa = ec.ECDSA(hash_algorithm)

    # XML carries r‖s, each as long as the order (RFC 4050, XML Signature 1.1 section 6.4.3), `cryptography` wants DER
    def holds(certificate: Certificate, data: bytes, signature: bytes) -> bool:
        key = certificate.public_key
        if not isinstance(key, ec.EllipticCurvePublicKey) or len(signature) != 2 * half_bytes:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:half_bytes], signature[half_bytes:]))
        try:
            key.verify(encode_dss_signature(r, s), data, ecdsa)
        except InvalidSignature:
            return False
        return True

    def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ecdsa))
        return r.to_bytes(half_bytes, "big") + s.to_bytes(half_bytes, "big")

    return SignatureAlgorithm(
        uri, name, "ecdsa-sha2", frozenset({key_family}), frozenset({"sha2"}), digest_uri, holds, sign
    )


# ---------------------------------------------------------------- the national algorithms

# SignatureValue is r ‖ s, each little-endian, and the digest's bytes are those that every library prints
# (PKI.md section 1). Which means calculates is looked up at every use: gateway.signing.national.


def _streebog512(data: bytes) -> bytes:
    return national.backend().digest512(data)


def _streebog256(data: bytes) -> bytes:
    return national.backend().digest256(data)


def _gost34311(data: bytes) -> bytes:
    return national.backend().digest2004(data)


def _streebog512_of(pieces: Iterable[bytes]) -> bytes:
    return national.backend().digest512_of(pieces)


def _streebog256_of(pieces: Iterable[bytes]) -> bytes:
    return national.backend().digest256_of(pieces)


def _gost34311_of(_pieces: Iterable[bytes]) -> bytes:
    # documents of before 2025 are read with it, and none of those has a file of hundreds of megabytes in it
    raise SignatureRefused(
        "algorithm_refused",
        "GOST 34.311-95 is not reckoned over a large file: the sender must sign it with a key of today",
        step=steps.DIGEST,
    )


def _gost(
    uri: str,
    name: str,
    family: str,
    digest: DigestAlgorithm,
    verify: Callable[[GostBackend, bytes, bytes, bytes], bool],
    sign: Callable[[GostBackend, bytes, bytes], bytes] | None = None,
    proven_by: str = "",
) -> SignatureAlgorithm:
    def holds(certificate: Certificate, data: bytes, signature: bytes) -> bool:
        if certificate.key_family != family:
            return False
        key = certificate.public_key
        if not isinstance(key, NationalPublicKey):  # pragma: no cover - the family is read from the same bytes
            return False
        return verify(national.backend(), key.value, digest.digest(data), signature)

    def signed(private_key: bytes, data: bytes) -> bytes:
        if sign is None:  # pragma: no cover - not handed out then
            raise TypeError(name)
        return sign(national.backend(), private_key, digest.digest(data))

    families = frozenset({family}), frozenset({digest.family})
    return SignatureAlgorithm(
        uri, name, family, *families, digest.uri, holds, None if sign is None else signed, proven_by
    )


_STREEBOG_512: Final = DigestAlgorithm(
    STREEBOG_512_URI, "Streebog-512", "gost-2015-512", 64, _streebog512, _streebog512_of
)
_STREEBOG_256: Final = DigestAlgorithm(
    STREEBOG_256_URI, "Streebog-256", "gost-2015-256", 32, _streebog256, _streebog256_of
)
_GOST_34311: Final = DigestAlgorithm(GOST_34311_URI, "GOST 34.311-95", "gost-2004", 32, _gost34311, _gost34311_of)

# ---------------------------------------------------------------- the table

DIGESTS: Final[Mapping[str, DigestAlgorithm]] = MappingProxyType(
    {
        row.uri: row
        for row in (
            DigestAlgorithm(SHA256_URI, "SHA-256", "sha2", 32, _sha256, _sha2_of("sha256")),
            DigestAlgorithm(SHA384_URI, "SHA-384", "sha2", 48, _sha384, _sha2_of("sha384")),
            DigestAlgorithm(SHA512_URI, "SHA-512", "sha2", 64, _sha512, _sha2_of("sha512")),
            _STREEBOG_512,
            _STREEBOG_256,
            _GOST_34311,
        )
    }
)

SIGNATURES: Final[Mapping[str, SignatureAlgorithm]] = MappingProxyType(
    {
        row.uri: row
        for row in (
            # the first row of a key family is the one that we sign with
            _rsa(RSA_SHA256_URI, "RSA-SHA256", SHA256_URI, SHA256()),
            _rsa(RSA_SHA384_URI, "RSA-SHA384", SHA384_URI, SHA384()),
            _rsa(RSA_SHA512_URI, "RSA-SHA512", SHA512_URI, SHA512()),
            _ecdsa(ECDSA_SHA256_URI, "ECDSA-P256-SHA256", "ec-p256", 32, SHA256_URI, SHA256()),
            _ecdsa(ECDSA_SHA384_URI, "ECDSA-P384-SHA384", "ec-p384", 48, SHA384_URI, SHA384()),
            _gost(
                GOST_2015_512_URI,
                "GOST-2015-512",
                "gost-2015-512",
                _STREEBOG_512,
                lambda backend, key, digest, signature: backend.verify512(key, digest, signature),
                lambda backend, key, digest: backend.sign512(key, digest),
            ),
            _gost(
                GOST_2015_256_URI,
                "GOST-2015-256",
                "gost-2015-256",
                _STREEBOG_256,
                lambda backend, key, digest, signature: backend.verify256(key, digest, signature),
                proven_by="published vectors",
            ),
            # documents of before 2025 carry it: read, never written
            _gost(
                GOST_2004_URI,
                "GOST-2004",
                "gost-2004",
                _GOST_34311,
                lambda backend, key, digest, signature: backend.verify2004(key, digest, signature),
            ),
        )
    }
)

REFUSED_BY_NAME: Final[Mapping[str, str]] = MappingProxyType(
    {
        _DSIG + "sha1": "SHA-1 is forgeable",
        _MORE + "sha1": "SHA-1 is forgeable (and this is not its URI)",
        _MORE + "md5": "MD5 is forgeable",
        _DSIG + "rsa-sha1": "SHA-1 is forgeable",
        _MORE + "rsa-sha1": "SHA-1 is forgeable (and this is not its URI)",
        _MORE + "rsa-md5": "MD5 is forgeable",
        _MORE + "ecdsa-sha1": "SHA-1 is forgeable",
        _DSIG + "dsa-sha1": "SHA-1 is forgeable",
        **dict.fromkeys(
            (
                _DSIG + "hmac-sha1",
                _MORE + "hmac-md5",
                *(_MORE + f"hmac-sha{bits}" for bits in (224, 256, 384, 512)),
                _MORE + "hmac-ripemd160",
            ),
            "an HMAC proves no sender: whoever can check it can make it",
        ),
    }
)

#: characters of a URI from outside that an error text repeats
_SHOWN_URI_CHARACTERS: Final = 120


def _refused(uri: str, role: str) -> SignatureRefused:
    shown = ascii(uri[:_SHOWN_URI_CHARACTERS])
    reason = REFUSED_BY_NAME.get(uri)
    if reason is None:
        known = ", ".join(row.name for row in SIGNATURES.values())
        text = f"{role} {shown} is not known here: the sender must use one of {known} with a digest of its family"
    else:
        text = f"{role} {shown} is refused: {reason}"
    return SignatureRefused("algorithm_refused", text, step=steps.ALGORITHMS)


def signature_algorithm(uri: str) -> SignatureAlgorithm:
    """The row of a SignatureMethod. Raises SignatureRefused (`algorithm_refused`)."""
    row = SIGNATURES.get(uri)
    if row is None:
        raise _refused(uri, "signature method")
    return row


def digest_algorithm(uri: str) -> DigestAlgorithm:
    """The row of a DigestMethod. Raises SignatureRefused (`algorithm_refused`)."""
    row = DIGESTS.get(uri)
    if row is None:
        raise _refused(uri, "digest method")
    return row


def check_family(signature: SignatureAlgorithm, digest: DigestAlgorithm) -> None:
    """Raises SignatureRefused (`family_mismatch`)."""
    if digest.family not in signature.digest_families:
        raise SignatureRefused(
            "family_mismatch",
            f"digest {digest.name} does not belong to the family of signature {signature.name}",
            step=steps.ALGORITHMS,
        )


def algorithm_for_key(key_family: str) -> SignatureAlgorithm | None:
    """The algorithm that we sign with when the key is of that family (Certificate.key_family)."""
    return next((row for row in SIGNATURES.values() if key_family in row.key_families and row.sign is not None), None)
