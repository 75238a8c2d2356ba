"""No personal data outside of the database: a story with everything that goes wrong, and a scan of all that was told.

Scanned are the log of the daemon, what its commands said as errors, /metrics, the spans that a collector got, and the
faults that callers got: for any run of digits that holds a valid IIN, for the sender's passwords, for names of people.
"""

from __future__ import annotations

import datetime as dt
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from lxml import etree

from gateway import daemon, settings
from gateway.database import writing
from gateway.exchange import due
from gateway.fund import consumer
from gateway.model import Iin, iin_control_digit
from gateway.sandbox.population import Population
from gateway.shep import sync_channel
from gateway.shep.messages import RequestInfo, Sender
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.wss import sign_body
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG, PATIENCE_S, Process, World, gateway

OUR_PASSWORD = "oUr-pAssw0rd-of-the-Story"
THEIR_PASSWORD = "thEir-pAssw0rd-of-the-Story"
FAULTS = ("fault", "unsigned_fault", "wrapped_forgery", "wrong_signature", "other_person", "cut_body", "not_xml")
_DIGITS = re.compile(r"[0-9]{12,}")
#: the fraction of a sample: now and then its digits are those of a person
_FRACTIONS = re.compile(r"(?<= )([0-9]+)\.[0-9]+(?=(?:e[+-]?[0-9]+)?$)", re.MULTILINE)


def iins_in(text: str) -> list[str]:
    """Every IIN in the text, wherever in a run of digits it stands: a day of birth, and the right control digit."""
    found = []
    for run in _DIGITS.findall(text):
        for start in range(len(run) - 11):
            digits = run[start : start + 12]
            if _is_day(digits) and iin_control_digit(digits[:11]) == int(digits[11]):
                found.append(digits)
    return found


def _is_day(digits: str) -> bool:
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and 1 <= day <= 31 and digits[6] in "0123456"


