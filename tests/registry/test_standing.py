"""The standing: what it rests on, when it changes, and properties that must always hold.

What it is for given facts stands in the law's cases (tests/law) and in the oracle's agreement (test_lives.py).
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EditionNotInForce
from gateway.registry.cases import facts_of
from gateway.registry.days import ONE_DAY
from gateway.registry.facts import (
    CategoryRecord,
    ConsumerFacts,
    Removal,
    TechnicalFailure,
)
from gateway.registry.spans import Basis
from gateway.registry.standing import Standing, standing
from gateway.regulation.law import CategoryList
from tests.registry.law_cases import LAW, with_window
from tests.registry.lives import Life, life

day = dt.date.fromisoformat
EDITION = LAW.edition_on(day("2026-06-01"))


def asked(as_of: str, facts: Mapping[str, Any], known_at: str | None = None) -> Standing:
    person, failures = facts_of(facts)
    return standing(person, as_of=day(as_of), known_at=day(known_at or as_of), law=LAW, failures=failures)


# ---------------------------------------------------------------- why


def answer(as_of: str, *entries: Mapping[str, Any], residency: str = "citizen") -> Standing:
    return asked(as_of, {"categories": list(entries), "residency": residency})


def test_a_local_category_cites_the_local_budget_and_priority() -> None:
    got = answer(
        "2026-03-01",
        {"category": "registered_unemployed", "assigned": "2026-01-01"},
        {"category": "crisis_level_unemployed", "assigned": "2026-01-01"},
    )
    assert [str(cite) for cite in got.because] == [
        "004 p.9 part 1",
        "004 p.55(1)",
        "004 p.7(4)",
        "004 p.51",
        "004 p.55 part 1",
    ]


def test_the_lower_local_category_cites_the_check_before_removal() -> None:
    got = answer(
        "2026-03-01",
        {"category": "registered_unemployed", "assigned": "2026-01-01", "removed": "2026-02-20"},
        {"category": "crisis_level_unemployed", "assigned": "2026-01-01"},
    )
    assert "004 p.55 part 2" in {str(cite) for cite in got.because}
    assert got.evidence == ("record-1",)


def test_an_excluded_record_is_named_with_the_clause_that_excludes_it() -> None:
    got = answer(
        "2026-03-01",
        {"category": "penitentiary_inmate", "assigned": "2026-01-01"},
        residency="temp_stateless",
    )
    assert [str(cite) for cite in got.because] == ["004 p.7", "004 p.61"]
    got = answer(
        "2026-03-01",
        {"category": "penitentiary_inmate", "assigned": "2026-01-01"},
        residency="permanent_foreigner",
    )
    assert [str(cite) for cite in got.because] == ["004 p.3", "004 p.20(8)", "004 p.40"]


def test_a_source_that_p7_does_not_name_is_not_cited() -> None:
    record = CategoryRecord("children", day("2026-01-01"), "somewhere", day("2026-01-01"), "m")
    got = standing(ConsumerFacts((record,)), as_of=day("2026-01-02"), known_at=day("2026-01-02"), law=LAW)
    assert [str(cite) for cite in got.because] == ["004 p.9 part 1", "004 p.20(1)", "004 p.16"]


def test_a_category_that_the_state_does_not_pay_for_is_no_basis_here() -> None:
    got = answer("2026-03-01", {"category": "military_law_enforcement", "assigned": "2026-01-01"})
    assert (got.insured, got.evidence) == (False, ())


def test_the_answer_says_on_which_day_it_changes() -> None:
    entry = {"category": "fulltime_student", "assigned": "2022-09-01", "removed": "2026-06-15"}
    early = {**entry, "removal_received": "2026-01-01"}
    assert answer("2026-06-01", early).next_change == day("2026-06-15")
    assert answer("2026-06-15", entry).next_change == day("2026-09-16")
    assert answer("2026-09-16", entry).next_change is None


def test_the_end_of_the_edition_is_a_day_to_look_again_only_if_the_answer_differs() -> None:
    law = replace(LAW, editions=(replace(EDITION, in_force_to=day("2027-01-01")),))
    facts, _ = facts_of({"categories": [{"category": "children", "assigned": "2020-01-01"}]})
    assert standing(facts, as_of=day("2026-03-01"), known_at=day("2026-03-01"), law=law).next_change is None


# ---------------------------------------------------------------- why, basis by basis

YEAR = {"periods": "2025-03..2026-02", "received": "2026-03-18"}
LISTED = {"body": "mod", "date": "2026-02-02", "kind": "full", "person": "listed"}
ABROAD = {
    "residency": "temp_foreigner",
    "treaty_list": [{"from": "2026-01-10", "to": "2026-04-01"}],
    "payments": [YEAR],
}
STOPPED = {
    "categories": [{"category": "children", "assigned": "2020-01-01", "removed": "2026-02-10"}],
    "state_stop": [{"budget": "republican", "from": "2026-01-20"}],
}


@pytest.mark.parametrize(
    ("facts", "as_of", "because", "evidence"),
    [
        pytest.param({"payments": [YEAR]}, "2026-03-20", "004 p.10 part 1", ["payment-0"], id="payer"),
        pytest.param({"payments": [YEAR]}, "2026-04-20", "004 p.10 part 2", ["payment-0"], id="kept for a payer"),
        pytest.param(
            {"payments": [{**YEAR, "periods": "2021-03..2026-02"}]},
            "2026-08-20",
            "004 p.10 part 3",
            ["payment-0"],
            id="kept for six months",
        ),
        pytest.param(
            {"payments": [{"periods": "2026-03", "received": "2026-03-18", "payer": "art14_2_9"}]},
            "2026-03-20",
            "004 p.11",
            ["payment-0"],
            id="payer of 14(2)(9)",
        ),
        pytest.param({"military": [LISTED]}, "2026-03-20", "004 p.12", ["submission-0"], id="exempt"),
        pytest.param(
            {"provisional": [{"category": "children", "applied": "2026-03-18"}]},
            "2026-03-20",
            "004 p.21",
            ["application-0"],
            id="provisional",
        ),
        pytest.param(
            {"provisional": [{"category": "registered_unemployed", "applied": "2026-03-18"}]},
            "2026-03-20",
            "004 p.57",
            ["application-0"],
            id="provisional, unemployed",
        ),
        pytest.param(STOPPED, "2026-02-01", "004 p.9 part 2", ["record-0", "stop-0"], id="the state does not pay"),
        pytest.param(
            STOPPED, "2026-04-01", "004 p.9 part 2", ["record-0", "removal-0", "stop-0"], id="removed in a stop"
        ),
        pytest.param(
            {**STOPPED, "failures": [{"system": "gbdfl", "from": "2026-04-01", "fixed": "2026-05-05"}]},
            "2026-05-01",
            "004 p.13",
            ["failure-0", "record-0", "removal-0", "stop-0"],
            id="held",
        ),
        pytest.param(
            ABROAD, "2026-03-20", "004 p.10 part 1", ["payment-0", "listed-0", "residency-0"], id="on the treaty list"
        ),
        pytest.param(ABROAD, "2026-04-20", "004 p.7", ["listed-0", "off-0", "residency-0"], id="off the treaty list"),
        pytest.param(
            {"payments": [{**YEAR, "periods": "2025-06..2026-02"}]}, "2026-03-20", "004 p.3", ["payment-0"], id="short"
        ),
    ],
)
def test_an_answer_names_the_deciding_clause_first_and_what_brought_the_facts(
    facts: Mapping[str, Any], as_of: str, because: str, evidence: list[str]
) -> None:
    got = asked(as_of, facts)
    assert str(got.because[0]) == because
    assert list(got.evidence) == evidence


def test_months_that_the_state_covered_bring_their_record_as_evidence() -> None:
    studied = {"category": "fulltime_student", "assigned": "2022-09-01", "removed": "2025-12-10"}
    got = asked(
        "2026-03-20",
        {
            "categories": [studied, {"category": "children", "assigned": "2006-01-01", "removed": "2024-01-01"}],
            "payments": [{"periods": "2026-01..2026-02", "received": "2026-03-18"}],
        },
    )
    assert (got.basis, got.evidence) == (Basis.PAYER, ("payment-0", "record-0", "removal-0"))


def test_an_exempt_answer_names_the_submission_in_force_on_that_day_and_the_first() -> None:
    events = [LISTED, {**LISTED, "date": "2026-02-16"}, {**LISTED, "date": "2026-03-02"}]
    got = asked("2026-02-20", {"military": events}, "2026-03-10")
    assert got.evidence == ("submission-0", "submission-1")


def test_the_next_edition_is_asked_where_the_answer_of_this_one_ends() -> None:
    first = replace(EDITION, in_force_to=day("2026-08-01"))
    second = with_window("state_retention_months", 2, replace(LAW, editions=(EDITION,))).editions[0]
    law = replace(LAW, editions=(first, replace(second, in_force_from=day("2026-08-01"))))
    facts, _ = facts_of({"categories": [{"category": "children", "assigned": "2020-01-01", "removed": "2026-05-20"}]})
    got = standing(facts, as_of=day("2026-06-01"), known_at=day("2026-06-01"), law=law)
    assert (got.valid_until, got.next_change) == (day("2026-08-20"), day("2026-08-01"))
    open_ended, _ = facts_of({"categories": [{"category": "children", "assigned": "2020-01-01"}]})
    assert standing(open_ended, as_of=day("2026-06-01"), known_at=day("2026-06-01"), law=law).next_change is None


def test_the_treaty_list_is_a_basis_only_by_the_other_reading() -> None:
    assert not asked("2026-02-01", {**ABROAD, "payments": []}).insured


# ---------------------------------------------------------------- properties

days = st.dates(day("2025-06-01"), day("2028-06-01"))
judged_days = st.dates(day("2026-01-01"), day("2028-06-01"))
lives = st.integers(0, 2**32).map(lambda seed: life(random.Random(seed)))


def of(person: Life, as_of: dt.date, known_at: dt.date) -> Standing:
    return standing(person[0], as_of=as_of, known_at=known_at, law=LAW, failures=person[1])


def told(got: Standing) -> tuple[object, ...]:
    return got.insured, got.basis, got.category, got.budget, got.valid_until


@given(lives, judged_days, days)
def test_every_answer_names_a_clause_and_every_insured_one_its_evidence(
    person: Life, as_of: dt.date, known_at: dt.date
) -> None:
    got = of(person, as_of, known_at)
    assert got.because
    assert all(LAW.clause(cite) for cite in got.because)
    assert bool(got.evidence) or not got.insured
    assert got.insured == (got.basis is not Basis.NONE)
    assert set(got.readings) <= set(LAW.readings)


def later_than(known_at: dt.date, facts: ConsumerFacts) -> ConsumerFacts:
    """The same facts, all of them heard of after `known_at`."""

    def late(day_heard: dt.date) -> dt.date:
        return max(known_at + ONE_DAY, day_heard)

    return ConsumerFacts(
        records=tuple(replace(one, received_at=late(one.received_at)) for one in facts.records),
        deaths=tuple(replace(one, received_at=late(one.received_at)) for one in facts.deaths),
        payments=tuple(replace(one, received_at=late(one.received_at)) for one in facts.payments),
        provisional=tuple(replace(one, received_at=late(one.received_at)) for one in facts.provisional),
        military=tuple(replace(one, date=late(one.date)) for one in facts.military),
        treaty=tuple(replace(one, received_at=late(one.received_at)) for one in facts.treaty),
        residencies=tuple(replace(one, received_at=late(one.received_at)) for one in facts.residencies),
        state_stops=tuple(replace(one, received_at=late(one.received_at)) for one in facts.state_stops),
    )


@given(lives, lives, judged_days, days)
def test_what_arrives_later_never_changes_what_was_known_before(
    person: Life, more: Life, as_of: dt.date, known_at: dt.date
) -> None:
    facts, failures = person
    late = later_than(known_at, more[0])
    grown = ConsumerFacts(
        records=(
            *(
                replace(one, removal=Removal(one.assigned_date, "x", "death", known_at + ONE_DAY, "late"))
                if one.removal is None
                else one
                for one in facts.records
            ),
            *late.records,
        ),
        deaths=facts.deaths + late.deaths,
        residencies=facts.residencies + late.residencies,
        payments=facts.payments + late.payments,
        provisional=facts.provisional + late.provisional,
        military=facts.military + late.military,
        treaty=facts.treaty + late.treaty,
        state_stops=facts.state_stops + late.state_stops,
    )
    broken = (*failures, TechnicalFailure("fund_is", as_of, known_at + ONE_DAY, "late"))
    assert of((grown, broken), as_of, known_at) == of(person, as_of, known_at)


@given(lives, judged_days, days, st.permutations(range(1, 15)), st.booleans())
def test_priority_never_changes_insured_nor_until_when(
    person: Life, as_of: dt.date, known_at: dt.date, order: list[int], swap: bool
) -> None:
    def priority(number: int, category_list: CategoryList) -> int:
        if category_list is CategoryList.REPUBLICAN:
            return order[number - 1]
        return 3 - number if swap else number

    shuffled = {
        slug: one if one.priority is None else replace(one, priority=priority(one.priority, one.list))
        for slug, one in LAW.categories.items()
    }
    law = replace(LAW, categories=MappingProxyType(shuffled))
    one = of(person, as_of, known_at)
    other = standing(person[0], as_of=as_of, known_at=known_at, law=law, failures=person[1])
    # which of several equal bases a failure preserves is a matter of priority too, and the next failure may ask for it
    if len(person[1]) < 2:
        assert (one.insured, one.basis, one.valid_until) == (other.insured, other.basis, other.valid_until)
    assert one.insured == other.insured or len(person[1]) > 1


@given(lives, judged_days, days, st.integers(1, 1000))
def test_nothing_changes_before_the_day_of_the_next_change(
    person: Life, as_of: dt.date, known_at: dt.date, ahead: int
) -> None:
    got = of(person, as_of, known_at)
    if got.next_change is None:
        probe = as_of + dt.timedelta(days=ahead)
    else:
        probe = as_of + dt.timedelta(days=ahead % (got.next_change - as_of).days)
        assert told(of(person, got.next_change, known_at)) != told(got)
    assert told(of(person, probe, known_at)) == told(got)


@given(lives, judged_days, days)
def test_going_from_change_to_change_gives_what_any_day_gives_from_scratch(
    person: Life, first: dt.date, known_at: dt.date
) -> None:
    kept = of(person, first, known_at)
    for step in range(0, 400, 37):
        on = first + dt.timedelta(days=step)
        while kept.next_change is not None and kept.next_change <= on:
            kept = of(person, kept.next_change, known_at)
        assert told(of(person, on, known_at)) == told(kept)


def test_days_before_the_first_edition_are_not_judged() -> None:
    with pytest.raises(EditionNotInForce):
        asked("2025-12-31", {})
