"""What the CRLs at hand say about one certificate (RFC 5280, sections 5.2.4 and 6.3).

A list counts when
 a it is in the issuer's name and about this kind of certificate
 b nothing in it is beyond us (indirect, some reasons only, critical extensions)
 c thisUpdate ≤ at < nextUpdate; without nextUpdate, or where the rules say so, not older than the rules allow
 d the issuer may sign CRLs and its key signed this one
The newest complete list that counts decides, together with the newest delta list that extends it. What is newer than
those and cannot say "good" can still say "revoked": a delta list that extends no list at hand, and a list that has
ended, for any reason but a hold, because such a revocation is never undone (RFC 5280, 5.3.1).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from asn1crypto import core, x509

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.signing.extensions import CRL_DISTRIBUTION_POINTS
from gateway.trust.certificate_signatures import SignedObject, check_signed_by
from gateway.trust.crl import CertificateRevocationList, Revocation, full_names
from gateway.trust.evidence import FetchedCrl
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import (
    REVOCATION_STEP,
    DecidingEvidence,
    RevocationRules,
    RevocationState,
    RevocationStatus,
)

HOLD: Final = "certificateHold"
_REMOVED: Final = "removeFromCRL"
#: signatures of lists remembered, those that do not hold too: checking a large list takes seconds
MAX_REMEMBERED_LISTS: Final = 4_096


@dataclass(slots=True)
class Boundaries:
    """The moments nearest to `at` at which some evidence begins or ends: between them nothing changes."""

    at: dt.datetime
    before: dt.datetime | None = None
    after: dt.datetime | None = None

    def note(self, *moments: dt.datetime) -> None:
        for moment in moments:
            if moment <= self.at:
                self.before = moment if self.before is None else max(self.before, moment)
            else:
                self.after = moment if self.after is None else min(self.after, moment)


@dataclass(slots=True)
class _Lists:
    """Those that are in force, newest first, those that have ended, and why the others are not used."""

    complete: list[CertificateRevocationList] = field(default_factory=list)
    deltas: list[CertificateRevocationList] = field(default_factory=list)
    ended: list[CertificateRevocationList] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def pass_over(self, crl: CertificateRevocationList, reason: str) -> None:
        self.reasons.append(f"{crl.label} is not used: {reason}")


def status_by_lists(
    certificate: Certificate,
    issuer: Certificate,
    material: TrustMaterial,
    *,
    boundaries: Boundaries,
    fetched: Iterable[FetchedCrl] = (),
) -> RevocationStatus:
    """Status at `boundaries.at` by the lists of the trust directory and `fetched` ones; what begins or ends is noted
    in `boundaries`. Raises nothing."""
    sources = {f.crl.sha256: f.source for f in fetched if f.crl.issuer_key == issuer.subject_key}
    candidates = list(material.crls_of(issuer))  # newest first
    if sources:
        known = {crl.sha256 for crl in candidates}
        candidates += [f.crl for f in fetched if f.crl.sha256 in sources and f.crl.sha256 not in known]
        candidates.sort(key=lambda c: (c.this_update, c.number or 0, c.sha256), reverse=True)
    if not candidates:
        return unknown(f"there is no CRL of {issuer.label}; put a current one into the trust directory")
    lists = _in_force(candidates, certificate, material.rules, boundaries)
    base = _first_signed(lists.complete, issuer, material, lists)
    # 5.2.4: the delta begins at or before the complete list and ends after it
    extending = [delta for delta in lists.deltas if base is not None and _extends(delta, base)]
    delta = _first_signed(extending, issuer, material, lists)
    newest = delta or base

    def newer(crls: Iterable[CertificateRevocationList]) -> list[CertificateRevocationList]:
        return [crl for crl in crls if newest is None or crl.this_update > newest.this_update]

    apart = newer(crl for crl in lists.deltas if crl not in extending)
    alone = _first_signed([crl for crl in apart if _revokes(crl, certificate)], issuer, material, lists)
    if alone is not None:
        return _status(alone, alone.revocation_of(certificate.serial), certificate, (alone,), sources)
    ended = newer(crl for crl in lists.ended if _revokes(crl, certificate, for_good=True))
    stale = _first_signed(ended, issuer, material, lists)
    if stale is not None:
        status = _status(stale, stale.revocation_of(certificate.serial), certificate, (stale,), sources)
        end = end_of(stale, material.rules)
        return replace(status, holds_before=end, detail=f"{status.detail} (the list has ended, a revocation has not)")
    for other in apart:
        lists.pass_over(other, "there is no complete list at hand that it extends")
    if base is None:
        return unknown("; ".join(lists.reasons))
    if delta is None:
        return _status(base, base.revocation_of(certificate.serial), certificate, (base,), sources)
    return _status(delta, _combined(base, delta, certificate.serial), certificate, (delta, base), sources)


def unknown(detail: str) -> RevocationStatus:
    return RevocationStatus(RevocationState.UNKNOWN, source="none", as_of=None, detail=detail)


def _in_force(
    candidates: Sequence[CertificateRevocationList],
    certificate: Certificate,
    rules: RevocationRules,
    boundaries: Boundaries,
) -> _Lists:
    lists = _Lists()
    at = boundaries.at
    for crl in candidates:
        reason = _why_not_about(crl, certificate) or crl.unusable_because  # a, b
        if not reason:
            end = end_of(crl, rules)  # c
            boundaries.note(crl.this_update, end)
            if at < crl.this_update:
                reason = f"it is from {crl.this_update.isoformat()}, later than {at.isoformat()}"
            elif at >= end:
                reason = f"it was to be replaced by {end.isoformat()}; fetch the current one"
                lists.ended.append(crl)
        if reason:
            lists.pass_over(crl, reason)
        else:
            (lists.deltas if crl.is_delta else lists.complete).append(crl)
    return lists


def _first_signed(
    crls: Iterable[CertificateRevocationList], issuer: Certificate, material: TrustMaterial, lists: _Lists
) -> CertificateRevocationList | None:
    for crl in crls:
        reason = _why_not_signed(crl, issuer, material)  # d
        if not reason:
            return crl
        lists.pass_over(crl, reason)
    return None


def _extends(delta: CertificateRevocationList, base: CertificateRevocationList) -> bool:
    return (
        base.number is not None
        and delta.base_number is not None
        and delta.number is not None
        and delta.base_number <= base.number < delta.number
        and delta.scope == base.scope
    )


def _revokes(crl: CertificateRevocationList, certificate: Certificate, *, for_good: bool = False) -> bool:
    entry = crl.revocation_of(certificate.serial)
    return entry is not None and entry.reason != _REMOVED and not (for_good and entry.reason == HOLD)


def _combined(base: CertificateRevocationList, delta: CertificateRevocationList, serial: int) -> Revocation | None:
    changed, before = delta.revocation_of(serial), base.revocation_of(serial)
    if changed is None:
        return before
    if changed.reason != _REMOVED:
        return changed
    # only a hold can be lifted (RFC 5280, 5.3.1)
    return None if before is None or before.reason == HOLD else before


def _status(
    newest: CertificateRevocationList,
    entry: Revocation | None,
    certificate: Certificate,
    used: tuple[CertificateRevocationList, ...],
    sources: dict[str, str],
) -> RevocationStatus:
    said_by = " with ".join(crl.label for crl in used)
    if entry is None:
        state, detail = RevocationState.GOOD, f"{said_by} does not name {certificate.label}"
    else:
        state = RevocationState.REVOKED
        detail = f"{said_by} names {certificate.label}: {entry.reason}, {entry.revoked_at.isoformat()}"
    return RevocationStatus(
        state,
        source="delta_crl" if newest.is_delta else "crl",
        as_of=newest.this_update,
        detail=detail,
        reason="" if entry is None else entry.reason,
        revoked_at=None if entry is None else entry.revoked_at,
        evidence=tuple(
            DecidingEvidence(
                "delta_crl" if crl.is_delta else "crl", crl.sha256, crl.this_update, sources.get(crl.sha256, "")
            )
            for crl in used
        ),
    )


def end_of(crl: CertificateRevocationList, rules: RevocationRules) -> dt.datetime:
    """From when on the list is not believed any more."""
    if crl.next_update is None:
        return _later(crl.this_update, rules.max_age_without_next_update_s)
    if rules.max_crl_age_s is None:
        return crl.next_update
    return min(crl.next_update, _later(crl.this_update, rules.max_crl_age_s))


def _later(moment: dt.datetime, seconds: int) -> dt.datetime:
    try:
        return moment + dt.timedelta(seconds=seconds)
    except OverflowError:
        return moment


def is_signed(crl: CertificateRevocationList, material: TrustMaterial) -> bool:
    """Whether an authority of the trust directory stands behind the list."""
    return any(
        not _why_not_signed(crl, authority, material) for authority in material.authorities_named(crl.issuer_key)
    )


def _why_not_about(crl: CertificateRevocationList, certificate: Certificate) -> str:
    covered = crl.scope.authorities if certificate.is_ca else crl.scope.users
    if not covered:
        return "it is about the other kind of certificates (authorities or users)"
    points = crl.scope.distribution_points
    if points and not set(points) & set(distribution_points(certificate)):
        return "it belongs to a distribution point that the certificate does not name"
    return ""


def distribution_points(certificate: Certificate, extension_oid: str = CRL_DISTRIBUTION_POINTS) -> tuple[str, ...]:
    """URIs of the complete lists (or, by freshestCRL, of the delta lists) that a certificate names."""
    extension = certificate.extensions.get(extension_oid)
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
        if len(material.crl_signatures) >= MAX_REMEMBERED_LISTS:
            material.crl_signatures.clear()
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
