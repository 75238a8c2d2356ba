"""ГБД ФЛ (ЖТМД), the state database of natural persons: the documented Person schema (SHEP.md 6.1).

Answers are read by local name and in any order: real ones carry elements that no published XSD has, empty
lists and xsi:nil. What we do not know is left out; what we depend on and do not know is an error.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway.errors import InvalidIdentifier, MappingError
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Query

MESSAGE: Final = "http://message.persistence.interactive.nat"
_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"

# The register's dictionaries are not public as a whole: these are the codes seen in real answers (SHEP.md 6.1).
# A code that is missing here is an error that names it; whoever learns its meaning adds a row.
MESSAGE_RESULTS: Final = frozenset({"00000"})
# 1 is assumed: the other value of a two-valued dictionary
GENDERS: Final = {"1": "m", "2": "f"}
# 3 is assumed: seen in a statistics extract of this register only
LIFE_STATUSES: Final = {"0": "alive", "3": "deceased"}
DOCUMENT_TYPES: Final = {"001": "passport", "002": "identity_card", "015": "foreign_passport"}
DOCUMENT_STATUSES: Final = {"00": "valid", "07": "unfit", "17": "replaced", "18": "death_record_changed"}
REGISTRATION_STATUSES: Final = {"1": "registered"}
REGISTRATION_INVALIDITIES: Final = {"0": "not_invalid"}

#: kinds of which an answer always lists everything: they are fields of the one person
_FIELDS_OF_PERSON: Final = (
    "person",
    "death",
    "residence_registration",
    "capacity",
    "exclusion",
    "imprisonment",
    "missing",
    "disappearance",
    "repatriation",
)


def build_request(query: Query) -> etree._Element:
    """The question about one person by IIN; with the consent's token and key where the query has one."""
    request = etree.Element(f"{{{MESSAGE}}}Request", nsmap={"cs": MESSAGE})
    fields = {
        "messageId": query.message_id,
        "messageDate": query.created_at.isoformat(timespec="milliseconds"),
        "senderCode": query.requester,
        "iin": query.subject.value,
    }
    if query.consent is not None:
        fields |= {"kdpToken": query.consent.token, "publicKey": query.consent.public_key}
    for name, text in fields.items():
        etree.SubElement(request, name).text = text
    return request


def read_response(response: etree._Element) -> Answer:
    """Facts about the one person of the answer. Raises MappingError naming the element and the code.

    An answer that is "ok" and has no person is read as "not found"; that is assumed (no such answer is
    public), so it never makes earlier facts disappear: `complete_for` stays empty.
    """
    result = _code(_required(response, "messageResult"))
    if result not in MESSAGE_RESULTS:
        raise MappingError(f"<messageResult> has the code {_shown(result)}, whose meaning is not known")
    answers = _text(response, "requestId") or ""
    persons = _list(response, "persons", "person")
    if not persons:
        return Answer(Outcome.NOT_FOUND, answers_message_id=answers)
    if len(persons) > 1:
        raise MappingError(f"<persons> holds {len(persons)} persons; one was asked about")
    person = persons[0]
    subject = _iin(person)
    documents = _list(person, "documents", "document")
    addresses = _list(person, "addresses", "address")
    facts = [_person(person, subject)]
    facts += _death(person, subject)
    facts += _residence_registration(person, subject)
    facts += [_identity_document(document, subject) for document in documents or ()]
    facts += [_address(address, place, subject) for place, address in enumerate(addresses or (), start=1)]
    facts += _statuses(person, subject)
    # an absent list is not an empty one: only a list that is there says "these and no others"
    listed = [kind for kind, items in (("identity_document", documents), ("address", addresses)) if items is not None]
    return Answer(Outcome.FOUND, tuple(facts), (*_FIELDS_OF_PERSON, *listed), answers)


# ---------------------------------------------------------------- facts


def _person(person: etree._Element, subject: Iin) -> Fact:
    birth_date = _required_date(person, "birthDate")
    death_date = _date(person, "deathDate")
    life_status = _known(person, "lifeStatus", LIFE_STATUSES)
    if death_date is not None and life_status == "alive":
        raise MappingError("<deathDate> and <lifeStatus> of the person contradict each other: code 0 is not a death")
    birth_place = _child(person, "birthPlace")
    birth_certificate = _child(person, "birthCertificate")
    attributes: dict[str, FactValue] = {
        "surname": _text(person, "surname"),
        "name": _text(person, "name"),
        "patronymic": _text(person, "patronymic"),
        "latin_surname": _text(person, "engSurname"),
        "latin_name": _text(person, "engFirstName"),
        "birth_date": birth_date.isoformat(),
        "sex": _known(person, "gender", GENDERS),
        **_open(person, "nationality"),
        **_open(person, "citizenship"),
        "life_status": life_status,
        "death_date": _iso(death_date),
        **{f"birth_{key}": value for key, value in _place(birth_place).items()},
        "birth_certificate_number": _text(birth_certificate, "number"),
        "removed_from_register": _flag(person, "removed"),
    }
    return Fact("person", subject, "person", birth_date, None, attributes)


