"""Step 11 for both directions: whose signature it is and whether that certificate counts. One place, one order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from gateway.exchange.journal import NOBODY, NOT_LOOKED_AT, Revocation, Signer
from gateway.signing.certificate import Certificate, NameKey
from gateway.signing.wss import verify_envelope
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationStatus
from gateway.xml import XmlBounds


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom we believe, and what an unknown revocation status does. No defaults: the operator writes both."""

    store: TrustStore
    revocation: RevocationMode


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message whose signature holds and whose signer is trusted. `body` is the signed element itself."""

    body: etree._Element
    certificate: Certificate
    revocation: RevocationStatus
    #: an element of `body` as a document of its own, for its business signature
    as_received: Callable[[etree._Element], bytes]


@dataclass(slots=True)
class Evidence:
    """What has been established so far, for the journal of a message that may yet be refused."""

    signer: Signer = NOBODY
    revocation: Revocation = NOT_LOOKED_AT


def verify_message(
    data: bytes, *, trust: TrustPolicy, bounds: XmlBounds, at: dt.datetime, evidence: Evidence
) -> VerifiedMessage:
    """Bounds, structure, signature, certification path, revocation at `at`, digest of the Body, in this order.

    `evidence` is filled as far as it goes. Raises MalformedMessage, SignatureRefused, TrustRefused,
    RevocationUnknown; then nothing of the message may be used.
    """

    def judge(certificate: Certificate) -> None:
        evidence.signer = Signer.of(certificate)
        verdict = validate(certificate, trust.store, at=at, revocation=trust.revocation)
        judged.append(verdict.revocation)
        evidence.revocation = Revocation.of(verdict.revocation)

    judged: list[RevocationStatus] = []
    verified = verify_envelope(data, certificates=trust.store, bounds=bounds, judge=judge)
    (revocation,) = judged
    return VerifiedMessage(verified.body, verified.certificate, revocation, verified.as_received)


def check_own_signature(signed: bytes, certificate: Certificate, bounds: XmlBounds) -> None:
    """Step 7: what we are about to send verifies as the other side will verify it.

    Raises SignatureRefused or MalformedMessage: our key, certificate or bounds are wrong, and nothing was sent.
    """
    verify_envelope(signed, certificates=_OnlyCertificate(certificate), bounds=bounds)


@dataclass(frozen=True, slots=True)
class _OnlyCertificate:
    """An index that knows one certificate: our own."""

    certificate: Certificate

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        own = self.certificate
        return own if (own.issuer_key, own.serial) == (issuer_key, serial) else None
