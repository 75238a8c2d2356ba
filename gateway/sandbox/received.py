"""What came to the sandbox and what it answered, for whoever judges a program by it: ids, digests, times, no bodies."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections import deque
from dataclasses import dataclass, fields
from typing import Any, Final

from lxml import etree

from gateway.xml import canonicalize

#: messages, and ids of messages: the newest are kept
MAX_KEPT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request, and the end that it came to."""

    at: dt.datetime
    channel: str
    operation: str
    #: of the whole message
    message_sha256: str
    #: of the operation inside of the Body, canonical: the same under another signature
    content_sha256: str
    size_bytes: int
    service_id: str = ""
    message_type: str = ""
    sender_id: str = ""
    #: as the sender gave it
    message_id: str = ""
    correlation_id: str = ""
    #: "answered", "acknowledged", "duplicate", "fault SCE001: why", "out of service", "lost on arrival"
    end: str = ""
    #: ids that the acknowledgement gave
    given_message_id: str = ""
    given_correlation_id: str = ""
    #: what was ordered for it
    misbehaviour: str = ""

    def as_dict(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "at": self.at.isoformat()}


class ReceivedLog:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._kept: deque[Received] = deque(maxlen=MAX_KEPT)
            self._count = 0
            #: of messages with an id of their own: key → digests of the whole message, in the order they came
            self._sent: dict[tuple[str, str, str], list[str]] = {}

    def add(self, received: Received) -> None:
        with self._lock:
            self._kept.append(received)
            self._count += 1
            if received.message_id and received.operation.lower() == "sendmessage":
                key = (received.channel, received.sender_id, received.message_id)
                self._sent.setdefault(key, []).append(received.message_sha256)
                forget_oldest(self._sent)

    def as_dict(self) -> dict[str, Any]:
        """`messages` and what a judge asks first: how often one id came again, and with other bytes."""
        with self._lock:
            again = [digests for digests in self._sent.values() if len(digests) > 1]
            return {
                "count": self._count,
                "ids": len(self._sent),
                "ids_sent_again": len(again),
                "ids_sent_with_different_bytes": sum(1 for digests in again if len(set(digests)) > 1),
                "messages": [one.as_dict() for one in self._kept],
            }


def digests(data: bytes, body: etree._Element | None) -> tuple[str, str]:
    """Of a whole message and of the operation in its Body; the second is "" when there is none to be read."""
    content = "" if body is None or not len(body) else hashlib.sha256(canonicalize(body[0])).hexdigest()
    return hashlib.sha256(data).hexdigest(), content


def forget_oldest(kept: dict[Any, Any]) -> None:
    """Make room for the newest: a sandbox that runs for weeks does not grow."""
    while len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
