"""The law that is shipped: every quotation stands in the act, every value where it says."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gateway import resources
from gateway.errors import EditionNotInForce
from gateway.regulation.law import CategoryList, Clause, Footing, Residency
from gateway.regulation.reading import load_law

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
LAW = load_law(ROOT / "config" / "regulation")
day = dt.date.fromisoformat


def squeezed(text: str) -> str:
    """Without white space: a line of the act may break anywhere, at a hyphen too."""
    return re.sub(r"\s", "", text)


def act(number: str) -> str:
    found = list((SHARED / "seeds").glob(f"{number}_*.txt"))
    if not found:
        pytest.skip(f"the text of act {number} is not beside this checkout (../shared/seeds)")
    return squeezed(found[0].read_text(encoding="utf-8"))


def clauses() -> list[object]:
    return [pytest.param(clause, id=name) for edition in LAW.editions for name, clause in edition.clauses.items()]


@pytest.mark.parametrize("clause", clauses())
def test_the_quoted_words_stand_in_the_act(clause: Clause) -> None:
    as_extracted = clause.kk
    for quoted, extracted in clause.extraction:
        # only the order of words differs: the hyperlinked ones came out in the wrong place
        assert sorted(squeezed(quoted)) == sorted(squeezed(extracted))
        as_extracted = as_extracted.replace(quoted, extracted)
    assert squeezed(as_extracted) in act(clause.citation.act)


@pytest.mark.parametrize("slug", sorted(LAW.categories))
def test_a_category_is_called_what_the_act_calls_it(slug: str) -> None:
    assert squeezed(LAW.category(slug).kk) in act("004")


def test_the_nineteen_categories_are_those_of_the_specification() -> None:
    rules = SHARED / "domain" / "registry-rules.yaml"
    if not rules.is_file():
        pytest.skip("shared/domain/registry-rules.yaml is not beside this checkout")
    wanted = yaml.safe_load(rules.read_text(encoding="utf-8"))
    assert len(LAW.categories) == 19
    for entry in wanted["categories"]:
        category = LAW.category(entry["slug"])
        assert category.code == entry["code"]
        assert category.list.value == entry["list"]
        assert category.priority == entry["priority"]
        assert category.yields_to == entry.get("yields_to")
        assert category.excluded_residency == frozenset(map(Residency, entry.get("excluded_residency", [])))
        assert str(category.cites[0]) == entry["cite"][0]
    for name, reading in LAW.readings.items():
        if reading.ambiguity != "ours":
            assert reading.value == wanted["readings"][name]
    months = LAW.window("state_retention_months", day("2026-01-01"))
    assert (months.value, str(months.cite)) == tuple(wanted["windows"]["state_retention_months"].values())


def test_what_no_text_says_is_marked_as_assumed() -> None:
    age = LAW.window("child_age_years", day("2026-01-01"))
    assert (age.value, age.footing, age.cite) == (18, Footing.ASSUMED, None)
    assert LAW.window("state_retention_months", day("2026-01-01")).footing is Footing.QUOTED


def test_days_before_the_first_edition_are_not_judged() -> None:
    with pytest.raises(EditionNotInForce, match="2026-01-01") as refused:
        LAW.edition_on(day("2025-12-31"))
    assert refused.value.code == "edition_not_in_force"
    assert LAW.edition_on(day("2026-01-01")).act == "004"


def test_each_day_is_judged_by_its_own_edition() -> None:
    first = replace(LAW.editions[0], in_force_to=day("2027-01-01"))
    second = replace(LAW.editions[0], in_force_from=day("2027-01-01"), redaction="the next one", clauses={})
    law = replace(LAW, editions=(first, second))
    assert law.edition_on(day("2026-12-31")) is first
    assert law.edition_on(day("2027-01-01")) is second
    assert law.clause("004 p.3").citation == LAW.clause("004 p.3").citation
    with pytest.raises(EditionNotInForce):
        replace(LAW, editions=(first,)).edition_on(day("2027-01-01"))


def test_a_name_that_is_not_there_is_a_mistake_of_the_caller() -> None:
    for ask in (LAW.clause, LAW.category, LAW.reading):
        with pytest.raises(KeyError):
            ask("004 p.999")


def test_days_are_days_of_the_law_s_time_zone() -> None:
    assert LAW.local_day(dt.datetime(2026, 3, 1, 18, 59, tzinfo=dt.UTC)) == day("2026-03-01")
    assert LAW.local_day(dt.datetime(2026, 3, 1, 19, 0, tzinfo=dt.UTC)) == day("2026-03-02")


def test_the_state_pays_for_two_lists() -> None:
    assert {one for one in CategoryList if one.state_paid} == {CategoryList.REPUBLICAN, CategoryList.LOCAL}


def test_the_shipped_law_is_found_as_a_resource() -> None:
    assert load_law(resources.path("config/regulation")) == LAW
