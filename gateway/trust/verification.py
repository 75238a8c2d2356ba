"""The verdict on one signed document, as `gateway verify` reports it: signature first, then trust in the signer.

A SOAP envelope must be signed by WS-Security over its Body, any other document by enveloped signatures. A document
with several signatures is valid when each holds and each signer is trusted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gateway.errors import MalformedMessage, RevocationUnknown, SignatureRefused, TrustRefused
from gateway.signing import names, steps
from gateway.signing.certificate import Certificate
from gateway.signing.enveloped import verify_enveloped
from gateway.signing.steps import Step, Trail
from gateway.signing.wss import verify_envelope
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.signer_policy import ANY_SIGNER, NO_CLAIM, Claim, SignerRules, check_signer
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import (
    PATH_STEP,
    PURPOSE_STEP,
    REVOCATION_STEP,
    SIGNER_STEP,
    RevocationMode,
    RevocationState,
    RevocationStatus,
    SignerRevoked,
    TrustVerdict,
)
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, parse

_ENVELOPES: Final = frozenset({f"{{{names.SOAP_11}}}Envelope", f"{{{names.SOAP_12}}}Envelope"})
_NOT_LOOKED_UP: Final = RevocationStatus(
    RevocationState.UNKNOWN, source="none", as_of=None, detail="the check ended before it was looked up"
)

EvidenceFinder: TypeAlias = Callable[[Certificate], RevocationEvidence]
"""What was fetched about a certificate; `fetching.RevocationFetching.evidence_for` bound to a store and a time."""


def no_evidence(_certificate: Certificate) -> RevocationEvidence:
    """Nothing but what lies in the trust directory."""
    return NO_EVIDENCE


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What `gateway verify` tells about one document. `as_dict` is its JSON."""

    #: None: revocation could not be established and the mode requires it; to be used like False
    valid: bool | None
    #: "ok", or the stable code of the first failing step
    code: str
    #: the first failing step, None when all held
    step: str | None
    message: str
    #: "body" or "document"; None when no signature held
    signed: str | None
    algorithm: str | None
    #: of several signers the one that decided: the first refused or unknown one, else the first
    signer: Certificate | None
    revocation: RevocationStatus
    steps: tuple[Step, ...]

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The JSON of the contract; with `explain` also what each step compared."""
        revocation = self.revocation
        shown: dict[str, Any] = {
            "valid": self.valid,
            "code": self.code,
            "step": self.step,
            "message": self.message,
            "signed": self.signed,
            "algorithm": self.algorithm,
            "signer": None if self.signer is None else signer_as_dict(self.signer),
            "revocation": {
                "status": revocation.status.value,
                "source": revocation.source,
                "as_of": None if revocation.as_of is None else revocation.as_of.isoformat(),
            },
        }
        if explain:
            shown["steps"] = [
                {"name": step.name, "ok": step.ok, "compared": step.compared, "code": step.code} for step in self.steps
            ]
        return shown


def signer_as_dict(certificate: Certificate) -> dict[str, Any]:
    """Who signed, for answers. Holds an IIN where the certificate does: never for a log."""
    return {
        "subject": certificate.subject,
        # a string: the numbers have up to 160 bits; decimal, as X509SerialNumber carries it
        "serial": str(certificate.serial),
        "iin": certificate.iin,
        "bin": certificate.bin,
        "roles": list(certificate.roles),
    }


def verify_document(
    data: bytes,
    store: TrustStore,
    *,
    at: dt.datetime,
    revocation: RevocationMode,
    bounds: XmlBounds = DEFAULT_BOUNDS,
    evidence: EvidenceFinder = no_evidence,
    rules: SignerRules = ANY_SIGNER,
    claim: Claim = NO_CLAIM,
) -> VerificationReport:
    """Verify a signed document at `at` (timezone-aware). Whatever is wrong with it is in the report; raises nothing.

    `evidence` gives what was fetched about a signer's certificate beside the trust directory.
    """
    policy = _Policy(store, at, revocation, evidence, rules, claim)
    trail = Trail()
    signed: str | None = None
    try:
        root = parse(data, bounds)
        if root.tag in _ENVELOPES:
            body = verify_envelope(root, certificates=store, bounds=bounds, trail=trail)
            signed, signatures = "body", [(body.certificate, body.algorithm)]
        else:
            element = verify_enveloped(data, certificates=store, bounds=bounds, trail=trail)
            signed, signatures = "document", [(s.certificate, s.algorithm) for s in element.signatures]
    except (SignatureRefused, MalformedMessage) as error:
        if not trail.steps:
            trail.failed(error, steps.BOUNDS)
        failed = trail.steps[-1]
        return VerificationReport(
            False, error.code, failed.name, error.message, None, None, None, _NOT_LOOKED_UP, trail.steps
        )
    return _judge(signatures, policy, signed, trail.steps)


def refused_unread(error: MalformedMessage) -> VerificationReport:
    """The report on a container that a signed document could not even be taken out of."""
    failed = Step(steps.BOUNDS, ok=False, compared=error.message, code=error.code)
    return VerificationReport(
        False, error.code, steps.BOUNDS, error.message, None, None, None, _NOT_LOOKED_UP, (failed,)
    )


@dataclass(frozen=True, slots=True)
class _Policy:
    """What every signer of the document is judged by."""

    store: TrustStore
    at: dt.datetime
    revocation: RevocationMode
    evidence: EvidenceFinder
    rules: SignerRules
    claim: Claim


@dataclass(frozen=True, slots=True)
class _Judged:
    """One signer after the check of trust."""

    certificate: Certificate
    algorithm: str
    valid: bool | None
    code: str
    step: str | None
    message: str
    revocation: RevocationStatus
    steps: tuple[Step, ...]


def _judge(
    signatures: Sequence[tuple[Certificate, str]],
    policy: _Policy,
    signed: str,
    before: tuple[Step, ...],
) -> VerificationReport:
    judged = [_judge_signer(certificate, algorithm, policy) for certificate, algorithm in signatures]
    refused = [j for j in judged if j.valid is False]
    unknown = [j for j in judged if j.valid is None]
    # among good ones, the one about whose revocation least is known speaks for the document
    unproven = [j for j in judged if j.revocation.status is not RevocationState.GOOD]
    decisive = (refused or unknown or unproven or judged)[0]
    return VerificationReport(
        valid=decisive.valid,
        code=decisive.code,
        step=decisive.step,
        message=decisive.message,
        signed=signed,
        algorithm=decisive.algorithm,
        signer=decisive.certificate,
        revocation=decisive.revocation,
        steps=(*before, *(step for j in judged for step in j.steps)),
    )


def _judge_signer(certificate: Certificate, algorithm: str, policy: _Policy) -> _Judged:
    valid: bool | None
    try:
        verdict = validate(
            certificate,
            policy.store,
            at=policy.at,
            revocation=policy.revocation,
            evidence=policy.evidence(certificate),
            rules=policy.rules,
            claim=policy.claim,
        )
    except TrustRefused as error:
        valid, code, step, message = False, error.code, error.step, error.message
        status = error.revocation if isinstance(error, SignerRevoked) else _NOT_LOOKED_UP
    except RevocationUnknown as error:
        valid, code, step, message = None, error.code, REVOCATION_STEP, error.message
        status = RevocationStatus(RevocationState.UNKNOWN, source="none", as_of=None, detail=error.message)
    else:
        return _Judged(
            certificate,
            algorithm,
            valid=True,
            code="ok",
            step=None,
            message="the signature holds and its signer is trusted",
            revocation=verdict.revocation,
            steps=_steps_of(verdict, policy),
        )
    held = tuple(Step(name, True, text) for name, text in _HELD[: _ORDER.index(step)])
    failed = Step(step, ok=False, compared=message, code=code)
    return _Judged(certificate, algorithm, valid, code, step, message, status, (*held, failed))


_ORDER: Final = (PATH_STEP, PURPOSE_STEP, SIGNER_STEP, REVOCATION_STEP)
_HELD: Final = (
    (PATH_STEP, "signatures, dates and constraints hold up to a trust anchor"),
    (PURPOSE_STEP, "the certificate may sign messages"),
    (SIGNER_STEP, "the signer fits the service and the claim"),
)


def _steps_of(verdict: TrustVerdict, policy: _Policy) -> tuple[Step, ...]:
    path, certificate, status = verdict.path, verdict.certificate, verdict.revocation
    usage = ", ".join(sorted(certificate.key_usage or ()))
    roles = ", ".join(certificate.roles) or "none stated"
    until = path.valid_until.isoformat()
    return (
        Step(PATH_STEP, True, f"{path}; all valid at {policy.at.isoformat()} and until {until}"),
        Step(PURPOSE_STEP, True, f"key usage {usage}; national roles: {roles}"),
        Step(SIGNER_STEP, True, check_signer(certificate, policy.rules, policy.claim)),
        Step(REVOCATION_STEP, True, f"{status.status} ({status.source}; mode {verdict.mode}): {status.detail}"),
    )
