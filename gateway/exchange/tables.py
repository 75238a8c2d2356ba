"""Tables of this room. The database is the only memory: a message is in here before it is on the wire.

`journal` is only ever inserted into. A reply is stored before anything of it is read, so what came of reading
it arrives as a row of its own (`kind = "verdict"`, `about_id` = the message), never as an update.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)

from gateway.database import SEEDED, UtcDateTime, metadata

#: SQLite gives numbers by itself only to INTEGER PRIMARY KEY
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

#: rows are only ever inserted, and cut off at the beginning by age (gateway.exchange.retention). No foreign keys: a cut
#: may fall between a message and its verdict, and the chain says more about a row than a key could
JOURNAL = Table(
    "journal",
    metadata,
    #: without gaps, in the order of commits; given under the lock of journal_head
    Column("id", _ROW_ID, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime(), nullable=False),
    #: "out" we sent it, "in" it came to us
    Column("direction", String(3), nullable=False),
    #: number of the step of DESIGN.md that wrote the row: 8 request out, 10 what came in, 11 its verdict
    Column("step", Integer(), nullable=False),
    #: gateway.exchange.journal.EntryKind
    Column("kind", String(8), nullable=False),
    #: the message that a verdict is about
    Column("about_id", _ROW_ID, nullable=True),
    #: "sync" or "async"
    Column("channel", String(8), nullable=False),
    #: slug of the register that we asked; "" when we were asked
    Column("system", String(64), nullable=False),
    Column("service_id", String(256), nullable=False),
    Column("message_id", String(256), nullable=False),
    Column("correlation_id", String(256), nullable=False),
    #: address of the other side, without credentials
    Column("peer", String(500), nullable=False),
    #: size on the wire, also of what was not kept
    Column("body_bytes", Integer(), nullable=False),
    #: lower-case hexadecimal of the exact bytes; "" when they were not kept
    Column("body_sha256", String(64), nullable=False),
    Column("signer_subject", String(1000), nullable=False),
    Column("signer_serial", String(64), nullable=False),
    #: "accepted", "signed" (by us), the code of a refusal, the name of an act, or "" while only the bytes are known
    Column("verdict", String(64), nullable=False),
    #: good, revoked, unknown or "" (not looked at)
    Column("revocation_status", String(8), nullable=False),
    Column("revocation_source", String(500), nullable=False),
    Column("revocation_as_of", UtcDateTime(), nullable=True),
    #: for the operator; never anything of a body
    Column("note", String(1000), nullable=False),
    #: gateway.exchange.journal.chain: of the hash before and of every column above, evidence included
    Column("row_sha256", LargeBinary(), nullable=False),
    CheckConstraint("direction IN ('in', 'out')", name="ck_journal_direction"),
    CheckConstraint("kind IN ('request', 'reply', 'fault', 'verdict', 'note')", name="ck_journal_kind"),
    CheckConstraint("(kind = 'verdict') = (about_id IS NOT NULL)", name="ck_journal_verdict_is_about_a_message"),
    Index(
        "ix_journal_about_id",
        "about_id",
        unique=True,
        sqlite_where=text("about_id IS NOT NULL"),
        postgresql_where=text("about_id IS NOT NULL"),
    ),
    Index("ix_journal_message_id", "message_id"),
    Index(
        "ix_journal_correlation_id",
        "correlation_id",
        sqlite_where=text("correlation_id <> ''"),
        postgresql_where=text("correlation_id <> ''"),
    ),
    Index("ix_journal_system_id", "system", "id"),
    # acts of retention and of operators are few and are looked for
    Index("ix_journal_note", "id", sqlite_where=text("kind = 'note'"), postgresql_where=text("kind = 'note'")),
)

#: the exact bytes, apart from the rows so that they can be taken away before them
JOURNAL_BODY = Table(
    "journal_body",
    metadata,
    Column("journal_id", _ROW_ID, primary_key=True, autoincrement=False),
    #: id of the key; "" is not sealed
    Column("sealed_with", String(16), nullable=False),
    #: CRC-32 and zlib; sealed: nonce and AES-256-GCM of that
    Column("content", LargeBinary(), nullable=False),
    #: the body of the same transaction by which this one is compressed; NULL: it stands alone
    Column("base_id", _ROW_ID, nullable=True),
)

#: where the chain ends: one row, whose lock gives the next number
JOURNAL_HEAD = Table(
    "journal_head",
    metadata,
    Column("one", Integer(), primary_key=True, autoincrement=False),
    Column("last_id", _ROW_ID, nullable=False),
    #: of the last row; 32 zero bytes before the first
    Column("row_sha256", LargeBinary(), nullable=False),
    CheckConstraint("one = 1", name="ck_journal_head_one"),
    info={SEEDED: True},
)

#: at most one row: where the rest begins once the beginning was cut off; a note in the chain repeats it
JOURNAL_CUT = Table(
    "journal_cut",
    metadata,
    #: the last row that was taken away, and its hash: what the next row continues
    Column("last_id", _ROW_ID, primary_key=True, autoincrement=False),
    Column("row_sha256", LargeBinary(), nullable=False),
    #: row of the note
    Column("note_id", _ROW_ID, nullable=False),
)

#: OCSP answers that decided about a signer, each kept once however many messages it speaks for; time stamps
EVIDENCE = Table(
    "evidence",
    metadata,
    #: lower-case hexadecimal of the exact bytes
    Column("sha256", String(64), primary_key=True),
    Column("content", LargeBinary(), nullable=False),
)

#: which evidence decided about which message; part of the row's hash
JOURNAL_EVIDENCE = Table(
    "journal_evidence",
    metadata,
    #: the row that carries the verdict
    Column("journal_id", _ROW_ID, primary_key=True, autoincrement=False),
    Column("sha256", String(64), ForeignKey("evidence.sha256"), primary_key=True),
    #: gateway.trust.verdict.DecidingEvidence.kind, or time_stamp
    Column("kind", String(16), nullable=False),
    #: where it was fetched; of a time stamp its policy
    Column("source", String(500), nullable=False),
    #: its thisUpdate; of a time stamp its genTime
    Column("as_of", UtcDateTime(), nullable=False),
    Index("ix_journal_evidence_sha256", "sha256"),
)

EXCHANGE = Table(
    "exchange",
    metadata,
    #: ours, a UUID: the same in the envelope, the payload and here
    Column("message_id", String(64), primary_key=True),
    #: "sync" or "async"
    Column("channel", String(8), nullable=False),
    #: "" on the synchronous channel; REQUEST, UPDATE, NOTIFICATION, RESPONSE on the asynchronous one
    Column("message_type", String(16), nullable=False),
    Column("system", String(64), nullable=False),
    Column("service_id", String(256), nullable=False),
    #: IIN; NULL where the message is about no one person
    Column("subject", String(12), nullable=True),
    #: by what of the payload a later push is recognised when no id can; "" where there is none
    Column("business_key", String(200), nullable=False),
    #: what the gateway calls the message, its chain and its session; "" until it says so
    Column("wire_message_id", String(256), nullable=False),
    Column("correlation_id", String(256), nullable=False),
    Column("session_id", String(256), nullable=False),
    #: gateway.exchange.outbox.State
    Column("state", String(12), nullable=False),
    #: gateway.model.Outcome
    Column("outcome", String(10), nullable=False),
    #: why there is no usable answer; "" otherwise
    Column("code", String(64), nullable=False),
    #: smaller goes first
    Column("priority", Integer(), nullable=False),
    #: how often it was taken to be posted, also when nobody was reached; with lease_holder the token of a lease
    Column("attempts", Integer(), nullable=False),
    #: when the program does something about it; NULL: nothing to do, or a person must
    Column("due_at", UtcDateTime(), nullable=True),
    Column("leased_until", UtcDateTime(), nullable=True),
    Column("lease_holder", String(100), nullable=False),
    #: when the bytes were made: the date inside the message
    Column("asked_at", UtcDateTime(), nullable=False),
    Column("acknowledged_at", UtcDateTime(), nullable=True),
    #: until when the answer to an acknowledged message is waited for
    Column("answer_due_at", UtcDateTime(), nullable=True),
    #: when the row was closed
    Column("answered_at", UtcDateTime(), nullable=True),
    #: whose bytes are sent, and sent again; no keys, the journal is cut by age
    Column("request_journal_id", _ROW_ID, nullable=False),
    Column("reply_journal_id", _ROW_ID, nullable=True),
    #: the operator's last word about it
    Column("reason", String(500), nullable=False),
    CheckConstraint("channel IN ('sync', 'async')", name="ck_exchange_channel"),
    CheckConstraint(
        "state IN ('waiting', 'asked', 'acknowledged', 'answered', 'unknown', 'refused', 'quarantined', 'settled',"
        " 'dropped')",
        name="ck_exchange_state",
    ),
    CheckConstraint("(state = 'asked') = (leased_until IS NOT NULL)", name="ck_exchange_asked_is_leased"),
    Index("ix_exchange_state_asked_at", "state", "asked_at"),
    Index("ix_exchange_subject_system", "subject", "system", "answered_at"),
    # what a worker looks for: small however many rows are closed
    Index(
        "ix_exchange_due",
        "priority",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "ix_exchange_leased",
        "leased_until",
        sqlite_where=text("leased_until IS NOT NULL"),
        postgresql_where=text("leased_until IS NOT NULL"),
    ),
    Index(
        "ix_exchange_answer_due",
        "answer_due_at",
        sqlite_where=text("answer_due_at IS NOT NULL"),
        postgresql_where=text("answer_due_at IS NOT NULL"),
    ),
    Index(
        "ix_exchange_wire_message_id",
        "wire_message_id",
        sqlite_where=text("wire_message_id <> ''"),
        postgresql_where=text("wire_message_id <> ''"),
    ),
    Index(
        "ix_exchange_correlation",
        "correlation_id",
        sqlite_where=text("correlation_id <> ''"),
        postgresql_where=text("correlation_id <> ''"),
    ),
    Index(
        "ix_exchange_business_key",
        "system",
        "business_key",
        sqlite_where=text("business_key <> ''"),
        postgresql_where=text("business_key <> ''"),
    ),
)

DUE = Table(
    "due",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("system", String(64), primary_key=True),
    Column("due_at", UtcDateTime(), nullable=False),
    #: why then: gateway.exchange.due.Reason
    Column("reason", String(20), nullable=False),
    #: questions in a row that brought no answer
    Column("failures", Integer(), nullable=False, default=0),
    #: who took the row has until then to make a question of it; NULL: nobody has it
    Column("leased_until", UtcDateTime(), nullable=True),
    Column("lease_holder", String(100), nullable=False, default=""),
    #: the question that is on its way: until it ends the row is not due, whatever due_at says
    Column("message_id", String(64), nullable=True),
    Index(
        "ix_due_due_at",
        "due_at",
        sqlite_where=text("message_id IS NULL"),
        postgresql_where=text("message_id IS NULL"),
    ),
)

#: how a service of the gateway fares, shared by the fleet: gateway.exchange.circuit
CIRCUIT = Table(
    "circuit",
    metadata,
    Column("service_id", String(256), primary_key=True),
    #: posts in a row that failed
    Column("failures", Integer(), nullable=False),
    #: how often it opened since it last worked
    Column("openings", Integer(), nullable=False),
    #: nothing is sent until then; afterwards one message tries; NULL: closed
    Column("open_until", UtcDateTime(), nullable=True),
    #: the next post starts then at the earliest; NULL: at once
    Column("next_slot_at", UtcDateTime(), nullable=True),
)

STORED_FILE = Table(
    "stored_file",
    metadata,
    #: the caller's own name for this file, the same whenever it asks again: gateway.exchange.temporary_storage
    Column("reference", String(200), primary_key=True),
    #: fileProcessIdentifier, ours
    Column("process_id", String(64), nullable=False, unique=True),
    #: of the request that uploads it
    Column("message_id", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("mime", String(100), nullable=False),
    Column("size_bytes", BigInteger(), nullable=False),
    #: of the file's content, lower-case hexadecimal
    Column("sha256", String(64), nullable=False),
    #: uploading, stored, confirmed, refused: gateway.exchange.temporary_storage.FileState
    Column("state", String(10), nullable=False),
    #: the storage's name for it; "" until it has said so
    Column("file_identifier", String(256), nullable=False),
    #: why it was refused, or what the last attempt came to; "" otherwise
    Column("code", String(64), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("stored_at", UtcDateTime(), nullable=True),
    #: the storage deletes it then
    Column("expires_at", UtcDateTime(), nullable=True),
    #: its exact bytes are sent again while the outcome is unknown; no key: the journal is cut by age
    Column("request_journal_id", _ROW_ID, nullable=False),
    CheckConstraint("state IN ('uploading', 'stored', 'confirmed', 'refused')", name="ck_stored_file_state"),
)

#: what came to us and was accepted, each message once: gateway.exchange.inbox
INBOX = Table(
    "inbox",
    metadata,
    #: gateway.exchange.inbox.inbox_key of sender, service and message id
    Column("key", String(64), primary_key=True),
    Column("sender", String(256), nullable=False),
    Column("service_id", String(256), nullable=False),
    Column("message_id", String(256), nullable=False),
    #: gateway.exchange.inbox.body_digest of what was signed
    Column("body_sha256", String(64), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    #: sync, push or poll
    Column("flow", String(4), nullable=False),
    #: numbers in the journal; no foreign keys, because the journal's retention goes by its own rules
    Column("request_journal_id", _ROW_ID, nullable=False),
    Column("reply_journal_id", _ROW_ID, nullable=True),
    #: gateway.exchange.inbox.InboxState
    Column("state", String(11), nullable=False),
    Column("attempts", Integer(), nullable=False),
    Column("due_at", UtcDateTime(), nullable=True),
    Column("leased_until", UtcDateTime(), nullable=True),
    Column("lease_holder", String(128), nullable=False),
    Column("correlation_id", String(256), nullable=False),
    Column("wire_message_id", String(256), nullable=False),
    #: why the last attempt failed; "" otherwise
    Column("code", String(64), nullable=False),
    CheckConstraint("flow IN ('sync', 'push', 'poll')", name="ck_inbox_flow"),
    CheckConstraint("state IN ('received', 'working', 'done', 'quarantined')", name="ck_inbox_state"),
    Index("ix_inbox_received_at", "received_at"),
    # only what waits: synchronous requests are done at once and would fill it for nothing
    Index("ix_inbox_due_at", "due_at", postgresql_where=text("state <> 'done'"), sqlite_where=text("state <> 'done'")),
)

#: requests of each caller in the running minute and day: gateway.exchange.quota
QUOTA = Table(
    "quota",
    metadata,
    Column("sender", String(256), primary_key=True),
    #: minute or day
    Column("period", String(6), primary_key=True),
    Column("starts_at", UtcDateTime(), primary_key=True),
    Column("count", BigInteger(), nullable=False),
    CheckConstraint("period IN ('minute', 'day')", name="ck_quota_period"),
)

#: each run of each job, once in the whole fleet: gateway.exchange.schedule_runs
SCHEDULE_RUN = Table(
    "schedule_run",
    metadata,
    Column("job", String(128), primary_key=True),
    #: the moment that the schedule says, not the one at which it began
    Column("scheduled_at", UtcDateTime(), primary_key=True),
    #: schedule or hand
    Column("origin", String(8), primary_key=True),
    #: gateway.exchange.schedule_runs.RunState
    Column("state", String(8), nullable=False),
    #: why it failed or was skipped; "" otherwise
    Column("code", String(64), nullable=False),
    #: its own moment and the missed ones before it that got no row; 0 for the first sight of a job
    Column("stands_for", Integer(), nullable=False),
    Column("attempts", Integer(), nullable=False),
    #: which process has it, or had it last
    Column("holder", String(128), nullable=False),
    Column("leased_until", UtcDateTime(), nullable=True),
    Column("started_at", UtcDateTime(), nullable=True),
    Column("finished_at", UtcDateTime(), nullable=True),
    #: why a person ordered it; never anything of a message
    Column("reason", String(1000), nullable=False),
    CheckConstraint("origin IN ('schedule', 'hand')", name="ck_schedule_run_origin"),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'skipped')", name="ck_schedule_run_state"),
    CheckConstraint("(state = 'running') = (leased_until IS NOT NULL)", name="ck_schedule_run_leased_while_running"),
    Index("ix_schedule_run_state", "state", "scheduled_at"),
)
