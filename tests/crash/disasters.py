"""What breaks beneath the program or beside it: the database goes and comes back, the disk is full, answers are lost.

The daemon is not killed here. It has to live through it, or to be started again by whoever watches over it.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.database import engine_for, upgrade
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.shep.async_messages import MessageType, Operation
from tests.cluster import Cluster
from tests.crash.flows import FLOWS, FlowCase
from tests.crash.judge import Judgement, Wrong, judge
from tests.crash.lane import LATER_S, Lane, Scene, tail
from tests.crash.matrix import SETTLE_S, STORES, Outcome, before, poll_until
from tests.crash.nursery import Daemon

#: the tmpfs that is filled: SQLite's file with its log; a cluster with three empty databases and ours
_SIZES: Final = {"sqlite": "6m", "postgresql": "160m"}
_FULL: Final = "full disk"
_STOPPED: Final = "database stopped"


class NotRun(Exception):
    """The machine does not allow it; says why."""


@dataclass(frozen=True)
class Disaster:
    """A flow, and what goes wrong around it."""

    flow: FlowCase
    #: "" : only what the sandbox does on order
    breaks: str = ""
    stores: tuple[str, ...] = STORES
    #: the sandbox loses a message for good: it may be waited for when all is over
    answers_may_be_missing: bool = False


def _answers(kind: Misbehaviour, seconds: float = 0.5) -> Order:
    """Every message that the sandbox brings us."""
    return Order(kind, times=0, seconds=seconds, operation=Operation.SEND_MESSAGE.value)


def _all() -> Iterator[tuple[str, Disaster]]:
    # slow answers, so that it happens in the middle of the exchange
    slow = Order(Misbehaviour.SLOW, times=1, seconds=1.0)
    for name in ("out.sync", "out.async", "in.sync", "in.push, answer", "in.push, request", "in.poll, request"):
        flow = FLOWS[name]
        broken = replace(flow, orders=(slow,)) if flow.asks else flow
        yield f"{_STOPPED}, {name}", Disaster(broken, _STOPPED, ("postgresql",))
    for name in ("out.sync", "in.sync", "in.push, answer"):
        yield f"{_FULL}, {name}", Disaster(FLOWS[name], _FULL)
    push, poll, request = FLOWS["in.push, answer"], FLOWS["in.poll, request"], FLOWS["in.push, request"]
    yield "everything pushed twice, answer", Disaster(replace(push, orders=(_answers(Misbehaviour.TWICE),)))
    yield "everything pushed twice, request", Disaster(replace(request, orders=(_answers(Misbehaviour.TWICE),)))
    yield "everything handed out twice", Disaster(replace(poll, orders=(_answers(Misbehaviour.TWICE),)))
    yield "answers late", Disaster(replace(push, orders=(_answers(Misbehaviour.LATE),)))
    yield "answers reordered", Disaster(replace(push, orders=(_answers(Misbehaviour.REORDER),)))
    lost = Order(Misbehaviour.LOSE_REPLY, times=2)
    yield "two replies lost", Disaster(replace(FLOWS["out.sync"], orders=(lost,)))
    yield "two acks lost, then the answer is pushed", Disaster(replace(FLOWS["out.async"], orders=(lost,)))
    # the first call is lost on its way, the next one's reply
    both = (Order(Misbehaviour.LOSE_REQUEST), Order(Misbehaviour.LOSE_REPLY))
    yield "request lost, then reply lost", Disaster(replace(FLOWS["out.sync"], orders=both))
    notification = Order(Misbehaviour.LOSE_REPLY, operation=Operation.SEND_DELIVERY_NOTIFICATION.value)
    yield "confirmation of a notification lost", Disaster(replace(poll, orders=(notification,)))
    batch = Order(Misbehaviour.LOSE_REPLY, operation=Operation.GET_MESSAGES.value)
    yield "fetched messages lost on the way", Disaster(replace(poll, orders=(batch,)))
    ours = replace(FLOWS["out.async"], channel="gateway", tells_us=False)
    ack = Order(Misbehaviour.LOSE_REPLY, operation=Operation.SEND_MESSAGE.value)
    gone = Order(Misbehaviour.LOSE_MESSAGE, message_type=MessageType.RESPONSE.value)
    yield "ids of the gateway, ack lost, answer pushed", Disaster(replace(ours, orders=(ack,)))
    yield (
        "ids of the gateway, ack and answer lost",
        Disaster(replace(ours, orders=(ack, gone)), answers_may_be_missing=True),
    )


DISASTERS: Final = dict(_all())


def run_disaster(lane: Lane, name: str, store: str) -> Outcome:
    """Let it happen, let it pass, wait until nothing goes on by itself, judge. Raises NotRun."""
    disaster = DISASTERS[name]
    folder = f"{name}-{store}".replace(" ", "_").replace(",", "")
    with contextlib.ExitStack() as stack:
        ground = stack.enter_context(_ground(disaster, store, lane.folder / f"{folder}-ground"))
        scene = stack.enter_context(
            lane.scene(disaster.flow, store, folder, database_url="" if ground is None else ground.database_url)
        )
        scene.wanted = replace(scene.wanted, answers_may_be_missing=disaster.answers_may_be_missing)
        before(lane, scene, disaster.flow)
        daemon = lane.nursery.bear(scene.config, scene.folder / "daemon.log")
        met = True
        if disaster.breaks and ground is not None:
            if disaster.breaks == _FULL:
                ground.fill()
            _await_middle(lane, scene, daemon, disaster)
            if disaster.breaks == _STOPPED:
                ground.stop()
            met = _await_trouble(daemon, disaster)
            ground.restore()
        still = lane.await_end(scene, ahead_s=0, patience_s=SETTLE_S / 3, lives=lambda: daemon.lives)
        daemon.kill()
        if still:  # it ended, or something holds a lease of two minutes: what watches over it starts it again
            heir = lane.nursery.bear(scene.config, scene.folder / "heir.log", ahead_s=LATER_S)
            still = lane.await_end(scene, ahead_s=LATER_S, patience_s=SETTLE_S, lives=lambda: heir.lives)
            heir.kill()
        judgement = judge(lane.observe(scene), scene.wanted)
        if still and judgement.is_clean:
            judgement = Judgement(judgement.waits, ((Wrong.UNREADABLE, f"it never came to an end: {still}"),))
        said = "" if judgement.is_clean and met else tail(daemon.log)
        return Outcome(f"{name}, {store}", met, judgement, said)


def _await_middle(lane: Lane, scene: Scene, daemon: Daemon, disaster: Disaster) -> None:
    """Until the daemon has begun: it listens, and what it asks has arrived where it asks."""
    daemon.await_listening()
    if disaster.breaks == _STOPPED and disaster.flow.asks:
        poll_until(lambda: bool(lane.sandbox.received.as_dict()["count"]) or not daemon.lives, "nothing was asked")


def _await_trouble(daemon: Daemon, disaster: Disaster) -> bool:
    """Until the flow itself has met what was broken, as the daemon's log says; False: it never did."""
    flow = disaster.flow
    if flow.asks:
        # a full disk keeps wishes from being taken; a database that went with a question on its way, the reply
        signs = ("turn_failed",) if disaster.breaks == _FULL else ("group_failed", "wish_failed", "row_failed")
    else:
        signs = ("look_failed",) if flow.delivery == "poll" else ("journal_failed",)

    def met() -> bool:
        said = daemon.log.read_text(encoding="utf-8")
        return not daemon.lives or any(f'"{sign}"' in said for sign in signs)

    try:
        poll_until(met, "it met nothing", patience_s=20.0)
    except AssertionError:
        return False
    return True


