"""АХАЖ (ЗАГС), the civil status register: birth, marriage and death records.

The wire format is this project's draft: none is public (SHEP.md 6.7).

The register does not reach back for ever, so "no record" is evidence only for an act that cannot have been
registered before the register began; otherwise the answer is UNKNOWN, never NOT_FOUND (`_complete`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway import fields
from gateway.errors import MappingError
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Query, Rejection, outcome_of

NAMESPACE: Final = "urn:shep-gateway:draft:civil-records:1"

#: record type on the wire → fact kind
RECORD_TYPES: Final = {"BIRTH": "birth", "CHILD_BIRTH": "child_birth", "MARRIAGE": "marriage", "DEATH": "death"}
RECORD_STATUSES: Final = {"ACTIVE": "active", "ANNULLED": "annulled"}

#: acts registered after this day are in the register (catalogue, thresholds of order No. 407); as in system.toml
REGISTERED_AFTER: Final = {
    "birth": dt.date(2007, 8, 13),
    "child_birth": dt.date(2007, 8, 13),
    "marriage": dt.date(2008, 6, 1),
    "death": dt.date(2008, 5, 1),
}
#: years after birth before which no such act is registered: nobody under sixteen may marry
#: (Code on marriage and family, art. 10: eighteen, lowered by two years at most)
EARLIEST_AGE_YEARS: Final = {"marriage": 16}
#: kinds of which a person has one record at most
_AT_MOST_ONE: Final = ("birth", "death")


def build_request(query: Query) -> etree._Element:
    """The question about one person: only for the kinds wanted, all four where none is named."""
    request = etree.Element(f"{{{NAMESPACE}}}Request", nsmap={"zags": NAMESPACE})
    fields.add(request, "requestId", query.message_id)
    fields.add(request, "requestDate", query.created_at.isoformat(timespec="milliseconds"))
    fields.add(request, "senderCode", query.requester)
    fields.add(request, "iin", query.subject.value)
    wanted = fields.add(request, "recordTypes")
    for record_type, kind in RECORD_TYPES.items():
        if not query.facts or kind in query.facts:
            fields.add(wanted, "recordType", record_type)
    return request


def read_response(response: etree._Element) -> Answer:
    """Facts about the person asked for. Raises MappingError naming the element and the code."""
    answers = fields.required_text(response, "requestId")
    subject = fields.iin(response, "iin")
    result = fields.required(response, "result")
    code = fields.required_text(result, "code")
    if code == "REFUSED":
        rejection = Rejection(fields.required_text(result, "reasonCode"), fields.text(result, "message") or "")
        return Answer(Outcome.REJECTED, answers_message_id=answers, rejection=rejection, about=subject)
    if code not in ("FOUND", "NOT_FOUND"):
        raise fields.unknown_code(result, "code", code)
    asked = _record_types(response)
    facts = [_birth(record, subject) for record in fields.items(response, "births", "birth") or ()]
    facts += [_marriage(record, subject) for record in fields.items(response, "marriages", "marriage") or ()]
    facts += [_death(record, subject) for record in fields.items(response, "deaths", "death") or ()]
    for fact in facts:
        if fact.kind not in asked:
            raise MappingError(f"the answer lists a {fact.kind} record and its <recordTypes> does not name that type")
    if (code == "FOUND") != bool(facts):
        raise MappingError(f"<code> of <result> says {code} and the answer lists {len(facts)} records")
    complete = tuple(kind for kind in asked if _complete(kind, subject, facts))
    return Answer(outcome_of(facts, asked, complete), tuple(facts), complete, answers, about=subject)


def _record_types(response: etree._Element) -> list[str]:
    """The kinds that the answer is about."""
    asked = []
    for element in fields.items(response, "recordTypes", "recordType") or ():
        code = fields.leaf(element) or ""
        if code not in RECORD_TYPES:
            raise fields.unknown_code(fields.required(response, "recordTypes"), "recordType", code)
        asked.append(RECORD_TYPES[code])
    if not asked:
        raise MappingError("<recordTypes> is empty: the answer does not say which records it is about")
    return asked


def _complete(kind: str, subject: Iin, facts: list[Fact]) -> bool:
    """Whether the answer lists every record of this kind that the person can have (acts registered here).

    An annulled record stays listed as annulled, so that nothing is lost where this says no.
    """
    if kind in _AT_MOST_ONE and any(fact.kind == kind for fact in facts):
        return True
    born = subject.birth_date
    earliest = dt.date(born.year + EARLIEST_AGE_YEARS.get(kind, 0), born.month, min(born.day, 28))
    return earliest > REGISTERED_AFTER[kind]


# ---------------------------------------------------------------- records


def _birth(record: etree._Element, subject: Iin) -> Fact:
    """A person's own birth, or the birth of a child whose mother or father the person is."""
    child = fields.iin(record, "childIin")
    mother, father = _optional_iin(record, "motherIin"), _optional_iin(record, "fatherIin")
    attributes: dict[str, FactValue] = {
        "role": _role(record, subject, {"child": child, "mother": mother, "father": father}),
        "birth_date": fields.required_date(record, "birthDate").isoformat(),
        "child_iin": child.value,
        "mother_iin": _digits(mother),
        "father_iin": _digits(father),
    }
    kind = "birth" if attributes["role"] == "child" else "child_birth"
    return _fact(kind, subject, record, fields.required_date(record, "birthDate"), None, attributes)


