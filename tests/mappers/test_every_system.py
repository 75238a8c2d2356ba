"""One walk over every folder of mappers/: what holds for each government system."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway import resources
from gateway.errors import MappingError
from gateway.model import Answer, Household, Outcome, Rejection, Sex
from gateway.shep.payload import PayloadCodec
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_systems
from gateway.systems.folders import sample_cases
from gateway.xml import canonicalize, parse
from tests.mappers.households import NOW, TODAY, ask, households, iin, sample_query

SYSTEMS = find_systems([resources.mappers_path()])
CASES = [
    pytest.param(system, case, id=f"{slug}-{case.name}")
    for slug, system in SYSTEMS.items()
    for case in sample_cases(system.folder)
]
every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
every_case = pytest.mark.parametrize(("system", "case"), CASES)


def as_document(answer: Answer) -> dict:
    """An answer in the form of a sample's facts.json."""
    return {
        "outcome": answer.outcome.value,
        "answers_message_id": answer.answers_message_id,
        "complete_for": list(answer.complete_for),
        "rejection": answer.rejection and {"code": answer.rejection.code, "message": answer.rejection.message},
        "facts": [
            {
                "kind": fact.kind,
                "subject": fact.subject.value,
                "key": fact.key,
                "valid_from": fact.valid_from and fact.valid_from.isoformat(),
                "valid_to": fact.valid_to and fact.valid_to.isoformat(),
                "attributes": dict(fact.attributes),
            }
            for fact in answer.facts
        ],
    }


def fits(contract, element: etree._Element) -> bool:
    try:
        contract.validate(element)
    except MappingError:
        return False
    return True


def response_of(case: Path) -> etree._Element:
    return parse((case / "response.xml").read_bytes())


@every_case
def test_the_mapper_builds_the_request_of_the_sample(system: SystemDefinition, case: Path) -> None:
    query, about = sample_query(case)
    request = system.mapper.build_request(query)
    assert request.tag == system.root_request
    assert canonicalize(request) == (case / "request.xml").read_bytes().rstrip(b"\n")
    assert system.service_for(query).service_id == about["service"]
    system.contract("request", about["service"]).validate(request)


@every_case
def test_the_mapper_reads_the_response_of_the_sample(system: SystemDefinition, case: Path) -> None:
    answer = system.mapper.read_response(response_of(case))
    assert as_document(answer) == json.loads((case / "facts.json").read_text(encoding="utf-8"))


@every_case
def test_the_response_of_the_sample_fits_the_contract_or_says_that_it_does_not(
    system: SystemDefinition, case: Path
) -> None:
    _, about = sample_query(case)
    response = response_of(case)
    assert response.tag == system.root_response
    assert fits(system.contract("response"), response) is about.get("response_fits_contract", True)


@every_case
def test_the_sample_answers_its_own_question_about_its_own_person(system: SystemDefinition, case: Path) -> None:
    query, _ = sample_query(case)
    answer = system.mapper.read_response(response_of(case))
    assert answer.answers_message_id in ("", query.message_id)
    assert {fact.subject for fact in answer.facts} <= {query.subject}
    assert set(answer.complete_for) <= set(system.fact_kinds)


@every_case
def test_an_unknown_code_is_refused_by_name(system: SystemDefinition, case: Path) -> None:
    _, about = sample_query(case)
    for path in about.get("codes", ()):
        for place in range(len(response_of(case).findall(f".//{path}"))):
            response = response_of(case)
            response.findall(f".//{path}")[place].text = "Z-98"
            with pytest.raises(MappingError, match="'Z-98'") as refused:
                system.mapper.read_response(response)
            assert any(f"<{name}>" in refused.value.message for name in path.split("/")), path


@every_case
def test_a_code_that_may_be_personal_is_refused_without_being_shown(system: SystemDefinition, case: Path) -> None:
    query, about = sample_query(case)
    for path in about.get("codes", ()):
        response = response_of(case)
        response.find(f".//{path}").text = query.subject.value
        with pytest.raises(MappingError) as refused:
            system.mapper.read_response(response)
        assert query.subject.value not in str(refused.value)


