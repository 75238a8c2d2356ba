"""Е-Қорғаншылық, the register of guardianship, trusteeship and adoption.

The wire format is this project's draft: none is public (SHEP.md 6.7).
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from gateway import fields
from gateway.errors import MappingError
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
    facts = tuple(_act(record, subject) for record in fields.items(response, "acts", "act") or ())
    if (code == "FOUND") != bool(facts):
        raise MappingError(f"<code> of <result> says {code} and the answer lists {len(facts)} records")
    return Answer(outcome_of(facts, KINDS, KINDS), facts, KINDS, answers, about=subject)


def _act(record: etree._Element, subject: Iin) -> Fact:
    """Holds from the day of the act through its last day, and not past the day of termination."""
    code = fields.required_text(record, "actType")
    if code not in ACT_TYPES:
        raise fields.unknown_code(record, "actType", code)
    kind, form = ACT_TYPES[code]
    ward, guardian = fields.iin(record, "wardIin"), fields.iin(record, "guardianIin")
    if subject not in (ward, guardian):
        raise MappingError("<act> is an act about other people: the person asked for is not in it")
    begin, last_day = fields.required_date(record, "actDate"), fields.date(record, "endDate")
    terminated_on = fields.date(record, "terminatedOn")
    status = fields.known(record, "status", RECORD_STATUSES)
    if (status == "terminated") != (terminated_on is not None):
        raise MappingError("<status> and <terminatedOn> of <act> contradict each other")
    end = fields.end_of(begin, fields.next_day(last_day), terminated_on)
    attributes: dict[str, FactValue] = {
        "form": form,
        "role": "ward" if subject == ward else "guardian",
        "ward_iin": ward.value,
        "guardian_iin": guardian.value,
        "act_number": fields.required_text(record, "actNumber"),
        "act_date": begin.isoformat(),
        "authority": fields.required_text(record, "authority"),
        "last_day": None if last_day is None else last_day.isoformat(),
        "status": status,
        "terminated_on": None if terminated_on is None else terminated_on.isoformat(),
    }
    return Fact(kind, subject, fields.required_text(record, "actId"), begin, end, attributes)
