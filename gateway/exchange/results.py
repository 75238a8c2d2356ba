"""What came of one question, for whoever asked it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from gateway.errors import (
    GatewayError,
    LeaseLost,
    MalformedMessage,
    MappingError,
    OutcomeUnknown,
    PeerFault,
    PeerUnavailable,
    SignatureRefused,
    TrustRefused,
    Undecided,
)
from gateway.exchange.outbox import State
from gateway.model import Fact, Outcome, Rejection
from gateway.signing.certificate import Certificate
from gateway.trust.verdict import RevocationStatus


@dataclass(frozen=True, slots=True)
class AskResult:
    """What came of one question so far: `state` is that of its row, and says whether the program goes on by itself.

    `outcome` UNKNOWN is never NOT_FOUND; then `error` says why, typed by who must act.
    """

    message_id: str
    system: str
    service_id: str
    state: State
    outcome: Outcome
    asked_at: dt.datetime
    finished_at: dt.datetime
    request_journal_id: int
    facts: tuple[Fact, ...] = ()
    rejection: Rejection | None = None
    signer: Certificate | None = None
    revocation: RevocationStatus | None = None
    reply_journal_id: int | None = None
    error: GatewayError | None = None
    #: when the program goes on with the row by itself; None: it is closed, or a person must
    due_at: dt.datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result of `gateway query --json` (docs/reference/contract.md)."""
        document: dict[str, Any] = {
            "message_id": self.message_id,
            "system": self.system,
            "service_id": self.service_id,
            "outcome": str(self.outcome),
            "state": str(self.state),
            "due_at": None if self.due_at is None else self.due_at.isoformat(),
            "facts": [_fact_as_dict(fact) for fact in self.facts],
            "signer": None if self.signer is None else _signer_as_dict(self.signer),
            "revocation": None if self.revocation is None else _revocation_as_dict(self.revocation),
        }
        if self.rejection is not None:
            document["rejection"] = {"code": self.rejection.code, "message": self.rejection.message}
        if self.error is not None:
            document["error"] = {
                "code": self.error.code,
                "step": step_of(self.error),
                "message": self.error.message,
            }
        return document


def step_of(error: GatewayError) -> str:
    """Which check an error came from, for people and the journal."""
    if isinstance(error, SignatureRefused | TrustRefused):
        return error.step
    steps: tuple[tuple[type[GatewayError], str], ...] = (
        (MappingError, "reading"),
        (PeerFault, "fault"),
        (MalformedMessage, "format"),
        (PeerUnavailable, "post"),
        (OutcomeUnknown, "post"),
        (LeaseLost, "outcome"),
        (Undecided, "revocation"),
    )
    return next((step for kind, step in steps if isinstance(error, kind)), "reply")


def _fact_as_dict(fact: Fact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "subject": fact.subject.value,
        "key": fact.key,
        "valid_from": None if fact.valid_from is None else fact.valid_from.isoformat(),
        "valid_to": None if fact.valid_to is None else fact.valid_to.isoformat(),
        "attributes": dict(fact.attributes),
    }


def _signer_as_dict(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "serial": str(certificate.serial),
        "iin": certificate.iin,
        "bin": certificate.bin,
        "roles": list(certificate.roles),
    }


def _revocation_as_dict(revocation: RevocationStatus) -> dict[str, Any]:
    return {
        "status": str(revocation.status),
        "source": revocation.source,
        "as_of": None if revocation.as_of is None else revocation.as_of.isoformat(),
    }
