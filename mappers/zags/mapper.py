"""АХАЖ (ЗАГС), the civil status register: birth, marriage and death records.

The wire format is this project's draft: none is public (SHEP.md 6.7).

The register does not reach back for ever, so "no record" is evidence only for an act that cannot have been
registered before the register began; otherwise the answer is UNKNOWN, never NOT_FOUND (`_complete`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway.errors import InvalidIdentifier, MappingError
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
    _add(request, "requestId", query.message_id)
    _add(request, "requestDate", query.created_at.isoformat(timespec="milliseconds"))
    _add(request, "senderCode", query.requester)
    _add(request, "iin", query.subject.value)
    wanted = _add(request, "recordTypes")
    for record_type, kind in RECORD_TYPES.items():
        if not query.facts or kind in query.facts:
            _add(wanted, "recordType", record_type)
    return request


def read_response(response: etree._Element) -> Answer:
    """Facts about the person asked for. Raises MappingError naming the element and the code."""
    answers = _required_text(response, "requestId")
    subject = _iin(response, "iin")
    result = _required(response, "result")
    code = _required_text(result, "code")
    if code == "REFUSED":
        rejection = Rejection(_required_text(result, "reasonCode"), _text(result, "message") or "")
        return Answer(Outcome.REJECTED, answers_message_id=answers, rejection=rejection, about=subject)
    if code not in ("FOUND", "NOT_FOUND"):
        raise _unknown_code(result, "code", code)
    asked = _record_types(response)
    facts = [_birth(record, subject) for record in _items(response, "births", "birth")]
    facts += [_marriage(record, subject) for record in _items(response, "marriages", "marriage")]
    facts += [_death(record, subject) for record in _items(response, "deaths", "death")]
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
    for element in _items(response, "recordTypes", "recordType"):
        code = _leaf(element)
        if code not in RECORD_TYPES:
            raise _unknown_code(_required(response, "recordTypes"), "recordType", code)
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
    child = _iin(record, "childIin")
    mother, father = _optional_iin(record, "motherIin"), _optional_iin(record, "fatherIin")
    attributes: dict[str, FactValue] = {
        "role": _role(record, subject, {"child": child, "mother": mother, "father": father}),
        "birth_date": _required_date(record, "birthDate").isoformat(),
        "child_iin": child.value,
        "mother_iin": _digits(mother),
        "father_iin": _digits(father),
    }
    kind = "birth" if attributes["role"] == "child" else "child_birth"
    return _fact(kind, subject, record, _required_date(record, "birthDate"), None, attributes)


def _marriage(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the day of registration up to the day of dissolution."""
    husband, wife = _optional_iin(record, "husbandIin"), _optional_iin(record, "wifeIin")
    role = _role(record, subject, {"husband": husband, "wife": wife})
    dissolved_on = _date(record, "dissolvedOn")
    attributes: dict[str, FactValue] = {
        "role": role,
        "husband_iin": _digits(husband),
        "wife_iin": _digits(wife),
        "spouse_iin": _digits(wife if role == "husband" else husband),
        "dissolved_on": None if dissolved_on is None else dissolved_on.isoformat(),
    }
    return _fact("marriage", subject, record, _required_date(record, "registeredOn"), dissolved_on, attributes)


def _death(record: etree._Element, subject: Iin) -> Fact:
    _role(record, subject, {"person": _iin(record, "personIin")})
    died_on = _required_date(record, "diedOn")
    return _fact("death", subject, record, died_on, None, {"died_on": died_on.isoformat()})


def _fact(
    kind: str,
    subject: Iin,
    record: etree._Element,
    begin: dt.date,
    end: dt.date | None,
    attributes: Mapping[str, FactValue],
) -> Fact:
    annulled_on = _date(record, "annulledOn")
    status = _known(record, "status", RECORD_STATUSES)
    if (status == "annulled") != (annulled_on is not None):
        raise MappingError(f"<status> of <{_name(record)}> and <annulledOn> contradict each other")
    common: dict[str, FactValue] = {
        "record_number": _required_text(record, "recordNumber"),
        "registered_on": _required_date(record, "registeredOn").isoformat(),
        "registered_by": _text(record, "registeredBy"),
        "status": status,
        "annulled_on": None if annulled_on is None else annulled_on.isoformat(),
    }
    return Fact(
        kind,
        subject,
        _required_text(record, "recordId"),
        begin,
        _end(begin, end, annulled_on),
        {**common, **attributes},
    )


