import datetime as dt
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import resources
from gateway.errors import MappingError
from gateway.model import Answer, Birth, Death, Household, Iin, Marriage, Outcome, Sex, outcome_of
from gateway.systems.reading import load_system
from gateway.xml import parse
from tests.mappers.households import NOW, ask, iin

ZAGS = load_system(resources.mappers_path() / "zags")
BORN_BEFORE = iin(dt.date(1985, 1, 1), Sex.FEMALE, 1)
BORN_AFTER = iin(dt.date(2012, 1, 1), Sex.FEMALE, 1)
NOBODY = Household(())


def asked(subject: Iin, *facts: str, household: Household = NOBODY) -> Answer:
    request = ZAGS.mapper.build_request(ask(subject, *facts))
    return ZAGS.mapper.read_response(ZAGS.simulator.answer_request(request, household, now=NOW))


@pytest.mark.parametrize("kind", ["birth", "child_birth", "marriage", "death"])
def test_no_record_is_evidence_only_for_whom_the_register_cannot_have_missed(kind: str) -> None:
    assert asked(BORN_BEFORE, kind).outcome is Outcome.UNKNOWN
    assert asked(BORN_AFTER, kind).outcome is Outcome.NOT_FOUND


@given(born=st.dates(dt.date(1900, 1, 1), dt.date(2025, 12, 31)))
def test_silence_about_a_birth_proves_something_exactly_after_the_register_began(born: dt.date) -> None:
    answer = asked(iin(born, Sex.MALE, 5), "birth")
    assert answer.facts == ()
    if born <= ZAGS.coverage["birth"]:
        assert answer.outcome is Outcome.UNKNOWN
    if born > dt.date(2007, 8, 31):
        assert answer.outcome is Outcome.NOT_FOUND


def test_nobody_who_was_under_sixteen_when_the_register_began_can_have_married_before() -> None:
    assert asked(iin(dt.date(1992, 6, 1), Sex.MALE, 1), "marriage").outcome is Outcome.UNKNOWN
    assert asked(iin(dt.date(1992, 6, 2), Sex.MALE, 1), "marriage").outcome is Outcome.NOT_FOUND


def test_one_silent_kind_that_proves_nothing_makes_the_whole_silence_unknown() -> None:
    young_adult = iin(dt.date(2000, 1, 1), Sex.MALE, 1)
    answer = asked(young_adult)
    assert (answer.outcome, answer.complete_for) == (Outcome.UNKNOWN, ("marriage",))
    assert outcome_of(answer.facts, ("marriage",), answer.complete_for) is Outcome.NOT_FOUND
    assert outcome_of(answer.facts, ("birth",), answer.complete_for) is Outcome.UNKNOWN


def test_the_days_in_the_mapper_are_those_of_system_toml() -> None:
    mapper = importlib.import_module("mappers.zags.mapper")
    simulator = importlib.import_module("mappers.zags.simulate")
    assert ZAGS.coverage == mapper.REGISTERED_AFTER
    assert tuple(ZAGS.coverage[kind] for kind in ("birth", "marriage", "death")) == (
        simulator.BIRTHS_AFTER,
        simulator.MARRIAGES_AFTER,
        simulator.DEATHS_AFTER,
    )
    assert tuple(mapper.RECORD_TYPES.values()) == ZAGS.fact_kinds


@pytest.mark.parametrize(
    ("kind", "registered_on", "there"),
    [
        ("birth", dt.date(2007, 8, 13), False),
        ("birth", dt.date(2007, 8, 14), True),
        ("marriage", dt.date(2008, 6, 1), False),
        ("marriage", dt.date(2008, 6, 2), True),
        ("death", dt.date(2008, 5, 1), False),
        ("death", dt.date(2008, 5, 2), True),
    ],
)
def test_the_simulated_register_holds_what_was_registered_after_it_began(
    kind: str, registered_on: dt.date, there: bool
) -> None:
    other = iin(dt.date(1984, 2, 2), Sex.MALE, 1)
    household = Household(
        (),
        births=(Birth(BORN_BEFORE, None, None, registered_on, "AB-1"),),
        marriages=(Marriage(other, BORN_BEFORE, registered_on, "AM-1"),),
        deaths=(Death(BORN_BEFORE, registered_on, registered_on, "AD-1"),),
    )
    answer = asked(BORN_BEFORE, kind, household=household)
    assert answer.outcome is (Outcome.FOUND if there else Outcome.UNKNOWN)
    assert [fact.kind for fact in answer.facts] == [kind] * there


def test_twins_under_one_act_are_two_records() -> None:
    twins = [iin(dt.date(2015, 3, 3), Sex.MALE, serial) for serial in (10, 20)]
    births = tuple(Birth(twin, BORN_BEFORE, None, dt.date(2015, 3, 9), "AB-1") for twin in twins)
    facts = asked(BORN_BEFORE, "child_birth", household=Household((), births=births)).facts
    assert len({fact.key for fact in facts}) == 2
    assert {fact.attributes["child_iin"] for fact in facts} == {twin.value for twin in twins}
    assert {fact.attributes["role"] for fact in facts} == {"mother"}


def test_a_record_of_other_people_is_refused() -> None:
    response = parse((ZAGS.folder / "samples/own_birth_record/response.xml").read_bytes())
    response.find("iin").text = BORN_AFTER.value
    with pytest.raises(MappingError, match="<birth> is a record of other people"):
        ZAGS.mapper.read_response(response)


def test_a_record_that_was_not_asked_for_is_refused() -> None:
    response = parse((ZAGS.folder / "samples/own_birth_record/response.xml").read_bytes())
    response.find("recordTypes/recordType").text = "DEATH"
    with pytest.raises(MappingError, match="lists a birth record"):
        ZAGS.mapper.read_response(response)


@pytest.mark.parametrize(("case", "code"), [("never_married", "FOUND"), ("death", "NOT_FOUND")])
def test_a_result_that_contradicts_its_records_is_refused(case: str, code: str) -> None:
    response = parse((ZAGS.folder / f"samples/{case}/response.xml").read_bytes())
    response.find("result/code").text = code
    with pytest.raises(MappingError, match=rf"says {code} and the answer lists"):
        ZAGS.mapper.read_response(response)


def test_a_marriage_ends_with_its_dissolution_and_an_annulled_record_with_its_annulment() -> None:
    response = parse((ZAGS.folder / "samples/family/response.xml").read_bytes())
    marriage = next(fact for fact in ZAGS.mapper.read_response(response).facts if fact.kind == "marriage")
    assert marriage.valid_to == dt.date(2022, 11, 3)
    response = parse((ZAGS.folder / "samples/annulled_record/response.xml").read_bytes())
    assert ZAGS.mapper.read_response(response).facts[0].valid_to == dt.date(2019, 4, 1)
