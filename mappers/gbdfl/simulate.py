"""What the sandbox answers in place of ГБД ФЛ. Invented people, invented documents and addresses."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid

from lxml import etree

from gateway.errors import InvalidIdentifier
from gateway.model import Citizen, Household, Iin, Sex

MESSAGE = "http://message.persistence.interactive.nat"
_ADULT_AGE = 16  # an identity card is issued from this age
_NAMESPACE = uuid.UUID("6b1c8f7e-2f0a-5c7e-9d43-0b8e5a1f7c01")

_KAZAKHSTAN = ("398", "КАЗАХСТАН", "ҚАЗАҚСТАН")
_KAZAKH = ("005", "КАЗАХ", "ҚАЗАҚ")
_GENDERS = {Sex.MALE: ("1", "Мужской", "Ер"), Sex.FEMALE: ("2", "Женский", "Әйел")}
_ALIVE, _DECEASED = ("0", "Нормальный", "Қалыпты"), ("3", "Умерший", "Қайтыс болған")
_IDENTITY_CARD = ("002", "УДОСТОВЕРЕНИЕ РК", "ҚР ЖЕКЕ КУӘЛІГІ")
_ISSUER = ("002", "МВД РК", "ҚР ІІМ")
_VALID, _DEATH_RECORD = ("00", "ДОКУМЕНТ ДЕЙСТВИТЕЛЕН", "ЖАРАМДЫ"), ("18", "ИЗМЕНЕНИЕ ЗАПИСИ О СМЕРТИ", "ӨЛІМ ЖАЗБАСЫ")
_STREETS = ("Ойдан шығарылған", "Үлгі", "Сынақ")


def answer_request(request: etree._Element, household: Household | None, *, now: dt.datetime) -> etree._Element:
    """The register's answer about the person whose IIN is asked; without a person when the household has none."""
    asked = {etree.QName(field).localname: field.text or "" for field in request}
    response = etree.Element(f"{{{MESSAGE}}}Response", nsmap={"cs": MESSAGE})
    _add(response, "messageId", str(uuid.uuid5(_NAMESPACE, asked["messageId"])))
    _add(response, "messageDate", now.isoformat(timespec="milliseconds"))
    _add(response, "requestId", asked["messageId"])
    _value(response, "sender", ("GBDFL", "ГБД ФЛ", "ЖТ МДҚ"))
    _value(response, "receiver", (asked.get("senderCode", ""), "Участник", "Қатысушы"))
    _value(response, "messageResult", ("00000", "Сообщение обработано успешно", "Хабарлама сәтті өңделді"))
    citizen = _citizen(household, asked.get("iin", ""))
    if household is not None and citizen is not None:
        _person(_add(response, "persons"), citizen, _died_on(household, citizen), now.date())
    return response


def _citizen(household: Household | None, iin: str) -> Citizen | None:
    try:
        return None if household is None else household.citizen(Iin(iin))
    except InvalidIdentifier:
        return None


def _died_on(household: Household, citizen: Citizen) -> dt.date | None:
    recorded = (death.died_on for death in household.deaths if death.person == citizen.iin)
    return citizen.death_date or next(recorded, None)


def _person(persons: etree._Element, citizen: Citizen, died_on: dt.date | None, today: dt.date) -> None:
    person = _add(persons, "person")
    _add(person, "iin", citizen.iin.value)
    _add(person, "surname", citizen.surname)
    _add(person, "name", citizen.name)
    if citizen.patronymic:
        _add(person, "patronymic", citizen.patronymic)
    _add(person, "birthDate", citizen.iin.birth_date.isoformat())
    if died_on:
        _add(person, "deathDate", died_on.isoformat())
    _value(person, "gender", _GENDERS[citizen.iin.sex])
    _value(person, "nationality", _KAZAKH)
    _value(person, "citizenship", _KAZAKHSTAN)
    _value(person, "lifeStatus", _DECEASED if died_on else _ALIVE)
    birth_place = _add(person, "birthPlace")
    _value(birth_place, "country", _KAZAKHSTAN)
    _add(birth_place, "city", "АСТАНА")
    address = _add(person, "regAddress")
    _value(address, "country", _KAZAKHSTAN)
    _add(address, "city", "АСТАНА")
    _add(address, "street", _STREETS[_number(citizen, "street") % len(_STREETS)])
    _add(address, "building", str(_number(citizen, "building") % 90 + 1))
    _value(address, "status", ("1", "Зарегистрирован", "Тіркелген"))
    _value(address, "invalidity", ("0", "Нет", "Жоқ"))
    documents = _add(person, "documents")
    coming_of_age = _anniversary(citizen.iin.birth_date, _ADULT_AGE)
    if coming_of_age <= (died_on or today):
        _identity_card(documents, citizen, coming_of_age, died_on, today)
    _add(person, "addresses")
    _add(person, "removed", "false")


def _identity_card(
    documents: etree._Element, citizen: Citizen, first_issue: dt.date, died_on: dt.date | None, today: dt.date
) -> None:
    """A card of ten years, the last one renewed before `today` (or before the death)."""
    until = died_on or today
    issued = first_issue
    while (expires := _anniversary(issued, 10)) <= until:
        issued = expires
    document = _add(documents, "document")
    _value(document, "type", _IDENTITY_CARD)
    # nine digits that begin with 99: no real card does
    _add(document, "number", f"99{_number(citizen, 'card') % 10_000_000:07d}")
    _add(document, "beginDate", issued.isoformat())
    _add(document, "endDate", (expires - dt.timedelta(days=1)).isoformat())
    _value(document, "issueOrganization", _ISSUER)
    _value(document, "status", _DEATH_RECORD if died_on else _VALID)
    if died_on:
        _add(document, "invalidityDate", died_on.isoformat())
    _add(document, "surname", citizen.surname)
    _add(document, "name", citizen.name)
    _add(document, "birthDate", citizen.iin.birth_date.isoformat())


def _number(citizen: Citizen, purpose: str) -> int:
    """The same invented number for the same person every time."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{citizen.iin.value}".encode()).digest()[:4], "big")


def _anniversary(day: dt.date, years: int) -> dt.date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return dt.date(day.year + years, 3, 1)


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, name)
    element.text = text
    return element


def _value(parent: etree._Element, name: str, value: tuple[str, str, str]) -> None:
    element = _add(parent, name)
    for field, text in zip(("code", "nameRu", "nameKz"), value, strict=True):
        _add(element, field, text)
