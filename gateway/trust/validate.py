"""May this certificate sign messages to us, at this time: path, purpose, revocation. One verdict.

Steps:
 1 path to an anchor (path.py)
 2 purpose: not an authority, digitalSignature, not a responder's or time stamper's certificate
 3 the service's rules on signers, and what the message claims (signer_policy.py)
 4 revocation over the whole path, as the operator's mode says (revocation.py)
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Final

from gateway.errors import RevocationUnknown, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.path import build_path
from gateway.trust.revocation import check_path_revocation
from gateway.trust.signer_policy import ANY_SIGNER, NO_CLAIM, Claim, SignerRules, check_signer
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.verdict import (
    PURPOSE_STEP,
    CertificationPath,
    EvidenceKey,
    RevocationMode,
    RevocationState,
    RevocationStatus,
    SignerRevoked,
    TrustVerdict,
)

_SERVICE_PURPOSES: Final = {
    "1.3.6.1.5.5.7.3.8": "time stamps",
    "1.3.6.1.5.5.7.3.9": "OCSP answers",
}
_INSTANT: Final = dt.timedelta(microseconds=1)


def validate(
    certificate: Certificate,
    store: TrustStore,
    *,
    at: dt.datetime,
    revocation: RevocationMode,
    evidence: RevocationEvidence = NO_EVIDENCE,
    rules: SignerRules = ANY_SIGNER,
    claim: Claim = NO_CLAIM,
) -> TrustVerdict:
    """Decide whether `certificate` may sign a message at `at` (timezone-aware).

    `evidence` is what was fetched beside the trust directory; nothing is fetched here. Raises TrustRefused (steps
    "path", "purpose" and "signer"), SignerRevoked (code `revoked`, step "revocation") and, where the mode is REQUIRE
    and no usable evidence is at hand, RevocationUnknown. A good verdict is kept in the store until a certificate of
    the path or the evidence ends, other evidence is handed in, or the store is read again.
    """
    material, key = store.material, evidence.key
    kept = material.verdicts.get(certificate.sha256, revocation, at, key)
    if kept is not None:
        check_signer(certificate, rules, claim)
        return kept
    path = build_path(certificate, material, at=at)  # 1
    check_message_signer(certificate)  # 2
    check_signer(certificate, rules, claim)  # 3
    verdict = _judge_revocation(path, material, at=at, mode=revocation, evidence=evidence)  # 4
    _keep(verdict, material, key)
    return verdict


def _judge_revocation(
    path: CertificationPath,
    material: TrustMaterial,
    *,
    at: dt.datetime,
    mode: RevocationMode,
    evidence: RevocationEvidence,
) -> TrustVerdict:
    if mode is RevocationMode.OFF:
        status = RevocationStatus(RevocationState.UNKNOWN, source="off", as_of=None, detail="it was not looked up")
        return TrustVerdict(path, status, mode)
    status = check_path_revocation(path, material, at=at, evidence=evidence)
    if status.status is RevocationState.REVOKED:
        raise SignerRevoked(f"the signer is not to be believed: {status.detail}", status)
    if status.status is RevocationState.UNKNOWN and mode is RevocationMode.REQUIRE:
        raise RevocationUnknown(f"whether the signer is revoked is not known: {status.detail}")
    return TrustVerdict(path, status, mode)


def check_message_signer(certificate: Certificate) -> None:
    """Check what the certificate is for. Which role may sign which service is the service's policy, not decided here.

    nonRepudiation is not demanded: authentication certificates sign transport messages too (PKI.md section 3).
    Raises TrustRefused of step "purpose": `ca_as_signer`, `key_usage`, `extended_key_usage`.
    """
    label = certificate.label
    if certificate.is_ca or "keyCertSign" in (certificate.key_usage or ()):
        raise TrustRefused(
            "ca_as_signer", f"{label} is an authority: its certificate signs no messages", step=PURPOSE_STEP
        )
    # order 1187 rule 3 (PKI.md section 3) asks for the usage to be stated, RFC 5280 alone would not
    if "digitalSignature" not in (certificate.key_usage or ()):
        raise TrustRefused(
            "key_usage",
            f"certificate {label} is not marked for digital signatures: the signer must use its signing certificate",
            step=PURPOSE_STEP,
        )
    for oid in certificate.extended_key_usage:
        if oid in _SERVICE_PURPOSES:
            raise TrustRefused(
                "extended_key_usage",
                f"certificate {label} is for {_SERVICE_PURPOSES[oid]} and signs no messages",
                step=PURPOSE_STEP,
            )


def _keep(verdict: TrustVerdict, material: TrustMaterial, evidence: EvidenceKey) -> None:
    status, path = verdict.revocation, verdict.path
    begin, end = path.valid_from, path.valid_until
    with contextlib.suppress(OverflowError):  # at the last moment of the calendar the verdict is just found anew
        end += _INSTANT  # the last moment of a certificate belongs to it, that of a CRL does not
    if status.holds_from is not None and status.holds_before is not None:
        begin, end = max(begin, status.holds_from), min(end, status.holds_before)
    elif verdict.mode is RevocationMode.PREFER:
        return  # unknown may become known with time: a list not yet in force
    material.verdicts.put(verdict, holds_from=begin, holds_before=end, evidence=evidence)
