"""Where cases run, one after the other: a sandbox, a nursery, databases on both stores, a client of ours."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import httpx
from lxml import etree
from sqlalchemy import Engine

from gateway import resources
from gateway.database import engine_for, upgrade, writing
from gateway.errors import StoreError
from gateway.exchange import due
from gateway.fund import consumer
from gateway.model import Iin
from gateway.sandbox.dispatch import AsyncPolicy
from gateway.sandbox.participants import Participant
from gateway.sandbox.population import Population
from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.shep import sync_channel
from gateway.shep.messages import RequestInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.wss import sign_body
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cluster import Server
from tests.crash.flows import FlowCase
from tests.crash.judge import Observed, Wanted, goes_on, observe
from tests.crash.nursery import LOOK_S, PATIENCE_S, Nursery

SYSTEM: Final = "cbdi"
#: later than every lease that a daemon may have left: so much later its successor is started
LATER_S: Final = 150.0
PEOPLE: Final = 300
SEED: Final = 3
#: long enough for any daemon to come back
_PUSH_INTERVALS_S: Final = (0.1, 0.2, *(0.3,) * 400)

CONFIG: Final = """\
environment = "sandbox"
[identity]
sender_id = "fund-test"
requester = "FUND"
[signing]
key_file = "{pki}/keys/gateway.key"
certificate_file = "{pki}/keys/gateway.pem"
[trust]
folder = "{pki}/anchors"
revocation = "require"
[database]
url = "{database_url}"
[shep]
sync_url = "{sync_url}"
async_url = "{async_url}"
connect_timeout_s = 2
reply_timeout_s = 5
[server]
port = {port}
[systems]
paths = ["{systems}"]
{delivery}[exchange]
threads = 1
interval_s = 0.1
batch = 1
requests_per_s = 0
circuit_failures = 1000
lease_margin_s = 0.5
[schedule]
look_interval_s = 0.1
[rotation]
interval_s = 3600
{jobs}"""

_JOB: Final = """\
[schedule.jobs.{name}]
when = "{when}"
"""
#: which mapper's system.toml says what: the shipped one, with delays that a test can wait for
_CHANGES: Final = {
    "sync": {},
    "async": {'channel = "sync"': 'channel = "async"\ndelivery = "push"'},
    "gateway": {
        'channel = "sync"': 'channel = "async"\ndelivery = "push"',
        'message_id = "ours"': 'message_id = "gateway"',
    },
}
_QUICK: Final = {
    "first_delay_s = 30": "first_delay_s = 0.2",
    "longest_delay_s = 900": "longest_delay_s = 0.5",
    "reply_s = 60": "reply_s = 5",
    "connect_s = 5": "connect_s = 2",
}


def make_systems(folder: Path) -> None:
    """The register's folder once for each channel."""
    for channel, changes in _CHANGES.items():
        target = folder / channel / SYSTEM
        shutil.copytree(resources.mappers_path() / SYSTEM, target)
        file = target / "system.toml"
        text = file.read_text(encoding="utf-8")
        for old, new in {**changes, **_QUICK}.items():
            assert old in text, old
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")


