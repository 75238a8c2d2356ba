"""Time stamps (RFC 3161) on what the journal archives: who says that these rows existed at which moment.

One stamp speaks for a run of rows. What is stamped is a statement of one line for each row, in the order of their
numbers, made of what the row proves: the digest of the exact bytes, the verdict, the signer, the revocation evidence.
Anyone who has the rows writes the statement again and compares its SHA-256 with the one in the token.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select

from gateway.database import reading, writing
from gateway.exchange.tables import JOURNAL, JOURNAL_EVIDENCE, TIME_STAMP
from gateway.trust.timestamp import TimeStamp

#: a row takes its number before it is committed: a run ends where every earlier transaction has surely ended
SETTLED: Final = dt.timedelta(minutes=2)
MAX_ROWS: Final = 50_000

Stamper = Callable[[bytes], TimeStamp]
"""Has a statement stamped and verifies the token. Raises what gateway.trust.timestamp.request_timestamp raises."""


@dataclass(frozen=True, slots=True)
class StampedRun:
    """Rows `first_id` to `last_id`, and the token over their statement."""

    first_id: int
    last_id: int
    gen_time: dt.datetime
    token: bytes


def stamp_once(engine: Engine, stamper: Stamper, *, at: dt.datetime) -> StampedRun | None:
    """Stamp the settled rows that no stamp speaks for yet; None when there are none.

    The stamp is asked for outside of any transaction; one that cannot be had leaves the rows for the next time.
    """
    with reading(engine) as connection:
        after = connection.execute(select(func.coalesce(func.max(TIME_STAMP.c.last_id), 0))).scalar_one()
        ids = (
            connection.execute(
                select(JOURNAL.c.id)
                .where(JOURNAL.c.id > after, JOURNAL.c.at <= at - SETTLED)
                .order_by(JOURNAL.c.id)
                .limit(MAX_ROWS)
            )
            .scalars()
            .all()
        )
        if not ids:
            return None
        first_id, last_id = ids[0], ids[-1]
        statement = statement_of(connection, first_id, last_id)
    stamp = stamper(statement)
    with writing(engine) as connection:
        connection.execute(
            insert(TIME_STAMP).values(
                first_id=first_id, last_id=last_id, gen_time=stamp.gen_time, policy=stamp.policy, token=stamp.token
            )
        )
    return StampedRun(first_id, last_id, stamp.gen_time, stamp.token)


def statement_of(connection: Connection, first_id: int, last_id: int) -> bytes:
    """What a stamp over these rows is a stamp of."""
    evidence: dict[int, list[str]] = {}
    kept = select(JOURNAL_EVIDENCE).where(JOURNAL_EVIDENCE.c.journal_id.between(first_id, last_id))
    for row in connection.execute(kept.order_by(JOURNAL_EVIDENCE.c.journal_id, JOURNAL_EVIDENCE.c.sha256)).mappings():
        evidence.setdefault(row["journal_id"], []).append(row["sha256"])
    rows = connection.execute(
        select(JOURNAL).where(JOURNAL.c.id.between(first_id, last_id)).order_by(JOURNAL.c.id)
    ).mappings()
    lines = []
    for row in rows:
        parts = (
            row["id"],
            row["at"].isoformat(),
            row["direction"],
            row["kind"],
            row["about_id"] or "",
            row["message_id"],
            row["body_sha256"],
            row["verdict"],
            row["signer_serial"],
            row["revocation_status"],
            ",".join(evidence.get(row["id"], ())),
        )
        lines.append("\t".join(str(part) for part in parts))
    return "\n".join(lines).encode()


def runs(engine: Engine) -> tuple[StampedRun, ...]:
    """Every stamp, in the order of the rows that it speaks for."""
    with reading(engine) as connection:
        rows = connection.execute(select(TIME_STAMP).order_by(TIME_STAMP.c.first_id)).mappings().all()
    return tuple(StampedRun(row["first_id"], row["last_id"], row["gen_time"], row["token"]) for row in rows)
