"""Faults put into the program on purpose: each breaks a promise of the exchange, and the search must find it.

    python -m tests.exchange.mutations [sequences]

prints for each fault after how many steps it was found.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway.database import engine_for, upgrade
from gateway.exchange import due, ending, operator, outbox, workers
from gateway.exchange.ask import Asker
from gateway.exchange.asynchronous import answers, road
from gateway.exchange.asynchronous.delivery import Fate
from gateway.exchange.asynchronous.working import InboxWorker
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter
from gateway.exchange.operator import Act
from gateway.exchange.outbox import Closing, Lease, State
from gateway.exchange.sending import Wire
from gateway.exchange.tables import EXCHANGE, JOURNAL
from gateway.systems.definition import SystemDefinition
from gateway.trust import throwaway_pki
from tests.exchange.asynchronous.world import async_folder
from tests.exchange.machines import AsyncMachine, Machine, SyncMachine, search
from tests.exchange.model import Store, applications_are_noted
from tests.exchange.world import NOW, Keys, trust


@dataclass(frozen=True)
class Mutation:
    """One fault."""

    name: str
    machine: type[Machine]
    put_in: Callable[[pytest.MonkeyPatch], None]


def _rows_obey_anybody(patch: pytest.MonkeyPatch) -> None:
    def change(connection: Any, message_id: str, lease: Lease | None = None, **values: Any) -> bool:
        connection.execute(update(EXCHANGE).where(EXCHANGE.c.message_id == message_id).values(**values))
        return True

    def settle_all(connection: Any, closings: Sequence[Closing]) -> None:
        for one in closings:
            values = {"state": one.state, "outcome": one.outcome, "code": one.code, "answered_at": one.at}
            change(connection, one.message_id, reply_journal_id=one.reply_journal_id, due_at=None, **values)

    patch.setattr(outbox, "_change", change)
    patch.setattr(outbox, "settle_all", settle_all)


def _open_rows_obey_any_holder(patch: pytest.MonkeyPatch) -> None:
    genuine = outbox._change
    patch.setattr(
        outbox,
        "_change",
        lambda connection, message_id, lease=None, **values: genuine(connection, message_id, None, **values),
    )
    settle_all = outbox.settle_all
    patch.setattr(
        outbox,
        "settle_all",
        lambda connection, closings: settle_all(connection, [replace(one, lease=None) for one in closings]),
    )


def _what_may_not_be_repeated_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Asker, "reconcile", lambda *_: True)


def _a_wish_that_was_taken_over_is_asked_all_the_same(patch: pytest.MonkeyPatch) -> None:
    genuine = due.link_all

    def link_all(*given: Any) -> bool:
        genuine(*given)
        return True

    patch.setattr(due, "link_all", link_all)


def _an_answer_is_applied_and_its_row_stays_open(patch: pytest.MonkeyPatch) -> None:
    genuine = outbox.settle_all

    def settle_all(connection: Any, closings: Sequence[Closing]) -> None:
        genuine(connection, [one for one in closings if one.state is not State.ANSWERED])

    patch.setattr(outbox, "settle_all", settle_all)


def _nobody_looks_after_the_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(workers, "recover", lambda *_, **__: 0)


def _bytes_are_made_anew(patch: pytest.MonkeyPatch) -> None:
    genuine = Wire.bytes_of

    def bytes_of(self: Wire, row: Any) -> bytes | None:
        kept = genuine(self, row)
        return None if kept is None else kept + b"\n"

    patch.setattr(Wire, "bytes_of", bytes_of)


def _a_wish_whose_question_was_given_up_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    for module in (ending, workers, operator):
        patch.setattr(module, "release_wish", lambda *_: None)


def _a_verdict_is_written_over_what_was_journalled(patch: pytest.MonkeyPatch) -> None:
    genuine = JournalWriter.append_many

    def append_many(self: JournalWriter, connection: Any, entries: Sequence[JournalEntry]) -> tuple[int, ...]:
        for entry in entries:
            if entry.kind is EntryKind.VERDICT:
                row = update(JOURNAL).where(JOURNAL.c.id == entry.about_id)
                connection.execute(row.values(verdict=entry.verdict))
        return genuine(self, connection, entries)

    patch.setattr(JournalWriter, "append_many", append_many)


def _what_was_answered_may_be_sent_again(patch: pytest.MonkeyPatch) -> None:
    possible = {**operator.POSSIBLE_FROM, Act.RETRY: frozenset(State)}
    patch.setattr(operator, "POSSIBLE_FROM", possible)


def _what_the_gateway_has_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(road, "fate_of", lambda _: Fate.NOT_SENT)


def _any_answer_fits_any_question(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answers, "check_answers_our_question", lambda *_: True)
    patch.setattr("gateway.exchange.understanding.check_answers_our_question", lambda *_: True)


def _a_message_to_us_dies_with_who_had_it(patch: pytest.MonkeyPatch) -> None:
    assert InboxWorker.__init__.__kwdefaults__ is not None
    patch.setitem(InboxWorker.__init__.__kwdefaults__, "lease", dt.timedelta(days=1_000))


MUTATIONS = (
    Mutation("rows obey anybody", SyncMachine, _rows_obey_anybody),
    Mutation("open rows obey any holder", SyncMachine, _open_rows_obey_any_holder),
    Mutation("what may not be repeated is", SyncMachine, _what_may_not_be_repeated_is),
    Mutation("a wish taken over is asked all the same", SyncMachine, _a_wish_that_was_taken_over_is_asked_all_the_same),
    Mutation("an answer is applied, its row stays open", SyncMachine, _an_answer_is_applied_and_its_row_stays_open),
    Mutation("nobody looks after the rows of the dead", SyncMachine, _nobody_looks_after_the_dead),
    Mutation("bytes are made anew", SyncMachine, _bytes_are_made_anew),
    Mutation("a wish given up is forgotten", SyncMachine, _a_wish_whose_question_was_given_up_is_forgotten),
    Mutation("a verdict is written over a row", SyncMachine, _a_verdict_is_written_over_what_was_journalled),
    Mutation("an answered row may be sent again", SyncMachine, _what_was_answered_may_be_sent_again),
    Mutation("async: rows obey anybody", AsyncMachine, _rows_obey_anybody),
    Mutation("async: what the gateway has is sent again", AsyncMachine, _what_the_gateway_has_is_sent_again),
    Mutation("async: an answer leaves its row open", AsyncMachine, _an_answer_is_applied_and_its_row_stays_open),
    Mutation("async: any answer fits any question", AsyncMachine, _any_answer_fits_any_question),
    Mutation("async: a message dies with its worker", AsyncMachine, _a_message_to_us_dies_with_who_had_it),
)


@contextmanager
def laboratory(keys: Keys, migrated: Path, folder: Path) -> Iterator[None]:
    """What the machines need: a store, keys, and the systems of the asynchronous channel."""
    store = Store(migrated, folder)
    known: dict[tuple[str, bool], Mapping[str, SystemDefinition]] = {
        (ids, idempotent): async_folder(folder / f"{ids}-{idempotent}", message_id=ids, idempotent=idempotent)
        for ids, idempotent in (("ours", True), ("ours", False), ("gateway", True))
    }
    with pytest.MonkeyPatch.context() as patch, applications_are_noted():
        patch.setattr(Machine, "store", store, raising=False)
        patch.setattr(Machine, "keys", keys, raising=False)
        patch.setattr(Machine, "trusted", trust(keys.pki), raising=False)
        patch.setattr(AsyncMachine, "known", known, raising=False)
        try:
            yield
        finally:
            store.close()


def steps_until_found(mutation: Mutation, *, sequences: int) -> tuple[int, str] | None:
    """How many steps the search took, and what the model said; None: it found nothing."""
    before = mutation.machine.steps
    with pytest.MonkeyPatch.context() as patch:
        mutation.put_in(patch)
        try:
            search(mutation.machine, sequences=sequences)
        except Exception as error:  # whatever a fault does to the program, it was seen
            return mutation.machine.steps - before, (str(error).splitlines() or [type(error).__name__])[0]
    return None


def main(sequences: int = 100, only: str = "") -> None:
    folder = Path(tempfile.mkdtemp(prefix="gateway-mutations-"))
    keys = Keys(throwaway_pki.init(folder / "pki", now=NOW))
    engine = engine_for(f"sqlite:///{folder / 'migrated.sqlite'}")
    upgrade(engine)
    engine.dispose()
    with laboratory(keys, folder / "migrated.sqlite", folder):
        for mutation in MUTATIONS:
            if only not in mutation.name:
                continue
            begun_s = time.monotonic()
            found = steps_until_found(mutation, sequences=sequences)
            taken = f"{time.monotonic() - begun_s:6.1f} s"
            what = f"{found[0]:6} steps  {found[1]}" if found else f"not found in {sequences} sequences"
            print(f"{mutation.name:45} {taken} {what}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, *sys.argv[2:3])
