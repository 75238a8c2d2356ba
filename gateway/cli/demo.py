"""`gateway demo`: the whole story with real processes, real sockets and real signatures, on throw-away keys."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Final

import httpx
import typer
from lxml import etree
from rich.markup import escape

from gateway import daemon, database, settings
from gateway.cli.app import app
from gateway.cli.output import console
from gateway.cli.second_judge import judge
from gateway.database import reading
from gateway.errors import OperatorError
from gateway.exchange.results import AskResult, step_of
from gateway.fund import consumer
from gateway.model import Citizen, Iin, Outcome
from gateway.registry.store import standing_of
from gateway.sandbox.population import Exhibit, Population
from gateway.sandbox.server import SYNC_PATH
from gateway.shep import sync_channel
from gateway.shep.messages import RequestInfo, Sender, SyncResponse
from gateway.shep.payload import decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust import throwaway_pki
from gateway.xml import leaf_text, only_child

PEOPLE: Final = 1_000
SEED: Final = 1
#: whom the story is about, by what they show
CAST: Final = ("disabled_indefinitely", "ward", "mother", "deceased")
_START_S: Final = 60.0

_CONFIG: Final = """\
environment = "sandbox"
[identity]
sender_id = "fund-demo"
requester = "FUND"
[signing]
key_file = "pki/keys/gateway.key"
certificate_file = "pki/keys/gateway.pem"
[trust]
folder = "pki/anchors"
revocation = "require"
[shep]
sync_url = "{sync_url}"
reply_timeout_s = 10
[server]
port = 0
"""


@app.command("demo", epilog="Example: gateway demo --once")
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the story instead of staying up.")] = False,
) -> None:
    """Mint keys, start a sandbox and the daemon on free ports, ask four registers, be lied to, and serve an answer."""
    with tempfile.TemporaryDirectory(prefix="shep-gateway-demo-") as name, contextlib.ExitStack() as processes:
        folder = Path(name)
        throwaway_pki.init(folder / "pki", now=daemon.now())
        config = folder / "gateway.toml"
        # the sandbox finds its keys through a configuration; where it listens is known only afterwards
        config.write_text(_CONFIG.format(sync_url="http://127.0.0.1:1/"), encoding="utf-8")
        sandbox_url = processes.enter_context(
            _running(("sandbox", "--port", "0", "--people", str(PEOPLE), "--seed", str(SEED)), config, "sandbox on ")
        )
        config.write_text(_CONFIG.format(sync_url=sandbox_url), encoding="utf-8")
        loaded = settings.load(config)
        _prepare(loaded)
        daemon_url = processes.enter_context(_running(("run",), config, "listening on "))
        story = _Story(loaded, Population(PEOPLE, SEED), sandbox_url, daemon_url, folder / "pki")
        story.tell()
        if not once:
            console.print(f"\nsandbox {sandbox_url} · daemon {daemon_url} · configuration {config} · Ctrl-C ends both")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


def _prepare(loaded: settings.LoadedSettings) -> None:
    engine = daemon.open_store(loaded)
    database.upgrade(engine)
    engine.dispose()


@contextlib.contextmanager
def _running(command: Sequence[str], config: Path, announces: str) -> Iterator[str]:
    """A process of this program, until it has told its address; ended with SIGTERM."""
    line = [sys.executable, "-m", "gateway", *command, "--config", str(config)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spoken:
        process = subprocess.Popen(line, stderr=spoken, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
        try:
            yield _address(process, spoken, announces, command[0])
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], spoken: IO[str], announces: str, name: str) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        spoken.seek(0)
        heard = spoken.read()
        for line in heard.splitlines():
            if line.startswith(announces):
                return line.removeprefix(announces).split(" ")[0]
        if process.poll() is not None:
            raise OperatorError(f"`gateway {name}` ended before it was up:\n{heard.strip()}", code="demo")
        time.sleep(0.05)
    raise OperatorError(f"`gateway {name}` was not up after {_START_S:g} s", code="demo")


class _Story:
    def __init__(
        self, loaded: settings.LoadedSettings, population: Population, sandbox_url: str, daemon_url: str, pki: Path
    ) -> None:
        self._loaded = loaded
        self._population = population
        self._sandbox_url = sandbox_url
        self._daemon_url = daemon_url
        self._pki = throwaway_pki.ThrowawayPki(pki)

    def tell(self) -> None:
        cast = [exhibit for slug in CAST for exhibit in self._population.showcase() if exhibit.slug == slug]
        with daemon.assemble(self._loaded) as gateway:
            console.print("[bold]1 · Four registers are asked; every message is signed, every reply verified[/bold]")
            for exhibit in cast:
                self._ask_everyone(gateway, exhibit)
            console.print("\n[bold]2 · The gateway is made to lie[/bold]")
            self._be_lied_to(gateway, cast[0].iin)
            console.print("\n[bold]3 · Another system asks us; it knows our certificate and nothing else[/bold]")
            self._serve(gateway, cast[0].iin)
            console.print("\n[bold]4 · Why[/bold]")
            self._explain(gateway, cast[0].iin)

    def _citizen(self, iin: Iin) -> Citizen:
        household = self._population.find(iin)
        citizen = household.citizen(iin) if household else None
        if citizen is None:
            raise OperatorError("the demo's cast is not in its population", code="demo")
        return citizen

    def _ask_everyone(self, gateway: daemon.Gateway, exhibit: Exhibit) -> None:
        citizen = self._citizen(exhibit.iin)
        console.print(f"{citizen.surname} {citizen.name}, {exhibit.what}")
        for system in gateway.systems:
            console.print(f"  {system:13} {_told(gateway.asker.ask(system, exhibit.iin))}")

    def _be_lied_to(self, gateway: daemon.Gateway, iin: Iin) -> None:
        order = httpx.post(
            self._sandbox_url.removesuffix(SYNC_PATH) + "/sandbox/misbehave",
            json={"kind": "wrapped_forgery", "system": "cbdi"},
            trust_env=False,
        )
        order.raise_for_status()
        result = gateway.asker.ask("cbdi", iin)
        if result.error is None:
            raise OperatorError("the forged reply was not refused", code="demo")
        error, entry = result.error, result.reply_journal_id
        console.print(f"  cbdi          forged reply REFUSED at {step_of(error)}: {escape(error.message)}")
        console.print(f"                ({error.code}; outcome {result.outcome}; kept as journal entry {entry})")

    def _serve(self, gateway: daemon.Gateway, iin: Iin) -> None:
        client = load_signing_key(self._pki.key("client"), None, self._pki.certificate("client"))
        payload = etree.Element(consumer.REQUEST)
        etree.SubElement(payload, "iin").text = iin.value
        message_id = daemon.new_message_id()
        info = RequestInfo(message_id, consumer.SERVICE_ID, daemon.now(), Sender("clinic-demo"))
        request = sign_body(
            sync_channel.build_request(info, payload, consumer.CODEC), client, form=KeyInfoForm.KEY_IDENTIFIER
        )
        reply = httpx.post(
            self._daemon_url, content=request, headers={"Content-Type": "text/xml", "SOAPAction": '""'}, trust_env=False
        ).content
        console.print(f"  question      {consumer.SERVICE_ID}, signed by another organisation, message {message_id}")
        judge(reply, self._pki.certificate("gateway").read_bytes())
        console.print("  signature     verified by signxml, an implementation that is not ours, with our certificate")
        content = sync_channel.read_reply(verify_envelope(reply, certificates=gateway.trust.store).body)
        if not isinstance(content, SyncResponse) or content.data is None:
            raise OperatorError("the daemon did not answer the demo's question", code="demo")
        standing = only_child(decode(content.data, consumer.CODEC, root_name=consumer.RESPONSE), "standing")
        if standing is None:
            raise OperatorError("the daemon's answer holds no standing", code="demo")
        fields = {
            name: leaf_text(child)
            for name in ("consumer", "basis", "category", "budget")
            if (child := only_child(standing, name)) is not None
        }
        console.print("  answer        " + ", ".join(f"{name} {value}" for name, value in fields.items()))

    def _explain(self, gateway: daemon.Gateway, iin: Iin) -> None:
        at = daemon.now()
        with reading(gateway.engine) as connection:
            answer = standing_of(connection, iin, as_of=gateway.law.local_day(at), known_at=at, law=gateway.law)
        word = "insured" if answer.insured else "not insured"
        until = f"until {answer.valid_until.isoformat()}" if answer.valid_until else "with no end in sight"
        console.print(f"  {word}: {answer.basis}, {answer.category}, {answer.budget} budget, {until}")
        for citation in answer.because:
            clause = gateway.law.clause(citation)
            console.print(f"  {citation!s:18} {escape(_shortened(clause.kk))}")
        for message_id in answer.evidence:
            console.print(f"  rests on the signed message {message_id}")


def _told(result: AskResult) -> str:
    if result.outcome is Outcome.UNKNOWN or result.signer is None:
        code = result.error.code if result.error is not None else "no signer"
        return f"{result.outcome} ({code}) · {result.message_id}"
    kinds: dict[str, int] = {}
    for fact in result.facts:
        kinds[fact.kind] = kinds.get(fact.kind, 0) + 1
    facts = ", ".join(kind if count == 1 else f"{kind} ×{count}" for kind, count in kinds.items())
    return f"{result.outcome:9} {facts or '–'} · {result.message_id}"


def _shortened(text: str, width: int = 96) -> str:
    return text if len(text) <= width else text[: width - 1].rsplit(" ", 1)[0] + " …"
