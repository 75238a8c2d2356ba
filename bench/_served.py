"""A gateway to measure: a PostgreSQL database with people in it, the daemon as an operator runs it, signed requests."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from lxml import etree

from gateway import resources
from gateway.database import engine_for, upgrade, writing
from gateway.fund import consumer
from gateway.model import Iin, Provenance, Query
from gateway.registry.due import recompute_due
from gateway.registry.store import record_answer
from gateway.regulation.reading import load_law
from gateway.sandbox.population import Population
from gateway.shep import sync_channel
from gateway.shep.messages import RequestInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.wss import sign_body
from gateway.systems.finding import find_systems
from gateway.trust import throwaway_pki
from tests.cluster import Cluster

CONFIG = """\
environment = "sandbox"
[identity]
sender_id = "fund"
requester = "FUND"
[signing]
key_file = "pki/keys/gateway.key"
certificate_file = "pki/keys/gateway.pem"
[trust]
folder = "pki/anchors"
revocation = "require"
[database]
url = "{database_url}"
[shep]
sync_url = "http://127.0.0.1:9/"
[server]
port = 0
workers = {workers}
[log]
level = "info"
"""
PEOPLE = 400
SYSTEMS = ("gbdfl", "cbdi")


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of an empty database on the server of this machine, or on a cluster of our own; fsync is on."""
    with contextlib.ExitStack() as stack:
        server = "postgresql://postgres@127.0.0.1:5432"
        try:
            psycopg.connect(f"{server}/postgres", connect_timeout=3).close()
        except psycopg.OperationalError:
            server = stack.enter_context(Cluster(folder / "cluster", durable=True)).url
        name = f"gateway_bench_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        try:
            yield f"{server}/{name}"
        finally:
            with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass
class Served:
    """The running daemon and what is needed to ask it."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    people: Sequence[Iin]

    def sign_requests(self, count: int, file: Path) -> int:
        """Write `count` signed requests with ids of their own into a file; the bytes of one."""
        key = load_signing_key(
            self.folder / "pki/keys/client.key", certificate_path=self.folder / "pki/keys/client.pem"
        )
        now = dt.datetime.now(dt.UTC)
        size = 0
        with file.open("wb") as stream:
            for number in range(count):
                payload = etree.Element(consumer.REQUEST, nsmap={"cs": consumer.NAMESPACE})
                etree.SubElement(payload, "iin").text = self.people[number % len(self.people)].value
                info = RequestInfo(str(uuid.uuid4()), consumer.SERVICE_ID, now, Sender("clinic", "password"))
                body = sync_channel.build_request(info, payload, PayloadCodec.ELEMENT)
                data = sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER)
                size = len(data)
                stream.write(b"%d\n" % size + data)
            # on the disk before anything is measured: the system would write it in one go meanwhile, and what
            # PostgreSQL has to write waits for it
            stream.flush()
            os.fsync(stream.fileno())
        return size

    def load(self, file: Path, **options: float) -> dict[str, Any]:
        """Run the load generator to its end; what it measured, and the CPU of everybody meanwhile."""
        before = self.cpu_s()
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        done = subprocess.run(
            [sys.executable, "-m", "bench._load", str(self.port), str(file), *arguments],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        after = self.cpu_s()
        return {**json.loads(done.stdout), **{name: after[name] - before[name] for name in after}}

    def cpu_s(self) -> dict[str, float]:
        """CPU so far of the gateway's processes and of PostgreSQL's."""
        database = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "postgres"]
        return {"gateway_cpu_s": _cpu_s(self.processes()), "postgresql_cpu_s": _cpu_s(database)}

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def memory_bytes(self) -> int:
        """Private and shared pages, each once: what the gateway's processes really hold."""
        return sum(one.memory_full_info().pss for one in self.processes())


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


@contextlib.contextmanager
def served(*, workers: int) -> Iterator[Served]:
    """A daemon that answers FUND_CONSUMER_STATUS about invented people; removed afterwards."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.chmod(folder, 0o755)  # a cluster of our own runs as another user
        now = dt.datetime.now(dt.UTC)
        throwaway_pki.init(folder / "pki", now=now)
        url = stack.enter_context(postgresql(folder))
        people = _people_into(url, now)
        (folder / "gateway.toml").write_text(CONFIG.format(database_url=url, workers=workers))
        log = stack.enter_context((folder / "log").open("w"))
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "-c", str(folder / "gateway.toml")],
            stderr=log,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")},
        )
        try:
            yield Served(folder, _port(process, folder / "log"), process, people)
        finally:
            process.terminate()
            process.wait(40)


def _port(process: subprocess.Popen[str], log: Path) -> int:
    while process.poll() is None:
        found = re.search(r"listening on http://[^:]+:(\d+)", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"the daemon ended: {log.read_text()}")


def _people_into(url: str, now: dt.datetime) -> list[Iin]:
    """Invented people with what the registers say about them, as if each had been asked."""
    engine = engine_for(url)
    upgrade(engine)
    systems = find_systems([resources.mappers_path()])
    law = load_law(resources.path("config/regulation"))
    population = Population(PEOPLE, seed=1, as_of=now.date())
    people = list(population.persons())[:PEOPLE]
    with writing(engine) as connection:
        for iin in people:
            household = population.find(iin)
            assert household is not None
            for slug in SYSTEMS:
                system = systems[slug]
                asked = system.mapper.build_request(Query(iin, str(uuid.uuid4()), now, requester="FUND"))
                answer = system.mapper.read_response(system.simulator.answer_request(asked, household, now=now))
                provenance = Provenance(str(uuid.uuid4()), slug, "CN=TEST REGISTER", "1", now)
                record_answer(connection, iin, answer, provenance, law=law)
    # what the schedule does every night: standings are kept, and a question about one reads it from there
    known_at = dt.datetime.now(dt.UTC)
    recompute_due(engine, day=law.local_day(known_at), known_at=known_at, law=law, processes=1)
    engine.dispose()
    return people
