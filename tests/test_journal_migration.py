"""Rows of before the chain are kept: numbered, chained, their bodies moved, their old stamps with their statements."""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, column, insert, table, text

from gateway import database
from gateway.database import UtcDateTime, engine_for, reading, upgrade, writing
from gateway.exchange.journal import Journal
from gateway.exchange.journal.verifying import verify_journal
from tests.exchange.world import NOW, PERSON

_TEXTS = (  # noqa: SIM905
    "channel system service_id message_id correlation_id peer signer_subject signer_serial verdict revocation_status"
    " revocation_source note"
).split()


@pytest.fixture
def before(database_url: str) -> Iterator[Engine]:
    """A database of the first revision, with gaps in its numbers as PostgreSQL leaves them."""
    engine = engine_for(database_url)
    configuration = Config()
    configuration.set_main_option("script_location", str(database._MIGRATIONS))
    with writing(engine) as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
    with writing(engine) as connection:
        for values in (
            row(3, kind="request", direction="out", verdict="signed", body=b"<asked/>"),
            row(7, kind="reply", body=b"<answered/>", note="HTTP 200 Қ"),
            row(8, kind="verdict", step=11, about_id=7, verdict="accepted", as_of=NOW),
            row(12, kind="request", body_bytes=9_000_000, verdict="too_large"),
        ):
            connection.execute(insert(_journal), values)
        connection.execute(
            insert(_evidence),
            {"sha256": _sha(b"ocsp"), "kind": "ocsp", "source": "http://o/", "as_of": NOW, "content": b"ocsp"},
        )
        connection.execute(text("INSERT INTO journal_evidence VALUES (8, :sha256)"), {"sha256": _sha(b"ocsp")})
        connection.execute(
            insert(_stamp), {"first_id": 3, "last_id": 8, "gen_time": NOW, "policy": "1.2", "token": b"token"}
        )
        connection.execute(
            insert(_exchange),
            {
                "message_id": "m",
                "system": "cbdi",
                "service_id": "S",
                "subject": PERSON.value,
                "state": "answered",
                "outcome": "found",
                "code": "",
                "asked_at": NOW,
                "request_journal_id": 3,
                "reply_journal_id": 7,
            },
        )
    yield engine
    engine.dispose()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _moments(name: str, moments: str, others: str) -> Any:
    return table(name, *(column(one, UtcDateTime()) for one in moments.split()), *map(column, others.split()))


_journal = _moments(
    "journal",
    "at revocation_as_of",
    "id direction step kind about_id body_zlib body_bytes body_sha256 " + " ".join(_TEXTS),
)
_evidence = _moments("evidence", "as_of", "sha256 kind source content")
_stamp = _moments("time_stamp", "gen_time", "first_id last_id policy token")
_exchange = _moments(
    "exchange",
    "asked_at",
    "message_id system service_id subject state outcome code request_journal_id reply_journal_id",
)


def row(
    number: int, *, body: bytes | None = None, body_bytes: int = 0, as_of: Any = None, **values: Any
) -> dict[str, Any]:
    return {
        **dict.fromkeys(_TEXTS, ""),
        "id": number,
        "at": NOW + dt.timedelta(microseconds=number),
        "direction": "in",
        "step": 10,
        "about_id": None,
        "channel": "sync",
        "message_id": "m",
        "body_zlib": None if body is None else zlib.compress(body),
        "body_bytes": body_bytes if body is None else len(body),
        "body_sha256": "" if body is None else _sha(body),
        "revocation_as_of": as_of,
        **values,
    }


def test_rows_of_before_are_one_chain_afterwards(before: Engine) -> None:
    upgrade(before)
    report = verify_journal(before)
    assert (report.broken, report.rows, report.bodies, report.evidence) == (None, 5, 2, 3)
    journal = Journal(before)
    record = journal.get(2)
    assert record is not None
    assert (record.body, record.at, record.verdict, record.revocation.as_of) == (
        b"<answered/>",
        NOW + dt.timedelta(microseconds=7),
        "accepted",
        NOW,
    )
    (ocsp,) = journal.evidence_of(2)
    assert (ocsp.kind, ocsp.source, ocsp.as_of, ocsp.content) == ("ocsp", "http://o/", NOW, b"ocsp")
    large = journal.get(4)
    assert large is not None
    assert (large.body, large.body_bytes) == (None, 9_000_000)
    with reading(before) as connection:
        numbers = connection.execute(text("SELECT request_journal_id, reply_journal_id FROM exchange")).one()
    assert tuple(numbers) == (1, 2)


def test_an_old_stamp_is_kept_with_the_statement_that_it_is_a_stamp_of(before: Engine) -> None:
    upgrade(before)
    (note,) = Journal(before).list_entries(verdict="stamped_before_the_chain")
    assert note.note == "rows 3 to 8 by the numbers of before the chain"
    kept = {piece.kind: piece.content for piece in Journal(before).evidence_of(note.id)}
    assert kept["time_stamp"] == b"token"
    lines = kept["statement"].decode().split("\n")
    assert [line.split("\t")[0] for line in lines] == ["3", "7", "8"]
    assert lines[2].split("\t")[4:] == ["7", "m", "", "accepted", "", "", _sha(b"ocsp")]


def test_an_empty_journal_becomes_a_chain_without_rows(engine: Engine) -> None:
    report = verify_journal(engine)
    assert (report.broken, report.rows, report.last_id, report.head_sha256) == (None, 0, 0, "00" * 32)
