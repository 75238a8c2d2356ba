"""The journal on both stores: exact bytes, verdicts as rows of their own, filters."""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.database import engine_for, reading, writing
from gateway.errors import StoreError
from gateway.exchange.journal import (
    EntryKind,
    Journal,
    JournalEntry,
    MessageDirection,
    Revocation,
    Signer,
    Verdict,
    append,
    append_verdict,
)
from gateway.exchange.tables import JOURNAL
from tests.exchange.world import NOW


def entry(**changes: Any) -> JournalEntry:
    values: dict[str, Any] = {
        "at": NOW,
        "direction": MessageDirection.IN,
        "step": 10,
        "kind": EntryKind.REPLY,
        "message_id": "m-1",
        "body": b"<a/>",
        **changes,
    }
    return JournalEntry(**values)


def stored(engine: Engine, *new: JournalEntry) -> list[int]:
    with writing(engine) as connection:
        return [append(connection, one) for one in new]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(body=st.binary(max_size=2_000))
def test_bytes_come_back_exactly(store: Engine, body: bytes) -> None:
    (number,) = stored(store, entry(body=body))
    record = Journal(store).get(number)
    assert record is not None
    assert record.body == body
    assert record.body_bytes == len(body)


def test_a_row_comes_back_as_it_was_written(engine: Engine) -> None:
    written = entry(
        direction=MessageDirection.OUT,
        step=8,
        kind=EntryKind.REQUEST,
        system="cbdi",
        service_id="SERVICE",
        correlation_id="c-1",
        peer="http://host/",
        signer=Signer("CN=А", "12"),
        verdict=Verdict.SIGNED,
        revocation=Revocation("good", "crl", NOW),
        note="HTTP 200",
    )
    (number,) = stored(engine, written)
    record = Journal(engine).get(number)
    assert record is not None
    for name in ("at", "direction", "step", "kind", "channel", "system", "service_id", "message_id", "correlation_id"):
        assert getattr(record, name) == getattr(written, name)
    for name in ("peer", "body", "signer", "verdict", "revocation", "note"):
        assert getattr(record, name) == getattr(written, name)
    assert record.verdict_at == NOW
    document = record.as_dict()
    assert document["revocation"]["as_of"] == NOW.isoformat()
    assert document["body_sha256"] == hashlib.sha256(b"<a/>").hexdigest()


def test_a_verdict_is_a_row_of_its_own_and_is_read_with_its_message(engine: Engine) -> None:
    message = entry(system="cbdi")
    (number,) = stored(engine, message)
    later = NOW + dt.timedelta(seconds=1)
    with writing(engine) as connection:
        append_verdict(
            connection,
            number,
            message,
            at=later,
            step=11,
            verdict="digest",
            signer=Signer("CN=A", "1"),
            revocation=Revocation("unknown", "none", None),
            note="refused at digest",
        )
    (record,) = Journal(engine).list_entries(verdict="digest")
    assert (record.id, record.at, record.verdict_at) == (number, NOW, later)
    assert (record.kind, record.signer.subject, record.note) == (EntryKind.REPLY, "CN=A", "refused at digest")
    assert record.as_dict()["revocation"] == {"status": "unknown", "source": "none", "as_of": None}
    assert Journal(engine).list_entries(verdict=Verdict.NONE) == ()
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(JOURNAL)).scalar_one() == 2


def test_a_message_has_one_verdict(engine: Engine) -> None:
    message = entry()
    (number,) = stored(engine, message)
    with writing(engine) as connection:
        append_verdict(connection, number, message, at=NOW, step=11, verdict="accepted")
    with pytest.raises(IntegrityError), writing(engine) as connection:
        append_verdict(connection, number, message, at=NOW, step=11, verdict="digest")


def test_a_verdict_is_no_message(engine: Engine) -> None:
    message = entry()
    (number,) = stored(engine, message)
    with writing(engine) as connection:
        about = append_verdict(connection, number, message, at=NOW, step=11, verdict="accepted")
    assert Journal(engine).get(about) is None
    assert Journal(engine).get(about + 1) is None


def test_what_was_too_large_has_its_size_and_no_bytes(engine: Engine) -> None:
    (number,) = stored(engine, entry(body=None, body_bytes=5_000_000))
    record = Journal(engine).get(number)
    assert record is not None
    assert (record.body, record.body_bytes, record.body_sha256) == (None, 5_000_000, "")


def test_filters(engine: Engine) -> None:
    numbers = stored(
        engine,
        entry(message_id="a", system="cbdi", verdict="accepted"),
        entry(message_id="b", correlation_id="a", service_id="S", direction=MessageDirection.OUT, verdict="signed"),
        entry(message_id="c", system="zags"),
    )
    journal = Journal(engine)

    def found(**filters: Any) -> list[int]:
        return [record.id for record in journal.list_entries(**filters)]

    assert found() == numbers[::-1]
    assert found(message_id="a") == [numbers[1], numbers[0]]
    assert found(system="zags") == [numbers[2]]
    assert found(service_id="S") == [numbers[1]]
    assert found(direction=MessageDirection.OUT) == [numbers[1]]
    assert found(verdict="accepted") == [numbers[0]]
    assert found(limit=1) == [numbers[2]]
    assert found(before_id=numbers[2], limit=1) == [numbers[1]]


def test_a_text_longer_than_its_column_is_cut_and_a_body_never_is(engine: Engine) -> None:
    body = b"<a>" + b"x" * 100_000 + b"</a>"
    (number,) = stored(engine, entry(note="n" * 5_000, peer="p" * 501, body=body))
    record = Journal(engine).get(number)
    assert record is not None
    assert (len(record.note), record.note[-1]) == (1_000, "…")
    assert len(record.peer) == 500
    assert record.body == body


@pytest.mark.parametrize("damage", [b"not zlib", zlib.compress(b"<b/>")])
def test_bytes_changed_by_hand_are_not_handed_out(engine: Engine, damage: bytes) -> None:
    (number,) = stored(engine, entry())
    with writing(engine) as connection:
        connection.execute(update(JOURNAL).values(body_zlib=damage))
    with pytest.raises(StoreError, match=f"entry {number} ") as caught:
        Journal(engine).get(number)
    assert caught.value.code == "journal_damaged"


def test_ids_grow_and_none_is_given_twice(engine: Engine) -> None:
    first = stored(engine, entry(), entry())
    with writing(engine) as connection:
        connection.execute(delete(JOURNAL).where(JOURNAL.c.id == first[0]))
    assert stored(engine, entry())[0] > first[1]


@pytest.mark.parametrize("values", [{"direction": "up"}, {"kind": "note"}, {"kind": "verdict"}])
def test_the_store_itself_refuses_rows_that_mean_nothing(engine: Engine, values: dict[str, str]) -> None:
    row = {column.name: "" for column in JOURNAL.columns if column.name not in ("id", "about_id", "body_zlib")}
    row |= {"at": NOW, "step": 1, "body_bytes": 0, "revocation_as_of": None, "direction": "in", "kind": "reply"}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(JOURNAL), row | values)


def test_a_database_that_is_not_there_is_a_store_error(sqlite_url: str) -> None:
    unmigrated = engine_for(sqlite_url)
    with pytest.raises(StoreError):
        Journal(unmigrated).list_entries()
    unmigrated.dispose()


def test_a_body_stays_out_of_repr() -> None:
    assert "secret" not in repr(entry(body=b"secret"))
