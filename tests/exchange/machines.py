"""Random sequences for both channels: turns of workers that live, die or stall at any step, while others go on.

One rule is one step of a sequence; a turn that stalls holds the turns of others that happen meanwhile.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from lxml import etree
from structlog.testing import capture_logs

from gateway import telemetry
from gateway.database import writing
from gateway.errors import GatewayError, OutcomeUnknown, PeerUnavailable
from gateway.exchange import due, operator
from gateway.exchange.asynchronous.fetching import Source
from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.journal import JournalWriter
from gateway.exchange.limits import ExchangeLimits
from gateway.exchange.operator import Act
from gateway.exchange.transport import Reply, one_by_one
from gateway.exchange.verification import TrustPolicy
from gateway.exchange.workers import Worker
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    MessageState,
    MessageStatus,
    MessageStatusInfo,
    MessageType,
    Operation,
)
from gateway.shep.messages import ErrorInfo
from gateway.systems.definition import SystemDefinition
from gateway.telemetry import Flow
from tests.exchange.asynchronous.world import SERVICE, SESSION, SYSTEM, Shep, make_world
from tests.exchange.fleet import SECOND, Crash, Fleet, not_idempotent, somebody
from tests.exchange.model import Model, Store
from tests.exchange.world import Keys, Register, body_of, systems

#: "wire": the request arrived, and its reply is on the way
Place = tuple[int, Literal["before", "after"]] | Literal["wire"]
#: longer than any lease
LONG_S = 700
#: the outages here are those of single posts
LIMITS = ExchangeLimits(circuit=CircuitPolicy(failures=1_000))


@dataclass(frozen=True)
class Turn:
    """One actor does what is due, after some time passed, and the other side treats what it posts in one way."""

    who: str
    after_s: int
    fate: str
    #: where it dies, or stalls while these others have their turns; None: it lives
    place: Place | None = None
    meanwhile: tuple[Turn, ...] = ()
    #: which of several things it is about
    pick: int = 0


class Interruption:
    """Hears of the steps of one turn, and lets something happen at one place of it, once."""

    def __init__(self, place: Place | None, happen: Callable[[], None]) -> None:
        self._place, self._happen, self._fired = place, happen, False

    def entered(self, number: int, flow: Flow) -> None:
        self.reach((number, "before"))

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:
        if error is None:
            self.reach((number, "after"))

    def reach(self, place: Place) -> None:
        if place == self._place and not self._fired:
            self._fired = True
            self._happen()


def weighted(of: Mapping[Any, int]) -> list[Any]:
    """Each as often as its weight says."""
    return [one for one, times in of.items() for _ in range(times)]


#: most that stall do so for longer than any lease, and somebody else goes on with what they had
MEANWHILE_S = weighted({LONG_S: 3, 130: 1, 0: 2})
BETWEEN_S = weighted({0: 4, 1: 1, 40: 2, 130: 1, LONG_S: 2, 4_000: 1})


class Chances:
    """What turns of a channel are made of, and how often; dangerous things are common."""

    def __init__(self, *, who: Mapping[str, int], fates: Mapping[str, int], places: Mapping[Place, int]) -> None:
        self.who, self.fates, self.places = weighted(who), weighted(fates), weighted(places)


@st.composite
def turns(draw: Any, chances: Chances, depth: int = 0, after_s: Any = BETWEEN_S) -> Turn:
    """A turn; one that stalls holds others, and they may stall too."""
    ending = draw(st.sampled_from(("lives", "dies", "stalls", "stalls") if depth < 2 else ("lives", "dies")))
    meanwhile: tuple[Turn, ...] = ()
    if ending == "stalls":
        others = 1 + draw(st.integers(0, 1))
        meanwhile = tuple(draw(turns(chances, depth + 1, MEANWHILE_S)) for _ in range(others))
    return Turn(
        who=draw(st.sampled_from(chances.who)),
        after_s=draw(st.sampled_from(after_s)),
        fate=draw(st.sampled_from(chances.fates)),
        place=None if ending == "lives" else draw(st.sampled_from(chances.places)),
        meanwhile=meanwhile,
        pick=draw(st.integers(0, 15)),
    )


class Machine(RuleBasedStateMachine):
    """What both channels have in common: wishes, turns, an operator, and a model that looks at each step."""

    keys: ClassVar[Keys]
    store: ClassVar[Store]
    #: steps of all sequences
    steps: ClassVar[int] = 0
    trusted: ClassVar[TrustPolicy]
    model: Model
    clock: Any

    def begin(self, repeatable: bool) -> None:
        self.store.empty()
        self.actors: dict[tuple[str, int], Callable[[Turn], None]] = {}
        self.model = Model(self.store, repeatable, now=self.read_clock)

    def read_clock(self) -> dt.datetime:
        now: dt.datetime = self.clock()
        return now

    def actor(self, who: str, depth: int) -> Callable[[Turn], None]:
        """A new process, or a thread of one."""
        raise NotImplementedError

    def wire(self) -> Any:
        """The other side: `fate` and `on_wire` are set for every turn."""
        raise NotImplementedError

    def want(self) -> None:
        raise NotImplementedError

    def take(self, turn: Turn, depth: int = 0) -> None:
        self.clock.now += turn.after_s * SECOND
        key = (turn.who, depth)
        if key not in self.actors:
            self.actors[key] = self.actor(*key)

        def happen() -> None:
            if not turn.meanwhile:
                raise Crash
            for other in turn.meanwhile:
                self.take(other, depth + 1)

        interruption, wire = Interruption(turn.place, happen), self.wire()
        before = telemetry._listeners[:], wire.fate, wire.on_wire
        telemetry._listeners[:] = [interruption]
        wire.fate, wire.on_wire = turn.fate, lambda: interruption.reach("wire")
        try:
            self.actors[key](turn)
        except Crash:
            del self.actors[key]
        except GatewayError as error:  # the pool logs it and goes on
            if error.code == "store":
                self.model.broken.append(f"{type(error).__name__}: {error.message}")
        finally:
            telemetry._listeners[:], wire.fate, wire.on_wire = before

    def act(self, what: Act, place: int) -> None:
        rows = self.model.rows()
        if not rows:
            return
        row = rows[place % len(rows)]
        done = operator.act(
            self.store.engine,
            JournalWriter(),
            what,
            [row["message_id"]],
            reason="decided",
            by="test",
            now=self.clock(),
        )
        if what is Act.RETRY and done.changed and (row["state"] not in ("answered", "settled")):
            self.model.may_go_again(row["message_id"])

    @invariant()
    def what_must_hold_holds(self) -> None:
        if hasattr(self, "model"):
            type(self).steps += 1
            self.model.check()

    def teardown(self) -> None:
        if not hasattr(self, "model") or self.model.broken:
            return
        for after_s in (4_000, 80_000, 10_000):
            self.clock.now += after_s * SECOND
            self.finish()
        self.model.check_the_end()

    def finish(self) -> None:
        """Everybody works, undisturbed, until nothing is due."""
        raise NotImplementedError


# ---------------------------------------------------------------- synchronous


class Line(Register):
    """The register, and the network before it."""

    model: Model
    fate = "answered"
    on_wire: Callable[[], None] = staticmethod(lambda: None)

    post_many = one_by_one

    def post(self, url: str, content: bytes, **options: Any) -> Reply:
        fate = self.fate
        self.model.posts(content)
        if fate == "down":
            raise PeerUnavailable("down")
        self.model.arrives(content)
        self.on_wire()
        if fate == "lost":
            raise OutcomeUnknown("lost")
        self.signer = "stranger" if fate == "forged" else "shep"
        self.fault = ErrorInfo("SCE001", "not now", self.response_date) if fate == "fault" else None
        return super().post(url, content, **options)


SYNC = Chances(
    who={"worker": 1},
    fates={"answered": 5, "lost": 3, "down": 3, "forged": 1, "fault": 1},
    places={
        "wire": 4,
        (9, "before"): 3,
        (9, "after"): 3,
        (10, "after"): 3,
        (13, "before"): 4,
        (8, "after"): 3,
        (7, "after"): 4,
        (13, "after"): 1,
        (1, "after"): 2,
        (11, "after"): 1,
        (12, "before"): 1,
    },
)


class SyncMachine(Machine):
    """Questions on the synchronous channel."""

    @initialize(idempotent=st.booleans())
    def a_register(self, idempotent: bool) -> None:
        self.begin(repeatable=idempotent)
        self.line = Line(self.keys)
        self.line.model = self.model
        known = _sync_systems(idempotent)
        self.fleet = Fleet(self.store.engine, self.keys, self.line, systems=known, limits=LIMITS, _trust=self.trusted)
        self.clock = self.fleet.clock

    def wire(self) -> Line:
        return self.line

    def actor(self, who: str, depth: int) -> Callable[[Turn], None]:
        worker = self.fleet.worker(batch=2)
        return lambda _: void(worker.work_once())

    def want(self) -> None:
        person = somebody(len(self.model.wanted))
        self.model.wanted.add(person.value)
        self.fleet.want(person)

    @rule(turn=turns(SYNC))
    def somebody_is_to_be_asked_about(self, turn: Turn) -> None:
        self.want()
        self.take(turn)

    @rule(turn=turns(SYNC))
    def a_worker_has_a_turn(self, turn: Turn) -> None:
        self.take(turn)

    @rule(turn=turns(SYNC))
    def a_worker_of_a_new_process_has_a_turn(self, turn: Turn) -> None:
        self.actors.clear()
        self.take(turn)

    @rule(what=st.sampled_from(Act), place=st.integers(0, 7))
    def the_operator_acts(self, what: Act, place: int) -> None:
        self.act(what, place)

    def finish(self) -> None:
        self.line.fate = "answered"
        self.fleet.work()


@cache
def _sync_systems(idempotent: bool) -> Mapping[str, SystemDefinition]:
    return systems() if idempotent else not_idempotent()


# ---------------------------------------------------------------- asynchronous


class AsyncLine(Shep):
    """The gateway, and the network before it. It is honest: what it says of a message is so."""

    model: Model
    fate = "answered"
    on_wire: Callable[[], None] = staticmethod(lambda: None)

    post_many = one_by_one

    def post(self, url: str, content: bytes, **_: object) -> Reply:
        fate = self.fate
        body = body_of(content, self.keys["gateway"])
        operation = async_channel.operation_of(body)
        if operation is Operation.SEND_MESSAGE:
            self.model.posts(content)
        if fate == "down":
            raise PeerUnavailable("down")
        refused = ErrorInfo("SCE001", "not now", self.clock()) if fate == "fault" else None
        self.fault = refused
        if operation is Operation.SEND_MESSAGE and refused is None:
            self.model.arrives(content)
        reply = self._reply(operation, body, content)
        self.on_wire()
        if fate == "lost":
            raise OutcomeUnknown("lost")
        if refused is not None:
            reply = async_channel.build_fault(operation, refused)
        return Reply(200, "text/xml", self.sign(reply, "stranger" if fate == "forged" else ""))

    def _reply(self, operation: Operation, body: etree._Element, content: bytes) -> etree._Element:
        if operation is not Operation.GET_MESSAGE_STATUS:
            reply = super()._reply(operation, body, content)
            if operation is Operation.SEND_MESSAGE and self.fault is not None:
                self.acks.pop()  # nothing was taken
            return reply
        name, now = async_channel.read_get_message_status(body).message_id, self.clock()
        ours = {ack.message_id: sent for ack, (_, sent) in zip(self.acks, self.taken, strict=True)}
        state = MessageState.DELIVERED if name in ours else MessageState.NOT_DELIVERED
        if self.fate == "gone":
            state = MessageState.DELIVERY_STOPPED
        if state is not MessageState.DELIVERED and name in ours:
            self.model.may_arrive_again(self.model.id_of(ours[name]))
        return async_channel.build_get_message_status_reply(
            MessageStatus(state, MessageStatusInfo("S", "state", now), now, SESSION)
        )


ASYNC = Chances(
    who={"worker": 5, "inbox": 4, "push": 4, "state": 1, "fetch": 1},
    fates={"answered": 6, "lost": 4, "down": 2, "forged": 1, "fault": 1, "gone": 1},
    places={
        "wire": 4,
        (9, "before"): 3,
        (9, "after"): 3,
        (10, "after"): 3,
        (13, "before"): 4,
        (8, "before"): 2,
        (8, "after"): 3,
        (7, "after"): 3,
        (12, "before"): 1,
        (12, "after"): 3,
        (13, "after"): 1,
    },
)


class AsyncMachine(Machine):
    """Questions on the asynchronous channel: acknowledged by the gateway, answered by a push or in what is fetched."""

    known: ClassVar[Mapping[tuple[str, bool], Mapping[str, SystemDefinition]]]

    @initialize(ids=st.sampled_from([("ours", True), ("ours", False), ("gateway", True)]))
    def a_gateway(self, ids: tuple[str, bool]) -> None:
        self.begin(repeatable=ids == ("ours", True))
        self.world = make_world(
            self.store.engine,
            self.keys,
            self.known[ids],
            limits=LIMITS,
            shep_class=AsyncLine,
            trust=self.trusted,
        )
        self.clock, self.line = self.world.clock, self.world.shep
        self.line.model = self.model  # type: ignore[attr-defined]
        self.came: list[AsyncMessage] = []
        self._made = 0

    def wire(self) -> Any:
        return self.line

    def actor(self, who: str, depth: int) -> Callable[[Turn], None]:
        self._made += 1
        holder = f"{who}-{self._made}"
        if who == "worker":
            worker = Worker(
                engine=self.store.engine,
                asker=self.world.worker._asker,
                roads={"async": self.world.side.road},
                wire=self.world.side.road.wire,
                clock=self.clock,
                holder=holder,
            )
            return lambda _: void(worker.work_once())
        if who == "inbox":
            inbox = self.world.side.make_worker(holder)
            return lambda _: void(inbox.work_once())
        return {"push": self._push, "state": self._tell_a_state, "fetch": self._fetch}[who]

    # ------------------------------------------------------------ what the gateway does

    def _message(self, pick: int) -> AsyncMessage | None:
        """An answer to any message that arrived, or one that was delivered before, once more."""
        if self.came and pick % 2:
            return self.came[-1 - (pick // 2) % len(self.came)]
        if not self.line.taken:
            return None
        number = -1 - (pick // 2) % min(len(self.line.taken), 4)
        message = self.line.answer(
            number=number,
            message_id=f"{9_000_000 + len(self.came)}",
            message_type=MessageType.NOTIFICATION if pick == 14 else MessageType.RESPONSE,
        )
        if pick == 12 and self.came:  # it is put into another's chain
            other = self.came[0].info.correlation_id
            message = replace(message, info=replace(message.info, correlation_id=other))
        if pick == 10 and self.came:  # it has the id of another message
            message = replace(message, info=replace(message.info, message_id=self.came[0].info.message_id))
        self.came.append(message)
        return message

    def _push(self, turn: Turn) -> None:
        message = self._message(turn.pick)
        if message is not None:
            self.world.push(message, signer="stranger" if turn.fate == "forged" else "")

    def _fetch(self, turn: Turn) -> None:
        message = self._message(turn.pick)
        if message is not None:
            self.line.waiting.append(message)
        self.world.side.fetcher.fetch(Source(SERVICE, amount=3))

    def _tell_a_state(self, turn: Turn) -> None:
        if self.line.acks:
            states = list(MessageState)
            ack = self.line.acks[turn.pick % len(self.line.acks)]
            told = self.line.change_of_state(ack.message_id, states[turn.pick % len(states)])
            self.world.side.receiver.handle(told, received_at=self.clock(), peer="10.0.0.1")

    # ------------------------------------------------------------ rules

    def want(self) -> None:
        person = somebody(len(self.model.wanted))
        self.model.wanted.add(person.value)
        with writing(self.store.engine) as connection:
            due.want(connection, person, SYSTEM, at=self.clock())

    @rule(turn=turns(ASYNC))
    def somebody_is_to_be_asked_about(self, turn: Turn) -> None:
        self.want()
        self.take(replace(turn, who="worker"))

    @rule(turn=turns(ASYNC))
    def somebody_has_a_turn(self, turn: Turn) -> None:
        self.take(turn)

    @rule(turn=turns(ASYNC))
    def the_gateway_delivers(self, turn: Turn) -> None:
        self.take(replace(turn, who="push"))

    @rule(turn=turns(ASYNC))
    def the_inbox_is_worked_on(self, turn: Turn) -> None:
        self.take(replace(turn, who="inbox"))

    @rule()
    def everything_is_started_anew(self) -> None:
        self.actors.clear()

    @rule(what=st.sampled_from(Act), place=st.integers(0, 7))
    def the_operator_acts(self, what: Act, place: int) -> None:
        self.act(what, place)

    def finish(self) -> None:
        self.line.fate = "answered"  # type: ignore[attr-defined]
        with suppress(GatewayError):
            self.world.side.fetcher.fetch(Source(SERVICE))
        self.world.work()
        self.world.send_due()


def void(_: object) -> None:
    """What a turn came to stands in the database."""


def search(machine: type[Machine], *, sequences: int, steps: int = 35, shrink: bool = False) -> None:
    """Run random sequences, the same every time. Raises what the model finds."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    with capture_logs():
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=sequences,
                stateful_step_count=steps,
                phases=phases,
                suppress_health_check=list(HealthCheck),
                deadline=None,
                database=None,
                derandomize=True,
                report_multiple_bugs=False,
            ),
        )