class Collector:
    """Takes spans over OTLP/HTTP and keeps their bytes."""

    def __init__(self) -> None:
        self.received = received = bytearray()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                received.extend(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def wait_for(what: Callable[[], bool]) -> None:
    """Until it is so; reaching the end is a failure and not a measurement."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def question(
    world: World, iin: str, *, message_id: str, service_id: str = consumer.SERVICE_ID, key: str = "client"
) -> bytes:
    """A request to us, signed, with a password and a person in it."""
    signer = load_signing_key(world.pki.key(key), None, world.pki.certificate(key))
    payload = etree.Element(consumer.REQUEST)
    etree.SubElement(payload, "iin").text = iin
    info = RequestInfo(message_id, service_id, dt.datetime.now(dt.UTC), Sender("clinic", THEIR_PASSWORD))
    return sign_body(sync_channel.build_request(info, payload, consumer.CODEC), signer, form=KeyInfoForm.KEY_IDENTIFIER)


def test_nothing_of_a_person_or_a_password_is_told_outside_of_the_database(
    tmp_path: Path, collector: Collector
) -> None:
    population = Population(60, 5)
    people = [iin.value for iin in population.persons()]
    pki = throwaway_pki.init(tmp_path / "pki", now=dt.datetime.now(dt.UTC))
    (tmp_path / "password").write_text(OUR_PASSWORD)
    config = tmp_path / "gateway.toml"
    more = (
        f'[tracing]\notlp_url = "{collector.url}"\n[log]\nlevel = "debug"\n[exchange]\ninterval_s = 0.2\n'
        '[schedule]\nlook_interval_s = 0.2\n[schedule.jobs.tick]\nrun = "schedule.forget"\nwhen = "every 10 s"\n'
    )

    def write(sync_url: str) -> None:
        text = CONFIG.format(database_url=f"sqlite:///{tmp_path / 'gateway.sqlite'}", sync_url=sync_url)
        config.write_text(text.replace("[signing]", 'sender_password_file = "password"\n[signing]') + more)

    write("http://127.0.0.1:1/")
    sandbox_command = ("sandbox", "--port", "0", "--people", "60", "--seed", "5", "--config", str(config))
    with Process(sandbox_command, "sandbox on ", tmp_path / "sandbox.log") as sandbox:
        write(sandbox.url)
        assert gateway("db", "upgrade", "--config", str(config)).code == 0
        engine = daemon.open_store(settings.load(config, {}))
        with Process(("run", "--config", str(config)), "listening on ", tmp_path / "daemon.log") as running:
            world = World(tmp_path, pki, config, sandbox, running)
            misbehave(world, "other_person")
            errors = [
                world.run("query", "gbdfl", "--iin", people[9]).stderr,
                world.run("query", "gbdfl", "--iin", "900101300018").stderr,
            ]
            for kind in FAULTS:
                misbehave(world, kind)
            with writing(engine) as connection:
                for iin in people[10:20]:
                    for system in ("gbdfl", "cbdi"):
                        due.want(connection, Iin(iin), system, at=daemon.now())
            faults = [*asked_of_us(world, people)]
            wait_for(lambda: world.daemon.said().count('"system": "cbdi"') >= 10)
            wait_for(lambda: world.daemon.said().count('"system": "gbdfl"') >= 10)

            def metrics() -> str:
                return httpx.get(f"{world.daemon_root}/metrics", trust_env=False).text

            wait_for(lambda: 'gateway_schedule_last_success_timestamp_seconds{job="tick"}' in metrics())
            page = metrics()
        engine.dispose()
    log = world.daemon.said()
    spans = bytes(collector.received).decode("utf-8", "replace")

    # the story was told at all: otherwise the scan proves nothing
    assert '"action": "served"' in log
    assert '"verdict": "unsigned"' in log
    assert 'flow="in.sync",step="11"' in page
    assert 'gateway_schedule_last_success_timestamp_seconds{job="tick"}' in page
    assert "out.sync step 9" in spans
    assert "gateway.message_id" in spans
    assert "id-of-************" in log

    names = {
        name
        for household in population.households()
        for citizen in household.citizens
        for name in (citizen.surname, citizen.name)
        if len(name) > 3
    }
    told = {
        "log": log,
        "metrics": _FRACTIONS.sub(r"\1", page),
        "spans": spans,
        "errors": "\n".join(errors),
        "faults": "\n".join(faults),
    }
    for where, text in told.items():
        assert not iins_in(text), f"an IIN in the {where}"
        assert OUR_PASSWORD not in text, f"our password in the {where}"
        assert THEIR_PASSWORD not in text, f"a sender's password in the {where}"
        assert not [name for name in names if name.casefold() in text.casefold()], f"a name in the {where}"
    for line in log.splitlines():
        if line.startswith("{") and '"event": "exchange"' in line and '"action": "served"' in line:
            assert {"message_id", "service_id", "flow"} <= set(json.loads(line))


def misbehave(world: World, kind: str) -> None:
    ordered = httpx.post(
        f"{world.sandbox_root}/sandbox/misbehave", json={"kind": kind, "system": "gbdfl"}, trust_env=False
    )
    assert ordered.status_code == 201, ordered.text


def asked_of_us(world: World, people: list[str]) -> Iterator[str]:
    """Requests that are right and wrong; the faults that we gave."""
    good = question(world, people[0], message_id="a-question")
    requests = (
        good,
        good,
        question(world, people[1], message_id=f"id-of-{people[1]}"),
        question(world, people[2], message_id="another", service_id=people[2]),
        question(world, people[3][:11] + "x", message_id="no-iin"),
        question(world, people[4], message_id="stranger", key="stranger"),
        good.replace(people[0].encode(), people[5].encode()),
        b"<html>" + people[6].encode() + b"</html>",
        b"<!DOCTYPE x [<!ENTITY y '" + people[7].encode() + b"'>]><x>&y;</x>",
        sync_unsigned(people[8]),
    )
    for data in requests:
        reply = httpx.post(world.daemon.url, content=data, headers={"content-type": "text/xml"}, trust_env=False)
        if reply.status_code != 200:
            # the certificate in it is base64 and its digits are nobody's
            yield "".join(re.findall(r"<[^>]*(?:faultstring|message|code)[^>]*>([^<]*)", reply.text))


def sync_unsigned(iin: str) -> bytes:
    envelope = "http://schemas.xmlsoap.org/soap/envelope/"
    return f'<e:Envelope xmlns:e="{envelope}"><e:Body><x>{iin}</x></e:Body></e:Envelope>'.encode()


def test_the_scan_finds_what_it_looks_for() -> None:
    iin = Population(10, 1).person(0).value
    assert iins_in(f"digits 77{iin}00 in a run")
    assert not iins_in("2026-06-01T00:00:00Z 123456789012 990231000000")
