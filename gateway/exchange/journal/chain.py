"""The hash chain: how a row is written as bytes, and how each row's hash speaks for all before it. Pure.

The format is public: docs/reference/journal.md. A third party writes a verifier from it; ours for exports is
tools/verify_journal.py, which shares no code with this module.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

#: verdicts of the notes that the chain's verification reads; their `note` is written by the functions below
STAMPED: Final = "stamped"
CUT: Final = "cut"
BODIES_REMOVED: Final = "bodies_removed"

#: the hash before the first row
GENESIS: Final = bytes(32)

#: what a row's hash is made of, in this order. Renaming, adding or moving one is a new format
COLUMNS: Final = (
    "id",
    "at",
    "direction",
    "step",
    "kind",
    "about_id",
    "channel",
    "system",
    "service_id",
    "message_id",
    "correlation_id",
    "peer",
    "body_bytes",
    "body_sha256",
    "signer_subject",
    "signer_serial",
    "verdict",
    "revocation_status",
    "revocation_source",
    "revocation_as_of",
    "note",
    "evidence",
)

#: the columns of the table itself; `evidence` is rows of journal_evidence
STORED: Final = COLUMNS[:-1]

# RFC 8785 for strings, whole numbers, null and arrays: what this encoder writes for them
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def canonical(values: Sequence[object]) -> str:
    """The values of one row in the order of COLUMNS, moments already written by `moment`, as RFC 8785 writes them."""
    return _encode(values)


def link(previous: bytes, row: str) -> bytes:
    """The hash of a row: SHA-256 of the hash before it and the row's canonical text in UTF-8."""
    return hashlib.sha256(previous + row.encode()).digest()


@lru_cache(maxsize=1_000)
def moment(at: dt.datetime) -> str:
    """A moment as the chain has it: UTC, microseconds always, `2026-06-01T07:00:00.000000Z`."""
    return at.astimezone(dt.UTC).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"


def values_of(row: Mapping[Any, Any], evidence: Iterable[Mapping[Any, Any]]) -> list[object]:
    """The canonical values of a stored row: `row` of the table journal, `evidence` its rows of journal_evidence."""
    values: list[object] = [row[name] for name in STORED]
    for index in _MOMENTS:
        value = values[index]
        if isinstance(value, dt.datetime):
            values[index] = moment(value)
    values.append(
        sorted([piece["sha256"], piece["kind"], piece["source"], moment(piece["as_of"])] for piece in evidence)
    )
    return values


@dataclass(frozen=True, slots=True)
class Removal:
    """Bodies that retention may have taken away: up to row `last_id`, older than `before`, of one or any service."""

    last_id: int
    before: str
    #: serviceId, or slug of a register; "" every one
    service: str = ""

    def note(self) -> str:
        return canonical([self.last_id, self.before, self.service])

    @classmethod
    def read(cls, note: str) -> Removal:
        """Raises ValueError for a text that `note` did not write."""
        match json.loads(note):
            case [int(last_id), str(before), str(service)]:
                return cls(last_id, before, service)
        raise ValueError("not a removal")

    def covers(self, values: Sequence[object]) -> bool:
        """Whether the body of this row (its canonical values) may be missing."""
        number, at = values[0], values[1]
        return (
            isinstance(number, int)
            and number <= self.last_id
            and str(at) < self.before
            and self.service in ("", values[_SYSTEM], values[_SERVICE_ID])
        )


def cut_note(last_id: int, row_sha256: bytes) -> str:
    """`note` of the row that repeats a cut."""
    return f"{last_id} {row_sha256.hex()}"


_SYSTEM: Final = COLUMNS.index("system")
_SERVICE_ID: Final = COLUMNS.index("service_id")
_MOMENTS: Final = (STORED.index("at"), STORED.index("revocation_as_of"))
