"""The law's cases, our own and those of the specification; every number and every reading is noticed by one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.registry.cases import UnreadableCase, day, facts_of
from gateway.registry.standing import standing
from tests.registry.law_cases import (
    LAW,
    OWN_CASES,
    ROOT,
    SERVICES,
    cases_of,
    result,
    that_fail,
    with_reading,
    with_window,
)

SHARED_CASES = ROOT.parent / "shared" / "domain" / "registry-cases.yaml"
EDITION = LAW.edition_on(dt.date(2026, 6, 1))

#: rules of the registry specification that decide something
RULES = {
    f"R-{number}"
    for first, last in ((3, 4), (6, 29), (31, 32), (40, 42), (51, 52), (60, 60), (70, 70), (80, 81), (90, 90))
    for number in (f"{one:02}" for one in range(first, last + 1))
} - {"R-05"}


def shared_cases() -> list[Any]:
    if not SHARED_CASES.is_file():
        return [pytest.param(None, id="the specification's cases are not beside this checkout")]
    return [pytest.param(case, id=case["id"]) for case in cases_of(SHARED_CASES)]


@pytest.mark.parametrize("case", shared_cases())
def test_the_specification_s_case(case: Mapping[str, Any] | None) -> None:
    if case is None:
        pytest.skip("shared/domain/registry-cases.yaml is not beside this checkout")
    judged = result(case)
    assert judged.got == judged.expected


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in OWN_CASES])
def test_our_own_case(case: Mapping[str, Any]) -> None:
    judged = result(case)
    assert judged.got == judged.expected, case["why"]
    for cite in case["cite"]:
        LAW.clause(cite)


def test_every_case_has_its_own_id_and_every_rule_has_a_case() -> None:
    ids = [case["id"] for case in OWN_CASES]
    assert len(ids) == len(set(ids))
    assert {case["rule"] for case in OWN_CASES} >= RULES


# ---------------------------------------------------------------- every number and every reading is noticed

#: not decided by a case file: it reads register answers (tests/registry/test_categories.py)
ELSEWHERE = {"child_age_years"}


@pytest.mark.parametrize("step", [-1, 1])
@pytest.mark.parametrize("window", sorted(set(EDITION.windows) - ELSEWHERE))
def test_a_window_that_is_one_off_is_caught_by_a_case(window: str, step: int) -> None:
    assert that_fail(with_window(window, EDITION.windows[window].value + step))


@pytest.mark.parametrize("step", [-1, 1])
def test_a_minute_more_or_less_for_the_service_is_caught_by_a_case(step: int) -> None:
    minutes = SERVICES.participation.service_minutes + step
    services = replace(SERVICES, participation=replace(SERVICES.participation, service_minutes=minutes))
    assert that_fail(services=services, kinds={"service_request"})


ALTERNATIVES = [
    pytest.param(name, value, id=f"{name}={value}")
    for name, reading in LAW.readings.items()
    for value in reading.allowed
    if value != reading.value and name != "register_answers_assign"
]


@pytest.mark.parametrize(("name", "value"), ALTERNATIVES)
def test_another_reading_is_noticed_by_a_case(name: str, value: str | bool | int) -> None:
    assert that_fail(with_reading(name, value))


READINGS = cases_of(Path(__file__).parent / "cases" / "readings.yaml")


@pytest.mark.parametrize("example", [pytest.param(one, id=f"{one['reading']}={one['value']}") for one in READINGS])
def test_what_another_reading_changes(example: Mapping[str, Any]) -> None:
    case = {"kind": "status", "known_at": "2027-01-01", "expect": {}, **example}
    wanted = (example["until"] is not None, example["until"])
    by_recommendation = result(case).got
    otherwise = result(case, with_reading(example["reading"], example["value"])).got
    assert (otherwise["insured"], otherwise["valid_until"]) == wanted
    assert by_recommendation != otherwise


def test_every_reading_of_a_standing_has_an_example() -> None:
    # the three of the reconciliation change no standing; cases notice them
    elsewhere = {"register_answers_assign", "two_month_removal", "unemployed_confirmation", "crisis_removal"}
    assert {(one["reading"], one["value"]) for one in READINGS} == {
        (name, value)
        for name, reading in LAW.readings.items()
        for value in reading.allowed
        if value != reading.value and name not in elsewhere
    }


def test_an_answer_names_the_reading_that_it_rests_on() -> None:
    facts, _ = facts_of({"payments": [{"periods": "2025-03..2026-02", "received": "2026-03-18"}]})
    answer = standing(facts, as_of=day("2026-05-31"), known_at=day("2026-05-31"), law=LAW)
    assert {"p10_twelve_months", "payer_retention_unit"} <= set(answer.readings) <= set(LAW.readings)


# ---------------------------------------------------------------- what is no case


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"id": "x", "kind": "horoscope"}, "x: the kind 'horoscope' is not known"),
        ({"id": "x", "kind": "iin", "input": {}, "expect": {}}, "x: cannot be read as a case of kind iin"),
        (
            {"id": "x", "kind": "status", "as_of": "2026-01-01", "facts": {"category": []}, "expect": {}},
            "facts has no key category",
        ),
        (
            {"id": "x", "kind": "education_service", "input": {"branch": "own", "documents": "lost"}, "expect": {}},
            "documents is complete, incomplete or expired",
        ),
    ],
)
def test_what_is_no_case_is_named(case: Mapping[str, Any], words: str) -> None:
    with pytest.raises(UnreadableCase, match=words):
        result(case)


def test_a_question_about_a_day_before_the_first_edition_has_no_answer() -> None:
    case = {"kind": "mis_query", "input": {"facts": {}, "service_date": "2025-12-31"}, "expect": {}}
    assert result(case).got == {"error": "edition_not_in_force"}
