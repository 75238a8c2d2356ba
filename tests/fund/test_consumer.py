"""FUND_CONSUMER_STATUS: from the signed request to the signed answer, and what the contract says of both."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from sqlalchemy import Engine

from gateway import resources
from gateway.errors import InvalidIdentifier, MalformedMessage
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.serve import Server
from gateway.fund import consumer
from gateway.fund.consumer import ConsumerStatusService, read_request, write_response
from gateway.model import Citation
from gateway.registry.standing import Basis, Standing
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import ErrorInfo, SyncResponse
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize
from tests.exchange.world import NOW, OTHER, PERSON, Keys, Register, asker, law, message_ids, request_info, trust

TODAY = law().local_day(NOW)


@pytest.fixture(scope="module")
def contract() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(resources.path("wsdl/fund/consumer_status.xsd"))))


MESSAGE_IDS = (f"req-{number}" for number in itertools.count(1))


def request(**fields: str) -> etree._Element:
    root = etree.Element(consumer.REQUEST, nsmap={"cs": consumer.NAMESPACE})
    for name, text in fields.items():
        etree.SubElement(root, name).text = text
    return root


def server(engine: Engine, keys: Keys) -> Server:
    return Server(
        engine=engine,
        journal=JournalWriter(),
        services={consumer.SERVICE_ID: ConsumerStatusService(law())},
        key=lambda: keys["gateway"],
        trust=trust(keys.pki),
        new_message_id=message_ids("served"),
    )


def served(
    engine: Engine, keys: Keys, payload: etree._Element, codec: PayloadCodec = PayloadCodec.ELEMENT
) -> SyncResponse | ErrorInfo:
    info = request_info(consumer.SERVICE_ID, next(MESSAGE_IDS))
    body = sync_channel.build_request(info, payload, codec)
    data = sign_body(body, keys["client"], form=KeyInfoForm.KEY_IDENTIFIER)
    reply = server(engine, keys).handle(data, received_at=NOW)
    return sync_channel.read_reply(verify_envelope(reply.body).body)


def answer_to(engine: Engine, keys: Keys, payload: etree._Element, **how: Any) -> tuple[str, etree._Element]:
    """Status code and payload of the answer; the payload fits the contract."""
    reply = served(engine, keys, payload, **how)
    assert isinstance(reply, SyncResponse)
    assert reply.data is not None
    element = decode(reply.data, PayloadCodec.ELEMENT, root_name=consumer.RESPONSE)
    schema = etree.XMLSchema(etree.parse(str(resources.path("wsdl/fund/consumer_status.xsd"))))
    schema.assertValid(element)
    return reply.info.status.code, element


def texts(element: etree._Element, path: str) -> list[str]:
    return [found.text or "" for found in element.findall(path)]


# ---------------------------------------------------------------- from request to answer


@pytest.fixture
def known(store: Engine, keys: Keys, register: Register) -> Engine:
    """A store that knows two people: one with a disability, one of whom the registers have nothing to his credit."""
    ours = asker(store, keys, register)
    ours.ask("cbdi", PERSON)
    ours.ask("gbdfl", OTHER)
    return store


def test_a_consumer_is_answered_with_paragraph_and_message(known: Engine, keys: Keys) -> None:
    status, element = answer_to(known, keys, request(iin=PERSON.value))
    assert status == SUCCESS.code
    assert texts(element, "result") == ["ANSWERED"]
    assert texts(element, "iin") == [PERSON.value]
    assert texts(element, "asOf") == [TODAY.isoformat()]
    assert texts(element, "knownAt") == ["2026-06-01T07:00:00.000Z"]
    assert texts(element, "standing/consumer") == ["true"]
    assert texts(element, "standing/basis") == ["republican_category"]
    assert texts(element, "standing/category") == ["person_with_disability"]
    assert texts(element, "standing/budget") == ["republican"]
    assert texts(element, "standing/validUntil") == []
    assert texts(element, "standing/because/citation")[:2] == ["004 p.9 part 1", "004 p.20(12)"]
    assert texts(element, "standing/evidence/messageId") == ["ours-1"]
    # the message that it rests on is in the journal
    assert [record.system for record in Journal(known).list_entries(message_id="ours-1")] == ["cbdi", "cbdi"]


def test_a_negative_answer_is_an_answer(known: Engine, keys: Keys) -> None:
    status, element = answer_to(known, keys, request(iin=OTHER.value))
    assert status == SUCCESS.code
    assert texts(element, "result") == ["ANSWERED"]
    assert texts(element, "standing/consumer") == ["false"]
    assert texts(element, "standing/basis") == ["none"]
    assert element.find("standing/category") is None
    assert element.find("standing/budget") is None


def test_another_day_may_be_asked_about(known: Engine, keys: Keys) -> None:
    _, before = answer_to(known, keys, request(iin=PERSON.value, asOf="2026-01-31"))
    _, first = answer_to(known, keys, request(iin=PERSON.value, asOf="2026-02-01"))
    assert texts(before, "standing/consumer") == ["false"]
    assert texts(first, "standing/consumer") == ["true"]
    assert texts(first, "asOf") == ["2026-02-01"]


def test_who_is_not_in_the_registry_is_neither_yes_nor_no(store: Engine, keys: Keys) -> None:
    status, element = answer_to(store, keys, request(iin=PERSON.value))
    assert status == "NO_DATA"
    assert texts(element, "result") == ["NO_DATA"]
    assert element.find("standing") is None


def test_a_day_before_the_rules_is_neither_yes_nor_no(known: Engine, keys: Keys) -> None:
    status, element = answer_to(known, keys, request(iin=PERSON.value, asOf="2025-12-31"))
    assert status == "EDITION_NOT_IN_FORCE"
    assert texts(element, "result") == ["EDITION_NOT_IN_FORCE"]
    assert element.find("standing") is None


def test_both_stores_answer(engine: Engine, keys: Keys, register: Register) -> None:
    asker(engine, keys, register).ask("cbdi", PERSON)
    assert texts(answer_to(engine, keys, request(iin=PERSON.value))[1], "standing/consumer") == ["true"]


@pytest.mark.parametrize("codec", list(PayloadCodec))
def test_the_question_is_read_in_every_shape(known: Engine, keys: Keys, codec: PayloadCodec) -> None:
    assert answer_to(known, keys, request(iin=PERSON.value), codec=codec)[0] == SUCCESS.code


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"iin": "850101300551"}, "the control digit does not fit"),
        ({"iin": "abc"}, "exactly twelve digits"),
        ({"iin": ""}, "exactly twelve digits"),
        ({}, "<iin> is missing"),
        ({"iin": PERSON.value, "asOf": "tomorrow"}, "<asOf> is not a day"),
        ({"iin": PERSON.value, "asof": "2026-02-01"}, "<asof> is not part of the contract"),
    ],
)
def test_what_does_not_fit_the_contract_is_a_fault_with_a_clear_text(
    known: Engine, keys: Keys, fields: dict[str, str], told: str
) -> None:
    fault = served(known, keys, request(**fields))
    assert isinstance(fault, ErrorInfo)
    assert fault.code == FaultCode.MESSAGE_FORMAT
    assert told in fault.message
    assert PERSON.value not in fault.message
    assert "850101300551" not in fault.message


def test_a_request_without_data_is_a_fault(known: Engine, keys: Keys) -> None:
    body = sync_channel.build_request(request_info(consumer.SERVICE_ID), request(), PayloadCodec.ELEMENT)
    data = body.find(".//data")
    assert data is not None
    data.getparent().remove(data)
    reply = server(known, keys).handle(
        sign_body(body, keys["client"], form=KeyInfoForm.KEY_IDENTIFIER), received_at=NOW
    )
    fault = sync_channel.read_reply(verify_envelope(reply.body).body)
    assert isinstance(fault, ErrorInfo)
    assert fault.code == FaultCode.MESSAGE_FORMAT


# ---------------------------------------------------------------- reading and building (pure)


def test_fields_are_found_by_local_name_in_any_order() -> None:
    root = etree.Element(consumer.REQUEST)
    etree.SubElement(root, f"{{{consumer.NAMESPACE}}}asOf").text = " 2026-02-01 "
    etree.SubElement(root, f"{{{consumer.NAMESPACE}}}iin").text = PERSON.value
    query = read_request(root)
    assert (query.iin, query.as_of) == (PERSON, dt.date(2026, 2, 1))
    assert PERSON.value not in repr(query)


def test_an_empty_day_is_today() -> None:
    assert read_request(request(iin=PERSON.value, asOf="")).as_of is None


def test_a_field_that_stands_twice_is_refused() -> None:
    root = request(iin=PERSON.value)
    etree.SubElement(root, "iin").text = OTHER.value
    with pytest.raises(MalformedMessage) as caught:
        read_request(root)
    assert caught.value.code == "repeated"


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-02-01Z", "2026-02-01+05:00", "20260201", "2026-W05-1", "٢٠٢٦-02-01"]
)
def test_a_day_is_a_plain_day(text: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_request(request(iin=PERSON.value, asOf=text))
    assert caught.value.code == "bad_date"


@given(iin=st.text("0123456789abc <&", max_size=14), as_of=st.text("0123456789-TZ ", max_size=12))
def test_any_text_is_read_or_refused(iin: str, as_of: str) -> None:
    try:
        query = read_request(request(iin=iin, asOf=as_of))
    except (MalformedMessage, InvalidIdentifier):
        return
    assert query.iin.value == iin.strip()


def test_what_we_write_as_a_question_fits_the_contract(contract: etree.XMLSchema) -> None:
    contract.assertValid(request(iin=PERSON.value))
    contract.assertValid(request(iin=PERSON.value, asOf="2026-02-01"))
    assert not contract.validate(request(iin=PERSON.value, asOf="2026-02-01Z"))
    assert not contract.validate(request())


@given(
    insured=st.booleans(),
    basis=st.sampled_from(Basis),
    category=st.none() | st.sampled_from(sorted(law().categories)),
    budget=st.none() | st.sampled_from(["republican", "local", "payer", "exempt"]),
    valid_until=st.none() | st.dates(),
    because=st.lists(st.sampled_from([Citation("004", "p.9 part 1"), Citation("004", "p.20(12)")]), max_size=4),
    evidence=st.lists(st.uuids().map(str), max_size=4),
)
def test_every_standing_fits_the_contract(contract: etree.XMLSchema, **values: Any) -> None:
    values["because"], values["evidence"] = tuple(values["because"]), tuple(values["evidence"])
    standing = Standing(as_of=TODAY, known_at=TODAY, readings=(), next_change=None, **values)
    payload = write_response(PERSON, as_of=TODAY, known_at=NOW, result=consumer.ANSWERED, standing=standing)
    contract.assertValid(payload.element)
    assert canonicalize(payload.element) == payload.text.encode()


def test_the_examples_in_the_reference_fit_the_contract(contract: etree.XMLSchema) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "consumer-status.md"
    examples = re.findall(r"```xml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        contract.assertValid(etree.fromstring(example))
    assert read_request(etree.fromstring(examples[0])).iin == PERSON
