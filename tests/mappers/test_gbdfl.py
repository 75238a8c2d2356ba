import datetime as dt

import pytest
from lxml import etree

from gateway import resources
from gateway.errors import MappingError
from gateway.model import Answer, Citizen, Consent, Death, Household, Outcome, Query, Sex
from gateway.systems.reading import load_system
from gateway.xml import parse
from tests.mappers.households import NOW, ask, iin

GBDFL = load_system(resources.mappers_path() / "gbdfl")
SAMPLES = GBDFL.folder / "samples"
SOMEONE = iin(dt.date(1990, 5, 17), Sex.MALE, 40)


def response(name: str) -> etree._Element:
    return parse((SAMPLES / name / "response.xml").read_bytes())


def simulated(citizen: Citizen, now: dt.datetime = NOW, **household: tuple) -> Answer:
    request = GBDFL.mapper.build_request(ask(citizen.iin))
    answer = GBDFL.simulator.answer_request(request, Household((citizen,), **household), now=now)
    return GBDFL.mapper.read_response(answer)


def fact(answer: Answer, kind: str):
    return next(fact for fact in answer.facts if fact.kind == kind)


def test_an_answer_as_the_real_register_gives_it_is_read_whole() -> None:
    answer = GBDFL.mapper.read_response(response("real_answer_shape"))
    person = fact(answer, "person").attributes
    assert (person["birth_country_code"], person["birth_foreign_region"]) == ("840", "Invented State")
    assert (person["sex"], person["birth_date"], person["citizenship_code"]) == ("f", "1988-02-29", "398")
    documents = {f.attributes["type"]: f.attributes["status"] for f in answer.facts if f.kind == "identity_document"}
    assert documents == {"identity_card": "valid", "passport": "replaced", "foreign_passport": "unfit"}
    assert fact(answer, "residence_registration").attributes["status"] == "registered"
    assert "address" in answer.complete_for, "an empty list of addresses is a list"


def test_the_envelope_of_that_sample_carries_the_same_answer() -> None:
    envelope = parse((SAMPLES / "real_answer_shape" / "envelope.xml").read_bytes())
    data = next(envelope.iter("data"))
    expected = [etree.tostring(child, method="c14n", exclusive=True) for child in response("real_answer_shape")]
    assert [etree.tostring(child, method="c14n", exclusive=True) for child in data] == expected


def test_a_list_that_is_not_there_is_not_an_empty_list() -> None:
    answer = response("real_answer_shape")
    person = next(answer.iter("person"))
    person.remove(person.find("documents"))
    person.remove(person.find("addresses"))
    complete = GBDFL.mapper.read_response(answer).complete_for
    assert "identity_document" not in complete
    assert "address" not in complete


def test_a_document_holds_through_its_last_day_and_not_past_its_invalidity() -> None:
    answer = GBDFL.mapper.read_response(response("real_answer_shape"))
    ends = {f.attributes["type"]: f.valid_to for f in answer.facts if f.kind == "identity_document"}
    assert ends == {
        "identity_card": dt.date(2028, 5, 20),
        "passport": dt.date(2018, 5, 20),
        "foreign_passport": None,
    }


def test_a_message_result_that_is_not_known_is_named() -> None:
    answer = response("not_found")
    answer.find("messageResult/code").text = "00017"
    with pytest.raises(MappingError, match="<messageResult> of <Response> has the code '00017'"):
        GBDFL.mapper.read_response(answer)


def test_not_found_is_never_read_as_a_loss_of_earlier_facts() -> None:
    answer = GBDFL.mapper.read_response(response("not_found"))
    assert (answer.outcome, answer.complete_for) == (Outcome.NOT_FOUND, ())


def test_any_country_is_a_citizenship() -> None:
    answer = response("real_answer_shape")
    answer.find(".//person/citizenship/code").text = "977"
    assert fact(GBDFL.mapper.read_response(answer), "person").attributes["citizenship_code"] == "977"


