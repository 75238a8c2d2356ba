"""Appending to the journal. The number and the hash of each row continue the one chain of the whole fleet."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import gt, itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, String, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import UtcDateTime
from gateway.errors import StoreError
from gateway.exchange.journal.bodies import PLAIN, WINDOW_BYTES, BodySeal, compress
from gateway.exchange.journal.chain import STORED, canonical, link, moment
from gateway.exchange.journal.entries import NOBODY, NOT_LOOKED_AT, EntryKind, JournalEntry, Revocation, Signer
from gateway.exchange.journal.stored_bodies import REACH
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_BODY, JOURNAL_EVIDENCE, JOURNAL_HEAD
from gateway.prepared import Call, Prepared, bytea_array, run_together, text_array
from gateway.trust.verdict import DecidingEvidence


@dataclass(frozen=True, slots=True)
class JournalWriter:
    """Appends rows in the caller's transaction.

    The chain has one end, and an append holds its lock until the caller commits: append last, commit soon.
    """

    seal: BodySeal = PLAIN

    def append(self, connection: Connection, entry: JournalEntry) -> int:
        """Write one row; its id. What is longer than its column is cut, a body never."""
        return self.append_many(connection, (entry,))[0]

    def append_many(self, connection: Connection, entries: Sequence[JournalEntry]) -> tuple[int, ...]:
        """Write rows in this order; their ids, which follow each other."""
        if not entries:
            return ()
        if connection.dialect.name == "postgresql":
            ids, call = self.appending(connection, entries)
            run_together(connection, (call,))
            return ids
        batch = self._continued(connection, entries)
        _write(connection, batch)
        return batch.ids

    def appending(self, connection: Connection, entries: Sequence[JournalEntry]) -> tuple[tuple[int, ...], Call]:
        """For PostgreSQL: the ids that one or more rows will have, and the call that writes them.

        The call is to be the next thing in the transaction, together with what goes with it.
        """
        batch = self._continued(connection, entries)
        return batch.ids, _appending(batch)

    def _continued(self, connection: Connection, entries: Sequence[JournalEntry]) -> _Batch:
        # what costs time and needs no number is done before everybody else has to wait
        prepared = list(zip(map(_values, entries), _packed(entries), map(_evidence, entries), strict=True))
        last_id, last = _take_head(connection)
        batch = _Batch(last_id, last)
        for values, packed, evidence in prepared:
            batch.add(values, packed, evidence, self.seal)
        _keep_evidence(connection, entries, last_id + 1)
        return batch

    def append_verdict(
        self,
        connection: Connection,
        about_id: int,
        about: JournalEntry,
        *,
        at: dt.datetime,
        step: int,
        verdict: str,
        signer: Signer = NOBODY,
        revocation: Revocation = NOT_LOOKED_AT,
        deciding: tuple[DecidingEvidence, ...] = (),
        note: str = "",
    ) -> int:
        """Write what came of the message `about`, stored before as row `about_id`. One verdict for one message."""
        return self.append(
            connection,
            verdict_about(
                about_id,
                about,
                at=at,
                step=step,
                verdict=verdict,
                signer=signer,
                revocation=revocation,
                deciding=deciding,
                note=note,
            ),
        )


def verdict_about(
    about_id: int,
    about: JournalEntry,
    *,
    at: dt.datetime,
    step: int,
    verdict: str,
    signer: Signer = NOBODY,
    revocation: Revocation = NOT_LOOKED_AT,
    deciding: tuple[DecidingEvidence, ...] = (),
    note: str = "",
) -> JournalEntry:
    """The row that says what came of the message `about`, stored before as row `about_id`."""
    return replace(
        about,
        at=at,
        step=step,
        kind=EntryKind.VERDICT,
        about_id=about_id,
        body=None,
        body_bytes=0,
        signer=signer,
        verdict=verdict,
        revocation=revocation,
        deciding=deciding,
        note=note,
    )


#: places of the texts that come from outside, and the width of their columns
_BOUNDED: Final = tuple(
    (index, column.type.length)
    for index, column in enumerate(JOURNAL.c[name] for name in STORED)
    if isinstance(column.type, String) and column.type.length is not None
)
_WIDTHS: Final = tuple(width for _, width in _BOUNDED)
_bounded_of: Final = itemgetter(*(index for index, _ in _BOUNDED))
_EVIDENCE_SOURCE_WIDTH: Final = 500


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _values(entry: JournalEntry) -> list[Any]:
    """The values of the row as the chain has them, its number yet to come."""
    body, signer, revocation = entry.body, entry.signer, entry.revocation
    as_of = revocation.as_of
    values: list[Any] = [
        0,
        moment(entry.at),
        str(entry.direction),
        entry.step,
        str(entry.kind),
        entry.about_id,
        entry.channel,
        entry.system,
        entry.service_id,
        entry.message_id,
        entry.correlation_id,
        entry.peer,
        entry.body_bytes if body is None else len(body),
        "" if body is None else hashlib.sha256(body).hexdigest(),
        signer.subject,
        signer.serial,
        str(entry.verdict),
        str(revocation.status),
        revocation.source,
        None if as_of is None else moment(as_of),
        entry.note,
    ]
    # nearly nothing is too long: one look at all of them
    if any(map(gt, map(len, _bounded_of(values)), _WIDTHS)):
        for index, width in _BOUNDED:
            values[index] = _cut(values[index], width)
    return values


#: a compressed body, and the place among the entries of the one by which it was
_Packed: TypeAlias = tuple[bytes, int | None]


def _packed(entries: Sequence[JournalEntry]) -> list[_Packed | None]:
    """The bodies, each compressed by the first of its kind where there is one (docs/decisions/0074)."""
    bases: dict[tuple[str, ...], tuple[int, bytes]] = {}
    packed: list[_Packed | None] = []
    for place, entry in enumerate(entries):
        body = entry.body
        if body is None:
            packed.append(None)
            continue
        # retention goes by system and service too, so that mostly a base goes together with what rests on it
        alike = (entry.direction, entry.system, entry.service_id, entry.signer.serial)
        base_place, base = bases.get(alike, (0, b""))
        if base and place - base_place < REACH and len(body) <= WINDOW_BYTES:
            packed.append((compress(body, base), base_place))
            continue
        packed.append((compress(body), None))
        if 0 < len(body) <= WINDOW_BYTES:
            bases[alike] = place, body
    return packed


def _evidence(entry: JournalEntry) -> list[list[str]]:
    if not entry.deciding:
        return []
    kept = {used.sha256: used for used in entry.deciding if used.content}
    return [
        [sha256, used.kind, used.source[:_EVIDENCE_SOURCE_WIDTH], moment(used.as_of)]
        for sha256, used in sorted(kept.items())
    ]


def _take_head(connection: Connection) -> tuple[int, bytes]:
    """The end of the chain, locked until the transaction ends; SQLite's transaction has the whole file already."""
    if connection.dialect.name == "postgresql":
        row = next(iter(_TAKE_HEAD.run(connection)), None)
    else:
        row = connection.execute(select(JOURNAL_HEAD.c.last_id, JOURNAL_HEAD.c.row_sha256)).first()
    if row is None:
        raise StoreError(
            "the journal has no end any more (table journal_head is empty); restore the database from a backup",
            code="journal_damaged",
        )
    return row[0], row[1]


