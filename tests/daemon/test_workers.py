"""`gateway run` as an operator runs it with several processes, and within its bounds."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from gateway.shep import sync_channel
from gateway.shep.messages import ErrorInfo
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG, PATIENCE_S, Process, gateway
from tests.exchange.test_serve import request_body
from tests.exchange.world import Keys


@dataclass
class Program:
    """A folder with keys and a migrated database; `run` starts the program in it."""

    folder: Path
    keys: Keys
    config: Path

    def run(self, *options: str) -> Process:
        return Process(("run", *options, "--config", str(self.config)), "listening on ", self.folder / "log")

    def request(self) -> bytes:
        """Signed, for a service that does not exist: what comes back is a signed fault."""
        return sign_body(
            request_body(message_date=dt.datetime.now(dt.UTC)), self.keys["client"], form=KeyInfoForm.KEY_IDENTIFIER
        )

    def fault(self, body: bytes) -> ErrorInfo:
        verified = verify_envelope(body)
        assert verified.certificate == self.keys["gateway"].certificate
        fault = sync_channel.read_reply(verified.body)
        assert isinstance(fault, ErrorInfo)
        return fault


@pytest.fixture(scope="module")
def program_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("workers") / "pki"
    return Keys(throwaway_pki.init(folder, now=dt.datetime.now(dt.UTC)))


def program(folder: Path, keys: Keys, url: str, *, server: str = "") -> Program:
    config = folder / "gateway.toml"
    text = CONFIG.format(database_url=url, sync_url="http://127.0.0.1:1/").replace("pki/", f"{keys.pki.directory}/")
    config.write_text(text + server)
    upgraded = gateway("db", "upgrade", "--config", str(config))
    assert upgraded.code == 0, upgraded.stderr
    return Program(folder, keys, config)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def connection_to(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)


def begin(url: str, body: bytes) -> http.client.HTTPConnection:
    """A request of which the first hundred bytes are sent."""
    connection = connection_to(url)
    connection.putrequest("POST", "/shep/sync")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:100])
    return connection


def post(url: str, body: bytes) -> bytes:
    with contextlib.closing(connection_to(url)) as connection:
        connection.request("POST", "/shep/sync", body)
        return connection.getresponse().read()


@pytest.fixture
def running(tmp_path: Path, program_keys: Keys, postgresql_url: str) -> Iterator[tuple[Program, Process]]:
    made = program(tmp_path, program_keys, postgresql_url)
    with made.run("--workers", "2") as process:
        yield made, process


def test_a_killed_worker_is_replaced_and_everybody_drains(running: tuple[Program, Process]) -> None:
    made, process = running
    parent = psutil.Process(process.process.pid)
    before = {child.pid for child in parent.children()}
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len({child.pid for child in parent.children()} - {min(before)}) == 2)
    assert made.fault(post(process.url, made.request())).code == "SCE004"
    until(lambda: process.said().count('"started"') == 3)

    # a request whose second half comes after the signal is answered all the same
    body = made.request()
    with contextlib.closing(begin(process.url, body)) as connection:
        assert post(process.url, made.request())
        process.process.send_signal(signal.SIGTERM)
        connection.send(body[100:])
        assert made.fault(connection.getresponse().read()).code == "SCE004"
    assert process.process.wait(PATIENCE_S) == 0
    assert [pid for pid in before if psutil.pid_exists(pid)] == []


def test_workers_end_when_their_parent_is_killed(running: tuple[Program, Process]) -> None:
    _, process = running
    children = psutil.Process(process.process.pid).children()
    process.process.kill()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))


def test_what_stops_the_first_workers_is_told_and_ends_the_program(
    tmp_path: Path, program_keys: Keys, postgresql_url: str
) -> None:
    made = program(tmp_path, program_keys, postgresql_url)
    made.config.write_text(made.config.read_text().replace("gateway.key", "absent.key"))
    ended = gateway("run", "--workers", "2", "--config", str(made.config))
    assert ended.code == 2
    assert "absent.key" in ended.stderr


def test_sqlite_is_for_one_process(tmp_path: Path, program_keys: Keys, sqlite_url: str) -> None:
    made = program(tmp_path, program_keys, sqlite_url)
    ended = gateway("run", "--workers", "2", "--config", str(made.config))
    assert ended.code == 2
    assert "server.workers" in ended.stderr
    assert "PostgreSQL" in ended.stderr


def test_what_is_beyond_the_bounds_is_turned_away_and_the_rest_is_served(
    tmp_path: Path, program_keys: Keys, sqlite_url: str
) -> None:
    bounds = "max_requests_in_hand = 1\nmax_connections = 3\nrequest_timeout_s = 0.5\nmax_bytes_in_hand = 20000\n"
    made = program(tmp_path, program_keys, sqlite_url, server=bounds)
    with made.run() as process:
        # one request is in hand: half of it is here
        body = made.request()
        with contextlib.closing(begin(process.url, body)) as slow:
            until(lambda: made.fault(post(process.url, body)).message.startswith("too many requests are in hand"))
            # and it is ended, because its other half does not come
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                slow.getresponse()
        assert made.fault(post(process.url, body)).code == "SCE004"
        large = made.fault(post(process.url, b" " * 20_001))
        assert large.message.startswith("too many requests are in hand")
        # a client that opens a connection and says nothing is ended as well
        parts = urlsplit(process.url)
        silent = [socket.create_connection((parts.hostname, parts.port), PATIENCE_S) for _ in range(3)]
        for one in silent:
            assert one.recv(1) == b""
            one.close()
        said = process.said()
    assert '"turned_away"' in said
    assert '"too_slow"' in said
