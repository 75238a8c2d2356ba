"""What the journal keeps and what it lets go: by age, by service, never what something still needs."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import retention
from gateway.exchange.journal import EntryKind, Journal
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.retention import Pruned, RetentionPolicy, free_space, prune, stored_bytes
from gateway.exchange.tables import EVIDENCE, EXCHANGE, INBOX, JOURNAL, JOURNAL_BODY, JOURNAL_CUT, STORED_FILE
from gateway.registry.tables import FACT
from tests.exchange.test_journal import WRITER, entry, stored
from tests.exchange.test_journal_chain import answer
from tests.exchange.world import NOW, PERSON

DAY = dt.timedelta(days=1)


def aged(engine: Engine, *days: float, **changes: Any) -> tuple[int, ...]:
    """One message for each age."""
    return stored(engine, *(entry(at=NOW - age * DAY, **{"message_id": f"m-{age}", **changes}) for age in days))


def bodies(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return list(connection.execute(select(JOURNAL_BODY.c.journal_id).order_by(JOURNAL_BODY.c.journal_id)).scalars())


def rows(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return list(connection.execute(select(JOURNAL.c.id).order_by(JOURNAL.c.id)).scalars())


def older_than(days: float, **changes: Any) -> RetentionPolicy:
    return RetentionPolicy(bodies_before=NOW - days * DAY, **changes)


def test_old_bodies_go_and_their_rows_stay_with_the_digest(engine: Engine) -> None:
    aged(engine, 9, 8, 1)
    assert prune(engine, WRITER, older_than(5), at=NOW) == Pruned(bodies=2, body_bytes=8)
    assert bodies(engine) == [3]
    record = Journal(engine).get(1)
    assert record is not None
    assert (record.body, record.body_bytes, len(record.body_sha256)) == (None, 4, 64)
    report = verify_journal(engine)
    assert (report.broken, report.bodies, report.bodies_removed) == (None, 1, 2)


def test_nothing_to_do_writes_no_note(engine: Engine) -> None:
    aged(engine, 1)
    assert prune(engine, WRITER, older_than(5), at=NOW) == Pruned()
    assert prune(engine, WRITER, RetentionPolicy(), at=NOW) == Pruned()
    assert rows(engine) == [1]


def test_a_dry_run_counts_and_takes_nothing(engine: Engine) -> None:
    aged(engine, 9, 8, 1)
    policy = older_than(5, rows_before=NOW - 8.5 * DAY)
    assert prune(engine, WRITER, policy, at=NOW, dry_run=True) == Pruned(bodies=2, body_bytes=8, rows=1)
    assert (bodies(engine), rows(engine)) == ([1, 2, 3], [1, 2, 3])


def test_a_service_or_a_register_may_keep_its_bodies_for_less_time(engine: Engine) -> None:
    aged(engine, 3, service_id="S")
    aged(engine, 3, system="cbdi")
    aged(engine, 3)
    policy = RetentionPolicy.of_days(NOW, bodies=10, bodies_of={"S": 2, "cbdi": 2}, rows=None)
    assert prune(engine, WRITER, policy, at=NOW).bodies == 2
    assert bodies(engine) == [3]
    assert verify_journal(engine).broken is None


def test_many_batches_are_as_one(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BODY_BATCH", 2)
    monkeypatch.setattr(retention, "CUT_BATCH", 2)
    aged(store, 9, 8, 7, 6, 5, 4, 1, deciding=(answer(),))
    assert prune(store, WRITER, older_than(3.5, rows_before=NOW - 4.5 * DAY), at=NOW) == Pruned(6, 24, 5)
    assert verify_journal(store).broken is None
    with reading(store) as connection:
        assert connection.execute(select(JOURNAL_CUT.c.last_id)).scalars().all() == [5]


def test_old_rows_go_from_the_beginning_with_their_evidence_and_the_rest_verifies(engine: Engine) -> None:
    aged(engine, 9, 8, deciding=(answer(),))
    aged(engine, 7, deciding=(answer(b"another"),))
    policy = RetentionPolicy(rows_before=NOW - 7.5 * DAY)
    assert prune(engine, WRITER, policy, at=NOW) == Pruned(rows=2)
    assert rows(engine) == [3, 4]
    with reading(engine) as connection:
        assert connection.execute(select(EVIDENCE.c.content)).scalars().all() == [b"another"]
    assert verify_journal(engine).broken is None
    (note,) = Journal(engine).list_entries(verdict="cut")
    assert (note.kind, note.at) == (EntryKind.NOTE, NOW)


def test_the_last_row_is_never_cut_off(engine: Engine) -> None:
    aged(engine, 9, 8)
    assert prune(engine, WRITER, RetentionPolicy(rows_before=NOW), at=NOW).rows == 1
    assert verify_journal(engine).broken is None


def exchange(message_id: str, state: str, request: int, reply: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        column.name: None if column.nullable else 0 if "INT" in str(column.type) else "" for column in EXCHANGE.columns
    }
    leased_until = NOW if state == "asked" else None
    return row | {
        "message_id": message_id,
        "channel": "sync",
        "state": state,
        "leased_until": leased_until,
        "asked_at": NOW,
        "request_journal_id": request,
        "reply_journal_id": reply,
    }


def inbox(key: str, flow: str, state: str, request: int, reply: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        column.name: None if column.nullable else 0 if "INT" in str(column.type) else "" for column in INBOX.columns
    }
    return row | {
        "key": key,
        "flow": flow,
        "state": state,
        "received_at": NOW,
        "request_journal_id": request,
        "reply_journal_id": reply,
    }


def test_what_something_still_needs_stays_whatever_its_age(engine: Engine) -> None:
    aged(engine, *[9] * 10)
    with writing(engine) as connection:
        connection.execute(insert(EXCHANGE), [exchange("open", "unknown", 2, 3), exchange("closed", "answered", 4, 5)])
        connection.execute(
            insert(INBOX),
            [
                inbox("sync", "sync", "done", 1, 6),
                inbox("work", "push", "received", 7, None),
                inbox("p", "poll", "done", 8, 9),
            ],
        )
        connection.execute(
            insert(STORED_FILE),
            {
                "reference": "r",
                "process_id": "p",
                "message_id": "m",
                "name": "n",
                "mime": "m",
                "size_bytes": 1,
                "sha256": "",
                "state": "uploading",
                "file_identifier": "",
                "code": "",
                "created_at": NOW,
                "request_journal_id": 10,
            },
        )
    pruned = prune(engine, WRITER, older_than(5, rows_before=NOW - 5 * DAY), at=NOW)
    assert bodies(engine) == [2, 3, 6, 7, 10]
    assert (pruned.bodies, pruned.needed, pruned.rows, pruned.cut_stopped_at) == (5, 5, 1, 2)
    assert verify_journal(engine).broken is None


def fact(message_id: str) -> dict[str, Any]:
    return {
        "iin": PERSON.value,
        "system": "cbdi",
        "kind": "disability",
        "key": "k",
        "version": 1,
        "present": True,
        "attributes": {},
        "message_id": message_id,
        "signer_subject": "",
        "signer_serial": "",
        "received_at": NOW,
    }


def test_what_facts_rest_on_stays_unless_the_operator_says_otherwise(engine: Engine) -> None:
    aged(engine, 9, message_id="asked")
    aged(engine, 9, message_id="theirs", correlation_id="asked")
    aged(engine, 9, message_id="nobody-rests-on-it")
    with writing(engine) as connection:
        connection.execute(insert(FACT), fact("asked"))
    kept = prune(engine, WRITER, older_than(5, rows_before=NOW - 5 * DAY), at=NOW)
    assert (bodies(engine), kept.needed, kept.cut_stopped_at) == ([1, 2], 2, 1)
    prune(engine, WRITER, older_than(5, keep_evidence_of_facts=False), at=NOW)
    assert bodies(engine) == []
    assert verify_journal(engine).broken is None


# ---------------------------------------------------------------- space


def filled(url: str) -> Engine:
    engine = engine_for(url)
    upgrade(engine)
    fill(engine)
    return engine


def fill(engine: Engine) -> None:
    for _ in range(10):
        # random bytes: they do not compress, and the database is what it seems
        stored(engine, *(entry(at=NOW - 9 * DAY, body=os.urandom(20_000)) for _ in range(20)))


def test_sqlite_gives_the_space_back_to_the_disk(sqlite_url: str) -> None:
    engine = filled(sqlite_url)
    full = stored_bytes(engine)
    prune(engine, WRITER, older_than(5), at=NOW)
    free_space(engine)
    assert full > 4_000_000
    assert stored_bytes(engine) < full / 8
    assert verify_journal(engine).broken is None
    engine.dispose()


def test_postgresql_uses_the_space_again_and_gives_it_back_when_compacted(postgresql_url: str) -> None:
    engine = filled(postgresql_url)
    full = stored_bytes(engine)
    prune(engine, WRITER, older_than(5), at=NOW)
    free_space(engine)
    fill(engine)
    assert stored_bytes(engine) < full * 1.25  # as much again, in the same place
    prune(engine, WRITER, RetentionPolicy(bodies_before=NOW + DAY), at=NOW)
    for _ in range(100):
        # a transaction that runs in any database of the server keeps what it could still see: then once more
        free_space(engine, compact=True)
        if stored_bytes(engine) < full / 8:
            break
    assert stored_bytes(engine) < full / 8
    engine.dispose()


def test_a_sqlite_file_of_before_is_compacted_once_and_gives_back_from_then_on(sqlite_url: str) -> None:
    engine = filled(sqlite_url)
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    driver.execute("PRAGMA auto_vacuum=NONE")
    driver.execute("VACUUM")
    raw.close()
    prune(engine, WRITER, older_than(5), at=NOW)
    full = stored_bytes(engine)
    free_space(engine)
    assert stored_bytes(engine) == full
    free_space(engine, compact=True)
    assert stored_bytes(engine) < full / 8
    engine.dispose()