class _Batch:
    """Rows that continue the chain, and the chain's new end."""

    __slots__ = ("_first_id", "bodies", "last", "last_id", "lines", "rows")

    def __init__(self, last_id: int, last: bytes) -> None:
        self._first_id = last_id + 1
        self.last_id = last_id
        self.last = last
        #: the values of a row and its hash
        self.rows: list[tuple[list[Any], bytes]] = []
        #: its canonical text
        self.lines: list[str] = []
        #: number, key, content, and the number of the base
        self.bodies: list[tuple[int, str, bytes, int | None]] = []

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(range(self._first_id, self.last_id + 1))

    def add(self, values: list[Any], packed: _Packed | None, evidence: list[list[str]], seal: BodySeal) -> None:
        self.last_id += 1
        values[0] = self.last_id
        line = canonical([*values, evidence])
        self.last = link(self.last, line)
        self.rows.append((values, self.last))
        self.lines.append(line)
        if packed is not None:
            compressed, base_place = packed
            base_id = None if base_place is None else self._first_id + base_place
            self.bodies.append((self.last_id, seal.active, seal.close(self.last_id, compressed), base_id))


def _write(connection: Connection, batch: _Batch) -> None:
    connection.execute(insert(JOURNAL), [_typed(values, row_sha256) for values, row_sha256 in batch.rows])
    if batch.bodies:
        connection.execute(
            insert(JOURNAL_BODY),
            [
                {"journal_id": number, "sealed_with": key, "content": content, "base_id": base_id}
                for number, key, content, base_id in batch.bodies
            ],
        )
    connection.execute(update(JOURNAL_HEAD).values(last_id=batch.last_id, row_sha256=batch.last))


