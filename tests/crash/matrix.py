"""The matrix: every numbered step of every flow, killed before and after, on each store, with a restart each time."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.crash.flows import FLOWS, FlowCase
from tests.crash.judge import Judgement, Wrong, judge
from tests.crash.lane import LATER_S, Lane, Scene, tail
from tests.crash.nursery import LOOK_S, PATIENCE_S, Daemon, Point

STORES: Final = ("sqlite", "postgresql")
SIDES: Final = ("before", "after")
#: steps that leave something behind, in the database or on the wire
_EFFECTS: Final = (8, 9, 10, 13)
#: for the daemon that was started again, to bring everything to its end
SETTLE_S: Final = 60.0
_NAME: Final = re.compile(r"(?P<flow>[a-z, .]+):(?P<step>\d+)(?:#(?P<nth>\d+))?:(?P<side>before|after):(?P<store>\w+)")


@dataclass(frozen=True)
class Case:
    """One death. Its name is what `--case` takes."""

    flow: FlowCase
    point: Point
    store: str

    @property
    def name(self) -> str:
        nth = f"#{self.point.nth}" if self.point.nth > 1 else ""
        return f"{self.flow.name}:{self.point.step}{nth}:{self.point.side}:{self.store}"


@dataclass(frozen=True)
class Outcome:
    """What came of one case or one disaster."""

    name: str
    #: it died where it had to; of a disaster, that it was met
    happened: bool
    judgement: Judgement
    #: the end of the daemons' logs, where something was found
    said: str = ""


def case_of(name: str) -> Case:
    """The case of that name. Raises ValueError that says what a name looks like."""
    match = _NAME.fullmatch(name)
    if match is None or match["flow"] not in FLOWS or match["store"] not in STORES:
        raise ValueError(f"{name!r} is no case; write one such as out.sync:9:after:sqlite, of {', '.join(FLOWS)}")
    flow = FLOWS[match["flow"]]
    return Case(flow, Point(flow.flow, int(match["step"]), match["side"], int(match["nth"] or 1)), match["store"])


def cases(flow: FlowCase, store: str, *, steps: Sequence[int] = ()) -> Iterator[Case]:
    """Every death on this way: both sides of each step; where a step is passed again, after those with an effect.

    `steps` limits them to the side after of the first passing of these.
    """
    for step, times in sorted(flow.steps.items()):
        if steps:
            if step in steps:
                yield Case(flow, Point(flow.flow, step, "after"), store)
            continue
        for side in SIDES:
            yield Case(flow, Point(flow.flow, step, side), store)
        for nth in range(2, times + 1) if step in _EFFECTS else ():
            yield Case(flow, Point(flow.flow, step, "after", nth), store)


def passed_steps(lane: Lane, flow: FlowCase, store: str) -> Mapping[int, int]:
    """Run the flow to its end with nobody killed: how often each of its steps was left. Raises AssertionError."""
    with lane.scene(flow, store, f"record-{flow.name}-{store}".replace(" ", "_")) as scene:
        record = scene.folder / "steps"
        before(lane, scene, flow)
        daemon = lane.nursery.bear(scene.config, scene.folder / "daemon.log", record=record)
        assert daemon.await_listening(), tail(daemon.log)
        still = lane.await_end(scene, ahead_s=0, patience_s=SETTLE_S, lives=lambda: daemon.lives)
        daemon.kill()
        judgement = judge(lane.observe(scene), scene.wanted)
        assert not still, f"{flow.name} does not come to its end without a crash: {still}\n{tail(daemon.log)}"
        assert judgement.is_clean, f"{flow.name} is not clean without a crash: {judgement.found}"
        lines = record.read_text(encoding="ascii").splitlines()
    return Counter(int(line.split(" ")[1]) for line in lines if line.split(" ")[0] == flow.flow)


def check_steps(flow: FlowCase, passed: Mapping[int, int]) -> str:
    """What is wrong with the steps that are written down for a flow; "" when they are what the program passes."""
    if set(passed) != set(flow.steps):
        return f"{flow.name} passes the steps {sorted(passed)} and tests/crash/flows.py says {sorted(flow.steps)}"
    return ""


def before(lane: Lane, scene: Scene, flow: FlowCase) -> None:
    """What has to have happened before the daemon that is killed: our question is asked and answered, not fetched."""
    if not flow.asked_before:
        return
    lane.write_config(scene, flow, fetches=False)
    daemon = lane.nursery.bear(scene.config, scene.folder / "before.log")
    daemon.await_listening()

    def acknowledged() -> bool:
        return [row["state"] for row in lane.observe(scene).exchange] == ["acknowledged"] and bool(
            lane.sandbox.dispatch.deliveries()
        )

    poll_until(acknowledged, "the question was not acknowledged and answered")
    daemon.kill()
    lane.write_config(scene, flow)


def run_case(lane: Lane, case: Case) -> Outcome:
    """Kill the daemon at the point, start it again, wait until nothing goes on by itself, judge."""
    folder = case.name.replace(" ", "_").replace(":", "-")
    with lane.scene(case.flow, case.store, folder) as scene:
        before(lane, scene, case.flow)
        victim = lane.nursery.bear(scene.config, scene.folder / "victim.log", kill=case.point)
        killed = _await_death(lane, scene, victim)
        victim.kill()
        heir = lane.nursery.bear(scene.config, scene.folder / "heir.log", ahead_s=LATER_S)
        heir.await_listening()
        still = lane.await_end(scene, ahead_s=LATER_S, patience_s=SETTLE_S, lives=lambda: heir.lives)
        heir.kill()
        judgement = judge(lane.observe(scene), scene.wanted)
        if still and judgement.is_clean:
            judgement = Judgement(judgement.waits, ((Wrong.UNREADABLE, f"it never came to an end: {still}"),))
        said = "" if judgement.is_clean and killed else f"{tail(victim.log)}\n---\n{tail(heir.log)}"
        return Outcome(case.name, killed, judgement, said)


def _await_death(lane: Lane, scene: Scene, victim: Daemon) -> bool:
    """Whether it died at its point; a daemon that brought everything to an end instead never passed it."""

    def over() -> bool:
        return not victim.lives or not lane.still(scene, ahead_s=0)

    poll_until(over, "the daemon neither died nor came to an end")
    # what a step does is seen from outside a moment before the step is left
    with contextlib.suppress(AssertionError):
        poll_until(lambda: not victim.lives, "it lives on", patience_s=10.0)
    return victim.was_killed


def poll_until(condition: Callable[[], bool], why: str, *, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that will be so. Raises AssertionError with `why`."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(LOOK_S * 2)
