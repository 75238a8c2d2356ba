"""FUND_LIST_INTAKE: what a message says is what is written, and what the contract does not know is refused."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Engine, select

from gateway import resources
from gateway.database import reading, writing
from gateway.errors import GatewayError, InvalidIdentifier, MalformedMessage
from gateway.fund import intake
from gateway.fund.intake import Application, FailureDeclared, FailureEnded, ForbiddenMarking, read_request
from gateway.fund.intake_service import APPLICATIONS, FAILURES, IntakeQuestion, ListIntakeService
from gateway.model import Iin, Provenance
from gateway.registry.imports.feeds import feeds_of
from gateway.registry.imports.parts import ListPart, incoming_lists
from gateway.registry.incidents import incidents
from gateway.registry.tables import PROVISIONAL_ENTRY
from gateway.shep.messages import RequestInfo, Sender, SyncRequest
from tests.registry.imports.lists import LAW, Line, at, pensioner, person

Fields = Mapping[str, Any]


def contract() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(resources.path("wsdl/fund/list_intake.xsd"))))


def element(name: str, value: Any) -> etree._Element:
    made = etree.Element(name)
    if isinstance(value, Mapping):
        made.extend(element(one, inner) for one, inner in value.items())
    elif isinstance(value, list):
        made.extend(element(*pair) for pair in value)
    else:
        made.text = value
    return made


def request(said: Fields) -> etree._Element:
    root = etree.Element(intake.REQUEST, nsmap={"li": intake.NAMESPACE})
    root.extend(element(name, value) for name, value in said.items())
    return root


def records(people: Sequence[Line]) -> list[tuple[str, Line]]:
    return [("record", one) for one in people]


def part(people: Sequence[Line] = (), **changes: Any) -> dict[str, Any]:
    lines = [f"{one['iin']},{one['category']},{one['assigned_date']},{one['assigned_source']},,," for one in people]
    fields = {
        "listId": "2026-03-01",
        "feed": "republican_categories",
        "scope": "full",
        "madeOn": "2026-03-01",
        "number": "1",
        "of": "1",
        "digest": hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest(),
        "records": records(people),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


FAILURE = {"system": "mem_corp", "from": "2026-03-01", "reason": "letter 12"}
APPLICATION = {
    "iin": person(1),
    "category": "children",
    "applied": "2026-03-01",
    "documents": [("document", "birth_certificate")],
}


def read(said: Fields) -> intake.Said:
    return read_request(request(said), LAW)


# ---------------------------------------------------------------- read


def test_a_part_is_read_as_lines_of_its_feed() -> None:
    sent = request({"listPart": part([pensioner(1), pensioner(2)], number="2", of="3")})
    contract().assertValid(sent)
    said = read_request(sent, LAW)
    assert isinstance(said, ListPart)
    assert (said.list_id, said.feed.name, said.scope.value, said.number, said.of) == (
        "2026-03-01",
        "republican_categories",
        "full",
        2,
        3,
    )
    assert said.made_on == dt.date(2026, 3, 1)
    assert said.lines[0] == f"{person(1)},pension_recipient,2020-05-01,enbek_is,,,".encode()
    assert said.digest == hashlib.sha256(b"".join(line + b"\n" for line in said.lines)).hexdigest()


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ({"failure": FAILURE}, FailureDeclared("mem_corp", dt.date(2026, 3, 1), "letter 12")),
        (
            {"failureEnd": {**FAILURE, "fixed": "2026-03-03"}},
            FailureEnded("mem_corp", dt.date(2026, 3, 1), dt.date(2026, 3, 3), "letter 12"),
        ),
        (
            {"application": APPLICATION},
            Application(Iin(person(1)), "children", dt.date(2026, 3, 1), frozenset({"birth_certificate"})),
        ),
    ],
)
def test_what_is_said_is_read(said: Fields, value: intake.Said) -> None:
    sent = request(said)
    contract().assertValid(sent)
    assert read_request(sent, LAW) == value


@pytest.mark.parametrize("marking", ["state_secret", "restricted_service"])
@pytest.mark.parametrize("said", [{"listPart": part([pensioner(1)])}, {"failure": FAILURE}])
def test_what_is_marked_is_not_read(said: dict[str, Any], marking: str) -> None:
    ((name, fields),) = said.items()
    assert read({name: {**fields, "marking": marking}}) == ForbiddenMarking(marking)
    assert not isinstance(read({name: {**fields, "marking": ""}}), ForbiddenMarking)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "unexpected_element"),
        ({"list": {}}, "unexpected_element"),
        ({"failure": FAILURE, "application": APPLICATION}, "unexpected_element"),
        ({"listPart": part(feed="payment")}, "bad_value"),
        ({"listPart": part(feed="payments", scope="full")}, "bad_value"),
        ({"listPart": part(madeOn="2026-02-30")}, "bad_value"),
        ({"listPart": part(madeOn="2026-02-3")}, "bad_value"),
        ({"listPart": part(number="0")}, "bad_value"),
        ({"listPart": part(of="999999")}, "bad_value"),
        ({"listPart": part(digest="ABC")}, "bad_value"),
        ({"listPart": part(listId="a b")}, "bad_value"),
        ({"listPart": part(records=None)}, "missing_field"),
        ({"listPart": part(feed=None)}, "missing_field"),
        ({"listPart": part(feed="")}, "missing_field"),
        ({"listPart": part(more="1")}, "unexpected_element"),
        ({"listPart": part(records=[("person", {})])}, "unexpected_element"),
        ({"listPart": part(records=[("record", {"iin": "1", "surname": "X"})])}, "unexpected_element"),
        ({"listPart": part(records=[("record", {"iin": "1\n2"})])}, "bad_value"),
        ({"listPart": part(records=[("record", {"iin": "1" * 70_000})])}, "bad_value"),
        ({"listPart": part(records=[("record", [("iin", "1"), ("iin", "2")])])}, "repeated"),
        ({"listPart": part(records=[("record", {"iin": {"digit": "1"}})])}, "not_a_leaf"),
        ({"listPart": part(records=[("record", {"iin": "1"})] * 2_001)}, "bad_value"),
        ({"failure": {**FAILURE, "system": "nowhere"}}, "bad_value"),
        ({"application": {**APPLICATION, "category": "nobody"}}, "bad_value"),
        ({"application": {**APPLICATION, "documents": [("document", "passport")]}}, "bad_value"),
        ({"application": {name: value for name, value in APPLICATION.items() if name != "documents"}}, "missing_field"),
    ],
)
def test_what_the_contract_does_not_know_is_refused(said: Fields, code: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        read(said)
    assert refused.value.code == code


def test_an_application_is_about_somebody() -> None:
    with pytest.raises(InvalidIdentifier):
        read({"application": {**APPLICATION, "iin": "900101300018"}})


# ---------------------------------------------------------------- the service


#: the sender of the tests may send everything
EVERYTHING = {"memcorp": frozenset({*feeds_of(LAW), FAILURES, APPLICATIONS})}


def served(
    engine: Engine,
    said: Fields,
    *,
    day: int = 2,
    sender: str = "memcorp",
    may_send: Mapping[str, frozenset[str]] = EVERYTHING,
) -> etree._Element:
    """The answer, which fits the contract; what was written is committed."""
    service = ListIntakeService(LAW, may_send=may_send)
    data = etree.Element("data")
    data.append(request(said))
    info = RequestInfo("message-1", intake.SERVICE_ID, at(day), Sender(sender))
    question = service.read(SyncRequest(info, data), at=at(day))
    with reading(engine) as connection:
        assert service.load(connection, [question]) == [None]
    with writing(engine) as connection:
        answer = service.apply(connection, question, Provenance("message-1", sender, "CN=Officer", "0f", at(day)))
    payload = answer.element
    assert payload is not None
    contract().assertValid(payload)
    result = payload.findtext("result")
    is_answer = result in {"TAKEN", "COMPLETE", "DUPLICATE", "DECLARED", "ENDED", "ACCEPTED", "REFUSED"}
    assert answer.status.code == ("SCSS001" if is_answer else result)
    return payload


def texts(answer: etree._Element) -> dict[str, str | None]:
    return {child.tag: child.text for child in answer if not len(child)}


def test_a_part_is_taken_and_counted(engine: Engine) -> None:
    first = {"listPart": part([pensioner(1)], of="2")}
    assert texts(served(engine, first)) == {"result": "TAKEN", "received": "1", "of": "2"}
    assert texts(served(engine, first))["result"] == "DUPLICATE"
    other = {"listPart": part([pensioner(2)], of="2", digest=first["listPart"]["digest"])}
    assert texts(served(engine, other)) == {"result": "PART_CHANGED", "received": "1", "of": "2"}
    assert texts(served(engine, {"listPart": part(of="3")})) == {"result": "LIST_CHANGED"}
    last = {"listPart": part([pensioner(2)], number="2", of="2", digest=first["listPart"]["digest"])}
    assert texts(served(engine, last)) == {"result": "COMPLETE", "received": "2", "of": "2"}


def test_a_marked_list_leaves_what_was_there_in_force(engine: Engine) -> None:
    served(engine, {"listPart": part([pensioner(1)], of="2")})
    assert texts(served(engine, {"listPart": part(marking="state_secret")})) == {"result": "MARKING_REFUSED"}
    with reading(engine) as connection:
        (there,) = incoming_lists(connection)
    assert (there.received, there.problem) == (1, "")


def test_a_sender_sends_the_feeds_that_are_its_own(engine: Engine) -> None:
    own = {**EVERYTHING, "mod": frozenset({"military_mod"})}
    sent = {"listPart": part([pensioner(1)])}
    for sender in ("mod", "nobody"):
        assert texts(served(engine, sent, sender=sender, may_send=own)) == {"result": "SENDER_NOT_ALLOWED"}
    assert texts(served(engine, sent, may_send=own))["result"] == "COMPLETE"


def test_failures_and_applications_come_from_those_who_may_send_them(engine: Engine) -> None:
    own = {"mod": frozenset({"military_mod"})}
    for said in ({"failure": FAILURE}, {"application": APPLICATION}):
        assert texts(served(engine, said, sender="mod", may_send=own)) == {"result": "SENDER_NOT_ALLOWED"}
    with reading(engine) as connection:
        assert incidents(connection) == ()


def test_a_failure_is_declared_and_ended_by_messages(engine: Engine) -> None:
    assert texts(served(engine, {"failure": FAILURE})) == {"result": "DECLARED"}
    assert texts(served(engine, {"failure": FAILURE})) == {"result": "NOT_POSSIBLE"}
    end = {"failureEnd": {**FAILURE, "fixed": "2026-03-02"}}
    assert texts(served(engine, end)) == {"result": "ENDED"}
    assert texts(served(engine, end)) == {"result": "NOT_POSSIBLE"}
    with reading(engine) as connection:
        (incident,) = incidents(connection)
    assert (incident.declared_by, incident.evidence, incident.fixed) == (
        "CN=Officer",
        "message-1",
        dt.date(2026, 3, 2),
    )


def test_an_application_is_decided_at_once(engine: Engine) -> None:
    accepted = served(engine, {"application": APPLICATION})
    assert texts(accepted) == {"result": "ACCEPTED", "first": "2026-03-01", "last": "2026-04-01"}
    assert accepted.findtext("because/citation") == "004 p.21"
    refused = served(engine, {"application": {**APPLICATION, "documents": []}})
    assert texts(refused) == {"result": "REFUSED", "reason": "documents_incomplete"}
    with reading(engine) as connection:
        assert connection.execute(select(PROVISIONAL_ENTRY.c.evidence)).scalars().all() == ["message-1"]


def test_a_message_without_a_payload_is_refused() -> None:
    info = RequestInfo("message-1", intake.SERVICE_ID, at(1), Sender("x"))
    with pytest.raises(GatewayError) as refused:
        ListIntakeService(LAW, may_send=EVERYTHING).read(SyncRequest(info, None), at=at(1))
    assert refused.value.code == "no_payload"


def test_what_is_asked_shows_nobody_in_its_repr() -> None:
    said = read({"application": APPLICATION})
    assert person(1) not in repr(IntakeQuestion(said, "x"))
    assert person(1) not in repr(said)
    assert person(1) not in repr(read({"listPart": part([pensioner(1)])}))
