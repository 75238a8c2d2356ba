"""One record as one line of bytes: what files of all formats become before they are compared. Pure.

The line is CSV with the columns of its kind in one fixed order and quotes only where they are needed, so that two
records are the same exactly when their lines are. The columns that identify the record come first: sorted lines keep
what is said of one record together.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.registry.imports.feeds import RecordKind

#: a longer line is not a record
MAX_LINE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a kind of record; the first `key` of them identify it. A file may leave `optional` ones out."""

    columns: tuple[str, ...]
    key: int
    optional: frozenset[str] = frozenset()

    @property
    def header(self) -> bytes:
        return ",".join(self.columns).encode() + b"\n"


LAYOUTS: Final = {
    # 004 p.18, p.53, and the category, which the list implies
    RecordKind.CATEGORIES: Layout(
        (
            "iin",
            "category",
            "assigned_date",
            "assigned_source",
            "removed_date",
            "removed_source",
            "removed_reason",
        ),
        key=3,
        optional=frozenset({"removed_date", "removed_source", "removed_reason"}),
    ),
    # 004 p.15, the nine fields; then who paid (A-40) and whether it was returned (A-42)
    RecordKind.PAYMENTS: Layout(
        (
            "iin",
            "period",
            "reference",
            "full_name",
            "payer_bin",
            "payer_name",
            "received_date",
            "amount",
            "purpose_code",
            "payer_type",
            "withdrawn",
        ),
        key=3,
        optional=frozenset({"payer_bin", "payer_type", "withdrawn"}),
    ),
    # 004 p.62-65
    RecordKind.MILITARY: Layout(
        ("iin", "listed_as", "reserve_combat_training", "changed_on"),
        key=1,
        optional=frozenset({"listed_as", "reserve_combat_training", "changed_on"}),
    ),
    # 004 p.61
    RecordKind.TREATY: Layout(("iin", "first_day", "first_day_off"), key=2, optional=frozenset({"first_day_off"})),
}


def line_of(fields: Sequence[str]) -> bytes | None:
    """The line of these values, without its end; None when a value holds a line break or NUL, which no field may."""
    text = ",".join(
        ['"' + field.replace('"', '""') + '"' if "," in field or '"' in field else field for field in fields]
    )
    if "\n" in text or "\r" in text or "\x00" in text:
        return None
    return text.encode()


def fields_of(line: bytes) -> list[str] | None:
    """The values of a line; None when it is not text."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return None


def key_of(line: bytes, columns: int) -> tuple[bytes, ...]:
    """What identifies the record of a line."""
    if b'"' not in line:
        return tuple(line.split(b",", columns)[:columns])
    return tuple(field.encode() for field in (fields_of(line) or [])[:columns])
