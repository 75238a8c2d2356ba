"""Backup, restore and move: everything arrives as it was, in either store, or nothing does."""

from __future__ import annotations

import datetime as dt
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, Table, func, insert, select, text

from gateway import backup as archive
from gateway import database
from gateway.backup import backup, contents, move, restore
from gateway.database import SEEDED, engine_for, metadata, reading, upgrade, writing
from gateway.errors import GatewayError, MalformedMessage, StoreError
from gateway.exchange.tables import EVIDENCE
from gateway.registry.tables import FACT, FORGOTTEN, IMPORT, PAYMENT, REFUSED_LINE

AT = dt.datetime(2026, 3, 1, 7, 30, 15, 123456, tzinfo=dt.UTC)


def fact(number: int) -> dict[str, object]:
    return {
        "iin": f"{number:012}",
        "system": "gbdfl",
        "kind": "birth",
        "key": 'Ұлы Дала; "1"\\\n',
        "version": 1,
        "present": number % 2 == 0,
        "valid_from": dt.date(1999, 12, 31),
        "valid_to": None,
        "attributes": {"б": [1, None, True, {"z": 1.5, "a": "ә"}], "a": None},
        "message_id": "m",
        "signer_subject": "CN=Үлгі\t\\N",
        "signer_serial": "0f",
        "received_at": AT,
    }


def fill(engine: Engine, facts: int = 3) -> None:
    """Every kind of column that the tables have, and rows that name other rows."""
    with writing(engine) as connection:
        connection.execute(insert(FACT), [fact(number) for number in range(facts)])
        imported = {
            "feed": "payments",
            "scope": "changes",
            "evidence": "a.csv",
            "digest": "0",
            "received_at": AT,
            **dict.fromkeys(("lines_read", "applied", "unchanged", "refused", "absent"), 2**40),
        }
        connection.execute(insert(IMPORT), [{"id": 7, **imported}, {"id": 9, **imported}])
        connection.execute(insert(REFUSED_LINE), {"import_id": 9, "line": 1, "code": "x", "message": "y"})
        connection.execute(
            insert(PAYMENT),
            {
                "iin": "1",
                "period": dt.date(2026, 1, 1),
                "reference": "r",
                "version": 1,
                "full_name": "",
                "payer_name": "n",
                "received_date": dt.date(2026, 1, 5),
                "amount": Decimal("12345678901234.50"),
                "purpose_code": "1",
                "payer_type": "general",
                "withdrawn": False,
                "import_id": 7,
                "received_at": AT,
            },
        )
        more = {"kind": "ocsp", "source": "s", "as_of": AT} if "as_of" in EVIDENCE.c else {}
        connection.execute(insert(EVIDENCE), {"sha256": "00", "content": bytes(range(256)), **more})


