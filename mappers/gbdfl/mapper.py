"""ГБД ФЛ (ЖТМД), the state database of natural persons: the documented Person schema (SHEP.md 6.1).

Answers are read by local name and in any order: real ones carry elements that no published XSD has, empty
lists and xsi:nil. What we do not know is left out; what we depend on and do not know is an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway import fields
from gateway.errors import MappingError
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
# Drafts: no answer with a permit to stay is public, and standing rests on these (docs/decisions/0068). So a code counts
# only while the register's own Russian name of it says the same; otherwise it is as unknown as any other.
DRAFT_DOCUMENT_TYPES: Final = {
    "003": ("residence_permit", "ВИД НА ЖИТЕЛЬСТВО"),
    "004": ("stateless_certificate", "ЛИЦА БЕЗ ГРАЖДАНСТВА"),
}
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
    result = fields.required_text(fields.required(response, "messageResult"), "code")
    if result not in MESSAGE_RESULTS:
        raise fields.unknown_code(response, "messageResult", result)
    answers = fields.text(response, "requestId") or ""
    persons = fields.items(response, "persons", "person")
    if not persons:
        return Answer(Outcome.NOT_FOUND, answers_message_id=answers)
    if len(persons) > 1:
        raise MappingError(f"<persons> holds {len(persons)} persons; one was asked about")
    person = persons[0]
    subject = fields.iin(person, "iin")
    documents = fields.items(person, "documents", "document")
    addresses = fields.items(person, "addresses", "address")
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
    birth_date = fields.required_date(person, "birthDate")
    death_date = fields.date(person, "deathDate")
    life_status = _meaning(person, "lifeStatus", LIFE_STATUSES)
    if death_date is not None and life_status == "alive":
        raise MappingError("<deathDate> and <lifeStatus> of the person contradict each other: code 0 is not a death")
    birth_place = fields.child(person, "birthPlace")
    birth_certificate = fields.child(person, "birthCertificate")
    attributes: dict[str, FactValue] = {
        "surname": fields.text(person, "surname"),
        "name": fields.text(person, "name"),
        "patronymic": fields.text(person, "patronymic"),
        "latin_surname": fields.text(person, "engSurname"),
        "latin_name": fields.text(person, "engFirstName"),
        "birth_date": birth_date.isoformat(),
        "sex": _meaning(person, "gender", GENDERS),
        **_open(person, "nationality"),
        **_open(person, "citizenship"),
        "life_status": life_status,
        "death_date": _iso(death_date),
        **{f"birth_{key}": value for key, value in _place(birth_place).items()},
        "birth_certificate_number": fields.text(birth_certificate, "number"),
        "removed_from_register": _flag(person, "removed"),
    }
    return Fact("person", subject, "person", birth_date, None, attributes)


def _death(person: etree._Element, subject: Iin) -> list[Fact]:
    died_on = fields.date(person, "deathDate")
    if died_on is None:
        return []
    certificate = fields.child(person, "deathCertificate")
    attributes: dict[str, FactValue] = {
        "died_on": died_on.isoformat(),
        "certificate_number": fields.text(certificate, "number"),
        "certificate_issued_on": _iso(fields.date(certificate, "beginDate")),
    }
    return [Fact("death", subject, "death", died_on, None, attributes)]


def _residence_registration(person: etree._Element, subject: Iin) -> list[Fact]:
    address = fields.child(person, "regAddress")
    if address is None or not len(address):
        return []
    if fields.child(address, "invalidity") is not None:
        _meaning(address, "invalidity", REGISTRATION_INVALIDITIES)
    has_status = fields.child(address, "status") is not None
    attributes = {
        **_postal(address),
        "status": _meaning(address, "status", REGISTRATION_STATUSES) if has_status else None,
    }
    begin, end = fields.date(address, "beginDate"), fields.date(address, "endDate")
    return [
        Fact("residence_registration", subject, "residence_registration", begin, fields.end_of(begin, end), attributes)
    ]


def _address(address: etree._Element, place: int, subject: Iin) -> Fact:
    attributes = {**_open(address, "type"), **_postal(address)}
    key = f"{attributes['type_code']}:{place}"
    begin, end = fields.date(address, "beginDate"), fields.date(address, "endDate")
    return Fact("address", subject, key, begin, fields.end_of(begin, end), attributes)


def _identity_document(document: etree._Element, subject: Iin) -> Fact:
    """Valid through its last printed day, and never past the day on which it became invalid."""
    type_name = _document_type(document)
    number = fields.required_text(document, "number")
    expires_on, invalid_since = fields.date(document, "endDate"), fields.date(document, "invalidityDate")
    begin, ends = fields.required_date(document, "beginDate"), (fields.next_day(expires_on), invalid_since)
    attributes: dict[str, FactValue] = {
        "type": type_name,
        "number": number,
        "series": fields.text(document, "series"),
        "issued_on": begin.isoformat(),
        "expires_on": _iso(expires_on),
        **_open(document, "issueOrganization", "issuer"),
        "status": _meaning(document, "status", DOCUMENT_STATUSES),
        "invalid_since": _iso(invalid_since),
        "surname": fields.text(document, "surname"),
        "name": fields.text(document, "name"),
        "patronymic": fields.text(document, "patronymic"),
    }
    return Fact("identity_document", subject, f"{type_name}:{number}", begin, fields.end_of(begin, *ends), attributes)


def _document_type(document: etree._Element) -> str:
    value = fields.required(document, "type")
    drafted, words = DRAFT_DOCUMENT_TYPES.get(fields.required_text(value, "code"), ("", ""))
    if drafted and words in (fields.text(value, "nameRu") or "").upper():
        return drafted
    return _meaning(document, "type", DOCUMENT_TYPES)


def _statuses(person: etree._Element, subject: Iin) -> list[Fact]:
    """What courts, police and migration services have told the register; the codes are kept, not interpreted."""
    found: list[Fact] = []

    def add(kind: str, valid_from: dt.date | None, valid_to: dt.date | None, attributes: dict[str, FactValue]) -> None:
        found.append(Fact(kind, subject, kind, valid_from, fields.end_of(valid_from, valid_to), attributes))

    if (status := fields.child(person, "personCapableStatus")) is not None:
        add(
            "capacity",
            fields.required_date(status, "capableDate"),
            fields.date(status, "capableEndDate"),
            {
                **_open(status, "capableStatus", "status"),
                "decision_number": fields.text(status, "capableNumber"),
                **_open(status, "court"),
            },
        )
    if (status := fields.child(person, "excludeStatus")) is not None:
        reason_date = fields.date(status, "excludeReasonDate")
        add(
            "exclusion",
            fields.date(status, "excludeDate") or reason_date,
            None,
            {
                **_open(status, "excludeReason", "reason"),
                "reason_date": _iso(reason_date),
                **_open(status, "excludeParticipant", "reported_by"),
            },
        )
    if (status := fields.child(person, "imprisonedStatus")) is not None:
        begin, end = fields.date(status, "imprisonedBeginDate"), fields.date(status, "imprisonedEndDate")
        add("imprisonment", begin, end, _open(status, "imprisonedStatus", "status"))
    for element, name, kind in (
        ("missingStatus", "missing", "missing"),
        ("disappearStatus", "disappear", "disappearance"),
    ):
        if (status := fields.child(person, element)) is not None and _flag(status, name):
            add(
                kind,
                fields.required_date(status, f"{name}Date"),
                fields.date(status, f"{name}EndDate"),
                {
                    "decision_number": fields.text(status, f"{name}Number"),
                    **_open(status, "gpTerritorial", "authority"),
                },
            )
    if (status := fields.child(person, "repatriationStatus")) is not None:
        begin, end = fields.date(status, "repatriationDate"), fields.date(status, "repatriationEndDate")
        attributes: dict[str, FactValue] = {
            **_open(status, "repatriationStatus", "status"),
            "decision_number": fields.text(status, "repatriationNumber"),
            **_open(status, "repatriationOrg", "authority"),
            **_open(status, "repatriationReason", "reason"),
        }
        add("repatriation", begin, end, attributes)
    return found


def _postal(address: etree._Element) -> dict[str, FactValue]:
    lines = {name: fields.text(address, name) for name in ("street", "building", "corpus", "flat")}
    return {**_place(address), **lines, "ar_code": fields.text(address, "arCode")}


def _place(place: etree._Element | None) -> dict[str, FactValue]:
    foreign = fields.child(place, "foreignData")
    return {
        **_open(place, "country"),
        **_open(place, "district"),
        **_open(place, "region"),
        "foreign_district": fields.text(foreign, "districtName"),
        "foreign_region": fields.text(foreign, "regionName"),
        "city": fields.text(place, "city"),
    }


# ---------------------------------------------------------------- reading elements


def _flag(parent: etree._Element, name: str) -> bool:
    text = fields.text(parent, name)
    if text not in (None, "true", "false", "1", "0"):
        raise MappingError(f"<{name}> is neither true nor false")
    return text in ("true", "1")


def _meaning(parent: etree._Element, name: str, table: Mapping[str, str]) -> str:
    """The meaning of a dictionary value that we depend on. Raises MappingError naming element and code."""
    code = fields.required_text(fields.required(parent, name), "code")
    if code not in table:
        raise fields.unknown_code(parent, name, code)
    return table[code]


def _open(parent: etree._Element | None, name: str, attribute: str = "") -> dict[str, FactValue]:
    """A dictionary value of which any code is kept as it is, with the register's own names for it."""
    value = fields.child(parent, name)
    attribute = attribute or name
    return {
        f"{attribute}_code": fields.text(value, "code"),
        f"{attribute}_kk": fields.text(value, "nameKz"),
        f"{attribute}_ru": fields.text(value, "nameRu"),
    }


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()
