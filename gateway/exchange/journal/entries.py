"""The values of the journal: what is written, and what is read back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gateway.signing.certificate import Certificate
from gateway.trust.verdict import DecidingEvidence, RevocationStatus


class MessageDirection(StrEnum):
    #: we sent it
    OUT = "out"
    #: it came to us
    IN = "in"


class EntryKind(StrEnum):
    REQUEST = "request"
    REPLY = "reply"
    FAULT = "fault"
    #: what came of an earlier row; it has no bytes of its own
    VERDICT = "verdict"
    #: an act of an operator or of the program itself: settle, drop, retry, cut, incident; `verdict` names it
    NOTE = "note"


class Verdict(StrEnum):
    """The verdicts that are no refusal; a refusal's verdict is the code of its error."""

    #: verified, read and acted upon
    ACCEPTED = "accepted"
    #: ours: signed and checked by ourselves before it was sent
    SIGNED = "signed"
    #: only the bytes are known yet
    NONE = ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed, in the two texts that are kept."""

    subject: str = ""
    serial: str = ""

    @classmethod
    def of(cls, certificate: Certificate) -> Signer:
        return cls(certificate.subject, str(certificate.serial))


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was known of revocation when the message was judged. "" means that nobody looked."""

    status: str = ""
    source: str = ""
    as_of: dt.datetime | None = None

    @classmethod
    def of(cls, status: RevocationStatus) -> Revocation:
        return cls(status.status, status.source, status.as_of)


NOBODY: Final = Signer()
NOT_LOOKED_AT: Final = Revocation()


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One row to be written. `body` None: the bytes were not kept, and `body_bytes` says how many there were."""

    at: dt.datetime
    direction: MessageDirection
    #: step of DESIGN.md, "How a message travels"
    step: int
    kind: EntryKind
    #: "sync" or "async"
    channel: str = "sync"
    system: str = ""
    service_id: str = ""
    message_id: str = ""
    correlation_id: str = ""
    peer: str = ""
    body: bytes | None = field(default=None, repr=False)
    body_bytes: int = 0
    about_id: int | None = None
    signer: Signer = NOBODY
    verdict: str = Verdict.NONE
    revocation: Revocation = NOT_LOOKED_AT
    #: what revocation was judged by; OCSP answers among it are kept, lists are named by `revocation`
    deciding: tuple[DecidingEvidence, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One message or note as the journal has it, its verdict joined to it. `body` is filled by `Journal.get` only."""

    id: int
    at: dt.datetime
    direction: MessageDirection
    step: int
    kind: EntryKind
    channel: str
    system: str
    service_id: str
    message_id: str
    correlation_id: str
    peer: str
    body_bytes: int
    body_sha256: str
    signer: Signer
    verdict: str
    #: when the verdict was given; that of the row itself where it was known at once
    verdict_at: dt.datetime
    revocation: Revocation
    note: str
    #: the link of the chain: speaks for this row and all before it
    row_sha256: str
    body: bytes | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For `gateway journal --json`; without the body."""
        as_of = self.revocation.as_of
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "direction": str(self.direction),
            "step": self.step,
            "kind": str(self.kind),
            "channel": self.channel,
            "system": self.system,
            "service_id": self.service_id,
            "message_id": self.message_id,
            "correlation_id": self.correlation_id,
            "peer": self.peer,
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "signer": {"subject": self.signer.subject, "serial": self.signer.serial},
            "verdict": self.verdict,
            "verdict_at": self.verdict_at.isoformat(),
            "revocation": {
                "status": self.revocation.status,
                "source": self.revocation.source,
                "as_of": None if as_of is None else as_of.isoformat(),
            },
            "note": self.note,
            "row_sha256": self.row_sha256,
        }
