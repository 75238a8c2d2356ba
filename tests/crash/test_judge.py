"""The judge finds what it is there for: a case that really ran, with one thing wrong in its database or its record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, Table, delete, insert, select, update

from gateway.exchange.tables import DUE, EXCHANGE, INBOX, JOURNAL
from gateway.registry.tables import FACT
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.crash.flows import FLOWS
from tests.crash.judge import Judgement, Observed, Wanted, Wrong, goes_on, judge, observe
from tests.crash.lane import Lane, Stores
from tests.crash.matrix import SETTLE_S

LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


class Ran:
    """A case that came to its end, with its database still there to be tampered with."""

    def __init__(self, engine: Engine, seen: Observed, wanted: Wanted) -> None:
        self._engine = engine
        self.seen = seen
        self.wanted = wanted

    @contextmanager
    def tampered(self, *statements: Any) -> Iterator[Observed]:
        """What is seen while these have been done to the database."""
        tables = (EXCHANGE, DUE, INBOX, FACT)
        with self._engine.begin() as connection:
            kept = {table: [dict(row) for row in connection.execute(select(table)).mappings()] for table in tables}
            journal = [dict(row) for row in connection.execute(select(JOURNAL)).mappings()]
            for statement in statements:
                connection.execute(statement)
        try:
            yield replace(
                observe(self._engine),
                received=self.seen.received,
                deliveries=self.seen.deliveries,
                answers=self.seen.answers,
            )
        finally:
            with self._engine.begin() as connection:
                for table, rows in (*kept.items(), (JOURNAL, journal)):
                    connection.execute(delete(table))
                    if rows:
                        connection.execute(insert(table), rows)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        return [dict(row) for row in getattr(self.seen, table.name)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, crash_pki: ThrowawayPki) -> Iterator[Ran]:
    """A question on the asynchronous channel, and the answer that was pushed."""
    folder = tmp_path_factory.mktemp("judge")
    flow = FLOWS["in.push, answer"]
    with Lane(folder / "lane", crash_pki, Stores(folder, None)) as lane, lane.scene(flow, "sqlite", "ran") as scene:
        daemon = lane.nursery.bear(scene.config, scene.folder / "daemon.log")
        assert not lane.await_end(scene, ahead_s=0, patience_s=SETTLE_S, lives=lambda: daemon.lives)
        daemon.kill()
        yield Ran(scene.engine, lane.observe(scene), scene.wanted)


def kinds(judgement: Judgement) -> set[Wrong]:
    return {wrong for wrong, _ in judgement.found}


def test_a_case_without_a_crash_is_clean_and_waits_for_nobody(ran: Ran) -> None:
    assert judge(ran.seen, ran.wanted) == Judgement(waits=False)
    assert not goes_on(ran.seen, ran.wanted, dt.datetime.now(dt.UTC))


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param((delete(DUE),), id="the wish is gone"),
        pytest.param((delete(EXCHANGE),), id="no question came of the wish"),
        pytest.param((delete(FACT),), id="an answer was not applied"),
        pytest.param((delete(INBOX),), id="an acknowledged push is in no inbox"),
        pytest.param((delete(JOURNAL).where(JOURNAL.c.direction == "out"),), id="what was sent is not in the journal"),
    ],
)
def test_a_loss_is_found(ran: Ran, statements: tuple[Any, ...]) -> None:
    with ran.tampered(*statements) as seen:
        assert Wrong.LOST in kinds(judge(seen, ran.wanted))


def test_an_answered_request_that_nobody_remembers_is_found(ran: Ran) -> None:
    seen = replace(ran.seen, answers={"a request of a client": (b"answer",)})
    assert kinds(judge(seen, ran.wanted)) == {Wrong.LOST}


def test_a_request_to_us_of_which_nothing_came_is_found(ran: Ran) -> None:
    assert kinds(judge(ran.seen, replace(ran.wanted, asked_of_us=("a chain",)))) == {Wrong.LOST}


def test_a_fact_that_was_applied_twice_is_found(ran: Ran) -> None:
    again = [{**row, "version": 2} for row in ran.rows(FACT)]
    with ran.tampered(insert(FACT).values(again)) as seen:
        assert kinds(judge(seen, ran.wanted)) == {Wrong.APPLIED_TWICE}


def test_a_wish_that_was_asked_twice_is_found(ran: Ran) -> None:
    (row,) = ran.rows(EXCHANGE)
    facts = [{**fact, "message_id": "second", "key": f"{fact['key']}-2"} for fact in ran.rows(FACT)]
    with ran.tampered(insert(EXCHANGE).values({**row, "message_id": "second"}), insert(FACT).values(facts)) as seen:
        assert kinds(judge(seen, ran.wanted)) == {Wrong.APPLIED_TWICE}


def test_two_answers_applied_to_one_question_are_found(ran: Ran) -> None:
    (answer,) = (row for row in ran.rows(INBOX) if row["code"] == "")
    with ran.tampered(insert(INBOX).values({**answer, "key": "second", "message_id": "second"})) as seen:
        assert kinds(judge(seen, ran.wanted)) == {Wrong.APPLIED_TWICE}


def test_two_accepted_replies_to_one_question_are_found(ran: Ran) -> None:
    about = [row for row in ran.rows(JOURNAL) if row["kind"] == "verdict" and row["verdict"] == "accepted"]
    twice = [{**row, "id": row["id"] + 1_000 * n, "channel": "sync"} for row in about[:1] for n in (1, 2)]
    seen = replace(ran.seen, journal=[*ran.seen.journal, *twice])
    assert kinds(judge(seen, ran.wanted)) == {Wrong.APPLIED_TWICE}


def test_two_responses_to_one_request_are_found(ran: Ran) -> None:
    (row,) = ran.rows(EXCHANGE)
    response = {**row, "message_type": "RESPONSE", "correlation_id": "a chain", "subject": None}
    seen = replace(ran.seen, exchange=[*ran.seen.exchange, response, {**response, "message_id": "second"}])
    assert Wrong.APPLIED_TWICE in kinds(judge(seen, replace(ran.wanted, asked_of_us=("a chain",))))


def test_a_message_that_came_again_with_other_bytes_is_found(ran: Ran) -> None:
    (sent,) = (row for row in ran.seen.received if row["operation"] == "sendMessage")
    seen = replace(ran.seen, received=[*ran.seen.received, {**sent, "message_sha256": "0" * 64}])
    assert kinds(judge(seen, ran.wanted)) == {Wrong.OTHER_BYTES, Wrong.LOST}


def test_an_answer_that_differs_the_second_time_is_found(ran: Ran) -> None:
    inbox = [{**row, "message_id": "a request"} for row in ran.rows(INBOX)]
    seen = replace(ran.seen, answers={"a request": (b"one", b"two")}, inbox=[*ran.seen.inbox, *inbox[:1]])
    assert Wrong.OTHER_BYTES in kinds(judge(seen, ran.wanted))


def test_a_message_journalled_with_two_contents_is_found(ran: Ran) -> None:
    (row,) = ran.rows(EXCHANGE)
    (sent,) = (one for one in ran.rows(JOURNAL) if one["id"] == row["request_journal_id"])
    seen = replace(ran.seen, journal=[*ran.seen.journal, {**sent, "id": 9_999, "body_sha256": "0" * 64}])
    assert kinds(judge(seen, ran.wanted)) == {Wrong.OTHER_BYTES}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(update(EXCHANGE).values(state="waiting", due_at=LATER), id="a question that still waits"),
        pytest.param(update(EXCHANGE).values(state="acknowledged"), id="a question without its answer"),
        pytest.param(update(EXCHANGE).values(state="unknown", due_at=LATER), id="an unknown that is not reconciled"),
        pytest.param(update(EXCHANGE).values(state="unknown", code=""), id="an unknown that does not say why"),
        pytest.param(update(INBOX).values(state="received"), id="a message that nobody worked on"),
        pytest.param(update(INBOX).values(state="quarantined", code=""), id="a quarantine that does not say why"),
        pytest.param(update(DUE).values(leased_until=LATER), id="a wish that is still held"),
        pytest.param(update(DUE).values(message_id="over"), id="a wish that waits for what is over"),
        pytest.param(delete(JOURNAL).where(JOURNAL.c.id == 2), id="a journal with a gap"),
    ],
)
def test_a_state_that_nobody_can_read_is_found(ran: Ran, statement: Any) -> None:
    with ran.tampered(statement) as seen:
        if "leased_until" in str(statement):
            assert goes_on(seen, ran.wanted, dt.datetime.min.replace(tzinfo=dt.UTC))
        assert Wrong.UNREADABLE in kinds(judge(seen, ran.wanted))


def test_an_unknown_that_waits_for_the_operator_is_no_violation(ran: Ran) -> None:
    with ran.tampered(
        update(EXCHANGE).values(state="unknown", code="timeout", due_at=None, outcome="unknown"),
        update(DUE).values(message_id=select(EXCHANGE.c.message_id).scalar_subquery()),
    ) as seen:
        assert judge(seen, ran.wanted) == Judgement(waits=True)


def test_an_answer_lost_on_order_is_waited_for(ran: Ran) -> None:
    lenient = replace(ran.wanted, answers_may_be_missing=True)
    with ran.tampered(
        update(EXCHANGE).values(state="acknowledged"),
        update(DUE).values(message_id=select(EXCHANGE.c.message_id).scalar_subquery()),
    ) as seen:
        assert judge(seen, lenient) == Judgement(waits=True)
