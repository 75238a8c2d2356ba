"""Tables of this room. The database is the only memory: a message is in here before it is on the wire.

`journal` is only ever inserted into. A reply is stored before anything of it is read, so what came of reading
it arrives as a row of its own (`kind = "verdict"`, `about_id` = the message), never as an update.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from gateway.database import UtcDateTime, metadata

#: SQLite gives numbers by itself only to INTEGER PRIMARY KEY
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

JOURNAL = Table(
    "journal",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime(), nullable=False),
    #: "out" we sent it, "in" it came to us
    Column("direction", String(3), nullable=False),
    #: number of the step of DESIGN.md that wrote the row: 8 request out, 10 what came in, 11 its verdict
    Column("step", Integer(), nullable=False),
    #: request, reply, fault: a message with its bytes; verdict: what came of an earlier row
    Column("kind", String(8), nullable=False),
    #: the message that a verdict is about
    Column("about_id", _ROW_ID, ForeignKey("journal.id"), nullable=True),
    Column("channel", String(8), nullable=False),
    #: slug of the register that we asked; "" when we were asked
    Column("system", String(64), nullable=False),
    Column("service_id", String(256), nullable=False),
    Column("message_id", String(256), nullable=False),
    Column("correlation_id", String(256), nullable=False),
    #: address of the other side, without credentials
    Column("peer", String(500), nullable=False),
    #: exact bytes as they were on the wire, zlib-compressed; NULL for a verdict and for what was too large to read
    Column("body_zlib", LargeBinary(), nullable=True),
    #: size on the wire, also of what was not kept
    Column("body_bytes", Integer(), nullable=False),
    #: lower-case hexadecimal of the exact bytes; "" when they were not kept
    Column("body_sha256", String(64), nullable=False),
    Column("signer_subject", String(1000), nullable=False),
    Column("signer_serial", String(64), nullable=False),
    #: "accepted", "signed" (by us), the code of a refusal, or "" while only the bytes are known
    Column("verdict", String(64), nullable=False),
    #: good, revoked, unknown or "" (not looked at)
    Column("revocation_status", String(8), nullable=False),
    Column("revocation_source", String(500), nullable=False),
    Column("revocation_as_of", UtcDateTime(), nullable=True),
    #: for the operator; never anything of a body
    Column("note", String(1000), nullable=False),
    CheckConstraint("direction IN ('in', 'out')", name="ck_journal_direction"),
    CheckConstraint("kind IN ('request', 'reply', 'fault', 'verdict')", name="ck_journal_kind"),
    CheckConstraint("(kind = 'verdict') = (about_id IS NOT NULL)", name="ck_journal_verdict_is_about_a_message"),
    Index("ix_journal_about_id", "about_id", unique=True),
    Index("ix_journal_message_id", "message_id"),
    Index("ix_journal_system_id", "system", "id"),
)

#: OCSP answers that decided about a signer, each kept once however many messages it speaks for; append-only
EVIDENCE = Table(
    "evidence",
    metadata,
    #: lower-case hexadecimal of the exact bytes
    Column("sha256", String(64), primary_key=True),
    #: gateway.trust.verdict.DecidingEvidence.kind
    Column("kind", String(16), nullable=False),
    #: where it was fetched
    Column("source", String(500), nullable=False),
    #: its thisUpdate
    Column("as_of", UtcDateTime(), nullable=False),
    Column("content", LargeBinary(), nullable=False),
)

JOURNAL_EVIDENCE = Table(
    "journal_evidence",
    metadata,
    #: the row that carries the verdict
    Column("journal_id", _ROW_ID, ForeignKey("journal.id"), primary_key=True),
    Column("sha256", String(64), ForeignKey("evidence.sha256"), primary_key=True),
)

#: RFC 3161 tokens over runs of journal rows: gateway.exchange.stamping; append-only
TIME_STAMP = Table(
    "time_stamp",
    metadata,
    Column("first_id", _ROW_ID, primary_key=True, autoincrement=False),
    Column("last_id", _ROW_ID, nullable=False),
    #: the moment that the token states
    Column("gen_time", UtcDateTime(), nullable=False),
    #: OID of the stamping policy
    Column("policy", String(200), nullable=False),
    Column("token", LargeBinary(), nullable=False),
)

EXCHANGE = Table(
    "exchange",
    metadata,
    #: ours, a UUID: the same in the envelope, the payload and here
    Column("message_id", String(64), primary_key=True),
    Column("system", String(64), nullable=False),
    Column("service_id", String(256), nullable=False),
    Column("subject", String(12), nullable=False),
    #: asked, answered, refused, unknown, unreachable: gateway.exchange.outbox.State
    Column("state", String(12), nullable=False),
    #: gateway.model.Outcome
    Column("outcome", String(10), nullable=False),
    #: why there is no usable answer; "" otherwise
    Column("code", String(64), nullable=False),
    Column("asked_at", UtcDateTime(), nullable=False),
    Column("answered_at", UtcDateTime(), nullable=True),
    Column("request_journal_id", _ROW_ID, ForeignKey("journal.id"), nullable=False),
    Column("reply_journal_id", _ROW_ID, ForeignKey("journal.id"), nullable=True),
    CheckConstraint("state IN ('asked', 'answered', 'refused', 'unknown', 'unreachable')", name="ck_exchange_state"),
    Index("ix_exchange_state_asked_at", "state", "asked_at"),
    Index("ix_exchange_subject_system", "subject", "system", "answered_at"),
)

DUE = Table(
    "due",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("system", String(64), primary_key=True),
    Column("due_at", UtcDateTime(), nullable=False),
    #: why then: gateway.exchange.due.Reason
    Column("reason", String(20), nullable=False),
    #: attempts in a row that brought no answer
    Column("failures", Integer(), nullable=False, default=0),
    #: who took the row has until then to finish; NULL: nobody has it
    Column("leased_until", UtcDateTime(), nullable=True),
    Index("ix_due_due_at", "due_at"),
)
