"""The journal becomes a chain.

Rows are kept, numbered anew without gaps and chained in their old order; bodies move into a table of their own. Old
time stamps were made of statements that hold the old numbers: each is kept with its statement, as evidence of a note.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)
_ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES: Final = ("exchange", "journal_evidence", "time_stamp", "journal", "evidence")
_BATCH: Final = 200
_STORED: Final = (
    "id", "at", "direction", "step", "kind", "about_id", "channel", "system", "service_id", "message_id",
    "correlation_id", "peer", "body_bytes", "body_sha256", "signer_subject", "signer_serial", "verdict",
    "revocation_status", "revocation_source", "revocation_as_of", "note",
)  # fmt: skip


def upgrade() -> None:
    # SQLite cannot change a table's constraints: on both stores the rows step aside while the tables are made anew
    for name in _TABLES:
        op.execute(f"CREATE TABLE {name}_0001 AS SELECT * FROM {name}")  # noqa: S608 - our names
        op.drop_table(name)
    op.create_index("ix_journal_0001", "journal_0001", ["id"])
    op.create_index("ix_journal_evidence_0001", "journal_evidence_0001", ["journal_id"])
    op.create_table("renumbered_0001", sa.Column("old", _ROW_ID, primary_key=True), sa.Column("new", _ROW_ID))
    _create()
    op.execute("INSERT INTO evidence (sha256, content) SELECT sha256, content FROM evidence_0001")
    _Chain(op.get_bind()).copy()
    op.execute(
        """
        INSERT INTO exchange
        SELECT e.message_id, e.system, e.service_id, e.subject, e.state, e.outcome, e.code, e.asked_at, e.answered_at,
               request.new, reply.new
        FROM exchange_0001 e
        JOIN renumbered_0001 request ON request.old = e.request_journal_id
        LEFT JOIN renumbered_0001 reply ON reply.old = e.reply_journal_id
        """
    )
    for name in (*_TABLES, "renumbered"):
        op.drop_table(f"{name}_0001")
    op.create_index("ix_fact_message_id", "fact", ["message_id"])


def _create() -> None:
    op.create_table(
        "journal",
        sa.Column("id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("about_id", _ROW_ID, nullable=True),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("service_id", sa.String(256), nullable=False),
        sa.Column("message_id", sa.String(256), nullable=False),
        sa.Column("correlation_id", sa.String(256), nullable=False),
        sa.Column("peer", sa.String(500), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("signer_subject", sa.String(1000), nullable=False),
        sa.Column("signer_serial", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(64), nullable=False),
        sa.Column("revocation_status", sa.String(8), nullable=False),
        sa.Column("revocation_source", sa.String(500), nullable=False),
        sa.Column("revocation_as_of", _MOMENT, nullable=True),
        sa.Column("note", sa.String(1000), nullable=False),
        sa.Column("row_sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal"),
        sa.CheckConstraint("direction IN ('in', 'out')", name="ck_journal_direction"),
        sa.CheckConstraint("kind IN ('request', 'reply', 'fault', 'verdict', 'note')", name="ck_journal_kind"),
        sa.CheckConstraint("(kind = 'verdict') = (about_id IS NOT NULL)", name="ck_journal_verdict_is_about_a_message"),
    )
    _partial_index("ix_journal_about_id", ["about_id"], "about_id IS NOT NULL", unique=True)
    op.create_index("ix_journal_message_id", "journal", ["message_id"])
    _partial_index("ix_journal_correlation_id", ["correlation_id"], "correlation_id <> ''")
    op.create_index("ix_journal_system_id", "journal", ["system", "id"])
    _partial_index("ix_journal_note", ["id"], "kind = 'note'")
    op.create_table(
        "journal_body",
        sa.Column("journal_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("sealed_with", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("journal_id", name="pk_journal_body"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # compressed already: trying again would only cost time
        op.execute("ALTER TABLE journal_body ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_table(
        "journal_head",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", _ROW_ID, nullable=False),
        sa.Column("row_sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_journal_head"),
        sa.CheckConstraint("one = 1", name="ck_journal_head_one"),
    )
    op.create_table(
        "journal_cut",
        sa.Column("last_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("row_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("note_id", _ROW_ID, nullable=False),
        sa.PrimaryKeyConstraint("last_id", name="pk_journal_cut"),
    )
    op.create_table(
        "evidence",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_evidence"),
    )
    op.create_table(
        "journal_evidence",
        sa.Column("journal_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("as_of", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("journal_id", "sha256", name="pk_journal_evidence"),
        sa.ForeignKeyConstraint(["sha256"], ["evidence.sha256"], name="fk_journal_evidence_sha256"),
    )
    op.create_index("ix_journal_evidence_sha256", "journal_evidence", ["sha256"])
    op.create_table(
        "exchange",
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("service_id", sa.String(256), nullable=False),
        sa.Column("subject", sa.String(12), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("answered_at", _MOMENT, nullable=True),
        sa.Column("request_journal_id", _ROW_ID, nullable=False),
        sa.Column("reply_journal_id", _ROW_ID, nullable=True),
        sa.PrimaryKeyConstraint("message_id", name="pk_exchange"),
        sa.CheckConstraint(
            "state IN ('asked', 'answered', 'refused', 'unknown', 'unreachable')", name="ck_exchange_state"
        ),
    )
    op.create_index("ix_exchange_state_asked_at", "exchange", ["state", "asked_at"])
    op.create_index("ix_exchange_subject_system", "exchange", ["subject", "system", "answered_at"])


def _partial_index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name, "journal", columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def _checked(packed: bytes) -> bytes:
    """How a body is kept from now on: CRC-32 of the zlib stream, and the stream."""
    return zlib.crc32(packed).to_bytes(4, "big") + packed


def _table(name: str, moments: str, *columns: str) -> sa.TableClause:
    return sa.table(
        name,
        *(sa.column(column, _MOMENT) if column in moments.split() else sa.column(column) for column in columns),
    )


_OLD: Final = _table("journal_0001", "at revocation_as_of", *_STORED, "body_zlib")
_OLD_USE: Final = _table("journal_evidence_0001", "", "journal_id", "sha256")
_OLD_EVIDENCE: Final = _table("evidence_0001", "as_of", "sha256", "kind", "source", "as_of")
_OLD_STAMP: Final = _table("time_stamp_0001", "gen_time", "first_id", "last_id", "gen_time", "policy", "token")
_RENUMBERED: Final = _table("renumbered_0001", "", "old", "new")
_JOURNAL: Final = _table("journal", "at revocation_as_of", *_STORED, "row_sha256")
_BODY: Final = _table("journal_body", "", "journal_id", "sealed_with", "content")
_HEAD: Final = _table("journal_head", "", "one", "last_id", "row_sha256")
_EVIDENCE: Final = _table("evidence", "", "sha256", "content")
_USE: Final = _table("journal_evidence", "as_of", "journal_id", "sha256", "kind", "source", "as_of")


class _Chain:
    """Writes rows in the format of docs/reference/journal.md, as it was when this revision was made."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._last_id = 0
        self._last = bytes(32)

    def copy(self) -> None:
        for rows in self._old_rows():
            self._copy(rows)
        for stamp in self._connection.execute(sa.select(_OLD_STAMP).order_by(_OLD_STAMP.c.first_id)).mappings().all():
            self._note_stamp(stamp)
        self._connection.execute(sa.insert(_HEAD), {"one": 1, "last_id": self._last_id, "row_sha256": self._last})

    def _old_rows(self, first_id: int = 0, last_id: int | None = None) -> Iterator[Sequence[sa.RowMapping]]:
        after = first_id - 1
        while True:
            query = sa.select(_OLD).where(_OLD.c.id > after).order_by(_OLD.c.id).limit(_BATCH)
            if last_id is not None:
                query = query.where(_OLD.c.id <= last_id)
            rows = self._connection.execute(query).mappings().all()
            if not rows:
                return
            yield rows
            after = rows[-1]["id"]

    def _copy(self, rows: Sequence[sa.RowMapping]) -> None:
        evidence = self._evidence_of(rows[0]["id"], rows[-1]["id"])
        about = [row["about_id"] for row in rows if row["about_id"] is not None]
        numbers = {
            row.old: row.new
            for row in self._connection.execute(sa.select(_RENUMBERED).where(_RENUMBERED.c.old.in_(about)))
        }
        uses, bodies, renumbered = [], [], []
        copies = []
        for row in rows:
            new = self._last_id + 1
            numbers[row["id"]] = new
            renumbered.append({"old": row["id"], "new": new})
            values = {name: row[name] for name in _STORED} | {
                "about_id": None if row["about_id"] is None else numbers[row["about_id"]]
            }
            copies.append(self._linked(values, evidence.get(row["id"], [])))
            uses += [{**piece, "journal_id": new} for piece in evidence.get(row["id"], [])]
            if row["body_zlib"] is not None:
                bodies.append({"journal_id": new, "sealed_with": "", "content": _checked(row["body_zlib"])})
        for table, new_rows in ((_JOURNAL, copies), (_BODY, bodies), (_USE, uses), (_RENUMBERED, renumbered)):
            if new_rows:
                self._connection.execute(sa.insert(table), new_rows)

    def _linked(self, values: dict[str, Any], evidence: Sequence[Any]) -> dict[str, Any]:
        """The row with the next number and its hash; the chain's end moves on."""
        self._last_id += 1
        values["id"] = self._last_id
        for name in ("at", "revocation_as_of"):
            values[name] = _aware(values[name])
        row = [_text(values[name]) for name in _STORED]
        pieces = sorted([piece["sha256"], piece["kind"], piece["source"], _text(piece["as_of"])] for piece in evidence)
        line = json.dumps([*row, pieces], ensure_ascii=False, separators=(",", ":"))
        self._last = hashlib.sha256(self._last + line.encode()).digest()
        return {**values, "row_sha256": self._last}

    def _evidence_of(self, first_id: int, last_id: int) -> dict[int, list[dict[str, Any]]]:
        query = (
            sa.select(_OLD_USE.c.journal_id, _OLD_EVIDENCE)
            .join_from(_OLD_USE, _OLD_EVIDENCE, _OLD_EVIDENCE.c.sha256 == _OLD_USE.c.sha256)
            .where(_OLD_USE.c.journal_id.between(first_id, last_id))
            .order_by(_OLD_USE.c.journal_id, _OLD_USE.c.sha256)
        )
        found: dict[int, list[dict[str, Any]]] = {}
        for row in self._connection.execute(query).mappings():
            piece = {name: row[name] for name in ("sha256", "kind", "source")} | {"as_of": _aware(row["as_of"])}
            found.setdefault(row["journal_id"], []).append(piece)
        return found

    def _note_stamp(self, stamp: sa.RowMapping) -> None:
        statement = self._old_statement(stamp["first_id"], stamp["last_id"])
        gen_time = _aware(stamp["gen_time"])
        pieces = [
            {"sha256": hashlib.sha256(content).hexdigest(), "kind": kind, "source": "", "as_of": gen_time}
            for kind, content in (("statement", statement), ("time_stamp", stamp["token"]))
        ]
        contents = zip(pieces, (statement, bytes(stamp["token"])), strict=True)
        self._connection.execute(
            sa.insert(_EVIDENCE), [{"sha256": piece["sha256"], "content": content} for piece, content in contents]
        )
        values: dict[str, Any] = dict.fromkeys(_STORED, "") | {
            "at": gen_time,
            "direction": "out",
            "step": 0,
            "kind": "note",
            "about_id": None,
            "channel": "sync",
            "body_bytes": 0,
            "verdict": "stamped_before_the_chain",
            "revocation_as_of": None,
            "note": f"rows {stamp['first_id']} to {stamp['last_id']} by the numbers of before the chain",
        }
        self._connection.execute(sa.insert(_JOURNAL), self._linked(values, pieces))
        self._connection.execute(sa.insert(_USE), [{**piece, "journal_id": self._last_id} for piece in pieces])

    def _old_statement(self, first_id: int, last_id: int) -> bytes:
        """What an old stamp is a stamp of: one line for each row."""
        lines = []
        for rows in self._old_rows(first_id, last_id):
            evidence = self._evidence_of(rows[0]["id"], rows[-1]["id"])
            for row in rows:
                parts = (
                    row["id"],
                    _aware(row["at"]).isoformat(),
                    row["direction"],
                    row["kind"],
                    row["about_id"] or "",
                    row["message_id"],
                    row["body_sha256"],
                    row["verdict"],
                    row["signer_serial"],
                    row["revocation_status"],
                    ",".join(piece["sha256"] for piece in evidence.get(row["id"], [])),
                )
                lines.append("\t".join(str(part) for part in parts))
        return "\n".join(lines).encode()


def _aware(value: Any) -> Any:
    """SQLite keeps no time zone, PostgreSQL answers in that of the session."""
    if value is None:
        return None
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _text(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat("T", "microseconds") + "Z"
    return value
