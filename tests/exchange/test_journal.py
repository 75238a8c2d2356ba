"""Writing to the journal and reading from it."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
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
    BodySeal,
    EntryKind,
    Journal,
    JournalEntry,
    JournalWriter,
    MessageDirection,
    Revocation,
    Signer,
    Verdict,
)
from gateway.exchange.journal.bodies import checked, key_id
from gateway.exchange.journal.chain import STORED
from gateway.exchange.tables import JOURNAL, JOURNAL_BODY, JOURNAL_HEAD
from tests.exchange.world import NOW

WRITER = JournalWriter()
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


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


def stored(engine: Engine, *new: JournalEntry, writer: JournalWriter = WRITER) -> tuple[int, ...]:
    with writing(engine) as connection:
        return writer.append_many(connection, new)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(body=st.binary(max_size=2_000), sealed=st.booleans())
def test_bytes_come_back_exactly(store: Engine, body: bytes, sealed: bool) -> None:
    seal = BodySeal.of(KEY if sealed else None)
    (number,) = stored(store, entry(body=body), writer=JournalWriter(seal))
    record = Journal(store, seal).get(number)
    assert record is not None
    assert record.body == body
    assert record.body_bytes == len(body)


def test_a_row_comes_back_as_it_was_written(engine: Engine) -> None:
    written = entry(
        direction=MessageDirection.OUT,
        step=8,
        kind=EntryKind.REQUEST,
        channel="async",
        system="cbdi",
        service_id="SERVICE",
        correlation_id="c-1",
        peer="http://host/",
        signer=Signer('CN=А\\"Қ"', "12"),
        verdict=Verdict.SIGNED,
        revocation=Revocation("good", "crl", NOW),
        note="HTTP 200\tand a tab, a \\ and 100 %",
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
    with reading(engine) as connection:
        head = connection.execute(select(JOURNAL_HEAD.c.last_id, JOURNAL_HEAD.c.row_sha256)).one()
    assert (head.last_id, head.row_sha256.hex()) == (number, document["row_sha256"])


def test_rows_written_together_and_one_by_one_are_the_same_chain(engine: Engine, store: Engine) -> None:
    new = [entry(message_id=f"m-{number}", body=None if number == 2 else b"<a/>") for number in range(4)]
    assert stored(engine, *new) == (1, 2, 3, 4)
    assert [stored(store, one)[0] for one in new] == [1, 2, 3, 4]
    assert stored(engine) == ()

    def hashes(which: Engine) -> list[bytes]:
        with reading(which) as connection:
            return list(connection.execute(select(JOURNAL.c.row_sha256).order_by(JOURNAL.c.id)).scalars())

    assert hashes(engine) == hashes(store)


def test_the_chain_is_made_of_every_column() -> None:
    assert {column.name for column in JOURNAL.columns} == {*STORED, "row_sha256"}


def test_a_verdict_is_a_row_of_its_own_and_is_read_with_its_message(engine: Engine) -> None:
    message = entry(system="cbdi")
    (number,) = stored(engine, message)
    later = NOW + dt.timedelta(seconds=1)
    with writing(engine) as connection:
        WRITER.append_verdict(
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
        WRITER.append_verdict(connection, number, message, at=NOW, step=11, verdict="accepted")
    with pytest.raises(IntegrityError), writing(engine) as connection:
        WRITER.append_verdict(connection, number, message, at=NOW, step=11, verdict="digest")


def test_a_verdict_is_no_message(engine: Engine) -> None:
    message = entry()
    (number,) = stored(engine, message)
    with writing(engine) as connection:
        about = WRITER.append_verdict(connection, number, message, at=NOW, step=11, verdict="accepted")
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

    assert found() == list(numbers[::-1])
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


@pytest.mark.parametrize("damage", [b"", b"not zlib", zlib.compress(b"<b/>"), checked(zlib.compress(b"<b/>"))])
def test_bytes_changed_by_hand_are_not_handed_out(engine: Engine, damage: bytes) -> None:
    (number,) = stored(engine, entry())
    with writing(engine) as connection:
        connection.execute(update(JOURNAL_BODY).values(content=damage))
    with pytest.raises(StoreError, match=f"entry {number} ") as caught:
        Journal(engine).get(number)
    assert caught.value.code == "journal_damaged"


def test_a_number_whose_row_was_never_committed_is_given_again(engine: Engine) -> None:
    first = stored(engine, entry(), entry())

    def rolled_back() -> None:
        with writing(engine) as connection:
            assert WRITER.append(connection, entry()) == first[1] + 1
            raise LookupError

    with pytest.raises(LookupError):
        rolled_back()
    assert stored(engine, entry())[0] == first[1] + 1


def test_a_journal_without_its_end_takes_nothing_more(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(JOURNAL_HEAD))
    with pytest.raises(StoreError, match="journal_head") as caught:
        stored(engine, entry())
    assert caught.value.code == "journal_damaged"


@pytest.mark.parametrize("values", [{"direction": "up"}, {"kind": "other"}, {"kind": "verdict"}])
def test_the_store_itself_refuses_rows_that_mean_nothing(engine: Engine, values: dict[str, str]) -> None:
    row: dict[str, Any] = {column.name: "" for column in JOURNAL.columns}
    row |= {"id": 1, "about_id": None, "row_sha256": b""}
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


# ---------------------------------------------------------------- sealed bodies


def test_a_sealed_body_is_not_readable_in_the_database_and_its_digest_stays_that_of_the_exact_bytes(
    engine: Engine,
) -> None:
    body = b"<a>" + b"850101300555" * 40 + b"</a>"
    (number,) = stored(engine, entry(body=body), writer=JournalWriter(BodySeal.of(KEY)))
    with reading(engine) as connection:
        row = connection.execute(select(JOURNAL_BODY)).one()
        digest = connection.execute(select(JOURNAL.c.body_sha256).where(JOURNAL.c.id == number)).scalar_one()
    assert row.sealed_with == key_id(KEY)
    assert digest == hashlib.sha256(body).hexdigest()
    with pytest.raises(zlib.error):
        zlib.decompress(row.content)


def test_after_a_change_of_keys_both_open_and_the_new_one_seals(store: Engine) -> None:
    (old,) = stored(store, entry(body=b"<old/>"), writer=JournalWriter(BodySeal.of(KEY)))
    (plain,) = stored(store, entry(body=b"<plain/>"))
    both = BodySeal.of(OTHER_KEY, (KEY,))
    (new,) = stored(store, entry(body=b"<new/>"), writer=JournalWriter(both))
    journal = Journal(store, both)
    bodies = {number: getattr(journal.get(number), "body", None) for number in (old, plain, new)}
    assert bodies == {old: b"<old/>", plain: b"<plain/>", new: b"<new/>"}
    with reading(store) as connection:
        keys = connection.execute(select(JOURNAL_BODY.c.sealed_with).order_by(JOURNAL_BODY.c.journal_id)).scalars()
        assert list(keys) == [key_id(KEY), "", key_id(OTHER_KEY)]


def test_a_missing_key_is_named_and_is_no_empty_body(store: Engine) -> None:
    (number,) = stored(store, entry(), writer=JournalWriter(BodySeal.of(KEY)))
    with pytest.raises(StoreError, match=key_id(KEY)) as caught:
        Journal(store, BodySeal.of(OTHER_KEY)).get(number)
    assert caught.value.code == "journal_key_missing"
    assert KEY.hex() not in caught.value.message


def test_a_sealed_body_does_not_open_as_that_of_another_row(store: Engine) -> None:
    seal = BodySeal.of(KEY)
    first, second = stored(store, entry(), entry(), writer=JournalWriter(seal))
    with writing(store) as connection:
        content = connection.execute(select(JOURNAL_BODY.c.content).where(JOURNAL_BODY.c.journal_id == first)).scalar()
        connection.execute(update(JOURNAL_BODY).where(JOURNAL_BODY.c.journal_id == second).values(content=content))
    with pytest.raises(StoreError, match="not the ones that were stored"):
        Journal(store, seal).get(second)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        BodySeal.of(os.urandom(16))
