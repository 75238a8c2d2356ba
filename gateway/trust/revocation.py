"""Is a certificate revoked: good, revoked or unknown, with source and age (RFC 5280, section 6.3). Unknown is not good.

Evidence is the CRLs of the trust directory (crl_status.py) and what was fetched: complete and delta CRLs and OCSP
answers (ocsp.py), handed in as a value. Each piece counts only while it is current and as far as it is signed by
whom it must be. Of the pieces that count
 a a revocation for any reason but a hold stands, whatever else says
 b otherwise the freshest decides; of equally fresh ones the one that says revoked
What has ended counts in b when it revokes for any reason but a hold, and in no other way. When none counts the status
is unknown and says why.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from gateway.signing.certificate import Certificate
from gateway.trust.crl_status import HOLD, Boundaries, status_by_lists, unknown
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.ocsp import check_answer
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import CertificationPath, RevocationState, RevocationStatus


def check_path_revocation(
    path: CertificationPath, material: TrustMaterial, *, at: dt.datetime, evidence: RevocationEvidence = NO_EVIDENCE
) -> RevocationStatus:
    """Status over a whole path except its anchor: one revoked makes it revoked, else one unknown makes it unknown.

    `each` has the status of every certificate. A path that is only an anchor has nobody who could revoke it: unknown.
    Raises nothing.
    """
    found = tuple(check_revocation(c, issuer, material, at=at, evidence=evidence) for c, issuer in path.links)
    for state in (RevocationState.REVOKED, RevocationState.UNKNOWN):
        for status in found:
            if status.status is state:
                return replace(status, each=found)
    if not found:
        return unknown("the signer is itself an anchor, and nobody else can say that it is revoked")
    return RevocationStatus(
        RevocationState.GOOD,
        source="+".join(dict.fromkeys(s.source for s in found)),
        as_of=min(s.as_of for s in found if s.as_of is not None),
        detail="; ".join(s.detail for s in found),
        holds_from=max(s.holds_from for s in found if s.holds_from is not None),
        holds_before=min(s.holds_before for s in found if s.holds_before is not None),
        evidence=tuple(dict.fromkeys(used for s in found for used in s.evidence)),
        each=found,
    )


def check_revocation(
    certificate: Certificate,
    issuer: Certificate,
    material: TrustMaterial,
    *,
    at: dt.datetime,
    evidence: RevocationEvidence = NO_EVIDENCE,
) -> RevocationStatus:
    """Status of one certificate whose issuer is already established. Raises nothing."""
    boundaries = Boundaries(at)
    found = [status_by_lists(certificate, issuer, material, boundaries=boundaries, fetched=evidence.crls)]
    found += [
        check_answer(answer, certificate, issuer, material, at=at, boundaries=boundaries, fetched=evidence.crls)
        for answer in evidence.ocsp
    ]
    usable = [s for s in found if s.status is not RevocationState.UNKNOWN]
    usable = [s for s in usable if _stands(s, at)] or usable  # a
    if not usable:
        said = [s for s in found if s.source != "none"]  # a responder that does not know it, in so many words
        detail = "; ".join(s.detail for s in found)
        return replace(said[0], detail=detail, holds_from=None, holds_before=None) if said else unknown(detail)
    freshest = max(usable, key=_freshness)  # b
    # until another piece begins or ends, the same evidence gives the same status
    return replace(freshest, holds_from=boundaries.before, holds_before=boundaries.after)


def _stands(status: RevocationStatus, at: dt.datetime) -> bool:
    is_current = status.holds_before is None or at < status.holds_before
    return is_current and status.status is RevocationState.REVOKED and status.reason != HOLD


def _freshness(status: RevocationStatus) -> tuple[dt.datetime, bool]:
    as_of = status.as_of
    if as_of is None:
        raise ValueError("a status that rests on evidence has its time")
    return as_of, status.status is RevocationState.REVOKED
