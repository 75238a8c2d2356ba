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


#: waits until nobody holds its standard input any more; then runs the command after the folder, and removes the folder
_GUARD = 'cat; folder=$1; shift; "$@"; rm -rf "$folder"'


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

    It ends with the process that made it, however that ends: a guard waits for that, stops it and removes the folder.

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
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._folder), *self._command("pg_ctl", *self._stop)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # what ends the tests as a group must leave it
        )
        try:
            self._run("initdb", "-D", self._data, "-U", "postgres", *options)
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

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

    def stop(self) -> None:
        """At once, as when the plug is pulled: connections are cut, the next start recovers."""
        self._run("pg_ctl", *self._stop)

    @property
    def _stop(self) -> list[str]:
        return ["-D", self._data, "-m", "immediate", "-w", "stop"]

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*(_AS_USER if os.geteuid() == 0 else []), str(self._programs / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, *arguments),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # pg_ctl's server would keep a pipe open
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}; see {self._folder}/log")
