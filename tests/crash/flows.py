"""The ways of a message that are killed: how each begins, and which numbered steps it has.

The steps stand here as the documentation has them; the matrix runs each flow once with a recorder first and refuses to
go on when the program passed others, so that no step can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.sandbox.misbehaviour import Misbehaviour, Order, Point

#: which step is passed how often on the way of one message; more often than once where two messages are exchanged
Steps = Mapping[int, int]


@dataclass(frozen=True)
class FlowCase:
    """One way of a message."""

    name: str
    #: as gateway.telemetry calls it: only steps of this flow are killed
    flow: str
    steps: Steps
    #: which folder of the register is used: see `Lane`
    channel: str = "sync"
    #: how what comes to us comes
    delivery: str = "push"
    #: a register is to be asked about a person
    asks: bool = False
    #: another participant has a REQUEST for a service of ours
    is_asked: bool = False
    #: a client of ours sends a synchronous request, the same bytes until it has an answer
    served: bool = False
    #: the question is sent and acknowledged by a daemon of its own, before the one that is killed
    asked_before: bool = False
    #: after how long the register answers, and whether it is told to us that our question arrived
    answer_after_s: float = 0.1
    tells_us: bool = True
    orders: tuple[Order, ...] = field(default=())


_LOSE_REPLY: Final = Order(Misbehaviour.LOSE_REPLY, point=Point.REPLY.value)
#: of one message from the sender's side
_OUT: Final = {1: 1, **dict.fromkeys(range(2, 14), 1)}
#: a question on the asynchronous channel is made of a wish, and taking wishes is step 1 of out.sync: nobody knows yet
#: on which channel it will go. Step 1 of out.async is taking a row that is to go (again): the flow with the lost reply
_ASYNC: Final = dict.fromkeys(range(2, 14), 1)
#: the first post ends in step 9 without a reply, so 9 is left once; then the row is taken (1), the gateway is asked
#: what became of it (getMessageStatus is a message of its own: 5 to 13), and the row is acknowledged (13)
_ASYNC_LOST: Final = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2, 8: 2, 9: 1, 10: 1, 11: 1, 12: 1, 13: 3}
#: a reply lost once: the row is taken again, and the same bytes go; 13 writes that the outcome is unknown, then the end
_SYNC_LOST: Final = {**_OUT, 13: 2}
#: 1 and 2 are the other side's; what came is journalled (10) in the transaction of 8; nothing of it reaches the
#: registry (13): the inbox row is the effect, and it is part of 8. The client asks once more, and has its answer again
_SERVED: Final = {3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2, 10: 2, 11: 2, 12: 2}
#: 1 to 4 are the sender's; the acknowledgement is built, signed, checked (5 to 7), everything is journalled together
#: with it (8, so there is no 10), it leaves (9), and the inbox row is worked on (12, 13). Two messages are pushed: the
#: news that our question arrived, and its answer
_PUSHED: Final = {5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 11: 2, 12: 5, 13: 1}
#: instead of 13 the answer is made (3), signed, checked and put into the outbox (8), where out.async goes on
_PUSHED_REQUEST: Final = {3: 1, 5: 2, 6: 2, 7: 2, 8: 2, 9: 1, 11: 1, 12: 3}
#: getMessages and the notification are calls of ours (5 to 13 each); the answer in them is worked on (12, 13)
_FETCHED: Final = {5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 2, 11: 2, 12: 4, 13: 3}
_FETCHED_REQUEST: Final = {3: 1, 5: 3, 6: 3, 7: 3, 8: 3, 9: 2, 10: 2, 11: 2, 12: 4, 13: 2}

FLOWS: Final = {
    flow.name: flow
    for flow in (
        FlowCase("out.sync", "out.sync", _OUT, asks=True),
        FlowCase("out.sync, reply lost", "out.sync", _SYNC_LOST, asks=True, orders=(_LOSE_REPLY,)),
        FlowCase("out.async", "out.async", _ASYNC, channel="async", asks=True),
        FlowCase(
            "out.async, ack lost",
            "out.async",
            _ASYNC_LOST,
            channel="async",
            asks=True,
            answer_after_s=3.0,
            tells_us=False,
            orders=(_LOSE_REPLY,),
        ),
        FlowCase("in.sync", "in.sync", _SERVED, served=True),
        FlowCase("in.push, answer", "in.push", _PUSHED, channel="async", asks=True),
        FlowCase("in.push, request", "in.push", _PUSHED_REQUEST, channel="async", is_asked=True),
        FlowCase(
            "in.poll, answer", "in.poll", _FETCHED, channel="async", delivery="poll", asks=True, asked_before=True
        ),
        FlowCase("in.poll, request", "in.poll", _FETCHED_REQUEST, channel="async", delivery="poll", is_asked=True),
    )
}