# ---------------------------------------------------------------- what the database stands on


@dataclass
class Ground:
    """A database that can be pulled away: its server, and the folder that it fills."""

    database_url: str
    cluster: Cluster | None
    folder: Path

    def stop(self) -> None:
        assert self.cluster is not None
        self.cluster.stop()

    def fill(self) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def restore(self) -> None:
        """Room again, and a server that runs: one that ended without room is started by whoever watches over it."""
        (self.folder / "ballast").unlink(missing_ok=True)
        if self.cluster is not None and not self.cluster.runs():
            self.cluster.start()


@contextlib.contextmanager
def _ground(disaster: Disaster, store: str, folder: Path) -> Iterator[Ground | None]:
    """A database of its own where one has to break; else None. Raises NotRun."""
    if not disaster.breaks:
        if store == "postgresql":
            with tempfile.TemporaryDirectory(prefix="gateway-crash-") as name, _server(Path(name)) as ground:
                yield ground
            return
        yield None
        return
    with contextlib.ExitStack() as stack:
        if disaster.breaks == _FULL:
            folder.mkdir(parents=True)
            stack.enter_context(_tmpfs(folder, _SIZES[store]))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-crash-")))
        if store == "sqlite":
            yield Ground(_migrated(f"sqlite:///{folder / 'gateway.sqlite'}"), None, folder)
        else:
            yield stack.enter_context(_server(folder))


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Ground]:
    folder.chmod(0o755)
    with Cluster(folder / "cluster", small=True) as cluster:
        cluster.execute("CREATE DATABASE crash TEMPLATE template0")
        yield Ground(_migrated(f"{cluster.url}/crash"), cluster, folder)


def _migrated(url: str) -> str:
    engine = engine_for(url)
    upgrade(engine)
    engine.dispose()
    return url


@contextlib.contextmanager
def _tmpfs(folder: Path, size: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotRun(f"mount: {error.strerror}") from None
    if done.returncode:
        raise NotRun(f"a small tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
