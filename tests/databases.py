"""Both stores for tests: the fixture `database_url` runs a test on SQLite and on PostgreSQL, each time empty.

PostgreSQL is the one of this machine when it lets us in without a password, otherwise a cluster of our own that lives
as long as the test session. There is no third way: without its programs the tests fail and say what to install.
"""

from __future__ import annotations

import getpass
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade

_INSTALL = (
    "PostgreSQL is needed: no server answers on 127.0.0.1:5432 as user postgres without a password, and its programs "
    "are not in /usr/lib/postgresql/*/bin. Install them: sudo apt-get install -y --no-install-recommends postgresql"
)


class _Cluster:
    """Where databases can be made: the URL of a server without the database name."""

    def __init__(self, server: str) -> None:
        self.server = server

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"{self.server}/postgres", autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


def _answers(server: str) -> bool:
    try:
        with psycopg.connect(f"{server}/postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[_Cluster]:
    server = "postgresql://postgres@127.0.0.1:5432"
    if _answers(server):
        yield _Cluster(server)
        return
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
    if not programs:
        pytest.fail(_INSTALL, pytrace=False)
    yield from _own_cluster(Path(programs[-1]))


def _own_cluster(programs: Path) -> Iterator[_Cluster]:
    """A throw-away cluster on a free port; it never touches one that is installed."""
    # PostgreSQL refuses to run as root; it runs as the user that Debian's package made for it
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
    try:
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        data = str(folder / "data")

        def run(*command: str) -> None:
            result = subprocess.run(
                [*as_user, str(programs / command[0]), *command[1:]],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # pg_ctl's server would keep a pipe open
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if result.returncode:
                pytest.fail(f"{command[0]} ended with {result.returncode}; see {folder}/log", pytrace=False)

        run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield _Cluster(f"postgresql://postgres@127.0.0.1:{port}")
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty SQLite database."""
    return f"sqlite:///{tmp_path / 'gateway.sqlite'}"


@pytest.fixture
def postgresql_url(postgresql_cluster: _Cluster) -> Iterator[str]:
    """An empty PostgreSQL database of its own, dropped afterwards."""
    name = f"gateway_test_{getpass.getuser()}_{uuid.uuid4().hex[:12]}".lower().replace("-", "_")
    postgresql_cluster.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield f"{postgresql_cluster.server}/{name}"
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
    engine = engine_for(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()
