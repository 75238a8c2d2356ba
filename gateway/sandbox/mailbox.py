"""What the sandbox's asynchronous gateway has under way: messages for participants, answers to be made, in order of
due time. It is memory only, and pure: it does what it is told at the time it is told.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from gateway.sandbox.misbehaviour import Misbehaviour
from gateway.sandbox.registers import Question
from gateway.shep.async_messages import AsyncMessageInfo, MessageState

#: finished messages that are still known to getMessageStatus and to /sandbox/deliveries
MAX_FINISHED: Final = 100_000


@dataclass(slots=True)
class Parcel:
    """One message for a participant; all times of its delivery carry the same ids."""

    info: AsyncMessageInfo
    #: sender_id of the participant it is for; "" is whoever fetches the service's messages
    to: str
    #: "" when it waits to be fetched
    push_to: str
    due_at: dt.datetime
    #: what to deliver, one after the other: once, or more often on order
    contents: list[etree._Element | None]
    #: how its pushes go wrong
    kind: Misbehaviour | None = None
    #: a plausible untruth instead of the content, for a forger
    lie: etree._Element | None = None
    #: waits for `due_at`, or for the next one to the same participant
    held: bool = False
    state: MessageState = MessageState.ON_DELIVERY
    attempts: int = 0
    #: how the attempts ended, newest last
    outcomes: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.state is not MessageState.ON_DELIVERY

    def as_dict(self) -> dict[str, Any]:
        return {
            "message_id": self.info.message_id,
            "correlation_id": self.info.correlation_id,
            "service_id": self.info.service_id,
            "message_type": self.info.message_type.value,
            "to": self.to,
            "how": "push" if self.push_to else "poll",
            "state": self.state.value,
            "due_at": self.due_at.isoformat(),
            "attempts": self.attempts,
            "outcomes": list(self.outcomes),
            "misbehaviour": self.kind.value if self.kind else "",
        }


@dataclass(frozen=True, slots=True)
class AnswerDue:
    """A register's answer that has yet to be made."""

    question: Question
    correlation_id: str
    to: str


@dataclass(frozen=True, slots=True)
class TellDue:
    """A participant to be told what became of a message of its own."""

    to: str
    service_id: str
    message_id: str
    state: MessageState
    attempts: int = 0


Job = Parcel | AnswerDue | TellDue


class Mailbox:
    """Not safe to use from several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._agenda: list[tuple[dt.datetime, int, Job]] = []
        #: every parcel by the gateway's id, oldest first
        self._parcels: dict[str, Parcel] = {}
        #: those that wait to be fetched, in the order in which they were made or given free
        self._to_fetch: dict[str, Parcel] = {}
        self._held: list[Parcel] = []

    # ------------------------------------------------------------ the agenda

    def put(self, job: Job, due_at: dt.datetime) -> None:
        heapq.heappush(self._agenda, (due_at, next(self._order), job))

    def take_due(self, now: dt.datetime) -> Job | None:
        """The next job whose time has come."""
        if self._agenda and self._agenda[0][0] <= now:
            return heapq.heappop(self._agenda)[2]
        return None

    def next_due(self) -> dt.datetime | None:
        return self._agenda[0][0] if self._agenda else None

    # ------------------------------------------------------------ parcels

    def post(self, parcel: Parcel) -> None:
        """Take a message in; one that is held back for the same participant follows it at once."""
        overtaken = [] if parcel.held else [one for one in self._held if one.to == parcel.to]
        self._parcels[parcel.info.message_id] = parcel
        self._put(parcel)
        if parcel.held:
            self._held.append(parcel)
        for one in overtaken:
            one.held = False
            self._held.remove(one)
            self.release(one, parcel.due_at)
        self._forget()

    def _put(self, parcel: Parcel) -> None:
        if parcel.push_to:
            self.put(parcel, parcel.due_at)
        else:
            self._to_fetch.pop(parcel.info.message_id, None)
            self._to_fetch[parcel.info.message_id] = parcel

    def release(self, parcel: Parcel, due_at: dt.datetime) -> None:
        """To be delivered (again) from `due_at` on."""
        parcel.due_at = due_at
        parcel.state = MessageState.ON_DELIVERY
        self._put(parcel)

    def find(self, message_id: str) -> Parcel | None:
        return self._parcels.get(message_id)

    def waiting_for(self, to: str, service_id: str, *, now: dt.datetime) -> Iterator[Parcel]:
        """What may be fetched now, in order of due time; `to` "" fetches for anyone."""
        self._to_fetch = {key: one for key, one in self._to_fetch.items() if not one.finished}
        fetchable = [
            one
            for one in self._to_fetch.values()
            if one.due_at <= now and one.info.service_id == service_id and (to == "" or one.to in ("", to))
        ]
        yield from sorted(fetchable, key=lambda one: one.due_at)

    def parcels(self) -> Sequence[Parcel]:
        return tuple(self._parcels.values())

    def _forget(self) -> None:
        if len(self._parcels) <= MAX_FINISHED:
            return
        oldest = next((key for key, one in self._parcels.items() if one.finished), None)
        if oldest is not None:
            del self._parcels[oldest]
