"""The engine, the one metadata, migrations. SQLite (WAL) is the embedded default, PostgreSQL the production store.

Rooms define their tables on `metadata`; the schema itself is made by gateway/migrations, never by `create_all`.
"""

from __future__ import annotations

import datetime as dt
import json
import select
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    any_,
    create_engine,
    event,
    insert,
    literal,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.types import TypeDecorator

from gateway import prepared
from gateway.errors import ConfigurationError, StoreError

#: every constraint has a name that is the same on both stores; CHECK constraints are named where they are written
metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: key of `Table.info`: migrations put rows into it, which mean nothing while every other table is empty
SEEDED: Final = "seeded"

_MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
#: pg_advisory_xact_lock: only one program of the fleet migrates at a time; the others wait and find nothing to do
_MIGRATION_LOCK: Final = 0x53484550
_BUSY_TIMEOUT_MS: Final = 10_000
_CONNECT_TIMEOUT_S: Final = 10
_READ_ONLY: Final = "gateway_read_only"


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment, always timezone-aware: written as UTC, read back as UTC. A naive value is a programming error."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without time zone cannot be stored")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        if value is None:
            return None
        # SQLite keeps no time zone; PostgreSQL answers in that of the session
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def engine_for(url: str, *, password: str | None = None) -> Engine:
    """An engine for `sqlite:///file` or `postgresql://host/name`. Opens no connection.

    `password` replaces the one in the URL. Raises ConfigurationError (key database.url).
    Statement parameters never appear in its errors or logs: they hold IINs.
    """
    parsed = _parsed(url, password)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        # the driver prepares nothing by itself, or it would remove everything prepared, ours too, after a ROLLBACK or a
        # DROP (docs/decisions/0073)
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": "-c timezone=UTC",
            "prepare_threshold": None,
        },
    )
    ask = engine.dialect.do_ping

    def is_open(dbapi_connection: Any) -> bool:
        # a server that stopped has closed its end, which is seen without a statement
        return _is_quiet(dbapi_connection) or ask(dbapi_connection)

    engine.dialect.do_ping = is_open  # type: ignore[method-assign]
    return engine


def _is_quiet(connection: Any) -> bool:
    """Whether nothing came on a connection that nobody uses: neither its end nor a word of the server."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def is_sqlite(url: str) -> bool:
    """Whether a URL names the store that is for one process only. Raises ConfigurationError (key database.url)."""
    return _parsed(url, None).get_backend_name() == "sqlite"


def _parsed(url: str, password: str | None) -> URL:
    wanted = "write sqlite:///path/to/file.sqlite or postgresql://user@host/name"
    try:
        parsed = make_url(url)
    except ArgumentError:
        # the text is not repeated: it may hold a password
        raise ConfigurationError(f"this is not a database URL; {wanted}", key="database.url") from None
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
        return parsed if password is None else parsed.set(password=password)
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if parsed.database in {None, "", ":memory:"}:
            raise ConfigurationError(
                f"a database in memory would forget every exchange when the program ends; {wanted}", key="database.url"
            )
        return parsed
    raise ConfigurationError(f"{parsed.drivername} is not a store of this program; {wanted}", key="database.url")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own notion of a transaction begins too late (at the first write); ours begins in _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    if cursor.execute("PRAGMA page_count").fetchone() == (0,):
        # a new file: what the journal's retention frees goes back to the disk
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    _use_wal(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    # SQLite does not wait here as it does elsewhere: two programs that open a new file at once both want it alone,
    # and the second is told "database is locked" whatever its busy timeout is
    deadline_s = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" whenever another one wrote
    # in between, and no timeout helps. So whoever may write takes the write lock at the start, where waiting works.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that may write: committed at the end, rolled back on an error.

    Raises StoreError when the store cannot be used. IntegrityError passes: only the caller knows what a clash means.
    """
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads; on SQLite it waits for nobody. Raises StoreError."""
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    with _translated(), engine.connect() as plain:
        connection = plain.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except PoolTimeoutError as error:
        raise StoreError("every connection to the database is in use: more is asked than it can do") from error
    except DBAPIError as error:
        raise StoreError(
            f"the database refused ({type(error.orig).__name__}); see that it runs, is reachable, has room "
            "and may be written, then run `gateway doctor`"
        ) from error


def one_of(connection: Connection, column: Column[str], texts: Collection[str]) -> ColumnElement[bool]:
    """Whether a column holds one of the texts. On PostgreSQL one parameter, however many they are: one plan."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(texts), ARRAY(column.type)))
    return column.in_(texts)


def as_records(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the one parameter of a statement over jsonb_to_recordset: one text and one plan, however many they are.

    For PostgreSQL. Values are texts, numbers, None, or moments with a time zone.
    """
    return json.dumps(list(rows), ensure_ascii=False, default=_moment)


def _moment(value: object) -> str:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is nothing that a record can hold")


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write whole rows, all of their columns given, in one statement."""
    if connection.dialect.name == "postgresql":
        _insert_records(table).run(connection, as_records(rows))
    else:
        connection.execute(insert(table), list(rows))


@cache
def _insert_records(table: Table) -> prepared.Prepared:
    columns = ", ".join(table.columns.keys())
    return prepared.Prepared(
        f"{table.name}_insert",
        f"INSERT INTO {table.name} ({columns}) "  # noqa: S608 - made of names of our own
        f"SELECT {columns} FROM jsonb_populate_recordset(NULL::{table.name}, $1::jsonb)",
    )


# ---------------------------------------------------------------- migrations


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return configuration


def expected_revision() -> str:
    """The revision that this program was written for."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    if head is None:
        raise StoreError("the installation has no migrations; install shep-gateway again")
    return head


def current_revision(engine: Engine) -> str | None:
    """The revision that the database is at; None when it holds nothing of ours. Raises StoreError."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> str:
    """Bring the schema to what this program expects, in one transaction; nothing happens when it already is.

    Returns the revision. Raises StoreError, also when the database was made by a newer program.
    """
    configuration = _configuration()
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        configuration.attributes["connection"] = connection
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise StoreError(
                "the database was made by another version of this program; install that version or restore a backup"
            ) from error
    return expected_revision()


def check_revision(engine: Engine) -> None:
    """Raises StoreError when the schema is not the one this program was written for."""
    current, expected = current_revision(engine), expected_revision()
    if current != expected:
        raise StoreError(
            f"the database is at revision {current or 'none'} and this program needs {expected}: "
            "run `gateway db upgrade`",
            code="not_migrated",
        )
