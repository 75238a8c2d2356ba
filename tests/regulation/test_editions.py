"""A new edition of the Rules is data: each day is judged by its own, and only what changed is written."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import ConfigurationError, EditionNotInForce
from gateway.registry.cached import law_digest
from gateway.registry.facts import CategoryRecord, ConsumerFacts, Payment, ProvisionalEntry, Removal
from gateway.registry.standing import Standing, standing
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law

SHIPPED = Path(__file__).parents[2] / "config" / "regulation"
day = dt.date.fromisoformat

#: an invented amendment: two months instead of three from July 2027, the last day of an entry is the one before
AMENDMENT: dict[str, Any] = {
    "redaction": "an invented amendment",
    "in_force_from": day("2027-07-01"),
    "amends": day("2026-01-01"),
    "without": ["004 p.17"],
    "clauses": [
        {"id": "004 p.9 part 1", "kk": "екі ай бойы сақталады", "en": "is kept for two months", "ru": "два месяца"}
    ],
    "windows": {"state_retention_months": {"value": 2, "cite": "004 p.9 part 1", "standing": "quoted"}},
    "readings": {"provisional_end": "day_before"},
    "categories": [
        {
            "code": "R12",
            "slug": "person_with_disability",
            "list": "republican",
            "priority": 1,
            "kk": "мүгедектігі бар адамдар",
            "chains": [["enbek_is", "mem_corp", "fund_is"]],
            "cites": ["004 p.20(12)"],
        },
        {
            "code": "R07",
            "slug": "pension_recipient",
            "list": "republican",
            "priority": 2,
            "kk": "зейнетақы төлемдерін алушылар",
            "chains": [["enbek_is", "mem_corp", "fund_is"]],
            "cites": ["004 p.20(7)"],
        },
    ],
}


def folder_with(amendment: dict[str, Any], folder: Path) -> Path:
    """The shipped files, the first edition ended and the amendment after it."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    act = yaml.safe_load((folder / "004.yaml").read_text(encoding="utf-8"))
    act["editions"][0]["in_force_to"] = amendment["in_force_from"]
    act["editions"].append(amendment)
    (folder / "004.yaml").write_text(yaml.safe_dump(act, allow_unicode=True), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Law:
    return load_law(folder_with(AMENDMENT, tmp_path_factory.mktemp("law")))


def on(facts: ConsumerFacts, text: str, law: Law) -> Standing:
    return standing(facts, as_of=day(text), known_at=day("2028-12-31"), law=law)


def record(category: str, assigned: str, removed: str | None = None) -> CategoryRecord:
    removal = None if removed is None else Removal(day(removed), "enbek_is", "left", day(removed), "out")
    return CategoryRecord(category, day(assigned), "enbek_is", day(assigned), "in", removal)


def test_the_same_facts_are_judged_by_the_edition_of_the_day_asked_about(law: Law) -> None:
    left = ConsumerFacts(records=(record("pension_recipient", "2026-01-01", "2027-04-15"),))
    # three months by the edition of the day: to 15 July, and that day is judged by two months
    assert on(left, "2027-06-30", law).insured
    assert on(left, "2027-06-30", law).next_change == day("2027-07-01")
    assert not on(left, "2027-07-01", law).insured
    assert on(left, "2027-07-01", load_law(SHIPPED)).valid_until == day("2027-07-15")


def test_a_reading_that_an_edition_settles_holds_from_its_day_on(law: Law) -> None:
    def until(applied: str) -> dt.date | None:
        entry = ProvisionalEntry("children", day(applied), day(applied), "paper")
        return on(ConsumerFacts(provisional=(entry,)), applied, law).valid_until

    assert until("2027-03-10") == day("2027-04-10")
    assert until("2027-08-10") == day("2027-09-09")
    assert law.reading_on("provisional_end", day("2027-06-30")) == "corresponding_date"
    assert law.reading_on("provisional_end", day("2027-07-01")) == "day_before"
    assert law.reading_on("gap_resume", day("2027-07-01")) == "run_must_be_continuous"


def test_another_order_of_priority_holds_from_its_day_on(law: Law) -> None:
    both = ConsumerFacts(
        records=(record("pension_recipient", "2026-01-01"), record("person_with_disability", "2026-01-01"))
    )
    assert on(both, "2027-06-30", law).category == "pension_recipient"
    assert on(both, "2027-07-01", law).category == "person_with_disability"
    assert on(both, "2027-06-30", law).next_change == day("2027-07-01")


def test_what_an_amendment_does_not_name_stays(law: Law) -> None:
    first, second = law.editions
    assert second.windows["payer_retention_months"] == first.windows["payer_retention_months"]
    assert second.sources == first.sources
    assert law.clause_on("004 p.9 part 1", day("2027-06-30")).en.endswith("article 5 paragraph 2 of the Law.")
    assert law.clause_on("004 p.9 part 1", day("2027-07-01")).en == "is kept for two months"
    assert law.clause_on("001 annex 1 row 3", day("2027-07-01")) == law.clause("001 annex 1 row 3")
    assert "004 p.17" in first.clauses
    assert "004 p.17" not in second.clauses
    paid = ConsumerFacts(
        payments=tuple(Payment(2026 * 12 + month, day("2027-06-20"), day("2027-06-20"), "list") for month in range(18))
    )
    assert on(paid, "2027-08-01", law).valid_until == day("2027-09-30")


def test_no_day_before_the_first_edition_is_judged_and_every_later_one_is(law: Law) -> None:
    with pytest.raises(EditionNotInForce):
        on(ConsumerFacts(), "2025-12-31", law)
    assert not on(ConsumerFacts(), "2026-01-01", law).insured
    assert not on(ConsumerFacts(), "2099-12-31", law).insured


def test_an_answer_kept_under_another_edition_is_known_to_be_old(law: Law) -> None:
    assert law_digest(law) != law_digest(load_law(SHIPPED))


MISTAKES: list[tuple[str, Callable[[dict[str, Any]], object], str, str]] = [
    (
        "an edition that is not there",
        lambda one: one.update(amends=day("2025-01-01")),
        "editions[1].amends",
        "no edition in force from 2025-01-01",
    ),
    (
        "a reading that is not built",
        lambda one: one["readings"].update(provisional_end="never"),
        "editions[1]",
        "built",
    ),
    ("a clause that is not there", lambda one: one.update(without=["004 p.99"]), "editions[1].without[0]", "004 p.99"),
    (
        "a clause that a window rests on",
        lambda one: one.update(without=["004 p.63"]),
        "editions[1]",
        "rests on 004 p.63",
    ),
    (
        "an unknown reading",
        lambda one: one["readings"].update(provisional_start=1),
        "editions[1].readings.provisional_start",
        "not known",
    ),
]


@pytest.mark.parametrize(("change", "key", "complaint"), [pytest.param(*one[1:], id=one[0]) for one in MISTAKES])
def test_a_mistake_in_an_amendment_is_named(
    change: Callable[[dict[str, Any]], object], key: str, complaint: str, tmp_path: Path
) -> None:
    amendment = {**AMENDMENT, "readings": dict(AMENDMENT["readings"])}
    change(amendment)
    with pytest.raises(ConfigurationError) as refused:
        load_law(folder_with(amendment, tmp_path))
    assert (refused.value.file, refused.value.key) == ("004.yaml", key)
    assert complaint in str(refused.value)
