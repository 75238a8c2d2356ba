"""The rules on state-paid persons: the cases of the specification, our own, and properties that must always hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EditionNotInForce
from gateway.registry.categories import CategoryRecord, ConsumerFacts, Death, Removal
from gateway.registry.days import ONE_DAY, add_months
from gateway.registry.standing import Basis, Standing, standing
from gateway.regulation.law import CategoryList, Law, Residency
from gateway.regulation.reading import load_law

ROOT = Path(__file__).parents[2]
SHARED_CASES = ROOT.parent / "shared" / "domain" / "registry-cases.yaml"
LAW = load_law(ROOT / "config" / "regulation")
#: what is built; other keys of `facts` belong to rules that are not
BUILT = {"residency", "categories"}


def cases(path: Path) -> list[Any]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["scenarios"])


def shared_cases() -> list[Any]:
    if not SHARED_CASES.is_file():
        return [pytest.param(None, id="the specification's cases are not beside this checkout")]
    return [
        pytest.param(case, id=case["id"])
        for case in cases(SHARED_CASES)
        if case["kind"] == "status" and set(case["facts"]) <= BUILT
    ]


OWN_CASES = cases(Path(__file__).parent / "cases" / "state_paid.yaml")
day = dt.date.fromisoformat


def facts_of_case(facts: Mapping[str, Any]) -> ConsumerFacts:
    records = []
    for number, entry in enumerate(facts.get("categories", [])):
        removal = None
        if "removed" in entry:
            removal = Removal(
                day(entry["removed"]),
                "enbek_is",
                entry.get("reason", "no reason given"),
                day(entry.get("removal_received", entry["removed"])),
                f"removal-{number}",
            )
        assigned = day(entry["assigned"])
        arrived = day(entry.get("received", entry["assigned"]))
        records.append(CategoryRecord(entry["category"], assigned, "enbek_is", arrived, f"record-{number}", removal))
    return ConsumerFacts(tuple(records), residency=Residency(facts.get("residency", "citizen")))


def answer_to(case: Mapping[str, Any], law: Law = LAW) -> Mapping[str, Any]:
    try:
        got = standing(facts_of_case(case["facts"]), as_of=day(case["as_of"]), known_at=day(case["known_at"]), law=law)
    except EditionNotInForce as error:
        return {"error": error.code}
    return {
        "insured": got.insured,
        "basis": got.basis.value,
        "category": got.category,
        "budget": got.budget,
        "valid_until": None if got.valid_until is None else got.valid_until.isoformat(),
    }


@pytest.mark.parametrize("case", shared_cases())
def test_the_specification_s_case(case: Mapping[str, Any] | None) -> None:
    if case is None:
        pytest.skip("shared/domain/registry-cases.yaml is not beside this checkout")
    assert answer_to(case) == case["expect"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in OWN_CASES])
def test_our_own_case(case: Mapping[str, Any]) -> None:
    assert answer_to(case) == case["expect"], case["why"]
    for cite in case["cite"]:
        LAW.clause(cite)


# ---------------------------------------------------------------- the law is data: changing it changes answers


def with_reading(name: str, value: str | bool) -> Law:
    return replace(LAW, readings=MappingProxyType({**LAW.readings, name: replace(LAW.reading(name), value=value)}))


def with_months(months: int) -> Law:
    edition = LAW.editions[0]
    window = replace(edition.windows["state_retention_months"], value=months)
    changed = replace(edition, windows=MappingProxyType({**edition.windows, "state_retention_months": window}))
    return replace(LAW, editions=(changed,))


@pytest.mark.parametrize(
    "law",
    [
        pytest.param(with_months(2), id="two months"),
        pytest.param(with_months(4), id="four months"),
        pytest.param(with_reading("state_retention_unit", "whole_calendar_months"), id="whole months"),
        pytest.param(with_reading("state_cessation_anchor", "arrival_of_removal"), id="anchor on arrival"),
        pytest.param(with_reading("late_removal", "retroactive"), id="retroactive removal"),
    ],
)
def test_another_window_or_reading_is_noticed_by_a_case(law: Law) -> None:
    assert any(answer_to(case, law) != case["expect"] for case in OWN_CASES)


@pytest.mark.parametrize(
    ("reading", "value", "as_of", "valid_until"),
    [
        ("state_retention_unit", "whole_calendar_months", "2026-07-01", "2026-09-30"),
        ("state_cessation_anchor", "arrival_of_removal", "2026-07-01", "2026-09-20"),
        ("late_removal", "retroactive", "2026-06-16", "2026-09-15"),
    ],
)
def test_an_alternative_reading_moves_the_end(reading: str, value: str, as_of: str, valid_until: str) -> None:
    facts = facts_of_case(
        {
            "categories": [
                {
                    "category": "fulltime_student",
                    "assigned": "2022-09-01",
                    "removed": "2026-06-15",
                    "removal_received": "2026-06-20",
                }
            ]
        }
    )
    got = standing(facts, as_of=day(as_of), known_at=day("2026-08-01"), law=with_reading(reading, value))
    assert (got.basis, got.valid_until) == (Basis.RETENTION_STATE, day(valid_until))


# ---------------------------------------------------------------- why


def answer(as_of: str, *entries: Mapping[str, Any], residency: str = "citizen") -> Standing:
    facts = facts_of_case({"categories": list(entries), "residency": residency})
    return standing(facts, as_of=day(as_of), known_at=day(as_of), law=LAW)


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
    edition = replace(LAW.editions[0], in_force_to=day("2027-01-01"))
    law = replace(LAW, editions=(edition,))
    facts = facts_of_case({"categories": [{"category": "children", "assigned": "2020-01-01"}]})
    assert standing(facts, as_of=day("2026-03-01"), known_at=day("2026-03-01"), law=law).next_change is None


# ---------------------------------------------------------------- properties

days = st.dates(day("2025-06-01"), day("2028-06-01"))
judged_days = st.dates(day("2026-01-01"), day("2028-06-01"))
STATE_PAID = sorted(slug for slug, category in LAW.categories.items() if category.list.state_paid)


@st.composite
def category_records(draw: st.DrawFn, number: int = 0) -> CategoryRecord:
    assigned = draw(days)
    removal = None
    if draw(st.booleans()):
        removed = draw(st.dates(assigned, day("2028-07-01")))
        reason = draw(st.sampled_from(["left", "left", "left", "death"]))
        removal = Removal(removed, "enbek_is", reason, draw(days), f"removal-{draw(st.integers(0, 99))}")
    evidence = f"record-{draw(st.integers(0, 99))}"
    return CategoryRecord(draw(st.sampled_from(STATE_PAID)), assigned, "enbek_is", draw(days), evidence, removal)


deaths = st.builds(Death, days, st.just("zags"), days, st.just("death"))
lives = st.builds(
    ConsumerFacts,
    st.lists(category_records(), max_size=4).map(tuple),
    st.lists(deaths, max_size=1).map(tuple),
    st.sampled_from([Residency.CITIZEN, Residency.CITIZEN, Residency.PERMANENT_FOREIGNER, Residency.TEMP_STATELESS]),
)


def told(got: Standing) -> tuple[object, ...]:
    return got.insured, got.basis, got.category, got.budget, got.valid_until


@given(lives, judged_days, days)
def test_every_answer_names_a_clause_and_every_insured_one_its_evidence(
    facts: ConsumerFacts, as_of: dt.date, known_at: dt.date
) -> None:
    got = standing(facts, as_of=as_of, known_at=known_at, law=LAW)
    assert got.because
    assert all(LAW.clause(cite) for cite in got.because)
    assert bool(got.evidence) or not got.insured
    assert got.insured == (got.basis is not Basis.NONE)


@given(lives, lives, judged_days, days)
def test_what_arrives_later_never_changes_what_was_known_before(
    facts: ConsumerFacts, more: ConsumerFacts, as_of: dt.date, known_at: dt.date
) -> None:
    later = known_at + ONE_DAY
    grown = replace(
        facts,
        records=(
            *(
                replace(record, removal=Removal(record.assigned_date, "enbek_is", "death", later, "late"))
                if record.removal is None
                else record
                for record in facts.records
            ),
            *(replace(record, received_at=max(later, record.received_at)) for record in more.records),
        ),
        deaths=(
            *facts.deaths,
            *(replace(death, received_at=max(later, death.received_at)) for death in more.deaths),
        ),
    )
    assert standing(grown, as_of=as_of, known_at=known_at, law=LAW) == standing(
        facts, as_of=as_of, known_at=known_at, law=LAW
    )


@given(lives, judged_days, days, st.permutations(range(1, 15)))
def test_priority_never_changes_insured_nor_until_when(
    facts: ConsumerFacts, as_of: dt.date, known_at: dt.date, order: list[int]
) -> None:
    shuffled = {
        slug: category
        if category.priority is None or category.list is CategoryList.LOCAL
        else replace(category, priority=order[category.priority - 1])
        for slug, category in LAW.categories.items()
    }
    one = standing(facts, as_of=as_of, known_at=known_at, law=LAW)
    other = standing(facts, as_of=as_of, known_at=known_at, law=replace(LAW, categories=MappingProxyType(shuffled)))
    assert (one.insured, one.basis, one.valid_until) == (other.insured, other.basis, other.valid_until)


def by_decision_table(facts: ConsumerFacts, d: dt.date, known_at: dt.date) -> tuple[bool, str, str | None, str | None]:
    """REGISTRY.md DT-1, lines G, 1, 2, 7 and 10, read for one day and nothing else: no runs of days, no sharing."""
    records = [
        record if record.removal is None or record.removal.received_at <= known_at else replace(record, removal=None)
        for record in facts.records
        if record.received_at <= known_at and facts.residency not in LAW.category(record.category).excluded_residency
    ]
    dead = [
        record.removal.date
        for record in facts.records
        if record.received_at <= known_at
        and record.removal is not None
        and record.removal.received_at <= known_at
        and record.removal.reason == "death"
    ] + [death.died_on for death in facts.deaths if death.received_at <= known_at]
    if any(d >= one for one in dead) or facts.residency is Residency.TEMP_STATELESS:
        return False, "none", None, None
    active: dict[str, list[tuple[int, str]]] = {"republican": [], "local": []}
    kept: list[tuple[int, bool, int, str, str]] = []
    for record in records:
        category = LAW.category(record.category)
        assert category.priority is not None
        budget = category.list.value
        removal = record.removal
        effective = None if removal is None else max(removal.date, removal.received_at)
        if record.assigned_date <= d and (effective is None or d < effective):
            active[budget].append((category.priority, category.slug))
        elif removal is not None and effective is not None and effective <= d:
            last = add_months(removal.date, 3)
            if removal.reason != "death" and d <= last:
                kept.append((-last.toordinal(), budget == "local", category.priority, category.slug, budget))
    slugs = {slug for _, slug in active["republican"]}
    if "maternity_childcare_leave" in slugs:
        active["republican"] = [one for one in active["republican"] if one[1] != "child_under3_carer_unemployed"]
    for budget in ("republican", "local"):
        if active[budget]:
            return True, f"{budget}_category", min(active[budget])[1], budget
    if kept:
        return True, "retention_state", min(kept)[3], min(kept)[4]
    return False, "none", None, None


@given(lives, judged_days, days)
def test_the_answer_is_that_of_the_decision_table_read_day_by_day(
    facts: ConsumerFacts, as_of: dt.date, known_at: dt.date
) -> None:
    got = standing(facts, as_of=as_of, known_at=known_at, law=LAW)
    assert (got.insured, got.basis.value, got.category, got.budget) == by_decision_table(facts, as_of, known_at)
    if got.insured and got.valid_until is not None:
        assert by_decision_table(facts, got.valid_until, known_at)[0]
        assert not by_decision_table(facts, got.valid_until + ONE_DAY, known_at)[0]
    elif got.insured:
        assert by_decision_table(facts, day("2040-01-01"), known_at)[0]


@given(lives, judged_days, days, st.integers(1, 1000))
def test_nothing_changes_before_the_day_of_the_next_change(
    facts: ConsumerFacts, as_of: dt.date, known_at: dt.date, ahead: int
) -> None:
    got = standing(facts, as_of=as_of, known_at=known_at, law=LAW)
    if got.next_change is None:
        probe = as_of + dt.timedelta(days=ahead)
    else:
        probe = as_of + dt.timedelta(days=ahead % (got.next_change - as_of).days)
        changed = standing(facts, as_of=got.next_change, known_at=known_at, law=LAW)
        assert told(changed) != told(got)
    assert told(standing(facts, as_of=probe, known_at=known_at, law=LAW)) == told(got)
