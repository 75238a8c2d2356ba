"""Prepared statements: SQLAlchemy's transactions and errors, whatever the driver does with the connection meanwhile."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import CheckViolation
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, OperationalError, ProgrammingError

from gateway.database import engine_for, reading, writing
from gateway.errors import StoreError
from gateway.prepared import Call, Prepared, bytea_array, run_together, text_array

PUT = Prepared("test_put", "INSERT INTO thing (name) VALUES ($1) RETURNING number")
FIND = Prepared("test_find", "SELECT number, name FROM thing WHERE name = ANY($1::text[]) ORDER BY number")
ECHO_TEXTS = Prepared("test_echo_texts", "SELECT * FROM unnest($1::text[])")
ECHO_BYTES = Prepared("test_echo_bytes", "SELECT * FROM unnest($1::bytea[])")


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Engine]:
    """A table of things with names, each name once and none empty."""
    engine = engine_for(postgresql_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE thing (number serial PRIMARY KEY, name text UNIQUE CHECK (name <> ''))"))
    yield engine
    engine.dispose()


def names(store: Engine) -> list[str]:
    with store.connect() as connection:
        return list(connection.execute(text("SELECT name FROM thing ORDER BY number")).scalars())


@contextmanager
def rolled_back(store: Engine) -> Iterator[Connection]:
    """A transaction in which something else goes wrong at the end."""
    with contextlib.suppress(ZeroDivisionError), writing(store) as connection:
        yield connection
        raise ZeroDivisionError


def put(name: str) -> Call:
    return PUT, (name,)


# ---------------------------------------------------------------- rows and parameters


def test_rows_come_in_the_types_of_their_columns(store: Engine) -> None:
    typed = Prepared(
        "test_typed", "SELECT 1, true, 'x'::text, NULL::text, $1::date, $2::timestamptz, $3::bytea, '[1]'::jsonb"
    )
    moment = dt.datetime(2026, 6, 1, 7, tzinfo=dt.UTC)
    with reading(store) as connection:
        for _ in range(3):  # the second time the types are known
            rows = typed.run(connection, "2026-06-01", moment.isoformat(), b"\x00\xff")
            assert rows == [(1, True, "x", None, dt.date(2026, 6, 1), moment, b"\x00\xff", [1])]


@given(
    texts=st.lists(st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]))),
    values=st.lists(st.binary()),
)
def test_arrays_arrive_as_they_were_given(
    postgresql_url_for_all: Engine, texts: list[str], values: list[bytes]
) -> None:
    with reading(postgresql_url_for_all) as connection:
        assert [row[0] for row in ECHO_TEXTS.run(connection, text_array(texts))] == texts
        assert [row[0] for row in ECHO_BYTES.run(connection, bytea_array(values))] == values


@pytest.fixture(scope="module")
def postgresql_url_for_all(postgresql_cluster: object) -> Iterator[Engine]:
    engine = engine_for(f"{postgresql_cluster.url}/postgres")  # type: ignore[attr-defined]
    yield engine
    engine.dispose()


@pytest.fixture
def many_files() -> Iterator[None]:
    """The numbers of files up to the 1,100th are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), hard))
    with contextlib.ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_100):
            files.enter_context(open(os.devnull, "rb"))
        yield


@pytest.mark.usefixtures("many_files")
def test_a_socket_with_a_high_number_takes_more_than_fits_into_its_buffer(postgresql_url: str) -> None:
    store = engine_for(postgresql_url)
    values = [b"x" * 1_000_000] * 20
    with reading(store) as connection:
        assert connection.connection.driver_connection.fileno() > 1_023  # type: ignore[union-attr]
        assert len(ECHO_BYTES.run(connection, bytea_array(values))) == len(values)
    store.dispose()


def test_a_megabyte_goes_both_ways(store: Engine) -> None:
    values = [bytes([number]) * 100_000 for number in range(20)]
    with reading(store) as connection:
        assert [row[0] for row in ECHO_BYTES.run(connection, bytea_array(values))] == values


# ---------------------------------------------------------------- transactions


def test_what_was_written_stays_when_the_block_ends_and_goes_with_an_error(store: Engine) -> None:
    with writing(store) as connection:
        assert len(PUT.run(connection, "kept")) == 1
    with rolled_back(store) as connection:
        PUT.run(connection, "gone")
    assert names(store) == ["kept"]


def test_it_shares_the_transaction_with_statements_of_sqlalchemy(store: Engine) -> None:
    with rolled_back(store) as connection:
        connection.execute(text("INSERT INTO thing (name) VALUES ('a')"))
        PUT.run(connection, "b")
        assert connection.execute(text("SELECT count(*) FROM thing")).scalar_one() == 2
        assert [name for _, name in FIND.run(connection, text_array(["a", "b"]))] == ["a", "b"]
    assert names(store) == []


def test_who_only_reads_cannot_write(store: Engine) -> None:
    with pytest.raises(StoreError), reading(store) as connection:
        PUT.run(connection, "a")
    assert names(store) == []


def test_a_savepoint_is_rolled_back_alone(store: Engine) -> None:
    with writing(store) as connection:
        PUT.run(connection, "a")
        savepoint = connection.begin_nested()
        PUT.run(connection, "b")
        savepoint.rollback()
        PUT.run(connection, "c")
    assert names(store) == ["a", "c"]


