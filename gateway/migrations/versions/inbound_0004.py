"""What comes to us: the inbox, callers' quotas."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)
_JOURNAL_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("sender", sa.String(256), nullable=False),
        sa.Column("service_id", sa.String(256), nullable=False),
        sa.Column("message_id", sa.String(256), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("flow", sa.String(4), nullable=False),
        sa.Column("request_journal_id", _JOURNAL_ID, nullable=False),
        sa.Column("reply_journal_id", _JOURNAL_ID, nullable=True),
        sa.Column("state", sa.String(11), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=True),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.Column("lease_holder", sa.String(128), nullable=False),
        sa.Column("correlation_id", sa.String(256), nullable=False),
        sa.Column("wire_message_id", sa.String(256), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_inbox"),
        sa.CheckConstraint("flow IN ('sync', 'push', 'poll')", name="ck_inbox_flow"),
        sa.CheckConstraint("state IN ('received', 'working', 'done', 'quarantined')", name="ck_inbox_state"),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])
    op.create_index(
        "ix_inbox_due_at",
        "inbox",
        ["due_at"],
        postgresql_where=sa.text("state <> 'done'"),
        sqlite_where=sa.text("state <> 'done'"),
    )
    op.create_table(
        "quota",
        sa.Column("sender", sa.String(256), nullable=False),
        sa.Column("period", sa.String(6), nullable=False),
        sa.Column("starts_at", _MOMENT, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "period", "starts_at", name="pk_quota"),
        sa.CheckConstraint("period IN ('minute', 'day')", name="ck_quota_period"),
    )
