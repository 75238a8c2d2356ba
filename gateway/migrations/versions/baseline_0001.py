"""Facts of the registry, the journal, exchanges, and what is due."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: Final = "0001"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)
_ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "fact",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("attributes", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("message_id", sa.String(256), nullable=False),
        sa.Column("signer_subject", sa.Text(), nullable=False),
        sa.Column("signer_serial", sa.String(64), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "system", "kind", "key", "version", name="pk_fact"),
    )
    op.create_index("ix_fact_iin_received_at", "fact", ["iin", "received_at"])

    op.create_table(
        "journal",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
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
        sa.Column("body_zlib", sa.LargeBinary(), nullable=True),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("signer_subject", sa.String(1000), nullable=False),
        sa.Column("signer_serial", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(64), nullable=False),
        sa.Column("revocation_status", sa.String(8), nullable=False),
        sa.Column("revocation_source", sa.String(500), nullable=False),
        sa.Column("revocation_as_of", _MOMENT, nullable=True),
        sa.Column("note", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal"),
        sa.ForeignKeyConstraint(["about_id"], ["journal.id"], name="fk_journal_about_id"),
        sa.CheckConstraint("direction IN ('in', 'out')", name="ck_journal_direction"),
        sa.CheckConstraint("kind IN ('request', 'reply', 'fault', 'verdict')", name="ck_journal_kind"),
        sa.CheckConstraint("(kind = 'verdict') = (about_id IS NOT NULL)", name="ck_journal_verdict_is_about_a_message"),
    )
    op.create_index("ix_journal_about_id", "journal", ["about_id"], unique=True)
    op.create_index("ix_journal_message_id", "journal", ["message_id"])
    op.create_index("ix_journal_system_id", "journal", ["system", "id"])

    op.create_table(
        "evidence",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("as_of", _MOMENT, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_evidence"),
    )
    op.create_table(
        "journal_evidence",
        sa.Column("journal_id", _ROW_ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("journal_id", "sha256", name="pk_journal_evidence"),
        sa.ForeignKeyConstraint(["journal_id"], ["journal.id"], name="fk_journal_evidence_journal_id"),
        sa.ForeignKeyConstraint(["sha256"], ["evidence.sha256"], name="fk_journal_evidence_sha256"),
    )

    op.create_table(
        "time_stamp",
        sa.Column("first_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("last_id", _ROW_ID, nullable=False),
        sa.Column("gen_time", _MOMENT, nullable=False),
        sa.Column("policy", sa.String(200), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("first_id", name="pk_time_stamp"),
    )

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
        sa.ForeignKeyConstraint(["request_journal_id"], ["journal.id"], name="fk_exchange_request_journal_id"),
        sa.ForeignKeyConstraint(["reply_journal_id"], ["journal.id"], name="fk_exchange_reply_journal_id"),
        sa.CheckConstraint(
            "state IN ('asked', 'answered', 'refused', 'unknown', 'unreachable')", name="ck_exchange_state"
        ),
    )
    op.create_index("ix_exchange_state_asked_at", "exchange", ["state", "asked_at"])
    op.create_index("ix_exchange_subject_system", "exchange", ["subject", "system", "answered_at"])

    op.create_table(
        "due",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("iin", "system", name="pk_due"),
    )
    op.create_index("ix_due_due_at", "due", ["due_at"])
