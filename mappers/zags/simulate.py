"""What the sandbox answers in place of АХАЖ (ЗАГС). Invented people only."""

from __future__ import annotations

import datetime as dt
import uuid

from lxml import etree

from gateway.model import Household, Iin

NAMESPACE = "urn:shep-gateway:draft:civil-records:1"
# the register holds what was registered after these days (catalogue, thresholds of order No. 407)
BIRTHS_AFTER = dt.date(2007, 8, 13)
MARRIAGES_AFTER = dt.date(2008, 6, 1)
DEATHS_AFTER = dt.date(2008, 5, 1)
_IDS = uuid.UUID("0f2b9a54-6f5e-5a0e-8f0b-3f1f0f8f2d02")


def answer_request(request: etree._Element, household: Household | None, *, now: dt.datetime) -> etree._Element:
    """The records of the types asked, as far as they were registered after the register began."""
    asked = {etree.QName(field).localname: field.text or "" for field in request}
    response = etree.Element(f"{{{NAMESPACE}}}Response", nsmap={"zags": NAMESPACE})
    _add(response, "responseId", str(uuid.uuid5(_IDS, asked["requestId"])))
    _add(response, "responseDate", now.isoformat(timespec="milliseconds"))
    _add(response, "requestId", asked["requestId"])
    _add(response, "iin", asked["iin"])
    code = _add(_add(response, "result"), "code")
    wanted = [field.text or "" for field in request.iter("recordType")]
    types = _add(response, "recordTypes")
    for record_type in wanted:
        _add(types, "recordType", record_type)
    if household is not None:
        _births(response, household, asked["iin"], wanted)
        if "MARRIAGE" in wanted:
            _marriages(response, household, asked["iin"])
        if "DEATH" in wanted:
            _deaths(response, household, asked["iin"])
    found = any(len(holder) for holder in response.iterchildren("births", "marriages", "deaths"))
    code.text = "FOUND" if found else "NOT_FOUND"
    return response


def _births(response: etree._Element, household: Household, iin: str, wanted: list[str]) -> None:
    holder = _add(response, "births")
    for birth in household.births:
        parents = [parent.value for parent in (birth.mother, birth.father) if parent]
        own = "BIRTH" in wanted and birth.child.value == iin
        child_of = "CHILD_BIRTH" in wanted and iin in parents
        if birth.registered_on > BIRTHS_AFTER and (own or child_of):
            record = _record(holder, "birth", birth.record_number, birth.child, birth.registered_on)
            _add(record, "birthDate", birth.child.birth_date.isoformat())
            _add(record, "childIin", birth.child.value)
            for name, parent in (("motherIin", birth.mother), ("fatherIin", birth.father)):
                if parent is not None:
                    _add(record, name, parent.value)


def _marriages(response: etree._Element, household: Household, iin: str) -> None:
    holder = _add(response, "marriages")
    for marriage in household.marriages:
        if marriage.registered_on > MARRIAGES_AFTER and iin in (marriage.husband.value, marriage.wife.value):
            record = _record(holder, "marriage", marriage.record_number, marriage.wife, marriage.registered_on)
            _add(record, "husbandIin", marriage.husband.value)
            _add(record, "wifeIin", marriage.wife.value)
            if marriage.dissolved_on:
                _add(record, "dissolvedOn", marriage.dissolved_on.isoformat())


def _deaths(response: etree._Element, household: Household, iin: str) -> None:
    holder = _add(response, "deaths")
    for death in household.deaths:
        if death.registered_on > DEATHS_AFTER and iin == death.person.value:
            record = _record(holder, "death", death.record_number, death.person, death.registered_on)
            _add(record, "personIin", death.person.value)
            _add(record, "diedOn", death.died_on.isoformat())


def _record(holder: etree._Element, name: str, number: str, person: Iin, registered_on: dt.date) -> etree._Element:
    record = _add(holder, name)
    # one act may record twins: the id tells them apart
    _add(record, "recordId", str(uuid.uuid5(_IDS, f"{name}:{number}:{person.value}")))
    _add(record, "recordNumber", number)
    _add(record, "registeredOn", registered_on.isoformat())
    _add(record, "registeredBy", "Ойдан шығарылған тіркеуші орган")
    _add(record, "status", "ACTIVE")
    return record


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, name)
    element.text = text
    return element
