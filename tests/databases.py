"""Both stores for tests: the fixture `database_url` runs a test on SQLite and on PostgreSQL, each time empty.

PostgreSQL is the one of this machine when it lets us in without a password, otherwise a cluster of our own that lives
as long as the test session. There is no third way: without its programs the tests fail and say what to install.
"""

from __future__ import annotations

import getpass
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade
from tests.cluster import Cluster, NoPostgresql, Server


def _answers(server: str) -> bool:
    try:
        with psycopg.connect(f"{server}/postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Server]:
    installed = "postgresql://postgres@127.0.0.1:5432"
    if _answers(installed):
        yield Server(installed)
        return
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
    try:
        with Cluster(folder) as cluster:
            yield cluster
    except NoPostgresql as error:
        pytest.fail(f"no server answers on 127.0.0.1:5432 as user postgres without a password. {error}", pytrace=False)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty SQLite database."""
    return f"sqlite:///{tmp_path / 'gateway.sqlite'}"


@pytest.fixture
def postgresql_url(postgresql_cluster: Server) -> Iterator[str]:
    """An empty PostgreSQL database of its own, dropped afterwards."""
    name = f"gateway_test_{getpass.getuser()}_{uuid.uuid4().hex[:12]}".lower().replace("-", "_")
    postgresql_cluster.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield f"{postgresql_cluster.url}/{name}"
    finally:
        postgresql_cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the test runs once on each store."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a migrated, empty database, on each store."""
    with _migrated(database_url) as engine:
        yield engine


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Engine]:
    """The same for what only PostgreSQL has."""
    with _migrated(postgresql_url) as engine:
        yield engine


@contextmanager
def _migrated(url: str) -> Iterator[Engine]:
    engine = engine_for(url)
    upgrade(engine)
    yield engine
    engine.dispose()
