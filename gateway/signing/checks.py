"""The three comparisons that every form of signature ends in: key, SignatureValue, digest."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from gateway.errors import KeyMaterialError, SignatureRefused
from gateway.signing import steps
from gateway.signing.algorithms import SignatureAlgorithm
from gateway.signing.certificate import Certificate
from gateway.signing.signed_info import SignatureParts, SignedInfo


def check_key_family(algorithm: SignatureAlgorithm, certificate: Certificate) -> None:
    """Raises SignatureRefused (`key_mismatch`)."""
    if certificate.key_family not in algorithm.key_families:
        raise SignatureRefused(
            "key_mismatch",
            f"signature method {algorithm.name} does not go with the {certificate.key_family} key of the certificate",
            step=steps.CERTIFICATE,
        )


def check_signature_value(info: SignedInfo, parts: SignatureParts, certificate: Certificate) -> None:
    """Raises SignatureRefused (`signature_value`, `key_size`, or the code of a key that cannot be read)."""
    try:
        holds = info.signature.holds(certificate, info.canonical, parts.value)
    except KeyMaterialError as error:  # of the sender's certificate, so it is not our operator who must act
        raise SignatureRefused(error.code, error.message, step=steps.CERTIFICATE) from None
    if not holds:
        raise SignatureRefused(
            "signature_value",
            "the signature over SignedInfo does not hold: it was changed, or made with another key",
            step=steps.SIGNATURE_VALUE,
        )


def check_digest(info: SignedInfo, canonical: bytes) -> None:
    """Raises SignatureRefused (`digest`)."""
    if not canonical or not hmac.compare_digest(info.digest.digest(canonical), info.digest_value):
        raise _changed()


def check_digest_of(info: SignedInfo, canonical: Iterable[bytes]) -> None:
    """The same of canonical bytes that come in pieces. Raises SignatureRefused (`digest`, `algorithm_refused`)."""
    if not hmac.compare_digest(info.digest.digest_of(canonical), info.digest_value):
        raise _changed()


def _changed() -> SignatureRefused:
    return SignatureRefused(
        "digest",
        "what was signed was changed after signing (re-indenting is enough)",
        step=steps.DIGEST,
    )
