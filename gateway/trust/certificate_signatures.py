"""The table of algorithms that sign certificates, CRLs, OCSP answers and time stamps, and the one check that uses it.

X.509 names algorithms by OID and packs ECDSA as DER, XML Signature by URI and as r‖s: hence a table of its own
beside gateway.signing.algorithms. A row takes the issuer's certificate, not a library's key, because the national
keys are unknown to `cryptography`. National signatures stand here in the national packing (PKI.md section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from gateway.errors import KeyMaterialError, TrustRefused
from gateway.signing import national
from gateway.signing.algorithms import MIN_RSA_BITS
from gateway.signing.certificate import Certificate
from gateway.signing.gost.asn1 import FAMILIES, GOST_2004, GOST_2015_256, GOST_2015_512, KeyFamily, read_public_key
from gateway.signing.gost.curves import Group
from gateway.trust.digests import GOST_34311, SHA_256, SHA_384, SHA_512, STREEBOG_256, STREEBOG_512


@dataclass(frozen=True, slots=True)
class CertificateSignatureAlgorithm:
    oid: str
    name: str
    #: families of the issuer's key that the algorithm may be used with
    key_families: frozenset[str]
    #: OID of its digest, which CMS names beside it
    digest_oid: str
    #: (issuer, signed bytes, signature) → whether it holds; raises KeyMaterialError when the key cannot be read
    holds: Callable[[Certificate, bytes, bytes], bool]
    #: what shows that the row is right, where it is not in everybody's daily use
    proven_by: str = ""


def _accepts(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True


def _rsa_pkcs1(digest: HashAlgorithm) -> Callable[[Certificate, bytes, bytes], bool]:
    def holds(issuer: Certificate, data: bytes, signature: bytes) -> bool:
        key = issuer.public_key
        return isinstance(key, rsa.RSAPublicKey) and _accepts(
            lambda: key.verify(signature, data, padding.PKCS1v15(), digest)
        )

    return holds


def _ecdsa(digest: HashAlgorithm) -> Callable[[Certificate, bytes, bytes], bool]:
    def holds(issuer: Certificate, data: bytes, signature: bytes) -> bool:
        key = issuer.public_key
        return isinstance(key, ec.EllipticCurvePublicKey) and _accepts(
            lambda: key.verify(signature, data, ec.ECDSA(digest))
        )

    return holds


def _gost_2015_512(issuer: Certificate, data: bytes, signature: bytes) -> bool:
    backend = national.backend()
    return backend.verify512(read_public_key(issuer.spki_der).value, backend.digest512(data), signature)


def _gost_2015_256(issuer: Certificate, data: bytes, signature: bytes) -> bool:
    backend = national.backend()
    return backend.verify256(read_public_key(issuer.spki_der).value, backend.digest256(data), signature)


def _gost_2004(issuer: Certificate, data: bytes, signature: bytes) -> bool:
    backend = national.backend()
    return backend.verify2004(read_public_key(issuer.spki_der).value, backend.digest2004(data), signature)


def _gost_row(
    family: KeyFamily,
    name: str,
    digest_oid: str,
    holds: Callable[[Certificate, bytes, bytes], bool],
    proven_by: str,
) -> CertificateSignatureAlgorithm:
    return CertificateSignatureAlgorithm(
        family.signature_oid, name, frozenset({family.name}), digest_oid, holds, proven_by
    )


_RSA = frozenset({"rsa"})
_EC = frozenset({"ec-p256", "ec-p384"})

_row = CertificateSignatureAlgorithm

ALGORITHMS: Final[Mapping[str, CertificateSignatureAlgorithm]] = MappingProxyType(
    {
        row.oid: row
        for row in (
            _row("1.2.840.113549.1.1.11", "RSA with SHA-256", _RSA, SHA_256, _rsa_pkcs1(SHA256())),
            _row("1.2.840.113549.1.1.12", "RSA with SHA-384", _RSA, SHA_384, _rsa_pkcs1(SHA384())),
            _row("1.2.840.113549.1.1.13", "RSA with SHA-512", _RSA, SHA_512, _rsa_pkcs1(SHA512())),
            _row("1.2.840.10045.4.3.2", "ECDSA with SHA-256", _EC, SHA_256, _ecdsa(SHA256())),
            _row("1.2.840.10045.4.3.3", "ECDSA with SHA-384", _EC, SHA_384, _ecdsa(SHA384())),
            _row("1.2.840.10045.4.3.4", "ECDSA with SHA-512", _EC, SHA_512, _ecdsa(SHA512())),
            _gost_row(GOST_2015_512, "GOST-2015-512", STREEBOG_512, _gost_2015_512, "national certificates and lists"),
            # no national sample of it was found (PKI.md section 8)
            _gost_row(GOST_2015_256, "GOST-2015-256", STREEBOG_256, _gost_2015_256, "published vectors only"),
            # made no more, and needed for old documents
            _gost_row(GOST_2004, "GOST 34.310-2004", GOST_34311, _gost_2004, "national certificates and lists"),
        )
    }
)

REFUSED_BY_NAME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1.2.840.113549.1.1.2": "RSA with MD2",
        "1.2.840.113549.1.1.4": "RSA with MD5",
        "1.2.840.113549.1.1.5": "RSA with SHA-1",
        "1.3.14.3.2.29": "RSA with SHA-1",
        "1.2.840.10040.4.3": "DSA with SHA-1",
        "1.2.840.10045.4.1": "ECDSA with SHA-1",
    }
)


@dataclass(frozen=True, slots=True)
class SignedObject:
    """A certificate, a CRL, an OCSP answer or a time stamp as something that was signed."""

    #: named in the error, without personal data
    label: str
    tbs: bytes
    signature: bytes
    outer_oid: str
    inner_oid: str


def of_certificate(certificate: Certificate) -> SignedObject:
    return SignedObject(
        label=f"certificate {certificate.label}",
        tbs=certificate.tbs,
        signature=certificate.signature,
        outer_oid=certificate.signature_oid,
        inner_oid=certificate.tbs_signature_oid,
    )


def check_signed_by(signed: SignedObject, issuer: Certificate, *, step: str) -> None:
    """Check that `issuer`'s key signed it (RFC 5280, 4.1.1.2, 6.1.3 (a)(1)).

    Only the OIDs of the inner and outer AlgorithmIdentifier are compared: national CRLs carry NULL parameters in
    one and none in the other (PKI.md section 3). Raises TrustRefused with `algorithm_mismatch`,
    `algorithm_refused`, `algorithm_not_supported`, `weak_key`, `bad_certificate_signature`.
    """
    if signed.inner_oid != signed.outer_oid:
        raise TrustRefused(
            "algorithm_mismatch",
            f"the {signed.label} names two different signature algorithms, {signed.inner_oid} inside and"
            f" {signed.outer_oid} outside: it was tampered with, or its issuer must issue it again",
            step=step,
        )
    if signed.outer_oid in REFUSED_BY_NAME:
        raise TrustRefused(
            "algorithm_refused",
            f"the {signed.label} is signed by {REFUSED_BY_NAME[signed.outer_oid]}, which is forgeable:"
            " ask for one signed with SHA-256 or better",
            step=step,
        )
    row = ALGORITHMS.get(signed.outer_oid)
    if row is None:
        raise TrustRefused(
            "algorithm_not_supported",
            f"the {signed.label} is signed by algorithm {signed.outer_oid}, which this version cannot check",
            step=step,
        )
    check_key_strength(issuer, step=step)
    if issuer.key_family not in row.key_families or not row.holds(issuer, signed.tbs, signed.signature):
        raise TrustRefused(
            "bad_certificate_signature",
            f"the {signed.label} was not signed by the key of {issuer.label}",
            step=step,
        )


_GROUPS: Final[Mapping[str, Group]] = MappingProxyType(
    {family.name: Group(family.curve) for family in FAMILIES.values()}
)


def check_key_strength(certificate: Certificate, *, step: str) -> None:
    """Raises TrustRefused: `algorithm_not_supported`, `bad_certificate_key`, `weak_key`."""
    try:
        if certificate.key_family in _GROUPS:
            # a point of the right order on the family's curve: whatever else it is, it is strong enough
            _GROUPS[certificate.key_family].check_public_key(read_public_key(certificate.spki_der).value)
            return
        key = certificate.public_key
    except KeyMaterialError as error:
        code = "algorithm_not_supported" if error.code == "key_not_supported" else "bad_certificate_key"
        raise TrustRefused(code, f"certificate {certificate.label}: {error.message}", step=step) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise TrustRefused(
            "weak_key",
            f"the RSA key of {certificate.label} has {key.key_size} bits, at least {MIN_RSA_BITS} are needed",
            step=step,
        )
