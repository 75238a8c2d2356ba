"""The law that is shipped: every quotation stands in the act, every value where it says."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gateway import resources
from gateway.errors import EditionNotInForce
from gateway.regulation.law import CategoryList, Footing, Residency
from gateway.regulation.reading import load_law
from gateway.regulation.services import load_services
from tests.check_quotes import PINNED, digest, letters, missing, quoted, squeezed, stands_in
from tests.write_law_table import BEGIN, END, PAGE, as_written, table

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
LAW = load_law(ROOT / "config" / "regulation")
day = dt.date.fromisoformat


@pytest.mark.parametrize("number", sorted(LAW.acts))
def test_the_quotations_are_those_that_were_compared_with_the_act(number: str) -> None:
    """After a change: tests/check_quotes.py compares them with a copy of the act and pins them."""
    clauses = quoted(LAW, number)
    pinned = yaml.safe_load(PINNED.read_text(encoding="utf-8"))[number]
    assert pinned == {"clauses": len(clauses), "sha256": digest(clauses)}


def test_a_word_put_into_a_quotation_is_noticed() -> None:
    clause = LAW.clause("004 p.3")
    (here, there), *_ = clause.extraction
    copy = clause.kk.replace(here, there)
    assert stands_in(clause, copy)
    assert stands_in(replace(clause, extraction=()), clause.kk.replace(" ", "\n"))
    assert not stands_in(replace(clause, kk=clause.kk + " әрдайым"), copy)
    assert not stands_in(replace(clause, kk=clause.kk + " әрдайым", extraction=()), copy)
    assert not stands_in(replace(clause, extraction=((here, there + " әрдайым"),)), copy)
    assert missing([clause], "басқа мәтін") == ["004 p.3"]


@pytest.mark.parametrize("number", sorted(LAW.acts))
def test_every_clause_has_words_and_two_glosses(number: str) -> None:
    for clause in quoted(LAW, number):
        assert clause.citation.act == number
        for text in (clause.kk, clause.en, clause.ru):
            assert text == " ".join(text.split())
        # Kazakh has letters that Russian has not; a gloss in Russian may name a Kazakh abbreviation in brackets
        if len(clause.kk) > 40:
            assert set("әіңғүұқөһ") & set(clause.kk.lower())
        assert re.search("[а-яё]", clause.ru)
        assert re.search("[a-z]", clause.en)


def citations() -> list[object]:
    """Whatever data or code cites, with where it does."""
    found: dict[str, str] = {}
    for file in [*(ROOT / "config" / "regulation").glob("*.yaml"), *(ROOT / "tests" / "law").glob("*.yaml")]:
        for cite in cited_in(yaml.safe_load(file.read_text(encoding="utf-8"))):
            found.setdefault(cite, file.name)
    for file in (ROOT / "gateway").rglob("*.py"):
        for cite in re.findall(r'Citation\.parse\("([^"{]+)"\)', file.read_text(encoding="utf-8")):
            found.setdefault(cite, file.name)
    return [pytest.param(cite, id=f"{cite} in {name}") for cite, name in sorted(found.items())]


def cited_in(value: object, key: object = None) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from cited_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from cited_in(item, key)
    elif key in ("cite", "cites", "item") and isinstance(value, str):
        yield value


@pytest.mark.parametrize("cite", citations())
def test_whatever_is_cited_has_its_words(cite: str) -> None:
    assert LAW.clause(cite).kk


def test_only_an_act_in_force_judges_days() -> None:
    assert {number: str(act.standing) for number, act in LAW.acts.items()} == {
        "000": "repealed",
        "001": "assumed",
        "003": "absorbed",
        "004": "in_force",
    }
    assert {edition.act for edition in LAW.editions} == {"004"}


def test_what_003_changed_in_the_rules_stands_in_004_in_the_same_words() -> None:
    absorbed = load_services(ROOT / "config" / "regulation").amendments["003"].absorbed
    assert len(absorbed) == 6
    for before, now in absorbed.items():
        names = [one if one.startswith("chapter") else f"p.{one}" for one in (before, now)]
        then, today = (LAW.clause(f"{act} {name}").kk for act, name in zip(("003", "004"), names, strict=True))
        assert letters(then) == letters(today)


@pytest.mark.parametrize("slug", sorted(LAW.categories))
def test_a_category_is_called_what_the_act_calls_it(slug: str) -> None:
    wording = "".join(squeezed(clause.kk) for clause in quoted(LAW, "004"))
    assert squeezed(LAW.category(slug).kk) in wording


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
        assert [list(chain) for chain in category.chains] == entry["chains"]
        documents = wanted["provisional_documents"].get(entry["provisional"])
        if documents is None:
            assert category.documents is None
        else:
            assert category.documents is not None
            assert str(category.documents.item) == documents["item"]
            assert list(category.documents.groups) == [frozenset(group) for group in documents["all"]]
        profiles = entry.get("subgroups") or ({"": entry["reconciliation"]} if entry["reconciliation"] else {})
        assert dict(category.reconciliation) == profiles
    for name, reading in LAW.readings.items():
        if reading.ambiguity != "ours":
            assert reading.value == wanted["readings"][name]
    assert {name for name, one in LAW.readings.items() if one.ambiguity != "ours"} == set(wanted["readings"])
    edition = LAW.edition_on(day("2026-01-01"))
    # the child's third birthday is the source's matter, the minutes are those of 001
    for name in set(wanted["windows"]) - {"child_care_age_years", "service_minutes"}:
        assert edition.windows[name].value == wanted["windows"][name]["value"]
        assert str(edition.windows[name].cite) in wanted["windows"][name]["cite"]
    assert {name: str(feed.frequency) for name, feed in LAW.feeds.items()} == {
        name: feed["frequency"] for name, feed in wanted["feeds"].items()
    }
    assert LAW.payment_systems == frozenset(wanted["payment_chain"])
    assert LAW.forbidden_markings == frozenset(wanted["exchange_forbidden_markings"])


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
        for name in ("004 p.999", "999 p.1"):
            with pytest.raises(KeyError):
                ask(name)


def test_days_are_days_of_the_law_s_time_zone() -> None:
    assert LAW.local_day(dt.datetime(2026, 3, 1, 18, 59, tzinfo=dt.UTC)) == day("2026-03-01")
    assert LAW.local_day(dt.datetime(2026, 3, 1, 19, 0, tzinfo=dt.UTC)) == day("2026-03-02")


def test_the_state_pays_for_two_lists() -> None:
    assert {one for one in CategoryList if one.state_paid} == {CategoryList.REPUBLICAN, CategoryList.LOCAL}


def test_the_shipped_law_is_found_as_a_resource() -> None:
    assert load_law(resources.path("config/regulation")) == LAW


# ---------------------------------------------------------------- ambiguous places and their records

DECISIONS = ROOT / "docs" / "decisions"
#: records of the readings; 0005 and those before are about other questions and only refer to them
RECORDS = {path.name[:4]: path.read_text(encoding="utf-8") for path in DECISIONS.glob("00[4-6]*.md")}


def question(record: str) -> str:
    return record.partition("**Question.**")[2].partition("**Decision.**")[0]


@pytest.mark.parametrize("number", range(1, 49))
def test_every_ambiguous_place_is_the_question_of_one_record(number: int) -> None:
    place = f"A-{number:02}"
    asking = [name for name, text in RECORDS.items() if re.search(rf"\b{place}\b", question(text))]
    assert len(asking) == 1, asking


@pytest.mark.parametrize("name", sorted(LAW.readings))
def test_every_reading_names_the_record_that_says_why_and_the_record_names_the_reading(name: str) -> None:
    reading = LAW.reading(name)
    (path,) = DECISIONS.glob(f"{reading.decision}-*.md")
    text = path.read_text(encoding="utf-8")
    assert f"`{name}" in text
    places = re.findall(r"A-\d\d", reading.ambiguity)
    # a reading of our own has a record from before
    assert bool(places) == (reading.decision in RECORDS)
    for place in places:
        assert place in question(text)
    if places:
        for value in reading.allowed:
            assert as_written(value) in text, value


def test_a_record_quotes_words_that_stand_in_the_act() -> None:
    """What is in quotation marks and Kazakh stands in the act that the record is about."""
    wording = "".join(letters(clause.kk) for number in LAW.acts for clause in quoted(LAW, number)).lower()
    for name, text in RECORDS.items():
        for words in re.findall(r'"([^"]+)"', text):
            for part in words.split("…"):
                if set("әіңғүұқөһ") & set(part.lower()):
                    assert letters(part).lower() in wording, (name, part)


def test_the_page_about_the_law_has_the_readings_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0] == table(LAW), "run tests/write_law_table.py"
    for number in LAW.acts:
        assert f"[{number}](../../config/regulation/{number}.yaml)" in page
