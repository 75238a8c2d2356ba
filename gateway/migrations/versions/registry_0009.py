"""Who declared a stop of the state's contributions, and why; answers that were given as if everybody were a citizen."""

from __future__ import annotations

import datetime as dt
from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    op.add_column("state_stop", sa.Column("reason", sa.String(500), nullable=True))
    op.add_column("state_stop", sa.Column("declared_by", sa.String(256), nullable=True))
    _touch_who_is_no_citizen()


def _touch_who_is_no_citizen() -> None:
    """Cached answers about them rest on a residency that nobody told; the next `registry due` computes them again."""
    connection = op.get_bind()
    code = "attributes ->> 'citizenship_code'"
    if connection.dialect.name != "postgresql":
        code = "json_extract(attributes, '$.citizenship_code')"
    statement = sa.text(
        "INSERT INTO standing_touched (iin, touched_at) SELECT iin, :now FROM ("  # noqa: S608 - our own words
        "SELECT iin FROM treaty_interval UNION "
        f"SELECT iin FROM fact WHERE system = 'gbdfl' AND kind = 'person' AND coalesce({code}, '398') <> '398'"
        ") AS people WHERE iin NOT IN (SELECT iin FROM standing_touched)"
    ).bindparams(sa.bindparam("now", dt.datetime.now(dt.UTC), sa.DateTime(timezone=True)))
    connection.execute(statement)
