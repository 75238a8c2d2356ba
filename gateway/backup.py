"""The whole database as one file, from a file, and from one store to the other. Docs: docs/how-to/backup-and-move.md.

All tables of `gateway.database.metadata` in the order of their foreign keys, from one consistent snapshot, some
thousand rows at a time. The file is a zip archive: `tables/NAME.ndjson`, each line one row as a JSON array in the order
of the columns that `manifest.json` names. Nothing in it depends on the store that it came from.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from psycopg.types.json import Jsonb
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Table,
    TypeDecorator,
    delete,
    func,
    insert,
    inspect,
    null,
    select,
    text,
)

from gateway import __version__, database
from gateway.database import metadata, reading, writing
from gateway.errors import MalformedMessage, StoreError

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_BATCH_ROWS: Final = 1_000
#: one row holds at most one message (2 MB), in base64
_MAX_LINE_BYTES: Final = 64 << 20
_MODULUS: Final = 1 << 256
_ALEMBIC: Final = "alembic_version"

Row: TypeAlias = Sequence[Any]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Table, rows done, rows in all (0: not known)."""


def no_progress(phase: str, done: int, total: int) -> None:
    """For those who do not look."""


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What is in a table, whatever its order: the sum of the SHA-256 of its rows."""

    rows: int
    digest: str


Contents: TypeAlias = Mapping[str, TableDigest]


class _Sum:
    """Adds rows up. Order does not matter, because the stores sort texts differently."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0

    def add(self, line: bytes) -> None:
        self._rows += 1
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(line).digest())) % _MODULUS

    def result(self) -> TableDigest:
        return TableDigest(self._rows, f"{self._sum:064x}")


# ---------------------------------------------------------------- the three things that are done


def backup(engine: Engine, file: Path, *, at: dt.datetime, progress: Progress = no_progress) -> Contents:
    """Write everything into `file`, which only its owner may read. It is there when it is whole.

    Raises StoreError, also when the file is there already.
    """
    if file.exists():
        raise StoreError(f"{file}: there is such a file; name another one, nothing is overwritten")
    database.check_revision(engine)
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        with _private(unfinished) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            with _snapshot(engine) as connection:
                _refuse_unknown_tables(connection)
                contents = {table.name: _write_table(archive, connection, table, progress) for table in _tables()}
            archive.writestr(_MANIFEST, json.dumps(_manifest(contents, at), indent=1))
        os.link(unfinished, file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return contents


def restore(engine: Engine, file: Path, *, verify: bool = False, progress: Progress = no_progress) -> Contents:
    """Fill an empty database, migrated or not, from a file of `backup`: all of it or nothing.

    `verify`: read everything back and compare. Raises StoreError (the database is not empty, the file is of another
    revision) and MalformedMessage (the file is not whole).
    """
    try:
        with zipfile.ZipFile(file) as archive:
            expected = _read_manifest(archive)
            _make_ready(engine)
            with writing(engine) as connection:
                _refuse_filled(connection)
                for table in _tables():
                    total = _Sum()
                    rows = _read_table(archive, table, total)
                    _load(connection, table, rows, progress, expected[table.name].rows)
                    if total.result() != expected[table.name]:
                        raise _damaged(f"table {table.name} is not as it was written")
                _reset_numbers(connection)
                if verify:
                    _compare(expected, _contents(connection, progress))
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _damaged("it is not a zip archive, or part of it is missing") from error
    return expected


def move(source: Engine, target: Engine, *, verify: bool = False, progress: Progress = no_progress) -> Contents:
    """Copy everything into an empty database of either store, without a file in between. The source stays as it is.

    Raises as `restore` does.
    """
    database.check_revision(source)
    _make_ready(target)
    copied: dict[str, TableDigest] = {}
    with _snapshot(source) as here, writing(target) as there:
        _refuse_unknown_tables(here)
        _refuse_filled(there)
        for table in _tables():
            total = _Sum()
            _load(there, table, _rows(here, table, total), progress, 0)
            copied[table.name] = total.result()
        _reset_numbers(there)
        if verify:
            _compare(copied, _contents(there, progress))
    return copied


def contents(engine: Engine, progress: Progress = no_progress) -> Contents:
    """What a database holds, to be compared with a file or with another database."""
    with _snapshot(engine) as connection:
        return _contents(connection, progress)


# ---------------------------------------------------------------- tables


def _tables() -> Sequence[Table]:
    """Parents before their children."""
    return metadata.sorted_tables


def _refuse_unknown_tables(connection: Connection) -> None:
    # what is not copied must not be missed later
    unknown = set(inspect(connection).get_table_names()) - {table.name for table in _tables()} - {_ALEMBIC}
    if unknown:
        raise StoreError(f"the database has tables that this program does not know: {', '.join(sorted(unknown))}")


def _make_ready(engine: Engine) -> None:
    if database.current_revision(engine) is None:
        database.upgrade(engine)
    database.check_revision(engine)


def _refuse_filled(connection: Connection) -> None:
    """What migrations put into an empty database makes room for what comes: it says nothing of its own."""
    seeded = [table for table in _tables() if table.info.get(database.SEEDED)]
    filled = [
        table.name
        for table in _tables()
        if table not in seeded and connection.execute(select(1).select_from(table).limit(1)).first()
    ]
    if filled:
        raise StoreError(f"the database is not empty ({', '.join(filled)}): name an empty one, nothing is overwritten")
    for table in seeded:
        connection.execute(delete(table))


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """One moment of the database, however long it is read and whoever writes meanwhile."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as connection:
        yield connection


def _reset_numbers(connection: Connection) -> None:
    """The next number that PostgreSQL gives comes after those that are there; SQLite looks for itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in _tables():
        column = table.autoincrement_column
        if column is None:
            continue
        highest = connection.execute(select(func.max(column))).scalar_one()
        if highest is not None:
            # NULL where the table has no sequence: then nothing happens
            statement = text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)")
            name = connection.dialect.identifier_preparer.quote(table.name)
            connection.execute(statement, {"table": name, "column": column.name, "highest": highest})


