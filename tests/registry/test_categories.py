"""What registers' answers mean for the Rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from gateway.model import Fact, Iin, Provenance, RecordedFact
from gateway.registry.categories import arrival_is_news, ask_again_on, consumer_facts
from gateway.registry.facts import ConsumerFacts
from gateway.registry.standing import standing
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law

LAW = load_law(Path(__file__).parents[2] / "config" / "regulation")
CASES = yaml.safe_load((Path(__file__).parent / "cases" / "register_answers.yaml").read_text(encoding="utf-8"))
SUBJECT = Iin("900505399022")
day = dt.date.fromisoformat


def recorded(number: int, answer: Mapping[str, Any]) -> RecordedFact:
    fact = Fact(
        answer["kind"],
        SUBJECT,
        answer.get("key", answer["kind"]),
        day(answer["from"]) if "from" in answer else None,
        day(answer["to"]) if "to" in answer else None,
        answer["says"],
    )
    at = dt.datetime.combine(day(answer["arrived"]), dt.time(15), LAW.timezone)
    return RecordedFact(
        fact, Provenance(f"m{number}", answer["system"], "CN=TEST", "1", at), not answer.get("gone", False)
    )


def history(answers: list[Mapping[str, Any]]) -> list[RecordedFact]:
    return [recorded(number, answer) for number, answer in enumerate(answers, start=1)]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["title"]) for case in CASES["scenarios"]])
def test_what_an_answer_means(case: Mapping[str, Any]) -> None:
    known_at = day(case["known_at"])
    known = [one for one in history(case["answers"]) if LAW.local_day(one.provenance.received_at) <= known_at]
    got = standing(consumer_facts(known, LAW), as_of=day(case["as_of"]), known_at=known_at, law=LAW)
    assert {
        "insured": got.insured,
        "basis": got.basis.value,
        "category": got.category,
        "budget": got.budget,
        "valid_until": None if got.valid_until is None else got.valid_until.isoformat(),
    } == case["expect"]
    if "because" in case:
        assert [str(cite) for cite in got.because] == case["because"]
    if "evidence" in case:
        assert list(got.evidence) == case["evidence"]
    assert ("register_answers_assign" in got.readings) == got.insured


CHILD = {"arrived": "2026-03-01", "system": "gbdfl", "kind": "person", "says": {"birth_date": "2008-05-14"}}
PERIOD = {
    "arrived": "2026-03-01",
    "system": "cbdi",
    "kind": "disability",
    "key": "77",
    "from": "2024-05-01",
    "to": "2026-05-01",
    "says": {"group": "3"},
}


def test_without_the_reading_register_answers_give_no_category() -> None:
    reading = replace(LAW.reading("register_answers_assign"), value=False)
    law: Law = replace(LAW, readings=MappingProxyType({**LAW.readings, reading.name: reading}))
    assert consumer_facts(history([CHILD, PERIOD]), law) == ConsumerFacts()


def test_a_person_without_a_birth_date_gives_no_category() -> None:
    answers = [{**CHILD, "says": {"birth_date": None}}]
    assert consumer_facts(history(answers), LAW) == ConsumerFacts()


def arrival(on: str) -> dt.datetime:
    return dt.datetime.combine(day(on), dt.time(), LAW.timezone)


@pytest.mark.parametrize(
    ("answer", "heard_again", "news"),
    [
        (CHILD, "2026-05-13", False),
        (CHILD, "2026-05-14", True),
        (CHILD, "2026-07-01", True),
        ({**CHILD, "arrived": "2026-05-14"}, "2026-07-01", False),
        ({**CHILD, "says": {"birth_date": None}}, "2026-07-01", False),
        ({**CHILD, "system": "elsewhere"}, "2026-07-01", False),
        (PERIOD, "2026-07-01", False),
    ],
)
def test_only_the_first_answer_about_the_adult_is_news(answer: Mapping[str, Any], heard_again: str, news: bool) -> None:
    assert arrival_is_news(recorded(1, answer), arrival(heard_again), LAW) is news


def test_the_day_begins_at_local_midnight() -> None:
    last = recorded(1, CHILD)
    in_utc = dt.datetime(2026, 5, 13, 19, tzinfo=dt.UTC)
    assert arrival_is_news(last, in_utc, LAW)
    assert not arrival_is_news(last, in_utc - dt.timedelta(microseconds=1), LAW)


def test_a_register_is_asked_again_when_it_may_say_something_new() -> None:
    facts = [*history([CHILD, PERIOD, {**PERIOD, "key": "78", "gone": True, "to": "2026-04-01"}])]
    after = day("2026-03-01")
    assert ask_again_on(facts, system="gbdfl", after=after, law=LAW) == day("2026-05-14")
    assert ask_again_on(facts, system="cbdi", after=after, law=LAW) == day("2026-05-01")
    assert ask_again_on(facts, system="zags", after=after, law=LAW) is None
    assert ask_again_on(facts, system="gbdfl", after=day("2026-05-14"), law=LAW) is None