def _role(record: etree._Element, subject: Iin, people: Mapping[str, Iin | None]) -> str:
    for role, person in people.items():
        if person == subject:
            return role
    raise MappingError(f"<{_name(record)}> is a record of other people: the person asked for is not in it")


# ---------------------------------------------------------------- reading and writing elements


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, name)
    element.text = text
    return element


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


def _children(parent: etree._Element, name: str) -> list[etree._Element]:
    return list(parent.iterchildren(f"{{*}}{name}"))  # in any namespace or in none


def _child(parent: etree._Element, name: str) -> etree._Element | None:
    found = _children(parent, name)
    if len(found) > 1:
        raise MappingError(f"<{name}> occurs more than once in <{_name(parent)}>")
    return found[0] if found else None


def _items(parent: etree._Element, name: str, item: str) -> list[etree._Element]:
    holder = _child(parent, name)
    return [] if holder is None else _children(holder, item)


def _required(parent: etree._Element, name: str) -> etree._Element:
    child = _child(parent, name)
    if child is None:
        raise MappingError(f"<{_name(parent)}> has no <{name}>")
    return child


def _leaf(element: etree._Element) -> str:
    if len(element):
        raise MappingError(f"<{_name(element)}> holds more than text")
    return (element.text or "").strip()


def _text(parent: etree._Element, name: str) -> str | None:
    child = _child(parent, name)
    return None if child is None else _leaf(child) or None


def _required_text(parent: etree._Element, name: str) -> str:
    text = _leaf(_required(parent, name))
    if not text:
        raise MappingError(f"<{name}> of <{_name(parent)}> is empty")
    return text


def _iin(parent: etree._Element, name: str) -> Iin:
    try:
        return Iin(_required_text(parent, name))
    except InvalidIdentifier as error:
        raise MappingError(f"<{name}> of <{_name(parent)}> is not valid: {error.why}") from None


def _optional_iin(parent: etree._Element, name: str) -> Iin | None:
    return None if _text(parent, name) is None else _iin(parent, name)


def _digits(iin: Iin | None) -> str | None:
    return None if iin is None else iin.value


def _date(parent: etree._Element, name: str) -> dt.date | None:
    return None if _text(parent, name) is None else _required_date(parent, name)


def _required_date(parent: etree._Element, name: str) -> dt.date:
    """An xs:date with or without a zone: the day is taken as it is written."""
    form = re.fullmatch(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:\d\d)?", _required_text(parent, name), re.ASCII)
    try:
        return dt.date.fromisoformat(form.group(1) if form else "")
    except ValueError:
        raise MappingError(f"<{name}> of <{_name(parent)}> is not a date") from None


def _known(parent: etree._Element, name: str, table: Mapping[str, str]) -> str:
    """The meaning of a code. Raises MappingError naming element and code."""
    code = _required_text(parent, name)
    if code not in table:
        raise _unknown_code(parent, name, code)
    return table[code]


def _unknown_code(parent: etree._Element, name: str, code: str) -> MappingError:
    # what does not look like a code may be personal
    is_code = re.fullmatch(r"(?!\d{12}$)[\w.-]{1,20}", code, re.ASCII)
    shown = repr(code) if is_code else f"(a text of {len(code)} characters)"
    return MappingError(f"<{name}> of <{_name(parent)}> has the code {shown}, whose meaning is not known")


def _end(begin: dt.date, *ends: dt.date | None) -> dt.date | None:
    """The earliest end; an end before the begin leaves nothing, which [begin, begin) says."""
    earliest = min((day for day in ends if day is not None), default=None)
    return None if earliest is None else max(begin, earliest)