def stored(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """All rows, not by the digests of the program."""
    with reading(engine) as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def is_empty(engine: Engine) -> bool:
    """Nothing is there but what migrations put there."""
    return not any(rows for name, rows in stored(engine).items() if not metadata.tables[name].info.get(SEEDED))


@pytest.fixture
def other(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Engine]:
    """An empty database of the other store, without any schema."""
    if database_url.startswith("sqlite"):
        url = str(request.getfixturevalue("postgresql_url"))
    else:
        url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    engine = engine_for(url)
    yield engine
    engine.dispose()


@pytest.fixture
def same(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database beside."""
    engine = engine_for(f"sqlite:///{tmp_path / 'same.sqlite'}")
    yield engine
    engine.dispose()


def test_a_backup_restored_in_the_other_store_is_the_same_database(
    engine: Engine, other: Engine, tmp_path: Path
) -> None:
    fill(engine)
    file = tmp_path / "all.zip"
    written = backup(engine, file, at=AT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert restore(other, file, verify=True) == written
    assert stored(other) == stored(engine)
    assert contents(other) == contents(engine) == written


def test_the_file_says_what_it_holds(engine: Engine, tmp_path: Path) -> None:
    fill(engine)
    backup(engine, tmp_path / "all.zip", at=AT)
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        manifest = json.loads(file.read("manifest.json"))
        rows = [json.loads(line) for line in file.read("tables/payment.ndjson").splitlines()]
    assert (manifest["format"], manifest["revision"]) == (1, database.expected_revision())
    (table,) = (one for one in manifest["tables"] if one["name"] == "payment")
    assert table["rows"] == 1
    assert dict(zip(table["columns"], rows[0], strict=True))["amount"] == "12345678901234.50"


def test_a_move_brings_everything_to_the_other_store_and_back(engine: Engine, other: Engine, tmp_path: Path) -> None:
    fill(engine)
    move(engine, other, verify=True)
    assert stored(other) == stored(engine)
    again = engine_for(f"sqlite:///{tmp_path / 'again.sqlite'}")
    move(other, again, verify=True)
    assert stored(again) == stored(engine)
    again.dispose()


def test_numbers_that_the_store_gives_go_on_after_a_move(engine: Engine, other: Engine) -> None:
    fill(engine)
    move(engine, other)
    with writing(other) as connection:
        first = connection.execute(select(IMPORT).limit(1)).mappings().one()
        row = {name: value for name, value in first.items() if name != "id"}
        assert connection.execute(insert(IMPORT), row).inserted_primary_key == (10,)


@pytest.mark.parametrize("how", ["restore", "move"])
def test_a_database_that_is_not_empty_is_left_alone(engine: Engine, same: Engine, tmp_path: Path, how: str) -> None:
    fill(engine)
    upgrade(same)
    with writing(same) as connection:
        connection.execute(insert(FACT), fact(99))
    before = stored(same)
    backup(engine, tmp_path / "all.zip", at=AT)
    with pytest.raises(StoreError, match="not empty"):
        restore(same, tmp_path / "all.zip") if how == "restore" else move(engine, same)
    assert stored(same) == before


def test_no_file_is_overwritten_and_none_is_left_half_written(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there.zip"
    there.write_bytes(b"mine")
    with pytest.raises(StoreError, match="there is such a file"):
        backup(engine, there, at=AT)
    assert there.read_bytes() == b"mine"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_write_table", full)
    with pytest.raises(StoreError, match="No space left"):
        backup(engine, tmp_path / "new.zip", at=AT)
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == ["there.zip"]


def rewrite(file: Path, name: str, change: object) -> None:
    """The archive again, with one member changed (a function of its bytes) or left out (None)."""
    with zipfile.ZipFile(file) as old:
        members = {one: old.read(one) for one in old.namelist()}
    with zipfile.ZipFile(file, "w") as new:
        for one, data in members.items():
            if one != name:
                new.writestr(one, data)
            elif callable(change):
                new.writestr(one, change(data))


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("tables/fact.ndjson", lambda data: data.replace(b"1999", b"1998"), "backup_damaged"),
        ("tables/fact.ndjson", lambda data: data.rpartition(b"\n[")[0] + b"\n", "backup_damaged"),
        ("tables/fact.ndjson", lambda data: data + b"nonsense\n", "backup_damaged"),
        ("tables/fact.ndjson", lambda data: data.replace(b'"gbdfl"', b"12"), "backup_damaged"),
        ("tables/fact.ndjson", None, "backup_damaged"),
        ("manifest.json", None, "backup_damaged"),
        ("manifest.json", lambda data: data.replace(b'"fact"', b'"fiction"'), "backup_damaged"),
        ("manifest.json", lambda data: data.replace(b'"format": 1', b'"format": 2'), "other_revision"),
        ("manifest.json", lambda data: data.replace(b'"revision": "', b'"revision": "9'), "other_revision"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_restores_nothing(
    engine: Engine, same: Engine, tmp_path: Path, name: str, change: object, code: str
) -> None:
    fill(engine)
    file = tmp_path / "all.zip"
    backup(engine, file, at=AT)
    rewrite(file, name, change)
    upgrade(same)
    with pytest.raises(GatewayError) as refused:
        restore(same, file)
    assert refused.value.code == code
    assert is_empty(same)


def test_what_is_no_archive_or_not_there_is_named(same: Engine, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(MalformedMessage, match="zip archive"):
        restore(same, tmp_path / "text")
    with pytest.raises(StoreError, match="cannot be read"):
        restore(same, tmp_path / "nowhere")


def test_a_copy_that_reads_back_differently_is_not_kept(
    engine: Engine, other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)
    upgrade(other)
    plain = archive._load

    def forgetful(connection: Connection, table: Table, *rest: object) -> None:
        plain(connection, table, *rest)  # type: ignore[arg-type]
        if table is FACT:
            connection.execute(FACT.delete().where(FACT.c.iin == f"{1:012}"))

    monkeypatch.setattr(archive, "_load", forgetful)
    with pytest.raises(StoreError, match="fact") as refused:
        move(engine, other, verify=True)
    assert refused.value.code == "verification"
    assert is_empty(other)


def test_a_table_that_the_program_does_not_know_is_not_silently_left_out(engine: Engine, tmp_path: Path) -> None:
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE stranger (id INTEGER)"))
    with pytest.raises(StoreError, match="stranger"):
        backup(engine, tmp_path / "all.zip", at=AT)


def test_what_is_written_during_a_backup_is_not_in_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)
    before = contents(engine)
    write_table = archive._write_table
    wrote: list[str] = []

    def meanwhile(file: zipfile.ZipFile, connection: Connection, table: Table, *rest: object) -> object:
        done = write_table(file, connection, table, *rest)  # type: ignore[arg-type]
        if not wrote:
            wrote.append(table.name)
            with writing(engine) as other_connection:
                other_connection.execute(insert(FACT), fact(50))
                row = {"at": AT, "reason": "r", "forgotten_by": "b", "rows": 1, "salt": "", "digest": ""}
                other_connection.execute(insert(FORGOTTEN), row)
        return done

    monkeypatch.setattr(archive, "_write_table", meanwhile)
    assert backup(engine, tmp_path / "all.zip", at=AT) == before


def test_a_large_table_is_moved_without_being_held(
    engine: Engine, other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_BATCH_ROWS", 100)
    fill(engine, facts=3_000)
    upgrade(other)
    tracemalloc.start()
    move(engine, other, verify=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # all rows at once would be ten times that
    assert peak < 2_000_000
    with reading(other) as connection:
        assert connection.execute(select(func.count()).select_from(FACT)).scalar_one() == 3_000
