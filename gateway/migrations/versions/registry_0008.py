"""Lists that come in parts, who declared a failure, and what was erased."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("technical_failure", sa.Column("declared_by", sa.String(256), nullable=True))
    op.create_table(
        "incoming_list",
        sa.Column("sender", sa.String(64), nullable=False),
        sa.Column("list_id", sa.String(64), nullable=False),
        sa.Column("feed", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("made_on", sa.Date(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("first_at", _MOMENT, nullable=False),
        sa.Column("completed_at", _MOMENT, nullable=True),
        sa.Column("import_id", sa.Integer(), nullable=True),
        sa.Column("problem", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sender", "list_id", name="pk_incoming_list"),
    )
    op.create_index("ix_incoming_list_state", "incoming_list", ["state", "completed_at"])
    op.create_table(
        "list_part",
        sa.Column("sender", sa.String(64), nullable=False),
        sa.Column("list_id", sa.String(64), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("lines_zlib", sa.LargeBinary(), nullable=True),
        sa.Column("message_id", sa.String(256), nullable=False),
        sa.Column("signer_subject", sa.Text(), nullable=False),
        sa.Column("signer_serial", sa.String(64), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("sender", "list_id", "part", name="pk_list_part"),
        sa.ForeignKeyConstraint(
            ["sender", "list_id"],
            ["incoming_list.sender", "incoming_list.list_id"],
            name="fk_list_part_sender_list_id",
        ),
    )
    op.create_table(
        "forgotten",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("forgotten_by", sa.String(256), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten"),
    )
