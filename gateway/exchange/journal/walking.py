"""The whole chain in order, in bounded memory: what verification and export go by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from gateway.database import reading
from gateway.errors import StoreError
from gateway.exchange.journal.bodies import StoredBody
from gateway.exchange.journal.chain import GENESIS, values_of
from gateway.exchange.journal.stored_bodies import BODY_COLUMNS, and_body, stored_body
from gateway.exchange.tables import JOURNAL, JOURNAL_CUT, JOURNAL_EVIDENCE, JOURNAL_HEAD

_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the chain begins and ends, as journal_cut and journal_head say."""

    #: number and hash that the first row continues: 0 and 32 zero bytes unless the beginning was cut off
    before_id: int
    before: bytes
    last_id: int
    last: bytes
    #: row of the note that repeats the cut; None without a cut
    cut_note_id: int | None


@dataclass(frozen=True, slots=True)
class Link:
    """One row as it is stored."""

    row: Mapping[Any, Any]
    #: as the chain has them
    values: list[object]
    #: as stored; whether it is right is the verifier's question
    row_sha256: bytes
    #: None: it is not kept (any more)
    body: StoredBody | None


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the store as it is now, however long it reads and whoever writes meanwhile."""
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection


def ends_of(connection: Connection) -> Ends:
    """Raises StoreError (`journal_damaged`) when the tables do not say it once."""
    heads = connection.execute(select(JOURNAL_HEAD.c.last_id, JOURNAL_HEAD.c.row_sha256)).all()
    cuts = connection.execute(select(JOURNAL_CUT.c.last_id, JOURNAL_CUT.c.row_sha256, JOURNAL_CUT.c.note_id)).all()
    if len(heads) != 1 or len(cuts) > 1:
        raise StoreError(
            f"journal_head has {len(heads)} rows and journal_cut has {len(cuts)}; there is one head and at most one "
            "cut: restore the database from a backup",
            code="journal_damaged",
        )
    head = heads[0]
    if not cuts:
        return Ends(0, GENESIS, head.last_id, head.row_sha256, None)
    return Ends(cuts[0].last_id, cuts[0].row_sha256, head.last_id, head.row_sha256, cuts[0].note_id)


def walk(connection: Connection, *, first_id: int = 0, last_id: int | None = None) -> Iterator[Link]:
    """The stored rows in the order of their numbers, each with its evidence and its stored body."""
    query = select(JOURNAL, *BODY_COLUMNS).select_from(and_body(JOURNAL)).order_by(JOURNAL.c.id).limit(_BATCH)
    if last_id is not None:
        query = query.where(JOURNAL.c.id <= last_id)
    after = first_id - 1
    while rows := connection.execute(query.where(JOURNAL.c.id > after)).mappings().all():
        after = rows[-1]["id"]
        evidence: dict[int, list[Mapping[Any, Any]]] = {}
        kept = select(JOURNAL_EVIDENCE).where(JOURNAL_EVIDENCE.c.journal_id.between(rows[0]["id"], after))
        for piece in connection.execute(kept).mappings():
            evidence.setdefault(piece["journal_id"], []).append(piece)
        for row in rows:
            values = values_of(row, evidence.get(row["id"], ()))
            yield Link(row, values, row["row_sha256"], stored_body(row))
