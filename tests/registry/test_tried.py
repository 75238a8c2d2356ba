"""Every rule tried for one day: what holds, what ended, what is kept out, and what would change it."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.registry.cases import facts_of
from gateway.registry.facts import ConsumerFacts, Death
from gateway.registry.spans import Basis
from gateway.registry.standing import standing
from gateway.registry.tried import Change, RuleResult, Tried, tried
from tests.registry.law_cases import LAW, with_reading
from tests.registry.lives import life

day = dt.date.fromisoformat


def results(facts: Mapping[str, Any], as_of: str, known_at: str | None = None) -> tuple[RuleResult, ...]:
    person, failures = facts_of(facts)
    return tried(person, as_of=day(as_of), known_at=day(known_at or as_of), law=LAW, failures=failures)


def of_line(line: str, found: tuple[RuleResult, ...]) -> list[RuleResult]:
    return [one for one in found if one.line == line]


def test_of_a_stranger_every_line_is_tried_and_says_what_it_needs() -> None:
    found = results({}, "2026-03-20")
    assert [one.line for one in found] == ["G", "G", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    assert not any(one.reported for one in found)
    assert {one.outcome for one in found} == {Tried.PASSED, Tried.NO_FACTS}
    (payer,) = of_line("4", found)
    assert payer.would_change[0].what is Change.MONTHS_PAID
    assert payer.would_change[0].detail[0] == "2025-03"
    assert len(payer.would_change[0].detail) == 12


def test_what_holds_is_reported_once_and_says_when_it_ends() -> None:
    facts = {
        "categories": [
            {"category": "children", "assigned": "2008-03-14", "removed": "2026-03-14"},
            {"category": "fulltime_student", "assigned": "2025-09-01"},
            {"category": "person_with_disability", "assigned": "2027-01-01", "received": "2026-01-01"},
        ]
    }
    found = results(facts, "2026-04-01")
    student, disability = of_line("1", found)[-2:]
    assert (student.outcome, student.reported) == (Tried.HOLDS, True)
    assert [one.what for one in student.would_change] == [Change.REMOVAL_ARRIVES, Change.STATE_STOPS_PAYING]
    assert (disability.outcome, disability.would_change[0].on) == (Tried.NOT_YET, day("2027-01-01"))
    child = next(one for one in of_line("1", found) if one.category == "children")
    assert (child.outcome, child.last) == (Tried.ENDED, day("2026-03-13"))
    (kept,) = of_line("7", found)
    assert (kept.outcome, kept.reported, kept.would_change[0].on) == (Tried.HOLDS, False, day("2026-06-15"))
    assert sum(one.reported for one in found) == 1


def test_a_stop_can_end_by_the_state_paying_again() -> None:
    facts = {
        "categories": [{"category": "children", "assigned": "2020-01-01"}],
        "state_stop": [{"budget": "republican", "from": "2026-03-01"}],
    }
    (kept,) = of_line("7", results(facts, "2026-03-20"))
    assert Change.STATE_PAYS_AGAIN in {one.what for one in kept.would_change}


def test_death_keeps_everything_out() -> None:
    facts = {
        "categories": [{"category": "children", "assigned": "2020-01-01", "removed": "2026-03-01", "reason": "death"}]
    }
    found = results(facts, "2026-03-20")
    assert (found[0].outcome, found[0].first, found[0].evidence) == (Tried.HOLDS, day("2026-03-01"), ("removal-0",))
    (kept,) = of_line("7", found)
    assert kept.outcome is Tried.KEPT_OUT
    assert results(facts, "2026-02-20", "2026-03-20")[0].outcome is Tried.NOT_YET


def test_the_treaty_gate_says_on_which_day_it_opens_and_closes() -> None:
    facts = {
        "residency": "temp_foreigner",
        "treaty_list": [{"from": "2026-02-01", "to": "2026-04-01"}],
        "payments": [{"periods": "2025-01..2026-12", "received": "2026-01-20"}],
    }
    open_gate, paid = results(facts, "2026-03-20", "2026-05-01")[1], of_line("4", results(facts, "2026-03-20"))[0]
    assert (open_gate.outcome, open_gate.would_change[0].on) == (Tried.PASSED, day("2026-04-01"))
    assert (paid.outcome, paid.reported) == (Tried.HOLDS, True)
    early = results(facts, "2026-01-25", "2026-03-01")
    assert (early[1].outcome, early[1].would_change[0].on) == (Tried.HOLDS, day("2026-02-01"))
    assert of_line("4", early)[0].outcome is Tried.KEPT_OUT


def test_a_hold_is_one_of_the_lines() -> None:
    facts = {
        "categories": [{"category": "children", "assigned": "2008-03-14", "removed": "2026-03-14"}],
        "failures": [{"system": "gbdfl", "from": "2026-06-14"}],
    }
    (hold,) = of_line("9", results(facts, "2026-07-01"))
    assert (hold.outcome, hold.reported, hold.category) == (Tried.HOLDS, True, "children")
    assert hold.would_change[0].what is Change.SYSTEM_FIXED


def test_what_was_not_taken_is_said_with_its_reason() -> None:
    facts = {
        "residency": "permanent_foreigner",
        "categories": [{"category": "penitentiary_inmate", "assigned": "2026-01-15"}],
        "provisional": [
            {"category": "penitentiary_inmate", "applied": "2026-02-01"},
            {"category": "children", "applied": "2026-03-01"},
            {"category": "children", "applied": "2027-03-01"},
        ],
    }
    found = results(facts, "2026-03-20", "2026-03-20")
    ignored = [one for one in found if one.outcome is Tried.IGNORED]
    refused = [one for one in found if one.outcome is Tried.REFUSED]
    assert [(one.rule, one.category, one.reason) for one in ignored] == [
        ("R-24", "penitentiary_inmate", "residency_excluded")
    ]
    assert [(one.category, one.reason) for one in refused] == [("penitentiary_inmate", "no_document_defined")]
    assert [one.outcome for one in of_line("6", found)][:1] == [Tried.HOLDS]


def test_a_death_record_of_the_civil_registry_closes_the_gate() -> None:
    facts = ConsumerFacts(deaths=(Death(day("2026-03-01"), "zags", day("2026-03-05"), "m1"),))
    found = tried(facts, as_of=day("2026-03-06"), known_at=day("2026-03-06"), law=LAW)
    assert (found[0].outcome, found[0].evidence) == (Tried.HOLDS, ("m1",))


def test_the_treaty_list_is_a_line_of_its_own_only_by_the_other_reading() -> None:
    facts, _ = facts_of({"residency": "temp_foreigner", "treaty_list": [{"from": "2026-02-01"}]})
    asked = {"as_of": day("2026-03-20"), "known_at": day("2026-03-20")}
    last = tried(facts, **asked, law=with_reading("treaty_list", "basis"))[-1]
    assert (last.basis, last.reported, last.would_change[0].what) == (Basis.TREATY_LIST, True, Change.TAKEN_OFF_LIST)
    assert all(one.basis is not Basis.TREATY_LIST for one in tried(facts, **asked, law=LAW))


@given(st.integers(0, 2**32), st.dates(day("2026-01-01"), day("2028-06-01")))
def test_the_reported_result_is_the_standing(seed: int, as_of: dt.date) -> None:
    facts, failures = life(random.Random(seed))
    answer = standing(facts, as_of=as_of, known_at=as_of, law=LAW, failures=failures)
    reported = [one for one in tried(facts, as_of=as_of, known_at=as_of, law=LAW, failures=failures) if one.reported]
    assert len(reported) == answer.insured
    for one in reported:
        assert (one.basis, one.category, one.budget) == (answer.basis, answer.category, answer.budget)
        assert one.outcome is Tried.HOLDS
        assert set(one.evidence) <= set(answer.evidence)
    assert answer.insured or answer.basis is Basis.NONE
