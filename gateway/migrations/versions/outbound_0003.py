"""What we send: leases, attempts, ids of the gateway, circuits.

Rows of before are kept. What was surely not sent is closed: nobody retried it then, the person stayed due, and a
program that is upgraded does not begin to send old questions by itself. What may have arrived stays unknown, for a
person to look at.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"
branch_labels: Final = None
depends_on: Final = None

_MOMENT: Final = sa.DateTime(timezone=True)
_ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STATES: Final = (
    "'waiting', 'asked', 'acknowledged', 'answered', 'unknown', 'refused', 'quarantined', 'settled', 'dropped'"
)


def upgrade() -> None:
    # SQLite cannot change a table's constraints: on both stores the table is made anew and its rows are copied back
    op.execute("CREATE TABLE exchange_0001 AS SELECT * FROM exchange")
    op.drop_table("exchange")
    op.create_table(
        "exchange",
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("message_type", sa.String(16), nullable=False),
        sa.Column("system", sa.String(64), nullable=False),
        sa.Column("service_id", sa.String(256), nullable=False),
        sa.Column("subject", sa.String(12), nullable=True),
        sa.Column("business_key", sa.String(200), nullable=False),
        sa.Column("wire_message_id", sa.String(256), nullable=False),
        sa.Column("correlation_id", sa.String(256), nullable=False),
        sa.Column("session_id", sa.String(256), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=True),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.Column("lease_holder", sa.String(100), nullable=False),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("acknowledged_at", _MOMENT, nullable=True),
        sa.Column("answer_due_at", _MOMENT, nullable=True),
        sa.Column("answered_at", _MOMENT, nullable=True),
        sa.Column("request_journal_id", _ROW_ID, nullable=False),
        sa.Column("reply_journal_id", _ROW_ID, nullable=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_exchange"),
        sa.CheckConstraint("channel IN ('sync', 'async')", name="ck_exchange_channel"),
        sa.CheckConstraint(f"state IN ({_STATES})", name="ck_exchange_state"),
        sa.CheckConstraint("(state = 'asked') = (leased_until IS NOT NULL)", name="ck_exchange_asked_is_leased"),
    )
    op.execute(
        """
        INSERT INTO exchange (
            message_id, channel, message_type, system, service_id, subject, business_key, wire_message_id,
            correlation_id, session_id, state, outcome, code, priority, attempts, due_at, leased_until, lease_holder,
            asked_at, acknowledged_at, answer_due_at, answered_at, request_journal_id, reply_journal_id, reason)
        SELECT
            message_id, 'sync', '', system, service_id, subject, '', '', '', '',
            CASE state WHEN 'asked' THEN 'unknown' WHEN 'unreachable' THEN 'dropped' ELSE state END,
            outcome, CASE state WHEN 'asked' THEN 'lease_ended' ELSE code END, 100, 1, NULL, NULL, '',
            asked_at, NULL, NULL, answered_at, request_journal_id, reply_journal_id,
            CASE state WHEN 'unreachable' THEN 'surely not sent, and of a time before the program retried' ELSE '' END
        FROM exchange_0001
        """
    )
    op.execute("DROP TABLE exchange_0001")
    op.create_index("ix_exchange_state_asked_at", "exchange", ["state", "asked_at"])
    op.create_index("ix_exchange_subject_system", "exchange", ["subject", "system", "answered_at"])
    _partial_index("ix_exchange_due", "exchange", ["priority", "due_at"], "due_at IS NOT NULL")
    _partial_index("ix_exchange_leased", "exchange", ["leased_until"], "leased_until IS NOT NULL")
    _partial_index("ix_exchange_answer_due", "exchange", ["answer_due_at"], "answer_due_at IS NOT NULL")
    _partial_index("ix_exchange_wire_message_id", "exchange", ["wire_message_id"], "wire_message_id <> ''")
    _partial_index("ix_exchange_correlation", "exchange", ["correlation_id"], "correlation_id <> ''")
    _partial_index("ix_exchange_business_key", "exchange", ["system", "business_key"], "business_key <> ''")

    op.add_column("due", sa.Column("lease_holder", sa.String(100), nullable=False, server_default=""))
    op.add_column("due", sa.Column("message_id", sa.String(64), nullable=True))
    op.drop_index("ix_due_due_at", "due")
    _partial_index("ix_due_due_at", "due", ["due_at"], "message_id IS NULL")

    op.create_table(
        "circuit",
        sa.Column("service_id", sa.String(256), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("open_until", _MOMENT, nullable=True),
        sa.Column("next_slot_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("service_id", name="pk_circuit"),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