def test_several_statements_and_the_commit_go_together(store: Engine) -> None:
    with writing(store) as connection:
        first, second, found = run_together(
            connection, (put("a"), put("b"), (FIND, (text_array(["a", "b"]),))), commit=True
        )
        assert [number for (number,) in first + second] == [number for number, _ in found]
        # others see it before the block ends
        assert names(store) == ["a", "b"]
    assert names(store) == ["a", "b"]


def test_nothing_is_committed_when_one_of_them_fails(store: Engine) -> None:
    with pytest.raises(IntegrityError) as caught, writing(store) as connection:
        run_together(connection, (put("a"), put(""), put("c")), commit=True)
    assert isinstance(caught.value.orig, CheckViolation)
    assert names(store) == []
    with writing(store) as connection:
        run_together(connection, (put("a"), put("c")), commit=True)
    assert names(store) == ["a", "c"]


# ---------------------------------------------------------------- errors


def test_errors_are_those_of_sqlalchemy_and_tell_no_parameter(store: Engine) -> None:
    broken = Prepared("test_broken", "SELECT nothing FROM nowhere WHERE name = $1::text")
    with pytest.raises(ProgrammingError) as caught, store.begin() as connection:
        broken.run(connection, "030405500005")
    assert "030405500005" not in str(caught.value)
    with pytest.raises(StoreError), writing(store) as connection:
        broken.run(connection, "x")


def test_after_an_error_the_transaction_takes_nothing_and_the_next_one_everything(store: Engine) -> None:
    with store.connect() as connection:
        PUT.run(connection, "a")
        with pytest.raises(IntegrityError):
            PUT.run(connection, "a")
        with pytest.raises(DBAPIError):
            PUT.run(connection, "b")
        connection.rollback()
        PUT.run(connection, "c")
        connection.commit()
    assert names(store) == ["c"]


def test_a_connection_that_the_server_ended_is_not_used_again(store: Engine) -> None:
    def run() -> None:
        with store.begin() as connection:
            PUT.run(connection, "a")
            end(store, pid_of(connection))
            PUT.run(connection, "b")

    with pytest.raises(OperationalError) as caught:
        run()
    assert caught.value.connection_invalidated
    with writing(store) as connection:
        PUT.run(connection, "c")
    assert names(store) == ["c"]


def test_a_server_that_goes_away_while_it_is_asked_is_an_error(store: Engine) -> None:
    wait = Prepared("test_wait", "SELECT pg_sleep($1::float)")

    def run() -> None:
        with writing(store) as connection:
            ending = threading.Timer(0.2, end, (store, pid_of(connection)))
            ending.start()
            try:
                wait.run(connection, "60")
            finally:
                ending.join()

    with pytest.raises(StoreError):
        run()
    with writing(store) as connection:
        PUT.run(connection, "c")


def pid_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def end(store: Engine, pid: int) -> None:
    with store.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})


def test_an_interruption_in_the_middle_of_an_exchange_ends_the_connection(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        with writing(store) as connection:
            PUT.run(connection, "a")
            with monkeypatch.context() as patched:
                patched.setattr("gateway.prepared._Kept._result", interrupted)
                PUT.run(connection, "b")

    with pytest.raises(KeyboardInterrupt):
        run()
    with writing(store) as connection:
        PUT.run(connection, "c")
    assert names(store) == ["c"]


def interrupted(_: object) -> object:
    raise KeyboardInterrupt


# ---------------------------------------------------------------- what the driver removes


def drivers_own(connection: Connection) -> None:
    """Have the driver prepare something: only then does it remove what was prepared."""
    for _ in range(10):
        connection.execute(text("SELECT name FROM thing WHERE number = :number"), {"number": 1})


def test_what_was_prepared_outlives_a_rollback_a_savepoint_and_a_dropped_table(store: Engine) -> None:
    """After each of them the driver removes all that was prepared, ours too, unless it prepares nothing itself."""
    with writing(store) as connection:
        drivers_own(connection)
        PUT.run(connection, "a")
    with rolled_back(store) as connection:
        PUT.run(connection, "b")
    with writing(store) as connection:
        drivers_own(connection)
        savepoint = connection.begin_nested()
        PUT.run(connection, "c")
        savepoint.rollback()
        connection.execute(text("CREATE TEMPORARY TABLE passing (a integer)"))
        connection.execute(text("DROP TABLE passing"))
        PUT.run(connection, "d")
        kept = connection.execute(text("SELECT name FROM pg_prepared_statements")).scalars().all()
        assert kept == ["test_put"]
    assert names(store) == ["a", "d"]


def test_two_statements_never_share_a_name(store: Engine) -> None:
    """The server would run the first one's text for the second."""
    with writing(store) as connection:
        PUT.run(connection, "a")
    with pytest.raises(ValueError, match="the name test_put"), writing(store) as connection:
        Prepared("test_put", "INSERT INTO thing (name) VALUES ('b' || $1)").run(connection, "a")
    with writing(store) as connection:
        PUT.run(connection, "c")
    assert names(store) == ["a", "c"]


def test_a_statement_that_was_removed_unseen_fails_once(store: Engine) -> None:
    with writing(store) as connection:
        PUT.run(connection, "a")
        connection.execute(text("DEALLOCATE ALL"))
    with pytest.raises(StoreError), writing(store) as connection:
        PUT.run(connection, "b")
    with writing(store) as connection:
        PUT.run(connection, "c")
    assert names(store) == ["a", "c"]


def test_a_closed_connection_is_refused_as_by_sqlalchemy(store: Engine) -> None:
    with store.connect() as connection:
        pass
    with pytest.raises(InvalidRequestError):
        PUT.run(connection, "a")
