"""МОДБ (ЦБДИ), the central data bank of persons with disabilities.

The wire format is this project's draft: none is public (SHEP.md 6.5). The group codes are those of the only
public view of the data bank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway import fields
from gateway.errors import MappingError
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
    fields.add(request, "requestId", query.message_id)
    fields.add(request, "requestDate", query.created_at.isoformat(timespec="milliseconds"))
    fields.add(request, "senderCode", query.requester)
    fields.add(request, "iin", query.subject.value)
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
    facts = tuple(_disability(record, subject) for record in fields.items(response, "disabilities", "disability") or ())
    if (code == "FOUND") != bool(facts):
        raise MappingError(f"<code> of <result> says {code} and the answer lists {len(facts)} records")
    return Answer(outcome_of(facts, (KIND,), (KIND,)), facts, (KIND,), answers, about=subject)


def _disability(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the first day through the last day of the period, without end when it is indefinite."""
    code = fields.required_text(record, "groupCode")
    if code not in GROUPS:
        raise fields.unknown_code(record, "groupCode", code)
    group, child_group = GROUPS[code]
    begin, last_day = fields.required_date(record, "beginDate"), fields.date(record, "endDate")
    indefinite = fields.known(record, "indefinite", _BOOLEANS) == "true"
    if indefinite == (last_day is not None):
        raise MappingError("<indefinite> and <endDate> of <disability> contradict each other")
    terminated_on = fields.date(record, "terminatedOn")
    status = fields.known(record, "status", RECORD_STATUSES)
    if (status == "terminated") != (terminated_on is not None):
        raise MappingError("<status> and <terminatedOn> of <disability> contradict each other")
    end = fields.end_of(begin, fields.next_day(last_day), terminated_on)
    certificate = fields.required_text(record, "certificateNumber")
    attributes: dict[str, FactValue] = {
        "group": group,
        "child_group": child_group,
        "reason": fields.required_text(record, "reason"),
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
    text = fields.text(record, "workCapacityLossPercent")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 100:
        raise MappingError("<workCapacityLossPercent> of <disability> is not a number from 0 to 100")
    return int(text)
