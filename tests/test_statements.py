"""Statements of a fixed text: the same rows on either store, in the values that the column types promise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    Connection,
    Date,
    Engine,
    Integer,
    String,
    Table,
    any_,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, StatementError

from gateway.database import UtcDateTime, metadata, reading, writing
from gateway.statements import FixedStatement
from tests.exchange.world import NOW

THING = Table(
    "thing",
    metadata.__class__(),
    Column("name", String(20), primary_key=True),
    Column("size", Integer(), nullable=False),
    Column("since", Date(), nullable=True),
    Column("at", UtcDateTime(), nullable=False),
    Column("more", JSON(), nullable=False),
)
FIND = FixedStatement(
    "test_things_found",
    lambda on_postgresql: (
        select(THING, func.coalesce(THING.c.since, dt.date(2000, 1, 1)), literal("50 % ‘of’ it"))
        .where(
            THING.c.name == any_(bindparam("names", type_=ARRAY(String())))
            if on_postgresql
            else THING.c.name.in_(bindparam("names", expanding=True)),
            THING.c.at <= bindparam("at", type_=UtcDateTime()),
        )
        .order_by(THING.c.name)
        .limit(bindparam("most", type_=Integer()))
    ),
)
GROW = FixedStatement(
    "test_things_grown",
    lambda _: update(THING).where(THING.c.name == bindparam("this")).values(size=THING.c.size + 1),
)
#: quotes and backslashes mean something in an array, and a percent sign in a statement
NAMES = ('"', "\\", "100 %", "Қ,{}", "%(at)s")


@pytest.fixture
def things(engine: Engine) -> Engine:
    with writing(engine) as connection:
        THING.metadata.create_all(connection)
        connection.execute(
            insert(THING),
            [
                {
                    "name": name,
                    "size": size,
                    "since": None if size else dt.date(2026, 1, 1),
                    "at": NOW,
                    "more": {"n": [size]},
                }
                for size, name in enumerate(NAMES)
            ],
        )
    return engine


def found(connection: Connection, names: Sequence[str], *, at: dt.datetime = NOW, most: int = 10) -> list[Any]:
    return [tuple(row) for row in FIND.run(connection, names=names, at=at, most=most)]


def test_rows_come_back_as_they_were_written(things: Engine) -> None:
    with reading(things) as connection:
        for size, name in enumerate(NAMES):
            since = None if size else dt.date(2026, 1, 1)
            (row,) = found(connection, [name])
            assert row[:5] == (name, size, since, NOW, {"n": [size]})
            assert row[3].utcoffset() == dt.timedelta(0)
            assert row[6] == "50 % ‘of’ it"
        assert len(found(connection, NAMES)) == len(NAMES)
        assert len(found(connection, NAMES, most=2)) == 2
        assert found(connection, []) == found(connection, ["nothing"]) == []
        assert found(connection, NAMES, at=NOW - dt.timedelta(microseconds=1)) == []
        elsewhere = NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))
        assert len(found(connection, NAMES, at=elsewhere)) == len(NAMES)


def test_what_changes_rows_answers_with_none(things: Engine) -> None:
    with writing(things) as connection:
        assert list(GROW.run(connection, this="100 %")) == []
    with reading(things) as connection:
        assert [row[1] for row in found(connection, ["100 %"])] == [3]


def test_a_value_that_is_not_given_or_has_no_zone_is_a_mistake_of_ours(things: Engine) -> None:
    with reading(things) as connection:
        with pytest.raises((KeyError, StatementError), match="most"):
            FIND.run(connection, names=["a"], at=NOW)
        with pytest.raises((ValueError, StatementError), match="without time zone"):
            found(connection, ["a"], at=NOW.replace(tzinfo=None))


def test_what_the_store_refuses_is_said_as_sqlalchemy_says_it(things: Engine) -> None:
    with writing(things) as connection:
        connection.execute(text("DROP TABLE thing"))
        with pytest.raises(DBAPIError):
            found(connection, ["a"])
