"""Structured logs on stderr: an action, a code, a message id; never a body, a password or an IIN."""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog

#: these libraries log addresses or whole bodies
_SILENCED: Final = ("httpx", "httpcore", "zeep", "zeep.transports", "apscheduler", "alembic", "sqlalchemy.engine")


def configure(level: str) -> None:
    """One JSON line for one event. `level` is debug, info, warning or error."""
    number = getattr(logging, level.upper())
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
