"""What must hold of an exchange, whatever happens: judged by what stands in the database and what was on the wire.

The model knows nothing of how the program decides. It keeps what it saw, and names what must never be seen.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.database import engine_for
from gateway.exchange import ending
from gateway.exchange.asynchronous import answers
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.outbox import CLOSED, State
from gateway.model import Answer, Iin, Provenance
from gateway.registry import store
from tests.exchange.fleet import without_sync


class Store:
    """One database for all sequences, emptied before each. What is applied to the registry leaves a line in it."""

    def __init__(self, migrated: Path, folder: Path) -> None:
        empty, file = folder / "empty-model.sqlite", folder / "model.sqlite"
        shutil.copy(migrated, empty)
        self._empty = sqlite3.connect(empty)
        self._empty.execute("CREATE TABLE applied (message_id TEXT, answers TEXT)")
        self._empty.commit()
        shutil.copy(empty, file)
        self.engine = engine_for(f"sqlite:///{file}")
        without_sync(self.engine)
        #: for the model: a look after every step has to cost next to nothing
        self.reader = sqlite3.connect(file, isolation_level=None)
        self.reader.row_factory = sqlite3.Row

    def empty(self) -> None:
        connection = self.engine.raw_connection()
        try:
            self._empty.backup(connection.driver_connection)  # type: ignore[arg-type]
        finally:
            connection.close()

    def close(self) -> None:
        self.engine.dispose()
        self.reader.close()
        self._empty.close()


@contextmanager
def applications_are_noted() -> Iterator[None]:
    """Whatever is applied to the registry is noted in the transaction that applies it."""
    genuine, several = store.record_answer, store.record_answers

    def note(connection: Any, provenance: Provenance, answer: Answer) -> None:
        connection.exec_driver_sql(
            "INSERT INTO applied VALUES (?, ?)", (provenance.message_id, answer.answers_message_id)
        )

    def record_answer(connection: Any, *, subject: Iin, answer: Answer, provenance: Provenance, law: Any) -> Any:
        note(connection, provenance, answer)
        return genuine(connection, subject=subject, answer=answer, provenance=provenance, law=law)

    def record_answers(connection: Any, arrived: Sequence[store.Arrived], *, law: Any) -> Any:
        for one in arrived:
            note(connection, one.provenance, one.answer)
        return several(connection, arrived, law=law)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "record_answers", record_answers)
        patch.setattr(answers, "record_answer", record_answer)
        yield


@dataclass
class Model:
    """One sequence."""

    store: Store
    #: the same message twice has no second effect
    repeatable: bool
    now: Callable[[], Any]
    wanted: set[str] = field(default_factory=set)
    #: what must not have happened, as it is seen: the program catches what is raised inside it
    broken: list[str] = field(default_factory=list)
    arrived: Counter[str] = field(default_factory=Counter)
    #: how often a message may arrive once more: a person's word, or the gateway's that it does not have it
    allowed: Counter[str] = field(default_factory=Counter)
    _bytes: dict[str, bytes] = field(default_factory=dict)
    _ids: dict[bytes, str] = field(default_factory=dict)
    _closed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def _read(self, query: str, *values: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.store.reader.execute(query, values)]

    # ------------------------------------------------------------ told by the wire and by the operator

    def id_of(self, content: bytes) -> str:
        """Our id of what is posted: by the journal, for some messages carry none on the wire."""
        if content not in self._ids:
            digest = hashlib.sha256(content).hexdigest()
            found = self._read("SELECT message_id FROM journal WHERE body_sha256 = ? AND direction = 'out'", digest)
            if not found:
                self.broken.append("something was posted that the journal does not hold")
            self._ids[content] = found[0]["message_id"] if found else digest
        return self._ids[content]

    def posts(self, content: bytes) -> None:
        message_id = self.id_of(content)
        if self._bytes.setdefault(message_id, content) != content:
            self.broken.append(f"{message_id} was posted with other bytes than before")

    def arrives(self, content: bytes) -> None:
        message_id = self.id_of(content)
        self.arrived[message_id] += 1
        if not self.repeatable and self.arrived[message_id] > 1 + self.allowed[message_id]:
            self.broken.append(f"{message_id} arrived twice, and nobody had said that it may")

    def may_go_again(self, message_id: str) -> None:
        """A person's word, also about a row that was closed."""
        if self.arrived[message_id]:
            self.allowed[message_id] += 1
        self._closed.pop(message_id, None)

    def may_arrive_again(self, message_id: str) -> None:
        """The gateway's word."""
        self.allowed[message_id] += 1

    def rows(self) -> list[dict[str, Any]]:
        return self._read("SELECT * FROM exchange ORDER BY asked_at, message_id")

    # ------------------------------------------------------------ what holds after every step

    def check(self) -> None:
        assert not self.broken, self.broken
        rows = self._read("SELECT * FROM exchange")
        self._nothing_is_applied_twice(rows)
        self._nobody_is_lost(rows)
        for row in rows:
            _somebody_goes_on_with(row)
            self._what_is_closed_stays_as_it_is(row)

    def _nothing_is_applied_twice(self, rows: list[dict[str, Any]]) -> None:
        applied = self._read("SELECT message_id, answers FROM applied")
        times = Counter(one["message_id"] for one in applied)
        for one in applied:
            assert one["answers"] in ("", one["message_id"]), "an answer was applied to another's question"
        for row in rows:
            found, once = times[row["message_id"]], row["state"] == State.ANSWERED
            assert found == once, f"{row['message_id']} is {row['state']} and was applied {found} times"

    def _nobody_is_lost(self, rows: list[dict[str, Any]]) -> None:
        wishes = self._read("SELECT * FROM due")
        assert {wish["iin"] for wish in wishes} >= self.wanted, "a wish is gone"
        by_id = {row["message_id"]: row for row in rows}
        for wish in wishes:
            if wish["message_id"] is not None:
                assert by_id[wish["message_id"]]["state"] not in CLOSED, "a wish waits for a question that is closed"
        named = {wish["message_id"] for wish in wishes}
        for row in rows:
            if row["state"] in (State.WAITING, State.ASKED):
                assert row["message_id"] in named, f"{row['message_id']} is on its way and no wish knows of it"

    def _what_is_closed_stays_as_it_is(self, row: dict[str, Any]) -> None:
        if row["state"] in CLOSED:
            before = self._closed.setdefault(row["message_id"], row)
        else:
            before = self._closed.get(row["message_id"], row)
        assert row == before, f"{row['message_id']} was closed and changed"

    # ------------------------------------------------------------ what holds when it was left alone for days

    def check_the_end(self) -> None:
        """Everything is closed, or waits for an answer until a time, or for a person; and the journal is whole."""
        self.check()
        now = self.now().strftime("%Y-%m-%d %H:%M:%S")
        for row in self._read("SELECT * FROM exchange"):
            assert row["state"] not in (State.WAITING, State.ASKED), f"{row['message_id']} is {row['state']} for ever"
            if row["state"] in (State.UNKNOWN, State.ACKNOWLEDGED):
                due_at = row["due_at"] or row["answer_due_at"]
                assert due_at is None or due_at > now, f"nobody looks after {row['message_id']}"
        for row in self._read("SELECT * FROM due WHERE message_id IS NULL"):
            assert row["due_at"] > now, "nobody asks about a person who is due"
        for row in self._read("SELECT * FROM inbox"):
            assert row["state"] in ("done", "quarantined") or row["due_at"] > now, "a message to us is never worked on"
        report = verify_journal(self.store.engine)
        assert report.broken is None, report.broken


def _somebody_goes_on_with(row: dict[str, Any]) -> None:
    """An open row has a time at which the program goes on with it, or is one that a person sees as waiting for him."""
    at = {State.WAITING: "due_at", State.ASKED: "leased_until", State.ACKNOWLEDGED: "answer_due_at"}.get(row["state"])
    assert at is None or row[at] is not None, f"{row['message_id']} is {row['state']} and nobody goes on with it"
    assert (row["state"] == State.ASKED) == (row["leased_until"] is not None)
    if row["state"] in CLOSED:
        assert row["due_at"] is None
