"""Schedules and their runs."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "schedule_run",
        sa.Column("job", sa.String(128), nullable=False),
        sa.Column("scheduled_at", _MOMENT, nullable=False),
        sa.Column("origin", sa.String(8), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("stands_for", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.CheckConstraint("origin IN ('schedule', 'hand')", name="ck_schedule_run_origin"),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed', 'skipped')", name="ck_schedule_run_state"
        ),
        sa.CheckConstraint(
            "(state = 'running') = (leased_until IS NOT NULL)", name="ck_schedule_run_leased_while_running"
        ),
        sa.PrimaryKeyConstraint("job", "scheduled_at", "origin", name="pk_schedule_run"),
    )
    op.create_index("ix_schedule_run_state", "schedule_run", ["state", "scheduled_at"])
