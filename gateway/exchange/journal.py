"""The journal: every message in and out with its exact bytes, and what came of reading it. Append-only.

Exact bytes are the evidence, so they are kept whole, the sender's password in them too: who may read the journal
may read that. Nothing of a body ever goes into `note`, a log or an error.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, Select, String, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import reading
from gateway.errors import StoreError
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_EVIDENCE
from gateway.signing.certificate import Certificate
from gateway.trust.verdict import DecidingEvidence, RevocationStatus

DEFAULT_LIMIT: Final = 100


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
    """One message as the journal has it, its verdict joined to it. `body` is filled by `Journal.get` only."""

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
        }


def append(connection: Connection, entry: JournalEntry) -> int:
    """Write one row in the caller's transaction; its id. What is longer than its column is cut, a body never."""
    kept = entry.body is not None
    body = entry.body or b""
    row_id = _inserted(
        connection,
        {
            "at": entry.at,
            "direction": entry.direction,
            "step": entry.step,
            "kind": entry.kind,
            "about_id": entry.about_id,
            "channel": entry.channel,
            "system": entry.system,
            "service_id": entry.service_id,
            "message_id": entry.message_id,
            "correlation_id": entry.correlation_id,
            "peer": entry.peer,
            "body_zlib": zlib.compress(body) if kept else None,
            "body_bytes": len(body) if kept else entry.body_bytes,
            "body_sha256": hashlib.sha256(body).hexdigest() if kept else "",
            "signer_subject": entry.signer.subject,
            "signer_serial": entry.signer.serial,
            "verdict": entry.verdict,
            "revocation_status": entry.revocation.status,
            "revocation_source": entry.revocation.source,
            "revocation_as_of": entry.revocation.as_of,
            "note": entry.note,
        },
    )
    answers = {used.sha256: used for used in entry.deciding if used.content}
    if answers:
        _keep_answers(connection, row_id, answers)
    return row_id


def _keep_answers(connection: Connection, row_id: int, answers: Mapping[str, DecidingEvidence]) -> None:
    # one answer speaks for every message of its signer until it ends: it is stored once
    insert_once = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = [
        {"sha256": sha256, "kind": used.kind, "source": used.source[:500], "as_of": used.as_of, "content": used.content}
        for sha256, used in sorted(answers.items())
    ]
    connection.execute(insert_once(EVIDENCE).on_conflict_do_nothing(), rows)
    connection.execute(insert(JOURNAL_EVIDENCE), [{"journal_id": row_id, "sha256": sha256} for sha256 in answers])


def append_verdict(
    connection: Connection,
    about_id: int,
    about: JournalEntry,
    *,
    at: dt.datetime,
    step: int,
    verdict: str,
    signer: Signer = NOBODY,
    revocation: Revocation = NOT_LOOKED_AT,
    deciding: tuple[DecidingEvidence, ...] = (),
    note: str = "",
) -> int:
    """Write what came of the message `about`, stored before as row `about_id`. One verdict for one message."""
    return append(
        connection,
        replace(
            about,
            at=at,
            step=step,
            kind=EntryKind.VERDICT,
            about_id=about_id,
            body=None,
            body_bytes=0,
            signer=signer,
            verdict=verdict,
            revocation=revocation,
            deciding=deciding,
            note=note,
        ),
    )


_WIDTHS: Final = {
    column.name: column.type.length
    for column in JOURNAL.columns
    if isinstance(column.type, String) and column.type.length is not None
}


def _inserted(connection: Connection, values: dict[str, Any]) -> int:
    for name, width in _WIDTHS.items():
        value = values.get(name)
        if isinstance(value, str) and len(value) > width:
            values[name] = value[: width - 1] + "…"
    key = connection.execute(insert(JOURNAL).returning(JOURNAL.c.id), values).scalar_one()
    return int(key)