def _marriage(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the day of registration up to the day of dissolution."""
    husband, wife = _optional_iin(record, "husbandIin"), _optional_iin(record, "wifeIin")
    role = _role(record, subject, {"husband": husband, "wife": wife})
    dissolved_on = fields.date(record, "dissolvedOn")
    attributes: dict[str, FactValue] = {
        "role": role,
        "husband_iin": _digits(husband),
        "wife_iin": _digits(wife),
        "spouse_iin": _digits(wife if role == "husband" else husband),
        "dissolved_on": None if dissolved_on is None else dissolved_on.isoformat(),
    }
    return _fact("marriage", subject, record, fields.required_date(record, "registeredOn"), dissolved_on, attributes)


def _death(record: etree._Element, subject: Iin) -> Fact:
    _role(record, subject, {"person": fields.iin(record, "personIin")})
    died_on = fields.required_date(record, "diedOn")
    return _fact("death", subject, record, died_on, None, {"died_on": died_on.isoformat()})


def _fact(
    kind: str,
    subject: Iin,
    record: etree._Element,
    begin: dt.date,
    end: dt.date | None,
    attributes: Mapping[str, FactValue],
) -> Fact:
    annulled_on = fields.date(record, "annulledOn")
    status = fields.known(record, "status", RECORD_STATUSES)
    if (status == "annulled") != (annulled_on is not None):
        raise MappingError(f"<status> of <{fields.name_of(record)}> and <annulledOn> contradict each other")
    common: dict[str, FactValue] = {
        "record_number": fields.required_text(record, "recordNumber"),
        "registered_on": fields.required_date(record, "registeredOn").isoformat(),
        "registered_by": fields.text(record, "registeredBy"),
        "status": status,
        "annulled_on": None if annulled_on is None else annulled_on.isoformat(),
    }
    return Fact(
        kind,
        subject,
        fields.required_text(record, "recordId"),
        begin,
        fields.end_of(begin, end, annulled_on),
        {**common, **attributes},
    )


def _role(record: etree._Element, subject: Iin, people: Mapping[str, Iin | None]) -> str:
    for role, person in people.items():
        if person == subject:
            return role
    raise MappingError(f"<{fields.name_of(record)}> is a record of other people: the person asked for is not in it")


def _optional_iin(record: etree._Element, name: str) -> Iin | None:
    return None if fields.text(record, name) is None else fields.iin(record, name)


def _digits(iin: Iin | None) -> str | None:
    return None if iin is None else iin.value