@pytest.mark.parametrize(
    ("code", "name", "read"),
    [
        ("003", "ВИД НА ЖИТЕЛЬСТВО ИНОСТРАННОГО ГРАЖДАНИНА", "residence_permit"),
        ("004", "Удостоверение лица без гражданства", "stateless_certificate"),
    ],
)
def test_a_drafted_code_of_a_permit_counts_while_the_register_names_it_so(code: str, name: str, read: str) -> None:
    answer = response("permanent_foreigner")
    kind = answer.find(".//document/type")
    kind.find("code").text, kind.find("nameRu").text = code, name
    assert fact(GBDFL.mapper.read_response(answer), "identity_document").attributes["type"] == read
    # should that code mean something else, nobody becomes a resident by it
    for other in ("ПАСПОРТ МОРЯКА", None):
        kind.find("nameRu").text = other
        with pytest.raises(MappingError, match=f"the code '{code}'"):
            GBDFL.mapper.read_response(answer)


def test_two_persons_do_not_answer_a_question_about_one() -> None:
    answer = response("with_consent")
    persons = answer.find("persons")
    persons.append(parse(etree.tostring(persons[0])))
    with pytest.raises(MappingError, match="2 persons"):
        GBDFL.mapper.read_response(answer)


def test_a_day_of_death_beside_a_normal_life_status_is_a_contradiction() -> None:
    answer = response("deceased")
    answer.find(".//lifeStatus/code").text = "0"
    with pytest.raises(MappingError, match="contradict"):
        GBDFL.mapper.read_response(answer)


@pytest.mark.parametrize("text", ["1990-05-17", "1990-05-17Z", "1990-05-17+06:00", "1990-05-17T00:00:00.000+0600"])
def test_a_day_is_read_as_it_is_written_whatever_its_zone(text: str) -> None:
    answer = response("with_consent")
    answer.find(".//birthDate").text = text
    assert fact(GBDFL.mapper.read_response(answer), "person").valid_from == dt.date(1990, 5, 17)


@pytest.mark.parametrize("text", ["1990-05-17T18:00:00Z", "17.05.1990", "0000-00-00", "1990-02-30", "１９９０-05-17"])
def test_what_is_not_a_day_is_refused_and_not_repeated(text: str) -> None:
    answer = response("with_consent")
    answer.find(".//birthDate").text = text
    with pytest.raises(MappingError, match="<birthDate> of <person> is not a date") as refused:
        GBDFL.mapper.read_response(answer)
    assert text not in str(refused.value)


def test_the_consent_travels_only_when_there_is_one() -> None:
    plain = ask(SOMEONE)
    with_consent = Query(SOMEONE, "q-2", NOW, (), "TESTER", Consent("token", "key"))
    assert GBDFL.service_for(plain).service_id == "GBDFL_UniversalServiceSync"
    assert GBDFL.service_for(with_consent).service_id == "GBDFLUniversal_token"
    request = GBDFL.mapper.build_request(with_consent)
    assert [request.findtext("kdpToken"), request.findtext("publicKey")] == ["token", "key"]
    assert GBDFL.mapper.build_request(plain).find("kdpToken") is None
    with pytest.raises(MappingError, match="request"):
        GBDFL.contract("request", "GBDFLUniversal_token").validate(GBDFL.mapper.build_request(plain))


def test_a_request_without_a_participant_code_is_stopped_before_it_leaves() -> None:
    request = GBDFL.mapper.build_request(Query(SOMEONE, "q-3", NOW))
    with pytest.raises(MappingError, match="senderCode") as refused:
        GBDFL.contract("request").validate(request)
    assert SOMEONE.value not in str(refused.value)


def test_a_simulated_citizen_has_a_card_from_sixteen_on() -> None:
    child = Citizen(iin(dt.date(2015, 1, 1), Sex.FEMALE, 3), "А", "Б", "")
    assert [f.kind for f in simulated(child).facts] == ["person", "residence_registration"]
    grown_up = simulated(child, now=NOW.replace(year=2031))
    card = fact(grown_up, "identity_document")
    assert (card.valid_from, card.valid_to) == (dt.date(2031, 1, 1), dt.date(2041, 1, 1))


def test_a_simulated_death_record_is_known_to_the_register_of_persons_too() -> None:
    died = Death(SOMEONE, dt.date(2025, 3, 1), dt.date(2025, 3, 4), "AD-7")
    answer = simulated(Citizen(SOMEONE, "А", "Б", "В"), deaths=(died,))
    assert fact(answer, "death").attributes["died_on"] == "2025-03-01"
    assert fact(answer, "person").attributes["life_status"] == "deceased"
    assert fact(answer, "identity_document").valid_to == dt.date(2025, 3, 1)
