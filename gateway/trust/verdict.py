"""The values that a check of trust hands on. No decision is made here."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate

#: steps of a check of trust, in order
PATH_STEP: Final = "path"
PURPOSE_STEP: Final = "purpose"
SIGNER_STEP: Final = "signer"
REVOCATION_STEP: Final = "revocation"

#: verdicts kept; only trusted certificates get one, so strangers cannot fill it
MAX_CACHED_VERDICTS: Final = 4_096


@dataclass(frozen=True, slots=True)
class CertificationPath:
    """From the certificate in question (first) to the anchor (last)."""

    certificates: tuple[Certificate, ...]

    @property
    def leaf(self) -> Certificate:
        return self.certificates[0]

    @property
    def anchor(self) -> Certificate:
        return self.certificates[-1]

    @property
    def links(self) -> tuple[tuple[Certificate, Certificate], ...]:
        """(certificate, its issuer) for all but the anchor."""
        return tuple(zip(self.certificates, self.certificates[1:], strict=False))

    @property
    def valid_from(self) -> dt.datetime:
        return max(c.not_before for c in self.certificates)

    @property
    def valid_until(self) -> dt.datetime:
        """The last moment at which every certificate is within its validity."""
        return min(c.not_after for c in self.certificates)

    def __str__(self) -> str:
        return " ← ".join(c.label for c in self.certificates)


class RevocationMode(StrEnum):
    """What an unknown revocation status does. There is no default: the operator writes it."""

    REQUIRE = "require"
    """unknown refuses"""
    PREFER = "prefer"
    """unknown is accepted and shown as unknown; revoked refuses"""
    OFF = "off"
    """nothing is looked up; the status is shown as unknown"""


@dataclass(frozen=True, slots=True)
class RevocationRules:
    """What revocation evidence must be like; the operator's to set."""

    #: seconds for which a CRL without nextUpdate is believed
    max_age_without_next_update_s: int = 86_400
    #: seconds for which any CRL is believed, however late its nextUpdate (national ones name half a year); None: that
    max_crl_age_s: int | None = None
    #: seconds for which an OCSP answer without nextUpdate is believed; the national responders give none
    max_ocsp_age_s: int = 3_600
    #: seconds by which the responder's clock may be ahead of ours
    max_clock_skew_s: int = 60
    #: refuse an OCSP answer that does not repeat the nonce that we sent. False lets an answer pass that has none;
    #: another nonce than ours is refused either way
    require_ocsp_nonce: bool = True
    #: believe a delegated responder whose certificate is not marked ocsp-nocheck and about which no CRL says anything
    trust_unchecked_responder: bool = False


class RevocationState(StrEnum):
    """Three values. UNKNOWN is never GOOD."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DecidingEvidence:
    """One list or answer that a status rests on, so that it can be kept with the message and judged again."""

    #: "crl", "delta_crl" or "ocsp"
    kind: str
    sha256: str
    as_of: dt.datetime
    #: where it was fetched; "" for the trust directory
    source: str = ""
    #: the answer itself for OCSP, b"" for lists, which are large and are named by number and SHA-256
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """What is known, from where, and how old it is."""

    status: RevocationState
    #: "crl", "delta_crl", "ocsp", several joined by "+" for a path, "none" when there is no usable evidence, or "off"
    #: when it was not looked for
    source: str
    #: thisUpdate of the evidence, the oldest where there are several; None without evidence
    as_of: dt.datetime | None
    #: for a person: which list said it, or why none could
    detail: str
    #: moments between which the same evidence gives the same status; None without evidence
    holds_from: dt.datetime | None = None
    holds_before: dt.datetime | None = None
    #: of a revoked certificate RFC 5280's word ("keyCompromise"), and since when
    reason: str = ""
    revoked_at: dt.datetime | None = None
    evidence: tuple[DecidingEvidence, ...] = ()
    #: of a path: the status of each of its certificates but the anchor, the signer's first
    each: tuple[RevocationStatus, ...] = ()

    @property
    def ocsp_answers(self) -> tuple[bytes, ...]:
        """The answers that decided, exact bytes, to be kept with the message."""
        return tuple(used.content for used in self.evidence if used.content)


class SignerRevoked(TrustRefused):
    """The signer's certificate, or one above it, is revoked. Carries the evidence."""

    def __init__(self, message: str, revocation: RevocationStatus) -> None:
        super().__init__("revoked", message, step=REVOCATION_STEP)
        self.revocation = revocation


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """A certificate that was found good: by which path, and what is known of revocation."""

    path: CertificationPath
    revocation: RevocationStatus
    mode: RevocationMode

    @property
    def certificate(self) -> Certificate:
        return self.path.leaf

    @property
    def unknown_accepted(self) -> bool:
        """The operator's policy let an unknown status pass: the caller logs that, by the name of the service."""
        return self.revocation.status is RevocationState.UNKNOWN

    @property
    def evidence(self) -> tuple[DecidingEvidence, ...]:
        """What revocation was judged by; OCSP answers with their bytes."""
        return self.revocation.evidence


EvidenceKey: TypeAlias = tuple[str, ...]
"""Which evidence a verdict was found with: other evidence, another verdict."""


@dataclass(slots=True)
class VerdictCache:
    """Verdicts with the times between which they hold; using one costs two comparisons of dates."""

    _kept: dict[tuple[str, RevocationMode, EvidenceKey], tuple[dt.datetime, dt.datetime, TrustVerdict]] = field(
        default_factory=dict
    )

    def get(
        self, sha256: str, mode: RevocationMode, at: dt.datetime, evidence: EvidenceKey = ()
    ) -> TrustVerdict | None:
        kept = self._kept.get((sha256, mode, evidence))
        return kept[2] if kept is not None and kept[0] <= at < kept[1] else None

    def put(
        self,
        verdict: TrustVerdict,
        *,
        holds_from: dt.datetime,
        holds_before: dt.datetime,
        evidence: EvidenceKey = (),
    ) -> None:
        key = (verdict.certificate.sha256, verdict.mode, evidence)
        while len(self._kept) >= MAX_CACHED_VERDICTS:
            self._kept.pop(next(iter(self._kept.copy()), key), None)  # a copy: another thread may be here too
        self._kept[key] = (holds_from, holds_before, verdict)

    def __len__(self) -> int:
        return len(self._kept)