def _death(person: etree._Element, subject: Iin) -> list[Fact]:
    died_on = _date(person, "deathDate")
    if died_on is None:
        return []
    certificate = _child(person, "deathCertificate")
    attributes: dict[str, FactValue] = {
        "died_on": died_on.isoformat(),
        "certificate_number": _text(certificate, "number"),
        "certificate_issued_on": _iso(_date(certificate, "beginDate")),
    }
    return [Fact("death", subject, "death", died_on, None, attributes)]


def _residence_registration(person: etree._Element, subject: Iin) -> list[Fact]:
    address = _child(person, "regAddress")
    if address is None or not len(address):
        return []
    if _child(address, "invalidity") is not None:
        _known(address, "invalidity", REGISTRATION_INVALIDITIES)
    has_status = _child(address, "status") is not None
    attributes = {
        **_postal(address),
        "status": _known(address, "status", REGISTRATION_STATUSES) if has_status else None,
    }
    begin, end = _date(address, "beginDate"), _date(address, "endDate")
    return [Fact("residence_registration", subject, "residence_registration", begin, _end(begin, end), attributes)]


def _address(address: etree._Element, place: int, subject: Iin) -> Fact:
    attributes = {**_open(address, "type"), **_postal(address)}
    key = f"{attributes['type_code']}:{place}"
    begin, end = _date(address, "beginDate"), _date(address, "endDate")
    return Fact("address", subject, key, begin, _end(begin, end), attributes)


def _identity_document(document: etree._Element, subject: Iin) -> Fact:
    """Valid through its last printed day, and never past the day on which it became invalid."""
    type_name = _known(document, "type", DOCUMENT_TYPES)
    number = _required_text(document, "number")
    expires_on, invalid_since = _date(document, "endDate"), _date(document, "invalidityDate")
    begin, ends = _required_date(document, "beginDate"), (_next_day(expires_on), invalid_since)
    attributes: dict[str, FactValue] = {
        "type": type_name,
        "number": number,
        "series": _text(document, "series"),
        "issued_on": begin.isoformat(),
        "expires_on": _iso(expires_on),
        **_open(document, "issueOrganization", "issuer"),
        "status": _known(document, "status", DOCUMENT_STATUSES),
        "invalid_since": _iso(invalid_since),
        "surname": _text(document, "surname"),
        "name": _text(document, "name"),
        "patronymic": _text(document, "patronymic"),
    }
    return Fact("identity_document", subject, f"{type_name}:{number}", begin, _end(begin, *ends), attributes)


def _statuses(person: etree._Element, subject: Iin) -> list[Fact]:
    """What courts, police and migration services have told the register; the codes are kept, not interpreted."""
    found: list[Fact] = []

    def add(kind: str, valid_from: dt.date | None, valid_to: dt.date | None, attributes: dict[str, FactValue]) -> None:
        found.append(Fact(kind, subject, kind, valid_from, _end(valid_from, valid_to), attributes))

    if (status := _child(person, "personCapableStatus")) is not None:
        add(
            "capacity",
            _required_date(status, "capableDate"),
            _date(status, "capableEndDate"),
            {
                **_open(status, "capableStatus", "status"),
                "decision_number": _text(status, "capableNumber"),
                **_open(status, "court"),
            },
        )
    if (status := _child(person, "excludeStatus")) is not None:
        reason_date = _date(status, "excludeReasonDate")
        add(
            "exclusion",
            _date(status, "excludeDate") or reason_date,
            None,
            {
                **_open(status, "excludeReason", "reason"),
                "reason_date": _iso(reason_date),
                **_open(status, "excludeParticipant", "reported_by"),
            },
        )
    if (status := _child(person, "imprisonedStatus")) is not None:
        begin, end = _date(status, "imprisonedBeginDate"), _date(status, "imprisonedEndDate")
        add("imprisonment", begin, end, _open(status, "imprisonedStatus", "status"))
    for element, name, kind in (
        ("missingStatus", "missing", "missing"),
        ("disappearStatus", "disappear", "disappearance"),
    ):
        if (status := _child(person, element)) is not None and _flag(status, name):
            add(
                kind,
                _required_date(status, f"{name}Date"),
                _date(status, f"{name}EndDate"),
                {"decision_number": _text(status, f"{name}Number"), **_open(status, "gpTerritorial", "authority")},
            )
    if (status := _child(person, "repatriationStatus")) is not None:
        begin, end = _date(status, "repatriationDate"), _date(status, "repatriationEndDate")
        attributes: dict[str, FactValue] = {
            **_open(status, "repatriationStatus", "status"),
            "decision_number": _text(status, "repatriationNumber"),
            **_open(status, "repatriationOrg", "authority"),
            **_open(status, "repatriationReason", "reason"),
        }
        add("repatriation", begin, end, attributes)
    return found


