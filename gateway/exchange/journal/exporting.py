"""The chain as JSON Lines, for whoever verifies it without us: docs/reference/journal.md, "The export"."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from gateway.errors import OperatorError
from gateway.exchange.journal.bodies import PLAIN, BodySeal
from gateway.exchange.journal.chain import COLUMNS
from gateway.exchange.journal.walking import Ends, Link, ends_of, one_moment, walk
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_EVIDENCE

FORMAT: Final = "shep-gateway-journal/1"
_BATCH: Final = 200


def export_lines(
    engine: Engine,
    seal: BodySeal = PLAIN,
    *,
    first_id: int | None = None,
    last_id: int | None = None,
    with_bodies: bool = True,
) -> Iterator[bytes]:
    """Lines, each with its line break; None takes the chain's own beginning or end. One moment of the store.

    Bodies are written opened: the file is as sensitive as the journal. Raises OperatorError (`no_such_entry`) when
    the rows asked for are not there, StoreError as `Journal.get`. Nothing is verified here: the reader does that.
    """
    digest = hashlib.sha256()

    def line(document: dict[str, Any]) -> bytes:
        written = (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        digest.update(written)
        return written

    with one_moment(engine) as connection:
        ends = ends_of(connection)
        first = ends.before_id + 1 if first_id is None else first_id
        last = ends.last_id if last_id is None else last_id
        if not ends.before_id < first <= last <= ends.last_id:
            raise OperatorError(
                f"the journal has rows {ends.before_id + 1} to {ends.last_id}, and not all of {first} to {last}",
                code="no_such_entry",
            )
        previous = _hash_before(connection, ends, first)
        yield line(
            {
                "format": FORMAT,
                "columns": COLUMNS,
                "bodies": with_bodies,
                "before": {"id": first - 1, "sha256": previous.hex()},
                "cut": None if ends.cut_note_id is None else {"id": ends.before_id, "note_id": ends.cut_note_id},
                "head": {"id": ends.last_id, "sha256": ends.last.hex()},
            }
        )
        rows, end = 0, previous
        for one in walk(connection, first_id=first, last_id=last):
            yield line(_row(one, seal if with_bodies else None))
            rows, end = rows + 1, one.row_sha256
        for sha256, content in _evidence(connection, first, last):
            yield line({"evidence": sha256, "content": base64.b64encode(content).decode()})
        yield line({"end": {"id": last, "sha256": end.hex()}, "rows": rows, "file_sha256": digest.hexdigest()})


def _hash_before(connection: Connection, ends: Ends, first_id: int) -> bytes:
    if first_id == ends.before_id + 1:
        return ends.before
    row = connection.execute(select(JOURNAL.c.row_sha256).where(JOURNAL.c.id == first_id - 1)).scalar()
    return row or b""


def _row(one: Link, seal: BodySeal | None) -> dict[str, Any]:
    body = None
    if seal is not None and one.body is not None:
        body = base64.b64encode(seal.open(one.body, one.row["body_sha256"])).decode()
    return {"row": one.values, "sha256": one.row_sha256.hex(), "body": body}


def _evidence(connection: Connection, first_id: int, last_id: int) -> Iterator[tuple[str, bytes]]:
    used = select(JOURNAL_EVIDENCE.c.sha256).where(JOURNAL_EVIDENCE.c.journal_id.between(first_id, last_id))
    query = (
        select(EVIDENCE.c.sha256, EVIDENCE.c.content)
        .where(EVIDENCE.c.sha256.in_(used))
        .order_by(EVIDENCE.c.sha256)
        .limit(_BATCH)
    )
    after = ""
    while rows := connection.execute(query.where(EVIDENCE.c.sha256 > after)).all():
        yield from ((row.sha256, row.content) for row in rows)
        after = rows[-1].sha256
