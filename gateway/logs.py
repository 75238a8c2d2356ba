"""Structured logs on stderr: an action, a code, a message id; never a body, a password or an IIN."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

import structlog

from gateway.errors import InvalidIdentifier
from gateway.model import Iin

#: these libraries log addresses or whole bodies
_SILENCED: Final = (
    "httpx",
    "httpcore",
    "zeep",
    "zeep.transports",
    "apscheduler",
    "alembic",
    "sqlalchemy.engine",
    "opentelemetry",
)
_DIGITS: Final = re.compile(r"[0-9]{12,}")


def mask(text: str) -> str:
    """The text without any IIN: a run of digits that holds one is hidden, also where somebody made an id of it."""
    return _DIGITS.sub(lambda run: "*" * 12 if _holds_iin(run[0]) else run[0], text)


def _holds_iin(digits: str) -> bool:
    for start in range(len(digits) - 11):
        try:
            Iin(digits[start : start + 12])
        except InvalidIdentifier:
            continue
        return True
    return False


#: what every line says while a message is in hand, set by gateway.telemetry.message; values are masked already
IN_HAND: Final[ContextVar[Mapping[str, str]]] = ContextVar("in_hand", default=MappingProxyType({}))

#: written as they are; anything else by its text
_PLAIN: Final = (str, int, float, type(None))
_to_json: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


def add_message_in_hand(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """message_id, system, service_id and flow of the message in hand, where the line does not say them itself."""
    for key, value in IN_HAND.get().items():
        event.setdefault(key, value)
    return event


def render(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """The line, and the last word on it: no field holds an IIN, whoever wrote it."""
    for key, value in event.items():
        if not isinstance(value, _PLAIN):
            event[key] = str(value)
    line = _to_json(event)
    # JSON leaves digits as they are: one look at the line is enough where no field has a run of them
    if _DIGITS.search(line) is None:
        return line
    return _to_json({key: mask(value) if isinstance(value, str) else value for key, value in event.items()})


def configure(level: str) -> None:
    """One JSON line for one event. `level` is debug, info, warning or error."""
    number = getattr(logging, level.upper())
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            add_message_in_hand,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
