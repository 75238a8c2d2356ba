"""Why a standing is what it is: the clauses, what was said and by which message, and what would change it."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from gateway.database import reading, writing
from gateway.model import Answer, Fact, Iin, Outcome, Provenance
from gateway.registry.cases import facts_of
from gateway.registry.explanation import Explanation, ProofKind, Told, explain
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.proofs import explanation_of
from gateway.registry.standing import standing
from gateway.registry.store import record_answer
from gateway.registry.tables import PROVISIONAL_ENTRY, STATE_STOP, TECHNICAL_FAILURE
from gateway.registry.tried import Change, Tried, tried
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, take
from tests.registry.lives import life

day = dt.date.fromisoformat


def explained(facts: Mapping[str, Any], as_of: str, known_at: str | None = None, *, known: bool = True) -> Explanation:
    somebody, failures = facts_of(facts)
    return explain(somebody, as_of=day(as_of), known_at=day(known_at or as_of), law=LAW, failures=failures, known=known)


def told(explanation: Explanation, line: str) -> list[tuple[Told, str]]:
    facts = [fact for rule in explanation.rules if rule.result.line == line for fact in rule.facts]
    return [(fact.what, fact.day.isoformat()) for fact in facts]


@given(seed=st.integers(0, 10_000), as_of=st.dates(day("2026-01-01"), day("2028-12-31")))
def test_it_is_the_standing_with_every_rule_that_was_tried_and_every_clause_in_words(seed: int, as_of: dt.date) -> None:
    somebody, failures = life(random.Random(seed))
    got = explain(somebody, as_of=as_of, known_at=as_of, law=LAW, failures=failures, known=True)
    assert got.standing == standing(somebody, as_of=as_of, known_at=as_of, law=LAW, failures=failures)
    results = tried(somebody, as_of=as_of, known_at=as_of, law=LAW, failures=failures)
    assert tuple(rule.result for rule in got.rules) == results
    for rule in got.rules:
        assert [clause.citation for clause in rule.clauses] == list(rule.result.because)
        assert {reading.name for reading in rule.readings} == set(rule.result.readings)
        assert {fact.evidence for fact in rule.facts} <= set(rule.result.evidence)
    assert {clause.citation for clause in got.because} <= {clause.citation for clause in got.clauses}
    assert got.changes


def test_what_was_said_stands_beside_the_rule_that_rests_on_it() -> None:
    got = explained(
        {
            "categories": [
                {"category": "pension_recipient", "assigned": "2026-01-10", "removed": "2026-05-31"},
                {"category": "fulltime_student", "assigned": "2026-02-01", "removed": "2026-03-01"},
            ]
        },
        "2026-06-15",
    )
    (kept,) = [rule for rule in got.rules if rule.result.reported]
    assert [(fact.what, fact.day) for fact in kept.facts] == [
        (Told.CATEGORY_ASSIGNED, day("2026-01-10")),
        (Told.CATEGORY_REMOVED, day("2026-05-31")),
    ]
    assert got.category == LAW.category("pension_recipient")
    assert got.because[0].citation == got.standing.because[0]


@pytest.mark.parametrize(
    ("facts", "as_of", "line", "wanted"),
    [
        (
            {"payments": [{"periods": "2025-01..2026-01", "received": {"month_offset": 1, "day": 20}}]},
            "2026-02-25",
            "4",
            (Told.PAID, "2026-01-01"),
        ),
        (
            {"military": [{"body": "mod", "date": "2026-02-01", "kind": "full", "person": "listed"}]},
            "2026-02-10",
            "3",
            (Told.SERVICE, "2026-02-01"),
        ),
        (
            {"provisional": [{"category": "children", "applied": "2026-02-01"}]},
            "2026-02-10",
            "6",
            (Told.APPLIED, "2026-02-01"),
        ),
        (
            {"residency": "temp_foreigner", "treaty_list": [{"from": "2026-02-01"}]},
            "2026-02-10",
            "G",
            (Told.ON_TREATY_LIST, "2026-02-01"),
        ),
        (
            {"residency": "temp_foreigner", "treaty_list": [{"from": "2026-02-01", "to": "2026-03-01"}]},
            "2026-03-10",
            "G",
            (Told.OFF_TREATY_LIST, "2026-03-01"),
        ),
        (
            {
                "categories": [{"category": "pension_recipient", "assigned": "2026-01-10"}],
                "state_stop": [{"budget": "republican", "from": "2026-02-01"}],
            },
            "2026-02-10",
            "7",
            (Told.STATE_STOPPED_PAYING, "2026-02-01"),
        ),
        (
            {
                "categories": [{"category": "pension_recipient", "assigned": "2026-01-10", "removed": "2026-02-20"}],
                "failures": [{"system": "enbek_is", "from": "2026-02-15"}],
            },
            "2026-02-25",
            "9",
            (Told.SYSTEM_FAILED, "2026-02-15"),
        ),
    ],
)
def test_each_kind_of_fact_is_told(facts: Mapping[str, Any], as_of: str, line: str, wanted: tuple[Told, str]) -> None:
    assert wanted in told(explained(facts, as_of), line)


def test_what_had_not_arrived_is_not_told() -> None:
    facts = {
        "categories": [{"category": "pension_recipient", "assigned": "2026-01-10", "removed": "2026-02-20"}],
        "payments": [{"periods": "2026-01", "received": "2026-04-01"}],
        "state_stop": [{"budget": "local", "from": "2026-03-01", "resumed": "2026-03-20"}],
        "failures": [{"system": "enbek_is", "from": "2026-03-01", "fixed": "2026-03-10"}],
        "treaty_list": [{"from": "2026-03-01", "to": "2026-03-09"}],
        "military": [{"body": "mod", "date": "2026-03-01", "kind": "full", "person": "listed"}],
        "provisional": [{"category": "children", "applied": "2026-03-01"}],
    }
    early = explained(facts, "2026-01-31")
    assert {fact for rule in early.rules for fact in told(early, rule.result.line)} == {
        (Told.CATEGORY_ASSIGNED, "2026-01-10")
    }


def test_who_is_not_insured_is_told_every_way_in() -> None:
    ways = {change.what for _, change in explained({}, "2026-03-01").changes}
    assert ways >= {
        Change.CATEGORY_ASSIGNED,
        Change.MONTHS_PAID,
        Change.APPLICATION_WITH_DOCUMENTS,
        Change.SUBMISSION_WITH_PERSON,
    }


def test_where_a_gate_is_closed_only_the_gate_is_told() -> None:
    got = explained({"residency": "temp_foreigner"}, "2026-03-01")
    assert {change.what for _, change in got.changes} == {Change.PUT_ON_LIST}


def test_what_begins_later_is_told_beside_what_holds_now() -> None:
    got = explained(
        {
            "categories": [
                {"category": "fulltime_student", "assigned": "2026-01-10"},
                {"category": "pension_recipient", "assigned": "2026-09-01", "received": "2026-01-10"},
            ]
        },
        "2026-03-01",
    )
    assert (Tried.NOT_YET, day("2026-09-01")) in {(result.outcome, change.on) for result, change in got.changes}


# ---------------------------------------------------------------- the messages behind it

SOMEBODY = Iin(person(1))


def of_store(engine: Engine, as_of: str, moment: dt.datetime) -> Explanation:
    with reading(engine) as connection:
        return explanation_of(connection, SOMEBODY, as_of=day(as_of), known_at=moment, law=LAW)


def test_a_signed_answer_is_named_with_its_signer_and_its_arrival(engine: Engine) -> None:
    fact = Fact("disability", SOMEBODY, "one", day("2026-01-01"), None, {"group": "2"})
    with writing(engine) as connection:
        record_answer(
            connection,
            SOMEBODY,
            Answer(Outcome.FOUND, (fact,)),
            Provenance("m-1", "cbdi", "CN=Signer", "0a1b", at(2)),
            law=LAW,
        )
    got = of_store(engine, "2026-03-05", at(5))
    (proof,) = got.proofs["m-1"]
    assert (proof.kind, proof.source, proof.signer_subject, proof.signer_serial) == (
        ProofKind.ANSWER,
        "cbdi",
        "CN=Signer",
        "0a1b",
    )
    assert proof.received_at == at(2)
    assert got.known
    assert not of_store(engine, "2026-03-05", at(1)).known
    assert of_store(engine, "2026-03-05", at(1)).proofs == {}


def test_a_list_is_named_with_its_feed_and_its_digest_and_another_of_that_name_is_not(
    engine: Engine, tmp_path: Path
) -> None:
    mine = csv(tmp_path / "monday.csv", [pensioner(1)])
    first = take(engine, mine, day=1)
    other = csv(tmp_path / "monday.csv", [pensioner(1), pensioner(2)])
    take(engine, other, day=2)
    got = of_store(engine, "2026-03-05", at(5))
    (proof,) = got.proofs["monday.csv"]
    assert (proof.kind, proof.source, proof.received_at, proof.signer_subject) == (
        ProofKind.LIST,
        "republican_categories",
        at(1),
        "",
    )
    assert proof.digest
    assert first.applied == 1


def test_a_submission_that_only_repeats_what_is_known_brought_no_row_and_is_named_all_the_same(
    engine: Engine, tmp_path: Path
) -> None:
    listed = {"iin": SOMEBODY.value, "reserve_combat_training": "false"}
    for number in (1, 2):
        path = csv(tmp_path / f"staff-{number}.csv", [listed], RecordKind.MILITARY)
        take(engine, path, day=number, feed="military_mod", scope=Scope.FULL)
    got = of_store(engine, "2026-03-05", at(5))
    assert got.standing.evidence == ("staff-1.csv",)
    assert set(got.proofs) == {"staff-1.csv"}


def test_an_application_and_declarations_are_named(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "list.csv", [pensioner(1)]), day=1)
    with writing(engine) as connection:
        connection.execute(
            insert(PROVISIONAL_ENTRY),
            [
                {
                    "iin": SOMEBODY.value,
                    "category": "registered_unemployed",
                    "applied": day("2026-03-02"),
                    "documents": None,
                    "evidence": "application-7",
                    "received_at": at(2),
                }
            ],
        )
        connection.execute(
            insert(STATE_STOP),
            [
                {
                    "budget": "republican",
                    "start": day("2026-03-03"),
                    "version": 1,
                    "resumed": None,
                    "evidence": "letter-1",
                    "received_at": at(3),
                }
            ],
        )
        connection.execute(
            insert(TECHNICAL_FAILURE),
            [
                {
                    "system": "enbek_is",
                    "start": day("2026-03-04"),
                    "version": 1,
                    "fixed": None,
                    "reason": "flood",
                    "evidence": "incident-1",
                    "received_at": at(4),
                }
            ],
        )
    got = of_store(engine, "2026-03-20", at(20))
    kinds = {name: (proofs[0].kind, proofs[0].source) for name, proofs in got.proofs.items()}
    assert kinds == {
        "list.csv": (ProofKind.LIST, "republican_categories"),
        "application-7": (ProofKind.APPLICATION, "registered_unemployed"),
        "letter-1": (ProofKind.DECLARATION, "republican"),
        "incident-1": (ProofKind.DECLARATION, "enbek_is"),
    }
