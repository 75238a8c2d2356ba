"""Tables of the registry. Rows about facts are only inserted, never changed; what is cached may be.

Every key about a person begins with the IIN, so that the whole can be spread over machines by it. Slugs are kept as
text: a row has to be readable without this program. What a list brought names its import (`import_id`) and not a text
of its own, because twenty million rows would repeat it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from gateway.database import UtcDateTime, metadata

MAX_KIND_CHARACTERS: Final = 64
MAX_KEY_CHARACTERS: Final = 200

FACT: Final = Table(
    "fact",
    metadata,
    Column("iin", String(12), primary_key=True),
    #: slug of the register that said it
    Column("system", String(64), primary_key=True),
    #: gateway.model.Fact.kind and .key: which record of the register
    Column("kind", String(MAX_KIND_CHARACTERS), primary_key=True),
    Column("key", String(MAX_KEY_CHARACTERS), primary_key=True),
    #: 1 for the first thing heard of the record; each change of it is the next
    Column("version", Integer(), primary_key=True, autoincrement=False),
    #: false: a complete answer no longer listed the record; the other columns repeat what was last said
    Column("present", Boolean(), nullable=False),
    #: first day on which it holds; NULL: always before
    Column("valid_from", Date(), nullable=True),
    #: first day on which it no longer holds; NULL: open
    Column("valid_to", Date(), nullable=True),
    Column("attributes", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    #: the signed message that it rests on, and who signed it
    Column("message_id", String(256), nullable=False),
    Column("signer_subject", Text(), nullable=False),
    Column("signer_serial", String(64), nullable=False),
    #: when we knew: the second time
    Column("received_at", UtcDateTime(), nullable=False),
    Index("ix_fact_iin_received_at", "iin", "received_at"),
    # retention of the journal asks which messages facts still rest on
    Index("ix_fact_message_id", "message_id"),
)

MAX_SOURCE_CHARACTERS: Final = 64
MAX_TEXT_CHARACTERS: Final = 500
MAX_CODE_CHARACTERS: Final = 64

#: one row for each file or list that was taken in; written in the transaction that took it in
IMPORT: Final = Table(
    "import",
    metadata,
    Column("id", Integer(), primary_key=True),
    #: gateway.registry.imports.feeds
    Column("feed", String(64), nullable=False),
    #: "full" or "changes"
    Column("scope", String(8), nullable=False),
    #: file name without its folder, or the id of the signed message
    Column("evidence", String(256), nullable=False),
    #: BLAKE2b-256 of the file as it came (`b2sum -l 256`)
    Column("digest", String(64), nullable=False),
    #: BLAKE2b-256 of the sorted lines that the next full list is compared with; NULL: none was kept
    Column("snapshot_digest", String(64), nullable=True),
    Column("received_at", UtcDateTime(), nullable=False),
    Column("lines_read", BigInteger(), nullable=False),
    Column("applied", BigInteger(), nullable=False),
    Column("unchanged", BigInteger(), nullable=False),
    Column("refused", BigInteger(), nullable=False),
    #: records that a full list of categories no longer names; they stay (docs/decisions/0034)
    Column("absent", BigInteger(), nullable=False),
    Index("ix_import_feed_id", "feed", "id"),
)

REFUSED_LINE: Final = Table(
    "refused_line",
    metadata,
    Column("import_id", Integer(), ForeignKey("import.id"), primary_key=True, autoincrement=False),
    Column("line", BigInteger(), primary_key=True, autoincrement=False),
    Column("code", String(MAX_CODE_CHARACTERS), primary_key=True),
    Column("message", String(MAX_TEXT_CHARACTERS), nullable=False),
)

#: 004 p.18, p.53: each row is what one list said of one assignment; the highest version is the last word
CATEGORY_RECORD: Final = Table(
    "category_record",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("category", String(MAX_KIND_CHARACTERS), primary_key=True),
    Column("assigned_date", Date(), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    Column("assigned_source", String(MAX_SOURCE_CHARACTERS), nullable=False),
    Column("removed_date", Date(), nullable=True),
    Column("removed_source", String(MAX_SOURCE_CHARACTERS), nullable=True),
    Column("removed_reason", String(MAX_TEXT_CHARACTERS), nullable=True),
    Column("import_id", Integer(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
)

#: 004 p.15, the nine fields; a payment is known by its person, month and reference
PAYMENT: Final = Table(
    "payment",
    metadata,
    Column("iin", String(12), primary_key=True),
    #: first day of the month paid for (A-03)
    Column("period", Date(), primary_key=True),
    Column("reference", String(MAX_SOURCE_CHARACTERS), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    Column("full_name", String(MAX_TEXT_CHARACTERS), nullable=False),
    Column("payer_bin", String(12), nullable=True),
    Column("payer_name", String(MAX_TEXT_CHARACTERS), nullable=False),
    Column("received_date", Date(), nullable=False),
    Column("amount", Numeric(16, 2), nullable=False),
    Column("purpose_code", String(16), nullable=False),
    #: not a field of p.15: "general" or "art14_2_9" (A-40)
    Column("payer_type", String(16), nullable=False),
    #: the payment was returned: it covers nothing (A-42)
    Column("withdrawn", Boolean(), nullable=False),
    Column("import_id", Integer(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
)

#: 004 p.62-65: what the submissions of one body said of a person; a full list that repeats what is known adds no row
MILITARY_EVENT: Final = Table(
    "military_event",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("body", String(16), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    #: "listed", "absent", "added" or "removed"
    Column("listed_as", String(8), nullable=False),
    Column("reserve_combat_training", Boolean(), nullable=False),
    #: p.65: the day of the change itself, where the body gives it
    Column("changed_on", Date(), nullable=True),
    #: the day that it takes effect (A-31)
    Column("arrived_on", Date(), nullable=False),
    Column("import_id", Integer(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
)

#: 004 p.61: days on the list of treaty foreigners
TREATY_INTERVAL: Final = Table(
    "treaty_interval",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("first_day", Date(), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    Column("first_day_off", Date(), nullable=True),
    Column("import_id", Integer(), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
)

#: 004 p.21, p.57: applications that were accepted
PROVISIONAL_ENTRY: Final = Table(
    "provisional_entry",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("category", String(MAX_KIND_CHARACTERS), primary_key=True),
    Column("applied", Date(), primary_key=True),
    #: codes of the documents presented, with spaces between; NULL: found complete by whoever took it in
    Column("documents", String(MAX_TEXT_CHARACTERS), nullable=True),
    Column("evidence", String(256), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
)

#: 004 p.9 part 2: days on which the state does not pay, declared by the Fund; the same for everybody
STATE_STOP: Final = Table(
    "state_stop",
    metadata,
    Column("budget", String(16), primary_key=True),
    Column("start", Date(), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    Column("resumed", Date(), nullable=True),
    Column("evidence", String(256), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    #: who of the Fund said it, and why; NULL in rows of before these were kept
    Column("reason", String(MAX_TEXT_CHARACTERS), nullable=True),
    Column("declared_by", String(256), nullable=True),
)

#: 004 p.13: declared by an operator, with a reason; the same for everybody
TECHNICAL_FAILURE: Final = Table(
    "technical_failure",
    metadata,
    Column("system", String(64), primary_key=True),
    Column("start", Date(), primary_key=True),
    Column("version", Integer(), primary_key=True, autoincrement=False),
    Column("fixed", Date(), nullable=True),
    Column("reason", String(MAX_TEXT_CHARACTERS), nullable=False),
    Column("evidence", String(256), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    #: who said it: an operator, or the signer of a message
    Column("declared_by", String(256), nullable=True),
)


def _answer_columns() -> tuple[Column[Any], ...]:
    """An answer as it was given: for the day `as_of`, by what was known at `known_at`."""
    return (
        Column("as_of", Date(), nullable=False),
        Column("known_at", UtcDateTime(), nullable=False),
        Column("insured", Boolean(), nullable=False),
        Column("basis", String(32), nullable=False),
        Column("category", String(MAX_KIND_CHARACTERS), nullable=True),
        Column("budget", String(16), nullable=True),
        Column("valid_until", Date(), nullable=True),
        #: digest of the law, its editions and readings, that gave the answer (gateway.registry.cached.law_digest)
        Column("law", String(16), nullable=False),
    )


#: why an answer is as it is, without what is of one person only: some hundreds of rows, many people have the same
STANDING_GROUNDS: Final = Table(
    "standing_grounds",
    metadata,
    #: digest of the two others (gateway.registry.cached)
    Column("id", BigInteger(), primary_key=True, autoincrement=False),
    #: JSON arrays: clauses, the deciding one first; names of readings
    Column("because", Text(), nullable=False),
    Column("readings", Text(), nullable=False),
)

#: the cache: the last answer about each person, and the day on which it changes by itself
STANDING: Final = Table(
    "standing",
    metadata,
    Column("iin", String(12), primary_key=True),
    *_answer_columns(),
    #: NULL: never
    Column("next_change", Date(), nullable=True),
    #: the first later day on which the answer or what it rests on may be another; NULL: never
    Column("look_again", Date(), nullable=True),
    #: the day and the knowledge of the computation that gave this row; the answer itself may be older
    Column("looked_on", Date(), nullable=False),
    Column("looked_at", UtcDateTime(), nullable=False),
    #: a row of STANDING_GROUNDS
    Column("grounds", BigInteger(), nullable=False),
    #: JSON array: ids of the messages and imports
    Column("evidence", Text(), nullable=False),
    Index(
        "ix_standing_look_again",
        "look_again",
        "iin",
        sqlite_where=text("look_again IS NOT NULL"),
        postgresql_where=text("look_again IS NOT NULL"),
    ),
)

#: the answers before that one
STANDING_BEFORE: Final = Table(
    "standing_before",
    metadata,
    Column("iin", String(12), primary_key=True),
    Column("as_of", Date(), primary_key=True),
    Column("known_at", UtcDateTime(), primary_key=True),
    *(column for column in _answer_columns() if column.name not in {"as_of", "known_at"}),
)

#: people of whom something was heard since their cached standing was computed
STANDING_TOUCHED: Final = Table(
    "standing_touched",
    metadata,
    Column("iin", String(12), primary_key=True),
    #: the last time; a row that is written again stays locked, so that nobody takes it away unread
    Column("touched_at", UtcDateTime(), nullable=False),
)

# ---------------------------------------------------------------- lists by signed messages, in parts

#: lists of which a part came, whatever became of them; what is about the whole list stands in each of its parts
INCOMING_LIST: Final = Table(
    "incoming_list",
    metadata,
    #: senderId of the messages: an id belongs to who gave it
    Column("sender", String(64), primary_key=True),
    Column("list_id", String(64), primary_key=True),
    Column("feed", String(64), nullable=False),
    #: "full" or "changes"
    Column("scope", String(8), nullable=False),
    #: the day that the sender made it for
    Column("made_on", Date(), nullable=False),
    Column("parts", Integer(), nullable=False),
    #: SHA-256 of all lines of all parts, in order
    Column("digest", String(64), nullable=False),
    #: "open", "complete", "applied", "refused" or "superseded": gateway.registry.imports.parts.ListState
    Column("state", String(12), nullable=False),
    Column("first_at", UtcDateTime(), nullable=False),
    #: arrival of the last part that was missing
    Column("completed_at", UtcDateTime(), nullable=True),
    Column("import_id", Integer(), nullable=True),
    #: why it is refused, or what went wrong last; "" otherwise
    Column("problem", String(MAX_CODE_CHARACTERS), nullable=False),
    Index("ix_incoming_list_state", "state", "completed_at"),
)

LIST_PART: Final = Table(
    "list_part",
    metadata,
    Column("sender", String(64), primary_key=True),
    Column("list_id", String(64), primary_key=True),
    #: from 1 to incoming_list.parts
    Column("part", Integer(), primary_key=True, autoincrement=False),
    #: SHA-256 of its lines
    Column("digest", String(64), nullable=False),
    Column("records", Integer(), nullable=False),
    #: its lines, zlib-compressed; NULL once the list is closed: the journal has the message
    Column("lines_zlib", LargeBinary(), nullable=True),
    #: the signed message that brought it
    Column("message_id", String(256), nullable=False),
    Column("signer_subject", Text(), nullable=False),
    Column("signer_serial", String(64), nullable=False),
    Column("received_at", UtcDateTime(), nullable=False),
    ForeignKeyConstraint(["sender", "list_id"], ["incoming_list.sender", "incoming_list.list_id"]),
)

#: that something about a person was erased, when and why; it does not say about whom
FORGOTTEN: Final = Table(
    "forgotten",
    metadata,
    Column("id", Integer(), primary_key=True),
    Column("at", UtcDateTime(), nullable=False),
    Column("reason", String(MAX_TEXT_CHARACTERS), nullable=False),
    Column("forgotten_by", String(256), nullable=False),
    Column("rows", Integer(), nullable=False),
    #: random; without it a digest over a number of twelve digits could be guessed
    Column("salt", String(64), nullable=False),
    #: SHA-256 of the salt and of the rows as gateway.backup writes them
    Column("digest", String(64), nullable=False),
)