# ---------------------------------------------------------------- rows


def _rows(connection: Connection, table: Table, total: _Sum) -> Iterator[list[Any]]:
    """Every row, parents of the same table first: they have lower numbers."""
    query = select(table).order_by(*table.primary_key)
    for row in connection.execute(query, execution_options={"yield_per": _BATCH_ROWS}):
        values = list(row)
        total.add(line_of(values))
        yield values


def _contents(connection: Connection, progress: Progress) -> dict[str, TableDigest]:
    found = {}
    for table in _tables():
        total = _Sum()
        done = 0
        for done, _ in enumerate(_rows(connection, table, total), 1):
            if done % _BATCH_ROWS == 0:
                progress(f"verify {table.name}", done, 0)
        found[table.name] = total.result()
    return found


def _load(connection: Connection, table: Table, rows: Iterable[Row], progress: Progress, total: int) -> None:
    done = 0
    if connection.dialect.name == "postgresql":
        preparer = connection.dialect.identifier_preparer
        names = ", ".join(preparer.quote(name) for name in table.c.keys())  # noqa: SIM118
        jsons = [isinstance(column.type, JSON) for column in table.c]
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {preparer.quote(table.name)} ({names}) FROM STDIN") as copy,
        ):
            for done, row in enumerate(rows, 1):
                copy.write_row(
                    [
                        Jsonb(value) if is_json and value is not None else value
                        for is_json, value in zip(jsons, row, strict=True)
                    ]
                )
                if done % _BATCH_ROWS == 0:
                    progress(table.name, done, total)
    else:
        remaining = iter(rows)
        while batch := list(islice(remaining, _BATCH_ROWS)):
            connection.execute(insert(table), [_parameters(table, row) for row in batch])
            done += len(batch)
            progress(table.name, done, total)
    progress(table.name, done, total)


