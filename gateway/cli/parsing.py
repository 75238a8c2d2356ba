"""Dates and moments as people type them on a command line."""

from __future__ import annotations

import datetime as dt

from gateway.errors import ConfigurationError


def day(text: str | None, *, key: str) -> dt.date | None:
    """`2026-01-31`, or None for None. Raises ConfigurationError naming the option."""
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError("write a day as 2026-01-31", key=key) from None


def moment(text: str | None, *, key: str) -> dt.datetime | None:
    """`2026-01-31T12:00:00+05:00`, or None for None. Raises ConfigurationError naming the option."""
    if text is None:
        return None
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise ConfigurationError("write a moment with its zone, as 2026-01-31T12:00:00+05:00", key=key)
    return value