def _typed(values: list[Any], row_sha256: bytes) -> dict[str, Any]:
    row = dict(zip(STORED, values, strict=True))
    for name in _MOMENTS:
        if row[name] is not None:
            row[name] = dt.datetime.fromisoformat(row[name])
    return row | {"row_sha256": row_sha256}


_MOMENTS: Final = ("at", "revocation_as_of")


def _value(index: int, name: str) -> str:
    column = JOURNAL.c[name]
    text = f"row->>{index}"
    if isinstance(column.type, UtcDateTime):
        return f"({text})::timestamptz"
    return text if isinstance(column.type, String) else f"({text})::bigint"


#: the served hot path: one statement for everything, made of texts that the chain needs anyway. The columns come out
#: of the canonical lines on the server, so that no value is converted a second time here
_APPEND: Final = Prepared(
    "journal_append",
    f"""
WITH head AS (
    UPDATE journal_head SET last_id = $1::bigint, row_sha256 = $2::bytea
), bodies AS (
    INSERT INTO journal_body (journal_id, sealed_with, content, base_id)
    SELECT * FROM unnest($3::bigint[], $4::text[], $5::bytea[], $6::bigint[])
)
INSERT INTO journal ({", ".join(STORED)}, row_sha256)
SELECT {", ".join(_value(index, name) for index, name in enumerate(STORED))}, row_sha256
FROM ROWS FROM (jsonb_array_elements($7::jsonb), unnest($8::bytea[])) AS lines (row, row_sha256)
""",  # noqa: S608 - made of column names
)
_TAKE_HEAD: Final = Prepared("journal_take_head", "SELECT last_id, row_sha256 FROM journal_head FOR UPDATE")


def _appending(batch: _Batch) -> Call:
    numbers, keys, contents, bases = zip(*batch.bodies, strict=True) if batch.bodies else ((), (), (), ())
    return _APPEND, (
        str(batch.last_id),
        batch.last,
        f"{{{','.join(map(str, numbers))}}}",
        text_array(keys),
        bytea_array(contents),
        f"{{{','.join(['NULL' if base is None else str(base) for base in bases])}}}",
        f"[{','.join(batch.lines)}]",
        bytea_array([row_sha256 for _, row_sha256 in batch.rows]),
    )


def _keep_evidence(connection: Connection, entries: Sequence[JournalEntry], first_id: int) -> None:
    # one answer speaks for every message of its signer until it ends: its bytes are stored once
    contents: dict[str, bytes] = {}
    uses = []
    for number, entry in enumerate(entries, first_id):
        for used in {used.sha256: used for used in entry.deciding if used.content}.values():
            contents[used.sha256] = used.content
            uses.append(
                {
                    "journal_id": number,
                    "sha256": used.sha256,
                    "kind": used.kind,
                    "source": used.source[:_EVIDENCE_SOURCE_WIDTH],
                    "as_of": used.as_of,
                }
            )
    if not uses:
        return
    insert_once = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(
        insert_once(EVIDENCE).on_conflict_do_nothing(),
        [{"sha256": sha256, "content": content} for sha256, content in sorted(contents.items())],
    )
    connection.execute(insert(JOURNAL_EVIDENCE), uses)