@pytest.mark.parametrize("slug", ["cbdi", "eguardianship", "zags"])
def test_a_refusal_of_a_draft_is_a_rejection_with_its_code(slug: str) -> None:
    system = SYSTEMS[slug]
    request = system.mapper.build_request(ask(iin(TODAY.replace(year=1990), Sex.MALE, 1)))
    response = system.simulator.answer_request(request, None, now=NOW)
    result = response.find("result")
    result.find("code").text = "REFUSED"
    etree.SubElement(result, "reasonCode").text = "NO_AGREEMENT"
    system.contract("response").validate(response)
    answer = system.mapper.read_response(response)
    assert (answer.outcome, answer.rejection) == (Outcome.REJECTED, Rejection("NO_AGREEMENT", ""))
    assert (answer.facts, answer.complete_for) == ((), ())


@every_system
def test_a_folder_says_which_codes_it_depends_on(system: SystemDefinition) -> None:
    assert any(sample_query(case)[1].get("codes") for case in sample_cases(system.folder))


@every_system
def test_every_fact_kind_of_the_folder_is_in_a_sample_or_is_told(system: SystemDefinition) -> None:
    kinds = {
        fact["kind"]
        for case in sample_cases(system.folder)
        for fact in json.loads((case / "facts.json").read_text(encoding="utf-8"))["facts"]
    }
    assert kinds <= set(system.fact_kinds)
    assert system.codec in set(PayloadCodec)


@every_system
def test_a_draft_says_so_in_each_of_its_schemas(system: SystemDefinition) -> None:
    for schema in (system.folder / "contract").glob("*.xsd"):
        assert ("DRAFT" in schema.read_text(encoding="utf-8")) is (system.status == "draft"), schema.name
    assert system.assumed
    assert system.status != "draft" or all("DRAFT" in service_id for service_id in system.service_ids)


@every_system
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_simulator_speaks_the_contract_and_the_mapper_understands_it(
    system: SystemDefinition, data: st.DataObject
) -> None:
    household: Household = data.draw(households())
    subject = data.draw(st.sampled_from([citizen.iin for citizen in household.citizens]))
    facts = data.draw(st.lists(st.sampled_from(system.fact_kinds), unique=True))
    known = data.draw(st.booleans())
    query = ask(subject, *facts, message_id="q-77")
    request = system.mapper.build_request(query)
    system.contract("request").validate(request)
    response = system.simulator.answer_request(request, household if known else None, now=NOW)
    assert response.tag == system.root_response
    system.contract("response").validate(response)
    answer = system.mapper.read_response(parse(canonicalize(response)))
    assert answer.answers_message_id == "q-77"
    assert {fact.subject for fact in answer.facts} <= {subject}
    assert {fact.kind for fact in answer.facts} <= set(system.fact_kinds)
    assert len({(fact.kind, fact.key) for fact in answer.facts}) == len(answer.facts)
    assert all(not (f.valid_from and f.valid_to) or f.valid_from <= f.valid_to for f in answer.facts)
    assert (answer.outcome is Outcome.FOUND) == bool(answer.facts)
    assert known or answer.outcome in (Outcome.NOT_FOUND, Outcome.UNKNOWN)
    json.dumps(as_document(answer))
    again = system.simulator.answer_request(request, household if known else None, now=NOW)
    assert canonicalize(again) == canonicalize(response)


WRONG_TEXTS = ["", " ", "0", "0000-00-00", "2026-02-30", "9999-12-31", "x" * 99]
#: what may happen to one element of an answer
DAMAGE = {
    "another text": lambda element, text: setattr(element, "text", text),
    "gone": lambda element, _: element.getparent().remove(element),
    "twice": lambda element, _: element.getparent().append(copy.deepcopy(element)),
    "another name": lambda element, _: setattr(element, "tag", "{urn:x}code"),
    "nested": lambda element, _: etree.SubElement(element, "nested"),
    "cut by an instruction": lambda element, _: element.append(etree.ProcessingInstruction("cut", "here")),
}


@every_case
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_answer_is_read_or_refused_and_never_crashes(
    system: SystemDefinition, case: Path, data: st.DataObject
) -> None:
    response = response_of(case)
    for _ in range(data.draw(st.integers(1, 3))):
        element = data.draw(st.sampled_from(list(response.iterdescendants("*"))))
        DAMAGE[data.draw(st.sampled_from(list(DAMAGE)))](element, data.draw(st.sampled_from(WRONG_TEXTS)))
    told = ""
    try:
        json.dumps(as_document(system.mapper.read_response(response)))
    except MappingError as refused:
        told = refused.message
    assert sample_query(case)[0].subject.value not in told
