"""Stored bodies in queries: each with the one by which it is compressed, and those that others rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, select, update

from gateway.exchange.journal.bodies import BodySeal, StoredBody, compress
from gateway.exchange.tables import JOURNAL, JOURNAL_BODY

#: how far behind its base a body may lie, in rows
REACH: Final = 1_000

_BASE: Final = JOURNAL_BODY.alias("base_body")

#: what `stored_body` reads, of a query on JOURNAL_AND_BODY
BODY_COLUMNS: Final[tuple[ColumnElement[Any], ...]] = (
    JOURNAL_BODY.c.journal_id.label("body_id"),
    JOURNAL_BODY.c.sealed_with,
    JOURNAL_BODY.c.content,
    JOURNAL_BODY.c.base_id,
    _BASE.c.sealed_with.label("base_sealed_with"),
    _BASE.c.content.label("base_content"),
    _BASE.c.base_id.label("base_base_id"),
)


def and_body(rows: FromClause) -> FromClause:
    """`rows`, JOURNAL joined to whatever else, with the body of each where there is one."""
    return rows.outerjoin(JOURNAL_BODY, JOURNAL_BODY.c.journal_id == JOURNAL.c.id).outerjoin(
        _BASE, _BASE.c.journal_id == JOURNAL_BODY.c.base_id
    )


def stored_body(row: Mapping[Any, Any]) -> StoredBody | None:
    """The body in a row with BODY_COLUMNS; None: it is not kept (any more)."""
    if row["body_id"] is None:
        return None
    base = None
    if row["base_content"] is not None:
        base = StoredBody(row["base_id"], row["base_sealed_with"], row["base_content"], row["base_base_id"])
    return StoredBody(row["body_id"], row["sealed_with"], row["content"], row["base_id"], base)


def detach(connection: Connection, seal: BodySeal, rests_on_what_goes: ColumnElement[bool]) -> None:
    """Store anew, each by itself, the bodies whose base is about to be taken away: those of that condition.

    Raises StoreError as `BodySeal.open`; nothing may be taken away then.
    """
    query = select(JOURNAL.c.body_sha256, *BODY_COLUMNS).select_from(and_body(JOURNAL)).where(rests_on_what_goes)
    for row in connection.execute(query).mappings().all():
        stored = stored_body(row)
        if stored is None:  # pragma: no cover - the condition is about bodies
            continue
        content = seal.close(stored.id, compress(seal.open(stored, row["body_sha256"])))
        connection.execute(
            update(JOURNAL_BODY)
            .where(JOURNAL_BODY.c.journal_id == stored.id)
            .values(sealed_with=seal.active, content=content, base_id=None)
        )
