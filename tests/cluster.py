"""A PostgreSQL cluster of the tests' own: made in a folder, started, stopped, pulled the plug on, thrown away."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

#: PostgreSQL refuses to run as root; there it runs as the user that Debian's package made for it
_AS_USER = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


class NoPostgresql(Exception):
    """The programs of the server are not installed; says what to do."""


def programs() -> Path:
    """The folder of initdb and pg_ctl, of the newest version. Raises NoPostgresql."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
    if not found:
        raise NoPostgresql(
            "PostgreSQL's programs are not in /usr/lib/postgresql/*/bin. "
            "Install them: sudo apt-get install -y --no-install-recommends postgresql"
        )
    return Path(found[-1])


class Server:
    """Where databases can be made: `url` is that of a server, without a database name."""

    def __init__(self, url: str) -> None:
        self.url = url

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"{self.url}/postgres", autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


class Cluster(Server):
    """One cluster in `folder`, on a free port; it never touches one that is installed. Use as a context manager.

    `durable` False leaves out fsync: for tests in which only processes die, and not the machine. `small` keeps its log
    short: for a disk of some megabytes.
    """

    def __init__(self, folder: Path, *, durable: bool = False, small: bool = False) -> None:
        self._programs = programs()
        self._folder = folder
        self._durable = durable
        self._small = small
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        super().__init__(f"postgresql://postgres@127.0.0.1:{self._port}")

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        if self._small:
            options.append("--wal-segsize=1")
        self._run("initdb", "-D", self._data, "-U", "postgres", *options)
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop(quietly=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        if not self._durable:
            options += " -c fsync=off"
        if self._small:
            options += " -c min_wal_size=2MB -c max_wal_size=4MB"
        self._run("pg_ctl", "-D", self._data, "-l", str(self._folder / "log"), "-w", "-o", options, "start")

    def runs(self) -> bool:
        """Whether it lets anybody in."""
        try:
            psycopg.connect(f"{self.url}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, *, quietly: bool = False) -> None:
        """At once, as when the plug is pulled: connections are cut, the next start recovers."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop", check=not quietly)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        done = subprocess.run(
            [*(_AS_USER if os.geteuid() == 0 else []), str(self._programs / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # pg_ctl's server would keep a pipe open
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}; see {self._folder}/log")