class Stores:
    """Fresh databases at the program's revision: copies of one that was migrated."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self._folder = folder
        self._server = server
        self._lock = threading.Lock()
        self._templates: set[str] = set()

    @contextlib.contextmanager
    def fresh(self, store: str, folder: Path) -> Iterator[str]:
        """The URL of an empty database, removed afterwards."""
        with self._lock:
            if store not in self._templates:
                self._make_template(store)
                self._templates.add(store)
        if store == "sqlite":
            file = folder / "gateway.sqlite"
            shutil.copy(self._folder / "template.sqlite", file)
            yield f"sqlite:///{file}"
            return
        assert self._server is not None
        name = f"crash_{uuid.uuid4().hex[:12]}"
        with self._lock:  # a template may have no other user
            self._server.execute(f'CREATE DATABASE "{name}" TEMPLATE {self._template}')
        try:
            yield f"{self._server.url}/{name}"
        finally:
            self._server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _make_template(self, store: str) -> None:
        if store == "sqlite":
            url = f"sqlite:///{self._folder / 'template.sqlite'}"
        else:
            assert self._server is not None
            self._template = f"crash_template_{uuid.uuid4().hex[:12]}"
            self._server.execute(f"CREATE DATABASE {self._template} TEMPLATE template0")
            url = f"{self._server.url}/{self._template}"
        engine = engine_for(url)
        upgrade(engine)
        engine.dispose()

    def close(self) -> None:
        if "postgresql" in self._templates and self._server is not None:
            self._server.execute(f"DROP DATABASE {self._template} WITH (FORCE)")


class Client(threading.Thread):
    """Sends one signed request, the same bytes until it is answered, and then once more."""

    def __init__(self, url: str, data: bytes) -> None:
        super().__init__(name="client", daemon=True)
        self._url = url
        self._data = data
        self.answers: list[bytes] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as http:
            while len(self.answers) < 2 and not self.stopping.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    reply = http.post(self._url, content=self._data, headers={"Content-Type": "text/xml"})
                    if reply.status_code == 200:
                        self.answers.append(reply.content)
                        continue
                self.stopping.wait(LOOK_S * 5)


@dataclass
class Scene:
    """One case under way: its files, its database, what it set going."""

    folder: Path
    config: Path
    database_url: str
    engine: Engine
    wanted: Wanted
    requests: dict[str, Client] = field(default_factory=dict)


class Lane:
    """Not to be shared between threads. Use as a context manager."""

    def __init__(self, folder: Path, pki: ThrowawayPki, stores: Stores) -> None:
        self.folder = folder
        self._pki = pki
        self._stores = stores
        self._stack = contextlib.ExitStack()
        self._systems = folder / "systems"
        folder.mkdir(parents=True, exist_ok=True)
        make_systems(self._systems)
        self.population = Population(PEOPLE, SEED)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def __enter__(self) -> Self:
        self.nursery = self._stack.enter_context(Nursery())
        simulator = make_simulator(
            people=PEOPLE,
            seed=SEED,
            pki_dir=self._pki.directory,
        )
        self.sandbox: RunningSandbox = self._stack.enter_context(running_sandbox(simulator, now=_now))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # ------------------------------------------------------------ one case

    @contextlib.contextmanager
    def scene(self, flow: FlowCase, store: str, name: str, *, database_url: str = "") -> Iterator[Scene]:
        """An empty world in which `flow` was set going, with no daemon yet. `database_url` instead of one of ours."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        self._forget(flow)
        with contextlib.ExitStack() as stack:
            url = database_url or stack.enter_context(self._stores.fresh(store, folder))
            engine = engine_for(url)
            stack.callback(engine.dispose)
            scene = Scene(folder, folder / "gateway.toml", url, engine, Wanted())
            self.write_config(scene, flow)
            try:
                self._set_going(scene, flow)
                yield scene
            finally:
                for client in scene.requests.values():
                    client.stopping.set()
                    client.join(PATIENCE_S)

    def _forget(self, flow: FlowCase) -> None:
        simulator = self.sandbox.simulator
        simulator.orders.clear()
        simulator.asynchronous.clear()
        simulator.received.clear()
        simulator.dispatch.participants.clear()
        simulator.dispatch.policy = AsyncPolicy(
            answer_after_s=flow.answer_after_s, tells_senders=flow.tells_us, push_intervals_s=_PUSH_INTERVALS_S
        )

    def write_config(self, scene: Scene, flow: FlowCase, *, fetches: bool = True) -> None:
        """The settings of the daemon; `fetches` False: it does not come to fetch anything."""
        polls = flow.delivery == "poll"
        when = "every 1 s" if fetches else "every 24 h"
        fetched = ("registers", SYSTEM) if flow.asks else ("services", consumer.SERVICE_ID)
        scene.config.write_text(
            CONFIG.format(
                pki=self._pki.directory,
                database_url=scene.database_url,
                sync_url=self.sandbox.sync_url,
                async_url=self.sandbox.async_url,
                port=self.port,
                systems=self._systems / flow.channel,
                delivery='[{}.{}]\ndelivery = "poll"\n'.format(*fetched) if polls else "",
                jobs=_JOB.format(name=f"fetch_{fetched[1].lower()}", when=when) if polls else "",
            ),
            encoding="utf-8",
        )

    def _set_going(self, scene: Scene, flow: FlowCase) -> None:
        simulator = self.sandbox.simulator
        for order in flow.orders:
            simulator.orders.place(order)
        if flow.channel != "sync" and flow.delivery == "push":
            simulator.dispatch.participants.put(Participant(push_to=f"http://127.0.0.1:{self.port}/shep/async"))
        iin = self.population.exhibit("disabled_for_a_period")
        wishes, requests, asked = [], [], []
        if flow.asks:
            with writing(scene.engine) as connection:
                due.want(connection, iin, SYSTEM, at=_now())
            wishes.append((iin.value, SYSTEM))
        if flow.is_asked:
            payload = etree.tostring(_question(iin)).decode()
            sent = simulator.dispatch.send(
                {"data": payload, "service_id": consumer.SERVICE_ID, "to": "fund-test"}, now=_now()
            )
            asked.append(sent["correlation_id"])
        if flow.served:
            message_id = str(uuid.uuid4())
            client = Client(f"http://127.0.0.1:{self.port}/shep/sync", self._sign(message_id, iin))
            scene.requests[message_id] = client
            requests.append(message_id)
            client.start()
        scene.wanted = Wanted(wishes, requests, asked)

    def _sign(self, message_id: str, iin: Iin) -> bytes:
        keys = self._pki.directory / "keys"
        key = load_signing_key(keys / "client.key", certificate_path=keys / "client.pem")
        info = RequestInfo(message_id, consumer.SERVICE_ID, _now(), Sender("clinic", "password"))
        body = sync_channel.build_request(info, _question(iin), PayloadCodec.ELEMENT)
        return sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER)

    # ------------------------------------------------------------ what is seen

    def observe(self, scene: Scene) -> Observed:
        """Raises StoreError while the database is away."""
        return observe(
            scene.engine,
            received=self.sandbox.received.as_dict()["messages"],
            deliveries=self.sandbox.dispatch.deliveries(),
            answers={message_id: tuple(client.answers) for message_id, client in scene.requests.items()},
        )

    def await_end(self, scene: Scene, *, ahead_s: float, patience_s: float, lives: Callable[[], bool]) -> str:
        """Wait until nothing goes on by itself; what still does when patience or the daemon is at its end."""
        deadline = time.monotonic() + patience_s
        still = "nothing was seen"
        while time.monotonic() < deadline:
            if not lives():
                return f"the daemon ended ({still})"
            still = self.still(scene, ahead_s=ahead_s)
            if not still:
                return ""
            time.sleep(LOOK_S * 3)
        return still

    def still(self, scene: Scene, *, ahead_s: float) -> str:
        """What still goes on, by the clock of a daemon that is so far ahead."""
        if any(client.is_alive() for client in scene.requests.values()):
            return "the client has no answer"
        if self.sandbox.dispatch.next_due() is not None:
            return "the sandbox has something to deliver"
        try:
            return goes_on(self.observe(scene), scene.wanted, _now() + dt.timedelta(seconds=ahead_s))
        except StoreError as error:
            return f"the database cannot be read: {error.message}"


def _question(iin: Iin) -> etree._Element:
    payload = etree.Element(consumer.REQUEST, nsmap={"cs": consumer.NAMESPACE})
    etree.SubElement(payload, "iin").text = iin.value
    return payload


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def tail(log: Path, lines: int = 12) -> str:
    """The end of what a daemon said."""
    return "\n".join(log.read_text(encoding="utf-8").splitlines()[-lines:]) if log.exists() else ""
