"""Provisional entry: decided by the rules on what the registry knew, and kept when it is given."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.model import Iin
from gateway.registry.applications import apply_for_entry
from gateway.registry.provisional import ProvisionalDecision
from gateway.registry.store import standing_of
from gateway.registry.tables import PROVISIONAL_ENTRY
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, take

DAY = dt.date(2026, 3, 2)
CHILD = frozenset({"birth_certificate"})


def ask(
    engine: Engine,
    category: str = "children",
    applied: dt.date = DAY,
    documents: frozenset[str] | None = CHILD,
    day: int = 2,
) -> ProvisionalDecision:
    with writing(engine) as connection:
        return apply_for_entry(
            connection,
            Iin(person(1)),
            category,
            applied,
            documents=documents,
            evidence="application 7",
            at=at(day),
            law=LAW,
        )


def entries(engine: Engine) -> int:
    with reading(engine) as connection:
        return len(connection.execute(select(PROVISIONAL_ENTRY)).all())


def test_an_accepted_application_is_a_right_for_a_month(engine: Engine) -> None:
    decision = ask(engine)
    assert (decision.accepted, decision.first, decision.last) == (True, DAY, dt.date(2026, 4, 2))
    with reading(engine) as connection:
        answer = standing_of(connection, Iin(person(1)), as_of=dt.date(2026, 4, 2), known_at=at(20), law=LAW)
    assert (answer.basis.value, answer.evidence) == ("provisional", ("application 7",))
    # the same application again is the same entry
    assert ask(engine, day=3) == decision
    assert entries(engine) == 1
    assert ask(engine, applied=dt.date(2026, 3, 3), documents=None, day=4).accepted
    assert entries(engine) == 2


@pytest.mark.parametrize(
    ("category", "documents", "reason"),
    [
        ("children", frozenset(), "documents_incomplete"),
        ("person_with_disability", CHILD, None),
        ("pension_recipient", CHILD, None),
        ("crisis_level_unemployed", CHILD, "no_document_defined"),
    ],
)
def test_a_refusal_names_its_reason_and_its_paragraph(
    engine: Engine, category: str, documents: frozenset[str], reason: str | None
) -> None:
    decision = ask(engine, category, documents=documents)
    assert not decision.accepted
    assert decision.because
    expected = "documents_incomplete" if LAW.category(category).documents else "no_document_defined"
    assert decision.reason == (reason or expected)
    assert entries(engine) == 0


def test_data_that_are_there_leave_no_room_for_an_entry(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    assert ask(engine).reason == "data_present"


def test_what_cannot_be_asked_is_told(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="no category"):
        ask(engine, "nobody")
    with pytest.raises(ConfigurationError, match="not before"):
        ask(engine, applied=dt.date(2026, 3, 3))
    with pytest.raises(ConfigurationError, match=r"are no documents of p.*passport"):
        ask(engine, documents=frozenset({"passport"}))
