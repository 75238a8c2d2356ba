"""The engine and the migrations, on both stores."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

import gateway.exchange.tables
import gateway.registry.tables  # noqa: F401 - both rooms put their tables on the metadata
from gateway.database import (
    UtcDateTime,
    check_revision,
    current_revision,
    engine_for,
    expected_revision,
    metadata,
    reading,
    upgrade,
    writing,
)
from gateway.errors import ConfigurationError, StoreError

MOMENTS = Table("moments", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime()))


@contextmanager
def opened(url: str, **options: str) -> Iterator[Engine]:
    engine = engine_for(url, **options)
    try:
        yield engine
    finally:
        engine.dispose()


# ---------------------------------------------------------------- migrations


def test_migrations_make_exactly_the_tables_that_the_rooms_describe(engine: Engine) -> None:
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def _constraints(engine: Engine) -> dict[str, object]:
    """What compare_metadata does not look at."""
    looked = inspect(engine)
    return {
        table: (
            looked.get_pk_constraint(table),
            sorted((check["name"], check["sqltext"]) for check in looked.get_check_constraints(table)),
            sorted((str(key["name"]), key["constrained_columns"]) for key in looked.get_foreign_keys(table)),
            sorted((str(index["name"]), index["column_names"], index["unique"]) for index in looked.get_indexes(table)),
        )
        for table in sorted(looked.get_table_names())
        if table != "alembic_version"
    }


def test_migrations_make_the_same_constraints_as_the_tables(engine: Engine) -> None:
    migrated = _constraints(engine)
    with writing(engine) as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert migrated == _constraints(engine)
    assert set(migrated) == set(metadata.tables)


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    assert upgrade(engine) == expected_revision() == current_revision(engine)
    check_revision(engine)


def test_an_empty_database_is_refused_with_the_command_to_run(database_url: str) -> None:
    with opened(database_url) as engine:
        assert current_revision(engine) is None
        with pytest.raises(StoreError, match="gateway db upgrade") as refused:
            check_revision(engine)
        assert refused.value.code == "not_migrated"


def test_a_database_of_a_newer_program_is_left_alone(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="another version of this program"):
        upgrade(engine)
    with pytest.raises(StoreError, match="revision 9999"):
        check_revision(engine)


def test_two_programs_may_upgrade_at_once(database_url: str) -> None:
    failures: list[BaseException] = []

    def one() -> None:
        with opened(database_url) as engine:
            try:
                upgrade(engine)
            except BaseException as error:  # reported by the test
                failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with opened(database_url) as engine:
        check_revision(engine)


# ---------------------------------------------------------------- moments


def test_moments_come_back_as_the_same_moment_in_utc(engine: Engine) -> None:
    almaty = dt.datetime(2026, 3, 1, 2, 30, 15, 123456, tzinfo=ZoneInfo("Asia/Almaty"))
    with writing(engine) as connection:
        MOMENTS.create(connection)
        connection.execute(insert(MOMENTS), [{"id": 1, "at": almaty}, {"id": 2, "at": None}])
        found = connection.execute(select(MOMENTS.c.at).order_by(MOMENTS.c.id)).scalars().all()
        earlier = connection.execute(select(MOMENTS.c.id).where(MOMENTS.c.at < almaty)).all()
    assert found == [almaty, None]
    assert found[0] is not None
    assert found[0].utcoffset() == dt.timedelta(0)
    assert earlier == []


def test_a_moment_without_time_zone_is_refused(engine: Engine) -> None:
    naive = dt.datetime(2026, 3, 1)  # noqa: DTZ001
    with pytest.raises(StatementError, match="without time zone"), writing(engine) as connection:
        connection.execute(insert(MOMENTS), {"id": 1, "at": naive})


# ---------------------------------------------------------------- transactions


def test_an_error_rolls_the_whole_transaction_back(engine: Engine) -> None:
    with writing(engine) as connection:
        MOMENTS.create(connection)

    def half_done() -> None:
        with writing(engine) as connection:
            connection.execute(insert(MOMENTS), {"id": 1, "at": None})
            raise LookupError

    with pytest.raises(LookupError):
        half_done()
    with reading(engine) as connection:
        assert connection.execute(select(MOMENTS)).all() == []


def test_a_reading_transaction_does_not_wait_for_a_writing_one(engine: Engine) -> None:
    with writing(engine) as connection:
        MOMENTS.create(connection)
    with writing(engine) as writer, reading(engine) as reader:
        writer.execute(insert(MOMENTS), {"id": 1, "at": None})
        assert reader.execute(select(MOMENTS)).all() == []


def test_a_clash_of_keys_reaches_the_caller_without_its_values(engine: Engine) -> None:
    with writing(engine) as connection:
        MOMENTS.create(connection)
    with pytest.raises(IntegrityError) as clash, writing(engine) as connection:
        connection.execute(insert(MOMENTS), [{"id": 777123, "at": None}, {"id": 777123, "at": None}])
    assert "[SQL parameters hidden" in str(clash.value)


def test_a_store_that_refuses_is_a_store_error(engine: Engine) -> None:
    with pytest.raises(StoreError, match="gateway doctor"), reading(engine) as connection:
        connection.execute(text("SELECT 1 FROM no_such_table"))


def test_sqlite_is_durable_and_keeps_foreign_keys(sqlite_url: str) -> None:
    with opened(sqlite_url) as engine, reading(engine) as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


# ---------------------------------------------------------------- URLs


def test_a_store_out_of_reach_is_a_store_error(tmp_path: Path) -> None:
    with (
        opened(f"sqlite:///{tmp_path / 'missing' / 'gateway.sqlite'}") as engine,
        pytest.raises(StoreError, match="OperationalError"),
    ):
        current_revision(engine)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_is_reached_through_psycopg_3_with_the_password_given(scheme: str) -> None:
    with opened(f"{scheme}://fund@db.example/registry", password="not-shown") as engine:
        assert engine.url.drivername == "postgresql+psycopg"
        assert engine.url.password == "not-shown"
        assert "not-shown" not in repr(engine)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("secret-without-scheme", "not a database URL"),
        ("mysql://fund@db.example/registry", "mysql is not a store"),
        ("sqlite://", "would forget"),
        ("sqlite:///:memory:", "would forget"),
    ],
)
def test_a_url_that_cannot_be_used_names_the_key(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        engine_for(url)
    assert refused.value.key == "database.url"
    assert "secret" not in str(refused.value)


def test_a_connection_that_the_server_ended_is_replaced_and_nobody_notices(postgresql_url: str) -> None:
    with opened(postgresql_url) as engine, opened(postgresql_url) as other:
        with reading(engine) as connection:
            before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with writing(other) as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
        with reading(engine) as connection:
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != before


def test_a_pool_with_nothing_left_is_a_store_error(postgresql_url: str) -> None:
    with opened(postgresql_url) as engine:
        engine.pool._timeout = 0  # type: ignore[attr-defined] # nobody waits here
        with ExitStack() as held:
            for _ in range(engine.pool.size() + engine.pool._max_overflow):  # type: ignore[attr-defined]
                held.enter_context(engine.connect())
            with pytest.raises(StoreError, match="in use"), reading(engine):
                pass
