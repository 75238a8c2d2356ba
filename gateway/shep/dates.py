"""`xs:dateTime` as SHEP's participants write it (SHEP.md 1.5). One exact form goes out."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final
from zoneinfo import ZoneInfo

from gateway.errors import MalformedMessage

ALMATY: Final = ZoneInfo("Asia/Almaty")
"""What a date without a zone means: civil time of Kazakhstan, +05:00 since 2024-03-01 and +06:00 before."""

_DATETIME: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,12}))?"
    r"(?P<zone>Z|[+-](?P<zone_hour>[0-9]{2}):?(?P<zone_minute>[0-9]{2}))?"
)
#: what nearly everybody writes; `fromisoformat` alone would read much more
_USUAL: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.(?:[0-9]{3}|[0-9]{6}))?"
    r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
)
_WIDEST_OFFSET = dt.timedelta(hours=14)  # XML Schema part 2, 3.2.7.3


def read_datetime(text: str, *, assumed_zone: dt.tzinfo) -> dt.datetime:
    """Read a date and time into UTC.

    Reads `Z`, `+06:00`, `+0600`, fractions to nanoseconds and longer (what is finer than a microsecond is cut),
    `24:00:00`, and no zone at all, which then is `assumed_zone`. Raises MalformedMessage (`bad_date`).
    """
    if _USUAL.fullmatch(text):
        try:
            return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            raise _refused() from None
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise _refused()
    hour = int(match["hour"])
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    end_of_day = hour == 24 and match["minute"] == match["second"] == "00" and fraction == "000000"
    try:
        local = dt.datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            0 if end_of_day else hour,
            int(match["minute"]),
            int(match["second"]),
            int(fraction),
            tzinfo=_zone(match) or assumed_zone,
        )
        if end_of_day:
            local += dt.timedelta(days=1)
        return local.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise _refused() from None


def write_datetime(moment: dt.datetime) -> str:
    """The form we send: milliseconds, and `Z` or the offset of `moment` with a colon.

    Raises ValueError for a naive `moment`: the caller forgot the zone.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a date without a time zone cannot be sent: give an aware datetime")
    # an offset with seconds (local mean time before 1924) is not legal in XML Schema
    if not offset or offset % dt.timedelta(minutes=1):
        return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return moment.isoformat(timespec="milliseconds")


def _zone(match: re.Match[str]) -> dt.timezone | None:
    written: str | None = match["zone"]
    if written is None:
        return None
    if written == "Z":
        return dt.UTC
    offset = dt.timedelta(hours=int(match["zone_hour"]), minutes=int(match["zone_minute"]))
    if offset > _WIDEST_OFFSET or int(match["zone_minute"]) > 59:
        raise _refused()
    return dt.timezone(-offset if written[0] == "-" else offset)


def _refused() -> MalformedMessage:
    return MalformedMessage(
        "a date and time is not readable; write it as 2026-01-31T09:30:00.000+05:00", code="bad_date"
    )
