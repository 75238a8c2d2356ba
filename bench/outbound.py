"""One question to a register, from payload to facts in the registry, against bare cryptography and against zeep.

Goals: at most 6 × (RSA sign + verify) of CPU, and at most a third of what zeep needs with its own WS-Security for the
exchange alone: no journal, no registry, no certification path. The other side is the sandbox in a process of its own;
CPU is that of the asking process.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select

from bench._served import CONFIG, postgresql
from bench.serving import bare_us
from gateway import daemon, logs, resources, settings
from gateway.daemon.assembly import Gateway
from gateway.daemon.process import leave_alone_what_stays
from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import due
from gateway.exchange.outbox import State
from gateway.exchange.tables import EXCHANGE
from gateway.exchange.workers import Worker
from gateway.model import Iin, Query
from gateway.sandbox.population import Population
from gateway.shep import contract
from gateway.shep.dates import write_datetime
from gateway.systems.finding import find_systems
from gateway.trust import throwaway_pki
from gateway.xml import to_bytes

SYSTEM = "cbdi"
PEOPLE = 256
ROUNDS = 6
GOAL = 6.0
OF_ZEEP = 1 / 3


@contextlib.contextmanager
def _sandbox(config: Path, log: Path) -> Iterator[str]:
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "sandbox", "--port", "0", "--people", str(PEOPLE), "-c", str(config)],
            stderr=stream,
            env={name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")},
        )
    try:
        while process.poll() is None:
            found = re.search(r"sandbox on (http://\S+)", log.read_text())
            if found:
                yield found[1]
                return
            time.sleep(0.05)
        raise RuntimeError(f"the sandbox ended: {log.read_text()}")
    finally:
        process.terminate()
        process.wait(30)


def _cpu_us(work: Callable[[], object], count: int) -> float:
    """CPU of one of `count` questions that are asked by `work`."""
    start_s = time.process_time()
    work()
    return (time.process_time() - start_s) / count * 1e6


def _one_by_one(ask: Callable[[Iin], object], people: Sequence[Iin]) -> Callable[[], None]:
    def work() -> None:
        for iin in people:
            ask(iin)

    return work


def _in_groups(gateway: Gateway, people: Sequence[Iin]) -> Callable[[], None]:
    """Has everybody asked about as the daemon asks about those who are due."""
    worker = Worker(
        engine=gateway.engine,
        asker=gateway.asker,
        roads=gateway.roads,
        wire=gateway.asker.wire,
        clock=daemon.now,
        holder="bench",
        batch=gateway.loaded.settings.exchange.batch,
    )

    def work_off() -> None:
        with writing(gateway.engine) as connection:
            due.put_all(connection, [due.Due(iin, SYSTEM, daemon.now(), due.Reason.WANTED) for iin in people])
            before = connection.execute(_ANSWERED).scalar_one()
        while worker.work_once().worked:
            pass
        with reading(gateway.engine) as connection:
            answered = connection.execute(_ANSWERED).scalar_one() - before
        if answered != len(people):
            raise RuntimeError(f"{answered} of {len(people)} questions were answered")

    return work_off


_ANSWERED = select(func.count()).select_from(EXCHANGE).where(EXCHANGE.c.state == State.ANSWERED)


def _zeep(folder: Path, url: str) -> Callable[[Iin], object] | None:
    """The same question by zeep with its own WS-Security; None without python-xmlsec."""
    try:
        import xmlsec  # noqa: PLC0415
    except ImportError:
        return None
    import zeep  # noqa: PLC0415
    from zeep.wsse.signature import MemorySignature  # noqa: PLC0415

    def read(name: str, kind: str) -> bytes:
        return (folder / "pki/keys" / f"{name}.{kind}").read_bytes()

    methods = {"signature_method": xmlsec.Transform.RSA_SHA256, "digest_method": xmlsec.Transform.SHA256}
    ours = MemorySignature(read("gateway", "key"), read("gateway", "pem"), **methods)
    theirs = MemorySignature(read("gateway", "key"), read("shep", "pem"), **methods)

    class Both:
        def apply(self, envelope: Any, headers: Any) -> Any:
            return ours.apply(envelope, headers)

        def verify(self, envelope: Any) -> Any:
            return theirs.verify(envelope)

    client = zeep.Client(str(resources.path(contract.SYNC_CHANNEL)), wsse=Both())
    binding = next(iter(client.wsdl.bindings))
    service = client.create_service(binding, url)
    system = find_systems([resources.mappers_path()])[SYSTEM]

    def ask(iin: Iin) -> object:
        now = dt.datetime.now(dt.UTC)
        query = Query(iin, str(uuid.uuid4()), now, requester="FUND")
        payload = system.mapper.build_request(query)
        return service.SendMessage(
            request={
                "requestInfo": {
                    "messageId": query.message_id,
                    "serviceId": system.service_for(query).service_id,
                    "messageDate": write_datetime(now),
                    "sender": {"senderId": "fund"},
                },
                # the register takes its payload as text (codec escaped_text)
                "requestData": {"data": zeep.xsd.AnyObject(zeep.xsd.String(), to_bytes(payload).decode())},
            }
        )

    return ask


def main() -> None:
    logs.configure("error")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        throwaway_pki.init(folder / "pki", now=dt.datetime.now(dt.UTC))
        database_url = stack.enter_context(postgresql(folder))
        engine = engine_for(database_url)
        upgrade(engine)
        engine.dispose()
        config = folder / "gateway.toml"
        text = CONFIG.format(database_url=database_url, workers=1) + "[exchange]\nrequests_per_s = 0\n"
        config.write_text(text)
        url = stack.enter_context(_sandbox(config, folder / "log"))
        config.write_text(text.replace("http://127.0.0.1:9/", url))
        people = list(Population(PEOPLE, 1).persons())[:PEOPLE]
        gateway = stack.enter_context(daemon.assemble(settings.load(config, {})))
        before_us = bare_us()
        outcomes: Counter[str] = Counter()
        asked = _one_by_one(lambda iin: outcomes.update([str(gateway.asker.ask(SYSTEM, iin).outcome)]), people)
        asked()
        one_us = _cpu_us(asked, PEOPLE)
        in_groups, by_zeep = _in_groups(gateway, people), _zeep(folder, url)
        zeep = None if by_zeep is None else _one_by_one(by_zeep, people)
        in_groups()
        if zeep is not None:
            zeep()
        leave_alone_what_stays()  # as the daemon does after its start
        # by turns: what the neighbours do to this machine is done to both
        rounds = [(_cpu_us(in_groups, PEOPLE), _cpu_us(zeep, PEOPLE) if zeep else 0.0) for _ in range(ROUNDS)]
        ours_us, zeep_us = (sum(of_one) / ROUNDS for of_one in zip(*rounds, strict=True))
        unit_us = (before_us + bare_us()) / 2
        print(f"outbound: questions to {SYSTEM}, PostgreSQL with fsync; CPU of the asking process with all its threads")
        print(f"  RSA-2048 sign + verify, bare: {unit_us:.0f} µs; asked one by one: {dict(outcomes)}")
        verdict = "met" if ours_us <= GOAL * unit_us else "NOT MET"
        ratio = ours_us / unit_us
        print("  journalled, facts in the registry:")
        print(f"  as a worker asks those who are due: {ours_us:.0f} µs, {ratio:.2f} × (goal ≤ {GOAL}) {verdict}")
        print(f"  the same for one person that somebody waits for: {one_us:.0f} µs, {one_us / unit_us:.2f} ×")
        if zeep is None:
            print("  not installed, so not beside it: xmlsec")
            return
        verdict = "met" if ours_us <= OF_ZEEP * zeep_us else "NOT MET"
        ratio = ours_us / zeep_us
        shares = ", ".join(f"{ours / theirs:.2f}" for ours, theirs in rounds)
        print(
            f"  zeep with its WS-Security, no journal: {zeep_us:.0f} µs; ours is {ratio:.2f} of it ({shares}) {verdict}"
        )


if __name__ == "__main__":
    structlog.reset_defaults()
    main()
