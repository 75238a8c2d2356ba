"""How long everything that is configured still lives, and whether it is revoked: `gateway pki check`. Pure.

Warned is 30, 14 and 7 days before anything ends. What is warned of is still good; what has ended, is revoked or leads
to no anchor is bad; a revocation status that nobody knows is neither, where the operator requires one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.trust.crl import CertificateRevocationList
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.path import build_path
from gateway.trust.revocation import check_path_revocation
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import RevocationMode, RevocationState, RevocationStatus

#: days before the end on which it is warned, the most urgent first
WARNINGS: Final = (7, 14, 30)
#: a list that lives shorter than this is renewed all the time: no warning makes sense
_LONG_LIVED: Final = dt.timedelta(days=60)


class Part(StrEnum):
    """What a certificate or list is to us."""

    OWN = "own"
    NEXT = "next"
    ANCHOR = "anchor"
    INTERMEDIATE = "intermediate"
    PEER = "peer"
    CRL = "crl"


@dataclass(frozen=True, slots=True)
class Finding:
    """One certificate or list. `code` is "ok", "ends_in_30_days" (14, 7), or why it is no good."""

    part: Part
    label: str
    not_before: dt.datetime
    not_after: dt.datetime
    #: None when it cannot be decided
    good: bool | None
    code: str
    #: for a person: what is wrong and what to do; "" when nothing is
    message: str
    #: None for a list
    certificate: Certificate | None = None
    #: None where nobody could revoke it, or it was not asked for
    revocation: RevocationStatus | None = None

    def days_left(self, at: dt.datetime) -> int:
        """Whole days until the end; negative after it."""
        return (self.not_after - at).days


def survey(
    own: Sequence[Certificate],
    material: TrustMaterial,
    *,
    at: dt.datetime,
    mode: RevocationMode,
    evidence_for: Callable[[Certificate], RevocationEvidence] = lambda _: NO_EVIDENCE,
) -> tuple[Finding, ...]:
    """Everything configured: our certificates (current, then next), anchors, intermediates, peers and their CRLs.

    `evidence_for` brings what was fetched about a certificate beside the trust directory. Raises nothing.
    """

    def look(part: Part, certificate: Certificate) -> Finding:
        return _look(part, certificate, material, at, mode, evidence_for)

    found = [look(part, one) for part, one in zip((Part.OWN, Part.NEXT), own, strict=False)]
    for part, certificates in (
        (Part.ANCHOR, material.anchors),
        (Part.INTERMEDIATE, material.intermediates),
        (Part.PEER, material.peers - set(own)),
    ):
        found += [look(part, one) for one in sorted(certificates, key=lambda c: (c.not_after, c.sha256))]
    return (*found, *_lists(material, at, mode))


def _look(
    part: Part,
    certificate: Certificate,
    material: TrustMaterial,
    at: dt.datetime,
    mode: RevocationMode,
    evidence_for: Callable[[Certificate], RevocationEvidence],
) -> Finding:
    begin, end = certificate.not_before, certificate.not_after

    def finding(good: bool | None, code: str, message: str, revocation: RevocationStatus | None = None) -> Finding:
        return Finding(part, certificate.label, begin, end, good, code, message, certificate, revocation)

    if at > end:
        return finding(False, "expired", f"it ended on {end:%Y-%m-%d}; {_REPLACE[part]}")
    if at < begin and part is not Part.NEXT:
        return finding(False, "not_yet_valid", f"it begins on {begin:%Y-%m-%d}; check the clock of this machine")
    if part is Part.ANCHOR:
        return finding(True, *_warning(end, at, part))
    try:
        # the next certificate may begin tomorrow: its path is tried on its first day
        path = build_path(certificate, material, at=max(at, begin))
    except TrustRefused as error:
        return finding(False, error.code, error.message)
    if mode is RevocationMode.OFF:
        return finding(True, *_warning(end, at, part))
    status = check_path_revocation(path, material, at=at, evidence=evidence_for(certificate))
    if status.status is RevocationState.REVOKED:
        return finding(False, "revoked", f"{status.detail}; {_REPLACE[part]}", status)
    if status.status is RevocationState.UNKNOWN and mode is RevocationMode.REQUIRE:
        return finding(None, "revocation_unknown", status.detail, status)
    return finding(True, *_warning(end, at, part), status)


_REPLACE: Final = {
    Part.OWN: "order a new certificate, and configure it as signing.next_key_file",
    Part.NEXT: "order a new certificate",
    Part.ANCHOR: "take the authority's new one with `gateway pki trust`",
    Part.INTERMEDIATE: "take the authority's new one with `gateway pki trust`",
    Part.PEER: "ask its owner for the new one, and take it with `gateway pki trust`; remove it when it is replaced",
    Part.CRL: "fetch the current one from the authority",
}


def _warning(end: dt.datetime, at: dt.datetime, part: Part) -> tuple[str, str]:
    """Code and message for what is still good."""
    left = end - at
    for days in WARNINGS:
        if left <= dt.timedelta(days=days):
            return f"ends_in_{days}_days", f"it ends on {end:%Y-%m-%d}, in {left.days} days; {_REPLACE[part]}"
    return "ok", ""


def _lists(material: TrustMaterial, at: dt.datetime, mode: RevocationMode) -> list[Finding]:
    """The newest complete list of each issuer; deltas come and go."""
    newest: dict[object, CertificateRevocationList] = {}
    for crl in material.crls:
        known = newest.get(crl.issuer_key)
        if not crl.is_delta and (known is None or crl.this_update > known.this_update):
            newest[crl.issuer_key] = crl
    found = []
    for crl in sorted(newest.values(), key=lambda one: (one.issuer, one.sha256)):
        if crl.next_update is None:
            continue
        good: bool | None = True
        code, message = "ok", ""
        if at >= crl.next_update:
            good = None if mode is RevocationMode.REQUIRE else True
            code, message = "expired", f"it was to be replaced by {crl.next_update:%Y-%m-%d}; {_REPLACE[Part.CRL]}"
        elif crl.next_update - crl.this_update >= _LONG_LIVED:
            code, message = _warning(crl.next_update, at, Part.CRL)
        found.append(Finding(Part.CRL, crl.label, crl.this_update, crl.next_update, good, code, message))
    return found
