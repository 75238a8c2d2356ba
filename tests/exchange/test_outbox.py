"""Rows of what we asked: closed once."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from gateway.database import reading, writing
from gateway.errors import StoreError
from gateway.exchange import outbox
from gateway.exchange.journal import EntryKind, JournalEntry, MessageDirection, append
from gateway.exchange.outbox import State
from gateway.model import Outcome
from tests.exchange.world import NOW, PERSON


def test_an_answer_is_never_applied_twice(engine: Engine) -> None:
    with writing(engine) as connection:
        number = append(connection, JournalEntry(NOW, MessageDirection.OUT, 8, EntryKind.REQUEST, body=b"<a/>"))
        outbox.record_asked(
            connection,
            message_id="m-1",
            system="cbdi",
            service_id="S",
            subject=PERSON,
            asked_at=NOW,
            request_journal_id=number,
        )
        outbox.settle(connection, "m-1", state=State.UNKNOWN, outcome=Outcome.UNKNOWN, code="c" * 100, at=NOW)
    with pytest.raises(StoreError, match="m-1 is not waiting") as caught, writing(engine) as connection:
        outbox.settle(connection, "m-1", state=State.ANSWERED, outcome=Outcome.FOUND, at=NOW)
    assert caught.value.code == "exchange_settled"
    with reading(engine) as connection:
        row = outbox.get(connection, "m-1")
    assert row is not None
    assert (row.state, row.outcome, row.code, row.answered_at) == (State.UNKNOWN, Outcome.UNKNOWN, "c" * 64, NOW)
    assert PERSON.value not in repr(row)


def test_an_exchange_that_never_was_is_none(store: Engine) -> None:
    with reading(store) as connection:
        assert outbox.get(connection, "m-1") is None
