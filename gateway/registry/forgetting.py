"""Erasure of what is known about a person, where nothing rests on it any more. What stays says that it happened.

No text of the Rules that we hold says how long the registry's data are kept: how long is the Fund's decision, and
without it nothing is erased (docs/decisions/0036). The journal keeps its messages by its own rules.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select

from gateway.backup import line_of
from gateway.database import metadata
from gateway.errors import ConfigurationError, GatewayError
from gateway.model import Iin
from gateway.registry.people import ABOUT_PEOPLE
from gateway.registry.store import standing_of
from gateway.registry.tables import FORGOTTEN, MAX_TEXT_CHARACTERS
from gateway.regulation.law import Law


class NotForgotten(GatewayError):
    """There is a ground to keep what is known. `code`: `nothing_known`, `standing_rests`, `still_kept`."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The row that stays. It does not say about whom."""

    number: int
    rows: int
    digest: str
    """SHA-256 of the salt and of the rows: who holds a copy of them can show that they were these."""


def forget(
    connection: Connection,
    iin: Iin,
    *,
    reason: str,
    by: str,
    at: dt.datetime,
    keep_days: int,
    salt: str,
    law: Law,
) -> Forgotten:
    """Erase every row about the person, in the caller's transaction. `salt`: random, new for each call.

    Raises NotForgotten, ConfigurationError and EditionNotInForce.
    """
    if not reason.strip() or len(reason) > MAX_TEXT_CHARACTERS:
        raise ConfigurationError(f"say why, in at most {MAX_TEXT_CHARACTERS} characters", key="--reason")
    _refuse_while_needed(connection, iin, at, keep_days, law)
    digest = hashlib.sha256(salt.encode())
    rows = 0
    tables = _about_people()
    for table in tables:
        for row in connection.execute(select(table).where(table.c.iin == iin.value).order_by(*table.primary_key)):
            digest.update(table.name.encode() + b" " + line_of(row) + b"\n")
            rows += 1
    # children before their parents
    for table in reversed(tables):
        connection.execute(delete(table).where(table.c.iin == iin.value))
    number = int(connection.execute(select(func.coalesce(func.max(FORGOTTEN.c.id), 0) + 1)).scalar_one())
    made = Forgotten(number, rows, digest.hexdigest())
    connection.execute(
        insert(FORGOTTEN),
        {
            "id": number,
            "at": at,
            "reason": reason,
            "forgotten_by": by[:256],
            "rows": rows,
            "salt": salt,
            "digest": made.digest,
        },
    )
    return made


def _about_people() -> Sequence[Table]:
    """Every table of every room of which each row is about the person in its column `iin`."""
    return [table for table in metadata.sorted_tables if "iin" in table.c]


def _refuse_while_needed(connection: Connection, iin: Iin, at: dt.datetime, keep_days: int, law: Law) -> None:
    last = _last_heard(connection, iin)
    if last is None:
        raise NotForgotten("nothing is known about this person", code="nothing_known")
    answer = standing_of(connection, iin, as_of=law.local_day(at), known_at=at, law=law)
    if answer.insured or answer.next_change is not None:
        raise NotForgotten(
            "a standing rests on what is known, today or on a later day; see `gateway registry explain`",
            code="standing_rests",
        )
    if at - last < dt.timedelta(days=keep_days):
        raise NotForgotten(
            f"the last fact is younger than the {keep_days} days of registry.keep_facts_days", code="still_kept"
        )


def _last_heard(connection: Connection, iin: Iin) -> dt.datetime | None:
    moments = [
        connection.execute(select(func.max(table.c.received_at)).where(table.c.iin == iin.value)).scalar_one()
        for table in ABOUT_PEOPLE
    ]
    return max((moment for moment in moments if moment is not None), default=None)
