"""Statements of a fixed text that run for every group of messages, on either store.

On PostgreSQL the text is made once and libpq sends it (gateway.prepared); on SQLite it goes by SQLAlchemy, which finds
it made. Meant for columns whose values the driver reads as SQLAlchemy does: texts, numbers, dates, moments, JSON.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    String,
    Update,
    any_,
    bindparam,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.dml import ReturningUpdate

from gateway.prepared import Parameter, Prepared, text_array

Statement: TypeAlias = Select[Any] | CompoundSelect[Any] | Update | ReturningUpdate[Any]
Value: TypeAlias = str | int | dt.date | dt.datetime | Sequence[str]


class FixedStatement:
    """A statement with named parameters. `name` is its own among those of gateway.prepared."""

    def __init__(self, name: str, make: Callable[[bool], Statement]) -> None:
        """`make(on_postgresql)` is called once for each store, when the statement is first run there."""
        self._name = name
        self._make = make

    def run(self, connection: Connection, **values: Value) -> Iterable[Sequence[Any]]:
        """Its rows. Moments have a time zone. Raises what `Connection.execute` raises."""
        if connection.dialect.name != "postgresql":
            result = connection.execute(self._on_sqlite, values)
            return result if result.returns_rows else ()
        prepared, parameters = self._on_postgresql
        return prepared.run(
            connection,
            *[_parameter(values[name]) if constant is None else constant for name, constant in parameters.items()],
        )

    @cached_property
    def _on_sqlite(self) -> Statement:
        return self._make(False)

    @cached_property
    def _on_postgresql(self) -> tuple[Prepared, dict[str, Parameter]]:
        """The statement, and its parameters in order: what is the same every time, and None for what is given."""
        compiled: Any = self._make(True).compile(dialect=PGDialect_psycopg())  # type: ignore[no-untyped-call]
        numbered = {name: f"${number}" for number, name in enumerate(compiled.params, 1)}
        constants = {name: None if one is None else _parameter(one) for name, one in compiled.params.items()}
        return Prepared(self._name, str(compiled) % numbered), constants


def is_among(on_postgresql: bool, column: Column[str], parameter: str) -> ColumnElement[bool]:
    """That the column holds one of the texts of a parameter: the statement is the same however many they are."""
    if on_postgresql:
        return column == any_(bindparam(parameter, type_=ARRAY(String())))
    return column.in_(bindparam(parameter, expanding=True))


def _parameter(value: Value) -> Parameter:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        raise ValueError("a moment without time zone cannot be compared")
    if isinstance(value, dt.date):
        return value.isoformat()
    return text_array(value)
