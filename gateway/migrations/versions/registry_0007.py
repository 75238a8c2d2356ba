"""Lists, payments and submissions taken in by files; the cached standing and what touched it."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "import",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("feed", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("evidence", sa.String(256), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("snapshot_digest", sa.String(64), nullable=True),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("lines_read", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.Column("unchanged", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("absent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_import"),
    )
    op.create_index("ix_import_feed_id", "import", ["feed", "id"])
    op.create_table(
        "refused_line",
        sa.Column("import_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("message", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "line", "code", name="pk_refused_line"),
        sa.ForeignKeyConstraint(["import_id"], ["import.id"], name="fk_refused_line_import_id"),
    )
    _facts()
    _standing()


def _facts() -> None:
    op.create_table(
        "category_record",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("assigned_date", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("assigned_source", sa.String(64), nullable=False),
        sa.Column("removed_date", sa.Date(), nullable=True),
        sa.Column("removed_source", sa.String(64), nullable=True),
        sa.Column("removed_reason", sa.String(500), nullable=True),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "category", "assigned_date", "version", name="pk_category_record"),
    )
    op.create_table(
        "payment",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("period", sa.Date(), nullable=False),
        sa.Column("reference", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("full_name", sa.String(500), nullable=False),
        sa.Column("payer_bin", sa.String(12), nullable=True),
        sa.Column("payer_name", sa.String(500), nullable=False),
        sa.Column("received_date", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(16, 2), nullable=False),
        sa.Column("purpose_code", sa.String(16), nullable=False),
        sa.Column("payer_type", sa.String(16), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "period", "reference", "version", name="pk_payment"),
    )
    op.create_table(
        "military_event",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("body", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("listed_as", sa.String(8), nullable=False),
        sa.Column("reserve_combat_training", sa.Boolean(), nullable=False),
        sa.Column("changed_on", sa.Date(), nullable=True),
        sa.Column("arrived_on", sa.Date(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "body", "version", name="pk_military_event"),
    )
    op.create_table(
        "treaty_interval",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_day_off", sa.Date(), nullable=True),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "first_day", "version", name="pk_treaty_interval"),
    )
    op.create_table(
        "provisional_entry",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("applied", sa.Date(), nullable=False),
        sa.Column("documents", sa.String(500), nullable=True),
        sa.Column("evidence", sa.String(256), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", "category", "applied", name="pk_provisional_entry"),
    )
    op.create_table(
        "state_stop",
        sa.Column("budget", sa.String(16), nullable=False),
        sa.Column("start", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("resumed", sa.Date(), nullable=True),
        sa.Column("evidence", sa.String(256), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("budget", "start", "version", name="pk_state_stop"),
    )
    op.create_table(
        "technical_failure",
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("start", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fixed", sa.Date(), nullable=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("evidence", sa.String(256), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("system", "start", "version", name="pk_technical_failure"),
    )


def _standing() -> None:
    op.create_table(
        "standing_grounds",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("readings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_standing_grounds"),
    )
    op.create_table(
        "standing",
        sa.Column("iin", sa.String(12), nullable=False),
        *_answer_columns(),
        sa.Column("next_change", sa.Date(), nullable=True),
        sa.Column("look_again", sa.Date(), nullable=True),
        sa.Column("looked_on", sa.Date(), nullable=False),
        sa.Column("looked_at", _MOMENT, nullable=False),
        sa.Column("grounds", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("iin", name="pk_standing"),
    )
    op.create_index(
        "ix_standing_look_again",
        "standing",
        ["look_again", "iin"],
        sqlite_where=sa.text("look_again IS NOT NULL"),
        postgresql_where=sa.text("look_again IS NOT NULL"),
    )
    op.create_table(
        "standing_before",
        sa.Column("iin", sa.String(12), nullable=False),
        *_answer_columns(),
        sa.PrimaryKeyConstraint("iin", "as_of", "known_at", name="pk_standing_before"),
    )
    op.create_table(
        "standing_touched",
        sa.Column("iin", sa.String(12), nullable=False),
        sa.Column("touched_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("iin", name="pk_standing_touched"),
    )


def _answer_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("known_at", _MOMENT, nullable=False),
        sa.Column("insured", sa.Boolean(), nullable=False),
        sa.Column("basis", sa.String(32), nullable=False),
        sa.Column("category", sa.String(64), nullable=True),
        sa.Column("budget", sa.String(16), nullable=True),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("law", sa.String(16), nullable=False),
    )
