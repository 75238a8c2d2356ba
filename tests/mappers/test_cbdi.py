import datetime as dt

import pytest

from gateway import resources
from gateway.errors import MappingError
from gateway.model import Citizen, Disability, Fact, Household, Sex
from gateway.systems.reading import load_system
from gateway.xml import parse
from tests.mappers.households import NOW, ask, iin

CBDI = load_system(resources.mappers_path() / "cbdi")
SOMEONE = iin(dt.date(1990, 5, 17), Sex.MALE, 40)


def recorded(disability: Disability) -> Fact:
    household = Household((Citizen(SOMEONE, "А", "Б", "", disability=disability),))
    request = CBDI.mapper.build_request(ask(SOMEONE))
    (fact,) = CBDI.mapper.read_response(CBDI.simulator.answer_request(request, household, now=NOW)).facts
    return fact


@pytest.mark.parametrize("group", ["1", "2", "3", "child"])
@pytest.mark.parametrize("until", [None, dt.date(2027, 6, 1)])
def test_group_period_and_indefiniteness_arrive_as_the_household_has_them(group: str, until: dt.date | None) -> None:
    fact = recorded(Disability(group, "жалпы ауру", dt.date(2024, 6, 1), until, "MS-5"))
    assert (fact.valid_from, fact.valid_to, fact.key) == (dt.date(2024, 6, 1), until, "MS-5")
    assert (fact.attributes["group"], fact.attributes["indefinite"]) == (group, until is None)


@pytest.mark.parametrize(
    ("code", "group", "child_group"),
    [("1", "1", None), ("4", "child", None), ("9", "child", None), ("6", "child", "1"), ("8", "child", "3")],
)
def test_every_group_code_of_the_public_view_is_known(code: str, group: str, child_group: str | None) -> None:
    response = parse((CBDI.folder / "samples/group_one_indefinite/response.xml").read_bytes())
    response.find(".//groupCode").text = code
    (fact,) = CBDI.mapper.read_response(response).facts
    assert (fact.attributes["group"], fact.attributes["child_group"]) == (group, child_group)


def test_the_fifth_group_code_that_nobody_has_seen_is_refused() -> None:
    response = parse((CBDI.folder / "samples/group_one_indefinite/response.xml").read_bytes())
    response.find(".//groupCode").text = "5"
    with pytest.raises(MappingError, match="<groupCode> of <disability> has the code '5'"):
        CBDI.mapper.read_response(response)


def test_an_indefinite_disability_with_an_end_is_a_contradiction() -> None:
    response = parse((CBDI.folder / "samples/child_for_a_period/response.xml").read_bytes())
    response.find(".//indefinite").text = "true"
    with pytest.raises(MappingError, match="<indefinite> and <endDate>"):
        CBDI.mapper.read_response(response)


@pytest.mark.parametrize("percent", ["101", "-1", "40.5", "1000"])
def test_a_share_that_is_none_is_refused(percent: str) -> None:
    response = parse((CBDI.folder / "samples/past_and_terminated/response.xml").read_bytes())
    response.find(".//workCapacityLossPercent").text = percent
    with pytest.raises(MappingError, match="workCapacityLossPercent"):
        CBDI.mapper.read_response(response)
