"""What the sandbox answers in place of Е-Қорғаншылық. Invented people only."""

from __future__ import annotations

import datetime as dt
import uuid

from lxml import etree

from gateway.model import Guardianship, Household

NAMESPACE = "urn:shep-gateway:draft:guardianship:1"
_IDS = uuid.UUID("c3a1e0d2-7b64-5b8e-a6d5-90e4c7b6f004")


def answer_request(request: etree._Element, household: Household | None, *, now: dt.datetime) -> etree._Element:
    """Every act of the household in which the person is the ward or the guardian."""
    asked = {etree.QName(field).localname: field.text or "" for field in request}
    response = etree.Element(f"{{{NAMESPACE}}}Response", nsmap={"egd": NAMESPACE})
    _add(response, "responseId", str(uuid.uuid5(_IDS, asked["requestId"])))
    _add(response, "responseDate", now.isoformat(timespec="milliseconds"))
    _add(response, "requestId", asked["requestId"])
    _add(response, "iin", asked["iin"])
    code = _add(_add(response, "result"), "code")
    known = household.guardianships if household is not None else ()
    acts = [act for act in known if asked["iin"] in (act.ward.value, act.guardian.value)]
    code.text = "FOUND" if acts else "NOT_FOUND"
    holder = _add(response, "acts")
    for act in acts:
        _record(holder, act)
    return response


def _record(holder: etree._Element, act: Guardianship) -> None:
    record = _add(holder, "act")
    _add(record, "actId", str(uuid.uuid5(_IDS, f"{act.act_number}:{act.ward.value}:{act.guardian.value}")))
    _add(record, "actType", act.kind.upper())
    _add(record, "wardIin", act.ward.value)
    _add(record, "guardianIin", act.guardian.value)
    _add(record, "actNumber", act.act_number)
    _add(record, "actDate", act.act_date.isoformat())
    _add(record, "authority", act.authority)
    if act.valid_to is not None:
        # the model's end is the first day after; the act names the last day
        _add(record, "endDate", (act.valid_to - dt.timedelta(days=1)).isoformat())
    _add(record, "status", "ACTIVE")


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, name)
    element.text = text
    return element
