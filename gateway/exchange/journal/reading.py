"""The reading side of the journal. Every method is a transaction of its own and raises StoreError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, FromClause, RowMapping, Select, func, select

from gateway.database import reading
from gateway.exchange.journal.bodies import PLAIN, BodySeal
from gateway.exchange.journal.entries import EntryKind, JournalRecord, MessageDirection, Revocation, Signer
from gateway.exchange.journal.stored_bodies import BODY_COLUMNS, and_body, stored_body
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_EVIDENCE
from gateway.trust.verdict import DecidingEvidence

DEFAULT_LIMIT: Final = 100


class Journal:
    """Messages and notes, each with its verdict. `seal` has the keys of the bodies."""

    def __init__(self, engine: Engine, seal: BodySeal = PLAIN) -> None:
        self._engine = engine
        self._seal = seal

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
        """Messages and notes, newest first, without bytes. Empty filters let everything through.

        `message_id` finds a correlation id too; `before_id` continues a list where it ended.
        """
        query = _MESSAGES
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
        """One message with its exact bytes; `body` None: they were never kept, or retention took them away.

        None when there is no such row. Raises StoreError: `journal_damaged` when the bytes are not the ones whose
        digest was stored, `journal_key_missing` when they are sealed with a key that is not configured.
        """
        query = _messages(and_body(_ROWS), *BODY_COLUMNS).where(JOURNAL.c.id == entry_id)
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        stored = stored_body(row)
        return _record(row, None if stored is None else self._seal.open(stored, row["body_sha256"]))

    def evidence_of(self, entry_id: int) -> tuple[DecidingEvidence, ...]:
        """The OCSP answers that decided about the signer of one message, with their exact bytes."""
        rows_of = select(JOURNAL.c.id).where((JOURNAL.c.id == entry_id) | (JOURNAL.c.about_id == entry_id))
        query = (
            select(JOURNAL_EVIDENCE, EVIDENCE.c.content)
            .join(EVIDENCE, JOURNAL_EVIDENCE.c.sha256 == EVIDENCE.c.sha256)
            .where(JOURNAL_EVIDENCE.c.journal_id.in_(rows_of))
            .order_by(JOURNAL_EVIDENCE.c.sha256)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            DecidingEvidence(row["kind"], row["sha256"], row["as_of"], row["source"], row["content"]) for row in rows
        )


_VERDICT: Final = JOURNAL.alias("verdict_row")

_LATER: Final = (
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

#: each row with its later verdict where there is one
_ROWS: Final = JOURNAL.outerjoin(_VERDICT, _VERDICT.c.about_id == JOURNAL.c.id)


def _messages(rows: FromClause, *columns: ColumnElement[Any]) -> Select[Any]:
    later = (_VERDICT.c[name].label(f"later_{name}") for name in _LATER)
    return select(JOURNAL, *later, *columns).select_from(rows).where(JOURNAL.c.kind != EntryKind.VERDICT)


_MESSAGES: Final = _messages(_ROWS)


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
        row_sha256=row["row_sha256"].hex(),
        body=body,
    )
