"""What the sandbox answers in place of МОДБ (ЦБДИ). Invented people only."""

from __future__ import annotations

import datetime as dt
import uuid

from lxml import etree

from gateway.model import Disability, Household

NAMESPACE = "urn:shep-gateway:draft:disability:1"
_IDS = uuid.UUID("4c0d7f7e-9a1b-5f43-b6c8-51d3f8a7e003")


def answer_request(request: etree._Element, household: Household | None, *, now: dt.datetime) -> etree._Element:
    """The disability record of the person, if the household has that person and the person has one."""
    asked = {etree.QName(field).localname: field.text or "" for field in request}
    response = etree.Element(f"{{{NAMESPACE}}}Response", nsmap={"cbdi": NAMESPACE})
    _add(response, "responseId", str(uuid.uuid5(_IDS, asked["requestId"])))
    _add(response, "responseDate", now.isoformat(timespec="milliseconds"))
    _add(response, "requestId", asked["requestId"])
    _add(response, "iin", asked["iin"])
    code = _add(_add(response, "result"), "code")
    people = household.citizens if household is not None else ()
    citizen = next((person for person in people if person.iin.value == asked["iin"]), None)
    if citizen is None or citizen.disability is None:
        code.text = "NOT_FOUND"
        return response
    code.text = "FOUND"
    _record(_add(response, "disabilities"), citizen.disability)
    return response


def _record(holder: etree._Element, disability: Disability) -> None:
    record = _add(holder, "disability")
    _add(record, "certificateNumber", disability.certificate_number)
    _add(record, "groupCode", {"child": "4"}.get(disability.group, disability.group))
    _add(record, "reason", disability.reason)
    _add(record, "beginDate", disability.valid_from.isoformat())
    _add(record, "indefinite", "true" if disability.valid_to is None else "false")
    if disability.valid_to is not None:
        # the model's end is the first day after; the certificate prints the last day
        _add(record, "endDate", (disability.valid_to - dt.timedelta(days=1)).isoformat())
    _add(record, "status", "ACTIVE")


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, name)
    element.text = text
    return element
