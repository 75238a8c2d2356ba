"""Е-Қорғаншылық, the register of guardianship, trusteeship and adoption.

The wire format is this project's draft: none is public (SHEP.md 6.7).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway.errors import InvalidIdentifier, MappingError
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Query, Rejection, outcome_of

NAMESPACE: Final = "urn:shep-gateway:draft:guardianship:1"

#: act type → (fact kind, form)
ACT_TYPES: Final = {
    "GUARDIANSHIP": ("guardianship", "guardianship"),
    "TRUSTEESHIP": ("guardianship", "trusteeship"),
    "ADOPTION": ("adoption", "adoption"),
}
RECORD_STATUSES: Final = {"ACTIVE": "active", "TERMINATED": "terminated"}
KINDS: Final = ("guardianship", "adoption")


def build_request(query: Query) -> etree._Element:
    """The question about one person: every act in which the person is the ward or the guardian."""
    request = etree.Element(f"{{{NAMESPACE}}}Request", nsmap={"egd": NAMESPACE})
    _add(request, "requestId", query.message_id)
    _add(request, "requestDate", query.created_at.isoformat(timespec="milliseconds"))
    _add(request, "senderCode", query.requester)
    _add(request, "iin", query.subject.value)
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
    facts = tuple(_act(record, subject) for record in _items(response, "acts", "act"))
    if (code == "FOUND") != bool(facts):
        raise MappingError(f"<code> of <result> says {code} and the answer lists {len(facts)} records")
    return Answer(outcome_of(facts, KINDS, KINDS), facts, KINDS, answers, about=subject)


def _act(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the day of the act through its last day, and not past the day of termination."""
    code = _required_text(record, "actType")
    if code not in ACT_TYPES:
        raise _unknown_code(record, "actType", code)
    kind, form = ACT_TYPES[code]
    ward, guardian = _iin(record, "wardIin"), _iin(record, "guardianIin")
    if subject not in (ward, guardian):
        raise MappingError("<act> is an act about other people: the person asked for is not in it")
    begin, last_day = _required_date(record, "actDate"), _date(record, "endDate")
    terminated_on = _date(record, "terminatedOn")
    status = _known(record, "status", RECORD_STATUSES)
    if (status == "terminated") != (terminated_on is not None):
        raise MappingError("<status> and <terminatedOn> of <act> contradict each other")
    end = _end(begin, _next_day(last_day), terminated_on)
    attributes: dict[str, FactValue] = {
        "form": form,
        "role": "ward" if subject == ward else "guardian",
        "ward_iin": ward.value,
        "guardian_iin": guardian.value,
        "act_number": _required_text(record, "actNumber"),
        "act_date": begin.isoformat(),
        "authority": _required_text(record, "authority"),
        "last_day": None if last_day is None else last_day.isoformat(),
        "status": status,
        "terminated_on": None if terminated_on is None else terminated_on.isoformat(),
    }
    return Fact(kind, subject, _required_text(record, "actId"), begin, end, attributes)


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


def _next_day(day: dt.date | None) -> dt.date | None:
    return None if day is None or day == dt.date.max else day + dt.timedelta(days=1)


def _end(begin: dt.date, *ends: dt.date | None) -> dt.date | None:
    """The earliest end; an end before the begin leaves nothing, which [begin, begin) says."""
    earliest = min((day for day in ends if day is not None), default=None)
    return None if earliest is None else max(begin, earliest)
