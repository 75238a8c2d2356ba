"""Time stamps (RFC 3161) on the end of the chain: who says that it stood there at which moment.

The hash of the last row speaks for every row before it, so one stamp speaks for all of them. What is stamped is the
statement of docs/reference/journal.md; anyone who has the rows writes it again and compares its digest with the one
in the token. The token is kept as evidence of a note, so that the chain holds it too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine, select

from gateway.database import reading, writing
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.exchange.journal.chain import STAMPED
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_EVIDENCE, JOURNAL_HEAD
from gateway.trust.timestamp import TimeStamp
from gateway.trust.verdict import DecidingEvidence

TOKEN_KIND: Final = "time_stamp"  # noqa: S105 - no password
"""Kind of the evidence that is a token; its source is the OID of the stamping policy."""

Stamper = Callable[[bytes], TimeStamp]
"""Has a statement stamped and verifies the token. Raises what gateway.trust.timestamp.request_timestamp raises."""


@dataclass(frozen=True, slots=True)
class StampedHead:
    """The chain as far as row `last_id`, and the token over `statement_of` it."""

    last_id: int
    row_sha256: bytes
    gen_time: dt.datetime
    policy: str
    token: bytes = field(repr=False)


def statement_of(last_id: int, row_sha256: bytes) -> bytes:
    """What a stamp over the chain's end is a stamp of."""
    return f"shep-gateway journal 1 {last_id} {row_sha256.hex()}".encode()


def stamp_once(engine: Engine, stamper: Stamper, journal: JournalWriter) -> StampedHead | None:
    """Stamp the chain's end; None when nothing came after the note of the latest stamp.

    The stamp is asked for outside of any transaction; one that cannot be had leaves the rows for the next time.
    """
    with reading(engine) as connection:
        last_id, row_sha256 = connection.execute(select(JOURNAL_HEAD.c.last_id, JOURNAL_HEAD.c.row_sha256)).one()
        last = connection.execute(select(JOURNAL.c.kind, JOURNAL.c.verdict).where(JOURNAL.c.id == last_id)).first()
    if last is None or (last.kind, last.verdict) == (EntryKind.NOTE, STAMPED):
        return None
    stamp = stamper(statement_of(last_id, row_sha256))
    token = DecidingEvidence(
        TOKEN_KIND, hashlib.sha256(stamp.token).hexdigest(), stamp.gen_time, stamp.policy, stamp.token
    )
    note = JournalEntry(
        at=stamp.gen_time,
        direction=MessageDirection.OUT,
        step=0,
        kind=EntryKind.NOTE,
        verdict=STAMPED,
        deciding=(token,),
        note=f"{last_id} {row_sha256.hex()}",
    )
    with writing(engine) as connection:
        journal.append(connection, note)
    return StampedHead(last_id, row_sha256, stamp.gen_time, stamp.policy, stamp.token)


def stamps(engine: Engine) -> tuple[StampedHead, ...]:
    """Every stamp, in the order of the chain; not those of before the chain, which speak for rows by other numbers."""
    query = (
        select(JOURNAL.c.note, JOURNAL_EVIDENCE.c.as_of, JOURNAL_EVIDENCE.c.source, EVIDENCE.c.content)
        .join(JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.journal_id == JOURNAL.c.id)
        .join(EVIDENCE, EVIDENCE.c.sha256 == JOURNAL_EVIDENCE.c.sha256)
        .where(JOURNAL.c.kind == EntryKind.NOTE, JOURNAL.c.verdict == STAMPED)
        .order_by(JOURNAL.c.id)
    )
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    found = []
    for note, gen_time, policy, token in rows:
        number, row_sha256 = note.split()
        found.append(StampedHead(int(number), bytes.fromhex(row_sha256), gen_time, policy, token))
    return tuple(found)