class Journal:
    """The reading side. Every method is a transaction of its own and raises StoreError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_entries(
        self,
        *,
        message_id: str = "",
        system: str = "",
        service_id: str = "",
        direction: MessageDirection | None = None,
        verdict: str | None = None,
        before_id: int | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> tuple[JournalRecord, ...]:
        """Messages, newest first, without their bytes. Empty filters let everything through.

        `message_id` finds a correlation id too; `before_id` continues a list where it ended.
        """
        query = _messages(with_body=False)
        if message_id:
            query = query.where((JOURNAL.c.message_id == message_id) | (JOURNAL.c.correlation_id == message_id))
        if system:
            query = query.where(JOURNAL.c.system == system)
        if service_id:
            query = query.where(JOURNAL.c.service_id == service_id)
        if direction is not None:
            query = query.where(JOURNAL.c.direction == direction)
        if verdict is not None:
            query = query.where(func.coalesce(_VERDICT.c.verdict, JOURNAL.c.verdict) == verdict)
        if before_id is not None:
            query = query.where(JOURNAL.c.id < before_id)
        with reading(self._engine) as connection:
            rows: Sequence[RowMapping] = (
                connection.execute(query.order_by(JOURNAL.c.id.desc()).limit(limit)).mappings().all()
            )
        return tuple(_record(row, None) for row in rows)

    def get(self, entry_id: int) -> JournalRecord | None:
        """One message with its exact bytes; None when there is no such row.

        Raises StoreError (`journal_damaged`) when the bytes are not the ones whose digest was stored.
        """
        with reading(self._engine) as connection:
            row = connection.execute(_messages(with_body=True).where(JOURNAL.c.id == entry_id)).mappings().first()
        if row is None:
            return None
        return _record(row, _exact(row))

    def evidence_of(self, entry_id: int) -> tuple[DecidingEvidence, ...]:
        """The OCSP answers that decided about the signer of one message, with their exact bytes."""
        rows_of = select(JOURNAL.c.id).where((JOURNAL.c.id == entry_id) | (JOURNAL.c.about_id == entry_id))
        query = (
            select(EVIDENCE)
            .join(JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.sha256 == EVIDENCE.c.sha256)
            .where(JOURNAL_EVIDENCE.c.journal_id.in_(rows_of))
            .order_by(EVIDENCE.c.sha256)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            DecidingEvidence(row["kind"], row["sha256"], row["as_of"], row["source"], row["content"]) for row in rows
        )


_VERDICT: Final = JOURNAL.alias("verdict_row")


def _messages(*, with_body: bool) -> Select[Any]:
    """Messages, each with its later verdict where there is one."""
    message = [column for column in JOURNAL.columns if column.name != "body_zlib" or with_body]
    later = [
        _VERDICT.c[name].label(f"later_{name}")
        for name in (
            "id",
            "at",
            "signer_subject",
            "signer_serial",
            "verdict",
            "revocation_status",
            "revocation_source",
            "revocation_as_of",
            "note",
        )
    ]
    return (
        select(*message, *later)
        .select_from(JOURNAL.outerjoin(_VERDICT, _VERDICT.c.about_id == JOURNAL.c.id))
        .where(JOURNAL.c.kind != EntryKind.VERDICT)
    )


def _exact(row: RowMapping) -> bytes | None:
    if row["body_zlib"] is None:
        return None
    try:
        body = zlib.decompress(row["body_zlib"])
    except zlib.error:
        body = b""
    if hashlib.sha256(body).hexdigest() != row["body_sha256"]:
        raise StoreError(
            f"the bytes of journal entry {row['id']} are not the ones that were stored; restore them from a backup",
            code="journal_damaged",
        )
    return body


def _record(row: RowMapping, body: bytes | None) -> JournalRecord:
    prefix = "" if row["later_id"] is None else "later_"
    return JournalRecord(
        id=row["id"],
        at=row["at"],
        direction=MessageDirection(row["direction"]),
        step=row["step"],
        kind=EntryKind(row["kind"]),
        channel=row["channel"],
        system=row["system"],
        service_id=row["service_id"],
        message_id=row["message_id"],
        correlation_id=row["correlation_id"],
        peer=row["peer"],
        body_bytes=row["body_bytes"],
        body_sha256=row["body_sha256"],
        signer=Signer(row[f"{prefix}signer_subject"], row[f"{prefix}signer_serial"]),
        verdict=row[f"{prefix}verdict"],
        verdict_at=row[f"{prefix}at"],
        revocation=Revocation(
            row[f"{prefix}revocation_status"], row[f"{prefix}revocation_source"], row[f"{prefix}revocation_as_of"]
        ),
        note=row[f"{prefix}note"],
        body=body,
    )
