"""Who takes part in the asynchronous channel, and whether their messages are pushed to them or fetched by them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.errors import OperatorError

_KEYS: Final = ("sender_id", "service_id", "push_to")
_MAX_PARTICIPANTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Participant:
    """Messages for `sender_id` of `service_id` ("" means any) go to `push_to`; "" keeps them for getMessages."""

    sender_id: str = ""
    service_id: str = ""
    push_to: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"sender_id": self.sender_id, "service_id": self.service_id, "push_to": self.push_to}


def read_participant(document: Any) -> Participant:
    """From parsed JSON. Raises OperatorError (`bad_participant`)."""
    if not isinstance(document, Mapping) or not all(isinstance(value, str) for value in document.values()):
        raise _bad('write a JSON object of texts such as {"push_to": "http://127.0.0.1:8080/shep/async"}')
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise _bad(f"the key {unknown[0]!r} is not known; there are {', '.join(_KEYS)}")
    participant = Participant(**document)
    check_address(participant.push_to)
    return participant


def check_address(push_to: str) -> None:
    """Raises OperatorError (`bad_participant`) for what is neither "" nor an http address."""
    if not push_to:
        return
    try:
        parts = urlsplit(push_to)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _bad("'push_to' is an http or https address, or empty")


class Participants:
    """Safe to use from several threads."""

    def __init__(self, known: Sequence[Participant] = ()) -> None:
        self._lock = threading.Lock()
        self._push_to: dict[tuple[str, str], str] = {}
        for participant in known:
            self.put(participant)

    def put(self, participant: Participant) -> None:
        """Raises OperatorError (`bad_participant`) when there are too many."""
        with self._lock:
            self._push_to[participant.sender_id, participant.service_id] = participant.push_to
            if len(self._push_to) > _MAX_PARTICIPANTS:
                del self._push_to[participant.sender_id, participant.service_id]
                raise _bad(f"at most {_MAX_PARTICIPANTS} participants are kept")

    def push_to(self, sender_id: str, service_id: str) -> str:
        """Where a message goes, "" when it waits to be fetched. What names most decides."""
        with self._lock:
            for key in ((sender_id, service_id), (sender_id, ""), ("", service_id), ("", "")):
                if key in self._push_to:
                    return self._push_to[key]
            return ""

    def known(self) -> tuple[Participant, ...]:
        with self._lock:
            return tuple(Participant(*key, push_to) for key, push_to in self._push_to.items())

    def clear(self) -> None:
        with self._lock:
            self._push_to.clear()


def _bad(why: str) -> OperatorError:
    return OperatorError(why, code="bad_participant")
