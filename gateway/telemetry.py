"""The one place from which metrics and spans come: what happens is told here, and whoever listens counts or traces it.

The rooms tell it by the numbered steps of DESIGN.md, "How a message travels". Nothing told here holds personal data:
a flow, a number, a system, a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from time import perf_counter
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from gateway.logs import IN_HAND, mask

#: which way a message travels: we ask or send; we are asked, pushed to, or fetch
Flow = Literal["out.sync", "out.async", "in.sync", "in.push", "in.poll"]


class StepListener(Protocol):
    """Hears of every step. What it raises reaches the step: a listener must not fail."""

    def entered(self, number: int, flow: Flow) -> None: ...

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None: ...


class DurationListener(Protocol):
    """Hears how long every step took, once it is over. It must not fail either."""

    def took(self, number: int, flow: Flow, seconds: float, error: BaseException | None) -> None: ...


class MessageListener(Protocol):
    """Hears when work on a message begins and ends in this thread. It must not fail either."""

    def opened(self, flow: Flow) -> None: ...

    #: `known`: message_id (masked), system, service_id, as far as they are known by then
    def closed(self, flow: Flow, known: Mapping[str, str], error: BaseException | None) -> None: ...


_listeners: Final[list[StepListener]] = []
_duration_listeners: Final[list[DurationListener]] = []
_message_listeners: Final[list[MessageListener]] = []


def listen(listener: StepListener) -> None:
    """Tell `listener` of every step from now on, for the life of the process."""
    _listeners.append(listener)


def listen_to_durations(listener: DurationListener) -> None:
    """Tell `listener` how long every step takes from now on, for the life of the process."""
    _duration_listeners.append(listener)


def listen_to_messages(listener: MessageListener) -> None:
    """Tell `listener` of every message from now on, for the life of the process."""
    _message_listeners.append(listener)


class message:  # noqa: N801 - reads as a statement: `with message("in.sync") as this:`
    """Work on one message: its steps and log lines belong to it, by its id, its system and its service.

    What is not known at the beginning is told by `about` as soon as it is.
    """

    __slots__ = ("_before", "_flow", "_known")

    def __init__(self, flow: Flow, *, message_id: str = "", system: str = "", service_id: str = "") -> None:
        self._flow: Flow = flow
        self._known: dict[str, str] = {}
        self._before: Token[Mapping[str, str]] | None = None
        self._learn(message_id=message_id, system=system, service_id=service_id)

    def _learn(self, **known: str) -> None:
        for key, value in known.items():
            if value:
                self._known[key] = mask(value)

    def about(self, *, message_id: str = "", system: str = "", service_id: str = "") -> None:
        """What is known of the message by now. Values come from outside: an IIN in one is masked."""
        self._learn(message_id=message_id, system=system, service_id=service_id)
        IN_HAND.set({**IN_HAND.get(), **self._known})

    def __enter__(self) -> Self:
        self._before = IN_HAND.set({**IN_HAND.get(), "flow": self._flow, **self._known})
        for listener in _message_listeners:
            listener.opened(self._flow)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for listener in reversed(_message_listeners):
            listener.closed(self._flow, self._known, error)
        if self._before is not None:
            IN_HAND.reset(self._before)


class step:  # noqa: N801 - reads as a statement: `with step(8, "out.sync"):`
    """One numbered step of one message, or of a group of messages that take it together."""

    __slots__ = ("_flow", "_number", "_started_s")

    def __init__(self, number: int, flow: Flow) -> None:
        self._number = number
        self._flow: Flow = flow

    def __enter__(self) -> None:
        if _listeners:
            for listener in _listeners:
                listener.entered(self._number, self._flow)
        self._started_s = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        seconds = perf_counter() - self._started_s
        for timed in _duration_listeners:
            timed.took(self._number, self._flow, seconds, error)
        if _listeners:
            for listener in reversed(_listeners):
                listener.left(self._number, self._flow, error)
