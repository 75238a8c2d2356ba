import datetime as dt

import pytest

from gateway import resources
from gateway.errors import MappingError
from gateway.model import Fact, Guardianship, Household, Iin, Outcome, Sex
from gateway.systems.reading import load_system
from gateway.xml import parse
from tests.mappers.households import NOW, ask, iin

EGUARDIANSHIP = load_system(resources.mappers_path() / "eguardianship")
WARD = iin(dt.date(2015, 5, 17), Sex.MALE, 40)
GUARDIAN = iin(dt.date(1970, 5, 17), Sex.FEMALE, 40)


def recorded(subject: Iin, kind: str) -> Fact:
    act = Guardianship(kind, WARD, GUARDIAN, "№ 1", dt.date(2020, 2, 3), "Әкімдік", dt.date(2030, 1, 1))
    request = EGUARDIANSHIP.mapper.build_request(ask(subject))
    household = Household((), guardianships=(act,))
    (fact,) = EGUARDIANSHIP.mapper.read_response(
        EGUARDIANSHIP.simulator.answer_request(request, household, now=NOW)
    ).facts
    return fact


@pytest.mark.parametrize(("subject", "role"), [(WARD, "ward"), (GUARDIAN, "guardian")])
@pytest.mark.parametrize(
    ("kind", "fact_kind"),
    [("guardianship", "guardianship"), ("trusteeship", "guardianship"), ("adoption", "adoption")],
)
def test_an_act_is_found_from_both_sides(subject: Iin, role: str, kind: str, fact_kind: str) -> None:
    fact = recorded(subject, kind)
    assert (fact.kind, fact.attributes["form"], fact.attributes["role"]) == (fact_kind, kind, role)
    assert (fact.attributes["ward_iin"], fact.attributes["guardian_iin"]) == (WARD.value, GUARDIAN.value)
    assert (fact.valid_from, fact.valid_to) == (dt.date(2020, 2, 3), dt.date(2030, 1, 1))


def test_no_act_is_a_clear_no() -> None:
    request = EGUARDIANSHIP.mapper.build_request(ask(WARD))
    answer = EGUARDIANSHIP.mapper.read_response(EGUARDIANSHIP.simulator.answer_request(request, None, now=NOW))
    assert (answer.outcome, answer.complete_for) == (Outcome.NOT_FOUND, ("guardianship", "adoption"))


def test_an_act_about_other_people_is_refused() -> None:
    response = parse((EGUARDIANSHIP.folder / "samples/ward/response.xml").read_bytes())
    response.find("iin").text = WARD.value
    with pytest.raises(MappingError, match="about other people"):
        EGUARDIANSHIP.mapper.read_response(response)


def test_a_terminated_act_needs_its_day() -> None:
    response = parse((EGUARDIANSHIP.folder / "samples/terminated/response.xml").read_bytes())
    act = response.find(".//act")
    act.remove(act.find("terminatedOn"))
    with pytest.raises(MappingError, match="<status> and <terminatedOn>"):
        EGUARDIANSHIP.mapper.read_response(response)
