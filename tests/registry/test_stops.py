"""Stops of the state's contributions (p.9 part 2): declared and closed by the Fund, felt by those it pays for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.model import Answer, Fact, Iin, Outcome, Provenance
from gateway.registry.due import recompute_due
from gateway.registry.explanation import ProofKind, Told
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.proofs import explanation_of
from gateway.registry.serving import Asked, computed_standings_of, standings_of
from gateway.registry.standing import Standing
from gateway.registry.stops import DeclaredStop, close_stop, declare_stop, declared_stops
from gateway.registry.store import record_answer, standing_of
from gateway.registry.tables import STANDING_TOUCHED, STATE_STOP
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, take

START = dt.date(2026, 3, 5)
UNEMPLOYED = {"category": "registered_unemployed"}


def declare(engine: Engine, day: int = 5, budget: str = "republican", start: dt.date = START, **more: object) -> str:
    said = {"reason": "letter 7", "by": "the treasurer", "at": at(day), "law": LAW, **more}
    with writing(engine) as connection:
        return declare_stop(connection, budget, start, **said).name  # type: ignore[arg-type]


def close(engine: Engine, name: str, resumed: dt.date, day: int, **more: object) -> DeclaredStop:
    said = {"reason": "letter 9", "by": "another", "at": at(day), "law": LAW, **more}
    with writing(engine) as connection:
        return close_stop(connection, name, resumed, **said)  # type: ignore[arg-type]


def standing(engine: Engine, on: dt.date, known: int, number: int = 1) -> Standing:
    with reading(engine) as connection:
        return standing_of(connection, Iin(person(number)), as_of=on, known_at=at(known), law=LAW)


def touched(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(select(STANDING_TOUCHED.c.iin)).scalars())


def stops(engine: Engine) -> tuple[DeclaredStop, ...]:
    with reading(engine) as connection:
        return declared_stops(connection)


def test_the_right_is_kept_three_months_from_the_stop_and_comes_back_with_the_money(
    engine: Engine, tmp_path: Path
) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    name = declare(engine)
    assert name == "republican@2026-03-05"
    kept = standing(engine, dt.date(2026, 6, 5), 97)
    assert (kept.insured, kept.basis.value, kept.valid_until) == (True, "retention_state", dt.date(2026, 6, 5))
    assert str(kept.because[0]) == "004 p.9 part 2"
    assert "stop republican@2026-03-05" in kept.evidence
    assert not standing(engine, dt.date(2026, 6, 6), 98).insured
    # what was not declared yet was not there
    assert standing(engine, dt.date(2026, 6, 6), 4).basis.value == "republican_category"
    close(engine, name, dt.date(2026, 6, 8), 101)
    assert standing(engine, dt.date(2026, 6, 8), 101).basis.value == "republican_category"
    assert not standing(engine, dt.date(2026, 6, 7), 101).insured
    # and what was known before it was closed stays what it was
    assert not standing(engine, dt.date(2026, 6, 8), 100).insured


def test_a_stop_declared_late_holds_from_its_own_day(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    declare(engine, day=40)
    assert standing(engine, dt.date(2026, 6, 5), 97).valid_until == dt.date(2026, 6, 5)


def test_a_mistaken_stop_is_withdrawn_and_is_as_if_it_never_was(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    close(engine, declare(engine), START, 9)
    (stop,) = stops(engine)
    assert stop.resumed == stop.start
    assert not stop.runs_on(START)
    got = standing(engine, dt.date(2026, 9, 1), 185)
    assert (got.basis.value, got.valid_until) == ("republican_category", None)


def test_who_and_why_are_kept_of_both_ends(engine: Engine) -> None:
    close(engine, declare(engine, evidence="message-1"), dt.date(2026, 3, 7), 7, evidence="message-2")
    (found,) = stops(engine)
    assert (found.declared_by, found.reason, found.declared_at, found.evidence) == (
        "the treasurer",
        "letter 7",
        at(5),
        "message-1",
    )
    assert (found.closed_by, found.closed_because, found.closed_at, found.resumed, found.closed_evidence) == (
        "another",
        "letter 9",
        at(7),
        dt.date(2026, 3, 7),
        "message-2",
    )


def test_a_row_of_before_reasons_were_kept_is_listed_too(engine: Engine) -> None:
    row = {"budget": "local", "start": START, "version": 1, "evidence": "order", "received_at": at(5)}
    with writing(engine) as connection:
        connection.execute(insert(STATE_STOP), row)
    (found,) = stops(engine)
    assert (found.name, found.declared_by, found.reason) == ("local@2026-03-05", "", "")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"budget": "almaty"}, "no such budget; there are: republican, local"),
        ({"budget": "exempt"}, "no such budget"),
        ({"start": dt.date(2026, 3, 6)}, "not before"),
        ({"reason": " "}, "say why"),
        ({"reason": "x" * 501}, "at most 500"),
        ({"by": ""}, "who decided"),
        ({"evidence": " "}, "name it"),
        ({"evidence": "x" * 257}, "at most 256"),
    ],
)
def test_what_cannot_be_declared_is_refused(engine: Engine, said: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        declare(engine, **said)  # type: ignore[arg-type]
    assert stops(engine) == ()


def test_a_day_is_declared_once_and_a_stop_is_closed_once(engine: Engine) -> None:
    name = declare(engine)
    for day, start in ((5, START), (8, dt.date(2026, 3, 7))):
        with pytest.raises(ConfigurationError, match="republican@2026-03-05 is declared already"):
            declare(engine, day, start=start)
    # that it ceased earlier than was thought is news, and so is another budget
    declare(engine, 8, start=dt.date(2026, 3, 1))
    declare(engine, 8, "local")
    for resumed in (dt.date(2026, 3, 4), dt.date(2026, 3, 10)):
        with pytest.raises(ConfigurationError, match="day lies"):
            close(engine, name, resumed, 9)
    close(engine, name, dt.date(2026, 3, 9), 9)
    for wrong in (name, "republican@2026-03-02"):
        with pytest.raises(ConfigurationError, match="no open stop"):
            close(engine, wrong, dt.date(2026, 3, 9), 9)
    assert [one.name for one in stops(engine)] == [
        "republican@2026-03-01",
        "local@2026-03-05",
        "republican@2026-03-05",
    ]


def people_of_both_budgets(engine: Engine, folder: Path) -> None:
    take(engine, csv(folder / "1.csv", [pensioner(1), pensioner(2, category="fulltime_student")]))
    take(engine, csv(folder / "2.csv", [pensioner(3, **UNEMPLOYED)]), feed="registered_unemployed")
    take(engine, csv(folder / "mod.csv", [{"iin": person(4)}], RecordKind.MILITARY), feed="military_mod")
    subject = Iin(person(5))
    fact = Fact("disability", subject, "one", dt.date(2026, 1, 1), None, {"group": "2"})
    with writing(engine) as connection:
        record_answer(
            connection,
            subject,
            Answer(Outcome.FOUND, (fact,)),
            Provenance("m-1", "cbdi", "CN=Signer", "0a", at(1)),
            law=LAW,
        )
    recompute_due(engine, day=LAW.local_day(at(2)), known_at=at(2), law=LAW)


@pytest.mark.parametrize(("budget", "people"), [("republican", {1, 2, 5}), ("local", {3})])
def test_those_it_pays_for_are_computed_again_and_nobody_else(
    engine: Engine, tmp_path: Path, budget: str, people: set[int]
) -> None:
    people_of_both_budgets(engine, tmp_path)
    assert touched(engine) == set()
    name = declare(engine, budget=budget)
    assert touched(engine) == {person(number) for number in people}
    recompute_due(engine, day=LAW.local_day(at(6)), known_at=at(6), law=LAW)
    close(engine, name, dt.date(2026, 3, 7), 7)
    assert touched(engine) == {person(number) for number in people}


def test_the_cache_answers_as_the_facts_do_before_the_stop_in_it_and_after_it(engine: Engine, tmp_path: Path) -> None:
    people_of_both_budgets(engine, tmp_path)
    name = declare(engine)
    for day in (5, 6, 90, 97, 98, 120):
        if day == 120:
            close(engine, name, dt.date(2026, 6, 20), 120)
        asked = [Asked(Iin(person(number)), LAW.local_day(at(day)), at(day)) for number in range(1, 6)]
        for _ in range(2):
            with reading(engine) as connection:
                assert standings_of(connection, asked, LAW) == computed_standings_of(connection, asked, LAW)
            # once as it was found, and once computed
            recompute_due(engine, day=LAW.local_day(at(day)), known_at=at(day), law=LAW)


def test_an_explanation_names_the_stop_who_declared_it_and_why(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]), scope=Scope.CHANGES)
    declare(engine)
    with reading(engine) as connection:
        got = explanation_of(connection, Iin(person(1)), as_of=dt.date(2026, 4, 1), known_at=at(32), law=LAW)
    (rule,) = [one for one in got.rules if one.result.reported]
    assert rule.result.line == "7"
    assert (Told.STATE_STOPPED_PAYING, START) in {(fact.what, fact.day) for fact in rule.facts}
    assert "004 p.9 part 2" in {str(clause.citation) for clause in rule.clauses}
    (proof,) = got.proofs["stop republican@2026-03-05"]
    assert (proof.kind, proof.source, proof.declared_by, proof.reason) == (
        ProofKind.DECLARATION,
        "republican",
        "the treasurer",
        "letter 7",
    )