def _postal(address: etree._Element) -> dict[str, FactValue]:
    lines = {name: _text(address, name) for name in ("street", "building", "corpus", "flat")}
    return {**_place(address), **lines, "ar_code": _text(address, "arCode")}


def _place(place: etree._Element | None) -> dict[str, FactValue]:
    foreign = _child(place, "foreignData")
    return {
        **_open(place, "country"),
        **_open(place, "district"),
        **_open(place, "region"),
        "foreign_district": _text(foreign, "districtName"),
        "foreign_region": _text(foreign, "regionName"),
        "city": _text(place, "city"),
    }


# ---------------------------------------------------------------- reading elements


def _children(parent: etree._Element, name: str) -> list[etree._Element]:
    return list(parent.iterchildren(f"{{*}}{name}"))  # in any namespace or in none


def _child(parent: etree._Element | None, name: str) -> etree._Element | None:
    """The one child of that name; None when absent or xsi:nil."""
    found = [] if parent is None else _children(parent, name)
    if len(found) > 1:
        raise MappingError(f"<{name}> occurs more than once")
    if not found or found[0].get(_NIL, "").strip() in ("true", "1"):
        return None
    return found[0]


def _required(parent: etree._Element, name: str) -> etree._Element:
    child = _child(parent, name)
    if child is None:
        raise MappingError(f"<{etree.QName(parent).localname}> has no <{name}>")
    return child


def _list(parent: etree._Element, name: str, item: str) -> list[etree._Element] | None:
    """The items of a list element; None when the list itself is absent."""
    holder = _child(parent, name)
    return None if holder is None else _children(holder, item)


def _leaf(element: etree._Element) -> str | None:
    if len(element):
        raise MappingError(f"<{etree.QName(element).localname}> holds more than text")
    return (element.text or "").strip() or None


def _text(parent: etree._Element | None, name: str) -> str | None:
    child = _child(parent, name)
    return None if child is None else _leaf(child)


def _required_text(parent: etree._Element, name: str) -> str:
    text = _leaf(_required(parent, name))
    if text is None:
        raise MappingError(f"<{name}> is empty")
    return text


def _iin(person: etree._Element) -> Iin:
    try:
        return Iin(_required_text(person, "iin"))
    except InvalidIdentifier as error:
        raise MappingError(f"<iin> of the person is not valid: {error.why}") from None


def _date(parent: etree._Element | None, name: str) -> dt.date | None:
    """An xs:date, or an xs:dateTime at midnight, with or without a zone: the day is taken as it is written."""
    text = _text(parent, name)
    if text is None:
        return None
    form = re.fullmatch(r"(\d{4}-\d\d-\d\d)(T00:00:00(\.0+)?)?(Z|[+-]\d\d:?\d\d)?", text, re.ASCII)
    try:
        return dt.date.fromisoformat(form.group(1) if form else "")
    except ValueError:
        raise MappingError(f"<{name}> is not a date") from None


def _required_date(parent: etree._Element, name: str) -> dt.date:
    _required(parent, name)
    day = _date(parent, name)
    if day is None:
        raise MappingError(f"<{name}> is empty")
    return day


def _flag(parent: etree._Element, name: str) -> bool:
    text = _text(parent, name)
    if text not in (None, "true", "false", "1", "0"):
        raise MappingError(f"<{name}> is neither true nor false")
    return text in ("true", "1")


def _code(value: etree._Element) -> str:
    return _required_text(value, "code")


def _known(parent: etree._Element, name: str, table: Mapping[str, str]) -> str:
    """The meaning of a dictionary value that we depend on. Raises MappingError naming element and code."""
    code = _code(_required(parent, name))
    if code not in table:
        owner = etree.QName(parent).localname
        raise MappingError(f"<{name}> of <{owner}> has the code {_shown(code)}, whose meaning is not known")
    return table[code]


def _open(parent: etree._Element | None, name: str, attribute: str = "") -> dict[str, FactValue]:
    """A dictionary value of which any code is kept as it is, with the register's own names for it."""
    value = _child(parent, name)
    attribute = attribute or name
    return {
        f"{attribute}_code": _text(value, "code"),
        f"{attribute}_kk": _text(value, "nameKz"),
        f"{attribute}_ru": _text(value, "nameRu"),
    }


def _shown(code: str) -> str:
    """A code as an error may show it: what does not look like one may be personal."""
    return repr(code) if re.fullmatch(r"[\w.-]{1,10}", code, re.ASCII) else f"(a text of {len(code)} characters)"


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _next_day(day: dt.date | None) -> dt.date | None:
    return None if day is None or day == dt.date.max else day + dt.timedelta(days=1)


def _end(begin: dt.date | None, *ends: dt.date | None) -> dt.date | None:
    """The earliest end; an end before the begin leaves nothing, which [begin, begin) says."""
    earliest = min((day for day in ends if day is not None), default=None)
    return earliest if begin is None or earliest is None else max(begin, earliest)
