"""МОДБ (ЦБДИ), the central data bank of persons with disabilities.

The wire format is this project's draft: none is public (SHEP.md 6.5). The group codes are those of the only
public view of the data bank.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway.errors import InvalidIdentifier, MappingError
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Query, Rejection, outcome_of

NAMESPACE: Final = "urn:shep-gateway:draft:disability:1"

#: group code → (group, group of a child that has one); 4 and 9 are a child without a group
GROUPS: Final[Mapping[str, tuple[str, str | None]]] = {
    "1": ("1", None),
    "2": ("2", None),
    "3": ("3", None),
    "4": ("child", None),
    "9": ("child", None),
    "6": ("child", "1"),
    "7": ("child", "2"),
    "8": ("child", "3"),
}
RECORD_STATUSES: Final = {"ACTIVE": "active", "TERMINATED": "terminated"}
KIND: Final = "disability"


def build_request(query: Query) -> etree._Element:
    """The question about one person: every disability record."""
    request = etree.Element(f"{{{NAMESPACE}}}Request", nsmap={"cbdi": NAMESPACE})
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
    facts = tuple(_disability(record, subject) for record in _items(response, "disabilities", "disability"))
    if (code == "FOUND") != bool(facts):
        raise MappingError(f"<code> of <result> says {code} and the answer lists {len(facts)} records")
    return Answer(outcome_of(facts, (KIND,), (KIND,)), facts, (KIND,), answers, about=subject)


def _disability(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the first day through the last day of the period, without end when it is indefinite."""
    code = _required_text(record, "groupCode")
    if code not in GROUPS:
        raise _unknown_code(record, "groupCode", code)
    group, child_group = GROUPS[code]
    begin, last_day = _required_date(record, "beginDate"), _date(record, "endDate")
    indefinite = _known(record, "indefinite", _BOOLEANS) == "true"
    if indefinite == (last_day is not None):
        raise MappingError("<indefinite> and <endDate> of <disability> contradict each other")
    terminated_on = _date(record, "terminatedOn")
    status = _known(record, "status", RECORD_STATUSES)
    if (status == "terminated") != (terminated_on is not None):
        raise MappingError("<status> and <terminatedOn> of <disability> contradict each other")
    end = _end(begin, _next_day(last_day), terminated_on)
    certificate = _required_text(record, "certificateNumber")
    attributes: dict[str, FactValue] = {
        "group": group,
        "child_group": child_group,
        "reason": _required_text(record, "reason"),
        "certificate_number": certificate,
        "indefinite": indefinite,
        "begin_date": begin.isoformat(),
        "last_day": None if last_day is None else last_day.isoformat(),
        "work_capacity_loss_percent": _percent(record),
        "status": status,
        "terminated_on": None if terminated_on is None else terminated_on.isoformat(),
    }
    return Fact(KIND, subject, certificate, begin, end, attributes)


_BOOLEANS: Final = {"true": "true", "1": "true", "false": "false", "0": "false"}


def _percent(record: etree._Element) -> int | None:
    text = _text(record, "workCapacityLossPercent")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 100:
        raise MappingError("<workCapacityLossPercent> of <disability> is not a number from 0 to 100")
    return int(text)


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
