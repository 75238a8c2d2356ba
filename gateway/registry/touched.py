"""Of whom something was heard since their cached standing was computed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, case, literal, true
from sqlalchemy.dialects import postgresql, sqlite

from gateway.registry.tables import STANDING_TOUCHED


def touch(connection: Connection, iins: Iterable[str], at: dt.datetime) -> None:
    """Mark these people in the caller's transaction, so that `registry due` computes them again."""
    touch_each(connection, dict.fromkeys(iins, at))


def touch_each(connection: Connection, moments: Mapping[str, dt.datetime]) -> None:
    """The same, each person with a moment of his own."""
    # in one order, or two transactions would wait for each other
    rows = [{"iin": iin, "touched_at": moments[iin]} for iin in sorted(moments)]
    if rows:
        connection.execute(_upsert(_insert(connection)), rows)


def touch_selected(connection: Connection, iins: Select[Any], at: dt.datetime) -> None:
    """The same for a query that gives the numbers of people."""
    # ON CONFLICT after a SELECT needs a WHERE clause, or SQLite takes it for a join. In the order of the key, or twenty
    # million rows find their places in the index one by one
    moment = literal(at, STANDING_TOUCHED.c.touched_at.type)
    chosen = iins.add_columns(moment).where(true()).order_by(iins.selected_columns[0])
    connection.execute(_upsert(_insert(connection).from_select(["iin", "touched_at"], chosen)))


def _insert(connection: Connection) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(STANDING_TOUCHED)


def _upsert(statement: Any) -> Any:
    # written again and not left alone: the lock on the row keeps a computation that has not seen our facts from
    # taking the mark away; and the later moment stays, for one that knows less than that may not take it either
    later = case(
        (STANDING_TOUCHED.c.touched_at > statement.excluded.touched_at, STANDING_TOUCHED.c.touched_at),
        else_=statement.excluded.touched_at,
    )
    return statement.on_conflict_do_update(index_elements=["iin"], set_={"touched_at": later})
