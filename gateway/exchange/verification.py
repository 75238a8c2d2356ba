"""Step 11 for both directions: whose signature it is and whether that certificate counts. One place, one order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from lxml import etree

from gateway.apart import TextApart
from gateway.errors import RevocationUnknown
from gateway.exchange.journal import NOBODY, NOT_LOOKED_AT, Revocation, Signer
from gateway.signing.certificate import Certificate
from gateway.signing.frames import verify_alike
from gateway.signing.wss import verify_envelope
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.fetching import Refreshed
from gateway.trust.signer_policy import ANY_SIGNER, SignerRules, check_signer
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import DecidingEvidence, RevocationMode, RevocationState, RevocationStatus, SignerRevoked
from gateway.xml import XmlBounds

EvidenceFor = Callable[[Certificate, TrustMaterial, dt.datetime], RevocationEvidence]
"""Revocation evidence beside the trust directory, about the path of a certificate, at the present moment."""


class Refresh(Protocol):
    """gateway.trust.fetching.RevocationFetching.refresh."""

    def __call__(self, material: TrustMaterial, *, now: dt.datetime) -> Refreshed: ...


#: who may sign a request before it is known for which service: a treasury's certificate too, if one service takes it
_ANYONE: Final = SignerRules(treasury=True)


def _nothing_fetched(_certificate: Certificate, _material: TrustMaterial, _now: dt.datetime) -> RevocationEvidence:
    return NO_EVIDENCE


@dataclass(frozen=True, slots=True)
class ServiceTrust:
    """The operator's word on one service of ours, or on one register that we ask."""

    #: None: as everywhere else
    revocation: RevocationMode | None = None
    signers: SignerRules = ANY_SIGNER


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom we believe, and what an unknown revocation status does. No defaults for either: the operator writes both."""

    store: TrustStore
    revocation: RevocationMode
    #: serviceId of ours, or slug of a register → what differs there
    by_service: Mapping[str, ServiceTrust] = field(default_factory=lambda: MappingProxyType({}))
    evidence_for: EvidenceFor = _nothing_fetched
    #: renews fetched evidence before it ends; None where nothing is fetched
    refresh: Refresh | None = None

    def mode_for(self, service: str) -> RevocationMode:
        named = self.by_service.get(service)
        return self.revocation if named is None or named.revocation is None else named.revocation

    def signers_of(self, service: str) -> SignerRules:
        named = self.by_service.get(service)
        return ANY_SIGNER if named is None else named.signers

    @property
    def first_mode(self) -> RevocationMode:
        """For a request whose service is not read yet: `check_for_service` says the last word."""
        modes = {self.revocation, *(self.mode_for(service) for service in self.by_service)}
        return modes.pop() if len(modes) == 1 else RevocationMode.PREFER


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message whose signature holds and whose signer is trusted. `body` is the signed element itself."""

    body: etree._Element
    certificate: Certificate
    revocation: RevocationStatus
    #: an element of `body` as a document of its own, for its business signature
    as_received: Callable[[etree._Element], bytes]
    #: what was digested, of which `body` is made
    canonical: bytes = field(repr=False)


@dataclass(slots=True)
class Evidence:
    """What has been established so far, for the journal of a message that may yet be refused."""

    signer: Signer = NOBODY
    revocation: Revocation = NOT_LOOKED_AT
    #: OCSP answers that decided, to be kept with the message
    deciding: tuple[DecidingEvidence, ...] = ()


def verify_message(
    data: bytes,
    *,
    trust: TrustPolicy,
    bounds: XmlBounds,
    at: dt.datetime,
    evidence: Evidence,
    service: str | None = None,
    apart: TextApart | None = None,
) -> VerifiedMessage:
    """Bounds, structure, signature, certification path, revocation at `at`, digest of the Body, in this order.

    `evidence` is filled as far as it goes. `service` names the register that was asked; None is a request to us, of
    which the service stands in the Body: the caller reads it and then asks `check_for_service`. `apart` is the long
    text that a mark stands for in `data`.

    Raises MalformedMessage, SignatureRefused, TrustRefused, RevocationUnknown; then nothing of the message may be used.
    """

    def judge(certificate: Certificate) -> None:
        evidence.signer = Signer.of(certificate)
        try:
            verdict = validate(
                certificate,
                trust.store,
                at=at,
                revocation=trust.first_mode if service is None else trust.mode_for(service),
                evidence=trust.evidence_for(certificate, trust.store.material, at),
                rules=_ANYONE if service is None else trust.signers_of(service),
            )
        except SignerRevoked as error:
            evidence.revocation = Revocation.of(error.revocation)
            evidence.deciding = error.revocation.evidence
            raise
        judged.append(verdict.revocation)
        evidence.revocation = Revocation.of(verdict.revocation)
        evidence.deciding = verdict.evidence

    judged: list[RevocationStatus] = []
    if apart is None:
        verified = verify_alike(data, certificates=trust.store, bounds=bounds, judge=judge)
    else:
        verified = verify_envelope(data, certificates=trust.store, bounds=bounds, judge=judge, apart=apart)
    # the judge may have been asked twice
    return VerifiedMessage(verified.body, verified.certificate, judged[-1], verified.as_received, verified.canonical)


def check_for_service(message: VerifiedMessage, trust: TrustPolicy, service: str) -> None:
    """What the operator wrote about this very service, once a request says which one it wants.

    Raises RevocationUnknown where this service does not take unknown, and TrustRefused for a signer who may not ask it.
    """
    if message.revocation.status is RevocationState.UNKNOWN and trust.mode_for(service) is RevocationMode.REQUIRE:
        raise RevocationUnknown(f"whether the signer is revoked is not known: {message.revocation.detail}")
    check_signer(message.certificate, trust.signers_of(service))
