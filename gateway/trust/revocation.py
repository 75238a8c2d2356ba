"""Is a certificate revoked: good, revoked or unknown, with source and age (RFC 5280, section 6.3). Unknown is not good.

Evidence is the CRLs of the trust store. A CRL counts when
 a it is in the issuer's name and about this kind of certificate
 b nothing in it is beyond us (delta, indirect, some reasons only, critical extensions)
 c the issuer may sign CRLs and its key signed this one
 d thisUpdate ≤ at < nextUpdate; without nextUpdate, not older than the rules allow
The newest that counts decides. When none counts the status is unknown and says why.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from asn1crypto import core, x509

from gateway.errors import TrustRefused
from gateway.signing.certificate import ASN1_ERRORS, CRL_DISTRIBUTION_POINTS, Certificate
from gateway.trust.certificate_signatures import SignedObject, check_signed_by
from gateway.trust.crl import CertificateRevocationList, full_names
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import (
    REVOCATION_STEP,
    CertificationPath,
    RevocationRules,
    RevocationState,
    RevocationStatus,
)


def check_path_revocation(path: CertificationPath, material: TrustMaterial, *, at: dt.datetime) -> RevocationStatus:
    """Status over a whole path except its anchor: one revoked makes it revoked, else one unknown makes it unknown.

    A path that is only an anchor has nobody who could revoke it: unknown. Raises nothing.
    """
    found = [check_revocation(c, issuer, material, at=at) for c, issuer in path.links]
    for state in (RevocationState.REVOKED, RevocationState.UNKNOWN):
        for status in found:
            if status.status is state:
                return status
    if not found:
        return _unknown("the signer is itself an anchor, and nobody else can say that it is revoked")
    return RevocationStatus(
        RevocationState.GOOD,
        source="crl",
        as_of=min(s.as_of for s in found if s.as_of is not None),
        detail="; ".join(s.detail for s in found),
        holds_from=max(s.holds_from for s in found if s.holds_from is not None),
        holds_before=min(s.holds_before for s in found if s.holds_before is not None),
    )


def check_revocation(
    certificate: Certificate, issuer: Certificate, material: TrustMaterial, *, at: dt.datetime
) -> RevocationStatus:
    """Status of one certificate whose issuer is already established. Raises nothing."""
    candidates = material.crls_of(issuer)  # newest first
    if not candidates:
        return _unknown(f"there is no CRL of {issuer.label}; put a current one into the trust directory")
    reasons: list[str] = []
    newer_from: dt.datetime | None = None  # when a list that is not yet in force takes over
    for crl in candidates:
        reason = _why_not_about(crl, certificate) or crl.unusable_because or _why_not_signed(crl, issuer, material)
        if not reason:
            end = _end_of(crl, material.rules)
            if at < crl.this_update:
                newer_from = crl.this_update
                reason = f"it is from {crl.this_update.isoformat()}, later than {at.isoformat()}"
            elif at >= end:
                reason = f"it was to be replaced by {end.isoformat()}; fetch the current one"
            else:
                return _status_by(crl, certificate, end if newer_from is None else min(end, newer_from))
        reasons.append(f"{crl.label} is not used: {reason}")
    return _unknown("; ".join(reasons))


def _status_by(crl: CertificateRevocationList, certificate: Certificate, holds_before: dt.datetime) -> RevocationStatus:
    entry = crl.revocation_of(certificate.serial)
    if entry is None:
        state, detail = RevocationState.GOOD, f"{crl.label} does not name {certificate.label}"
    else:
        state = RevocationState.REVOKED
        detail = f"{crl.label} names {certificate.label}: {entry.reason}, {entry.revoked_at.isoformat()}"
    return RevocationStatus(
        state,
        source="crl",
        as_of=crl.this_update,
        detail=detail,
        holds_from=crl.this_update,
        holds_before=holds_before,
    )


def _unknown(detail: str) -> RevocationStatus:
    return RevocationStatus(RevocationState.UNKNOWN, source="none", as_of=None, detail=detail)


def _end_of(crl: CertificateRevocationList, rules: RevocationRules) -> dt.datetime:
    if crl.next_update is not None:
        return crl.next_update
    try:
        return crl.this_update + dt.timedelta(seconds=rules.max_age_without_next_update_s)
    except OverflowError:
        return crl.this_update


def _why_not_about(crl: CertificateRevocationList, certificate: Certificate) -> str:
    covered = crl.scope.authorities if certificate.is_ca else crl.scope.users
    if not covered:
        return "it is about the other kind of certificates (authorities or users)"
    points = crl.scope.distribution_points
    if points and not set(points) & set(_distribution_points(certificate)):
        return "it belongs to a distribution point that the certificate does not name"
    return ""


def _distribution_points(certificate: Certificate) -> tuple[str, ...]:
    extension = certificate.extensions.get(CRL_DISTRIBUTION_POINTS)
    return () if extension is None else _read_distribution_points(extension.value)


@lru_cache(maxsize=1_024)
def _read_distribution_points(value: bytes) -> tuple[str, ...]:
    """URIs of the complete distribution points; () when they cannot be read, which matches no list."""
    try:
        return tuple(
            name
            for point in x509.CRLDistributionPoints.load(value, strict=True)
            if not isinstance(point["distribution_point"], core.Void)
            for name in full_names(point["distribution_point"])
        )
    except ASN1_ERRORS:
        return ()


def _why_not_signed(crl: CertificateRevocationList, issuer: Certificate, material: TrustMaterial) -> str:
    key = (crl.sha256, issuer.sha256)
    known = material.crl_signatures.get(key)
    if known is None:
        known = material.crl_signatures[key] = _signature_problem(crl, issuer)
    return known


def _signature_problem(crl: CertificateRevocationList, issuer: Certificate) -> str:
    if issuer.key_usage is not None and "cRLSign" not in issuer.key_usage:
        return f"the key of {issuer.label} is not meant to sign CRLs"
    signed = SignedObject(
        label="list",
        tbs=crl.tbs,
        signature=crl.signature,
        outer_oid=crl.signature_oid,
        inner_oid=crl.tbs_signature_oid,
    )
    try:
        check_signed_by(signed, issuer, step=REVOCATION_STEP)
    except TrustRefused as error:
        return error.message
    return ""