def _parameters(table: Table, row: Row) -> dict[str, Any]:
    return {
        column.name: null() if value is None and isinstance(column.type, JSON) else value
        for column, value in zip(table.c, row, strict=True)
    }


# ---------------------------------------------------------------- a row as a line


def line_of(row: Row) -> bytes:
    """A row as one line of JSON without its end; the same on both stores."""
    values = [_written(value) for value in row]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _written(value: Any) -> Any:
    match value:
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
        case dt.date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def _reader(column: Column[Any]) -> Callable[[Any], Any]:
    """Back from JSON; raises ValueError or TypeError for what was not written by us."""
    own = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(own, JSON):
        return lambda value: value
    wanted = own.python_type
    reader = _READERS.get(wanted)

    def read(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not (wanted if reader is None else str):
            raise ValueError(column.name)
        return value if reader is None else reader(value)

    return read


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


_READERS: Final[Mapping[type, Callable[[str], Any]]] = {
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    Decimal: Decimal,
    bytes: _base64,
}


# ---------------------------------------------------------------- the file


@contextmanager
def _private(file: Path) -> Iterator[Any]:
    """A new file that only we may read, on the disk when the block ends."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as raw:
        yield raw
        raw.flush()
        os.fsync(raw.fileno())


def _write_table(archive: zipfile.ZipFile, connection: Connection, table: Table, progress: Progress) -> TableDigest:
    total = _Sum()
    with archive.open(f"tables/{table.name}.ndjson", "w", force_zip64=True) as member:
        done = 0
        for done, row in enumerate(_rows(connection, table, total), 1):
            member.write(line_of(row) + b"\n")
            if done % _BATCH_ROWS == 0:
                progress(table.name, done, 0)
        progress(table.name, done, 0)
    return total.result()


def _read_table(archive: zipfile.ZipFile, table: Table, total: _Sum) -> Iterator[list[Any]]:
    readers = [_reader(column) for column in table.c]
    try:
        with archive.open(f"tables/{table.name}.ndjson") as member:
            while line := member.readline(_MAX_LINE_BYTES):
                values = json.loads(line)
                total.add(line.rstrip(b"\n"))
                yield [reader(value) for reader, value in zip(readers, values, strict=True)]
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(f"table {table.name} cannot be read") from error


def _manifest(contents: Contents, at: dt.datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "program": __version__,
        "revision": database.expected_revision(),
        "made_at": at.astimezone(dt.UTC).isoformat(),
        "tables": [
            {
                "name": table.name,
                "columns": table.c.keys(),
                "rows": contents[table.name].rows,
                "digest": contents[table.name].digest,
            }
            for table in _tables()
        ],
    }


def _read_manifest(archive: zipfile.ZipFile) -> Contents:
    try:
        manifest = json.loads(archive.read(_MANIFEST))
        written, revision = manifest["format"], manifest["revision"]
        tables = {one["name"]: (one["columns"], TableDigest(one["rows"], one["digest"])) for one in manifest["tables"]}
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged("it has no manifest of ours") from error
    expected = database.expected_revision()
    if written != FORMAT or revision != expected:
        raise StoreError(
            f"the file is of revision {revision} (format {written}) and this program of {expected} (format {FORMAT}): "
            "restore it with the version that made it, then run `gateway db upgrade` with this one",
            code="other_revision",
        )
    if {name: columns for name, (columns, _) in tables.items()} != {
        table.name: list(table.c.keys()) for table in _tables()
    }:
        raise _damaged("its tables are not those of its revision")
    return {name: digest for name, (_, digest) in tables.items()}


def _compare(expected: Contents, found: Contents) -> None:
    differing = [name for name, one in expected.items() if found[name] != one]
    if differing:
        raise StoreError(
            f"what was written is not what was read ({', '.join(differing)}); nothing was kept", code="verification"
        )


def _damaged(why: str) -> MalformedMessage:
    return MalformedMessage(f"the backup cannot be used: {why}; nothing was restored", code="backup_damaged")
