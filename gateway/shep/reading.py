"""Fields of a verified Body: what both channels read in the same way, by local name and in any order (SHEP.md 1.5)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names
from gateway.shep.dates import read_datetime
from gateway.shep.messages import ErrorInfo, Property, Sender
from gateway.xml import leaf_text, local_name

#: bounds of what is read, in characters; no schema sets them, so they are far above anything seen
MAX_ID_CHARS: Final = 256
MAX_CODE_CHARS: Final = 128
MAX_PROPERTIES: Final = 100
MAX_PROPERTY_KEY_CHARS: Final = 256
MAX_PROPERTY_VALUE_CHARS: Final = 4_000
#: texts of a status or a fault are for people: longer ones are cut, never a reason to lose the message
MAX_PEOPLE_TEXT_CHARS: Final = 8_000
#: levels of subError below the first ErrorInfo
MAX_SUB_ERRORS: Final = 8

Fields = dict[str, etree._Element]

_SENDER: Final = frozenset({"senderId", "password"})
_PROPERTY: Final = frozenset({"key", "value"})
_DATA: Final = frozenset({"data"})
_FAULT: Final = frozenset({"faultcode", "faultstring", "detail"})
_ERROR: Final = frozenset({"errorCode", "errorMessage", "errorData", "errorDate", "subError", "sessionId"})


def is_fault(body: etree._Element) -> bool:
    """Whether the Body's only child is a SOAP 1.1 Fault. Raises MalformedMessage when there is not exactly one."""
    return bool(operation(body).tag == names.FAULT)


def operation(body: etree._Element) -> etree._Element:
    """The Body's only child. Two of them could make two readers answer different questions."""
    children = list(body)
    if not children or not isinstance(children[0].tag, str):
        raise MalformedMessage("the Body does not begin with an element", code="no_operation")
    if len(children) > 1:
        raise MalformedMessage("the Body holds more than one operation", code="two_operations")
    return children[0]


def holder(body: etree._Element, wrappers: frozenset[str], name: str) -> etree._Element:
    """The `request` or `response` inside of one of these wrappers. Raises MalformedMessage (`unknown_operation`)."""
    wrapper = operation(body)
    if local_name(wrapper) not in wrappers:
        raise MalformedMessage(
            f"<{local_name(wrapper)[:80]}> is not expected here; the Body must hold {' or '.join(sorted(wrappers))}",
            code="unknown_operation",
        )
    return need(fields(wrapper, frozenset({name})), name)


def fields(parent: etree._Element, known: frozenset[str], *, repeatable: str = "") -> Fields:
    """Known children by local name; others are passed over (SHEP.md 1.5 shows a stray messageType)."""
    found: Fields = {}
    for child in parent:
        tag = child.tag
        name = tag if tag in known else local_name(child)
        if name in known:
            if name in found and name != repeatable:
                raise MalformedMessage(
                    f"<{name}> occurs more than once in <{local_name(parent)[:80]}>", code="repeated"
                )
            found[name] = child
    return found


def need(found: Fields, name: str) -> etree._Element:
    element = found.get(name)
    if element is None:
        raise MalformedMessage(f"<{name}> is missing", code="missing_field")
    return element


def text(found: Fields, name: str, limit: int = MAX_ID_CHARS) -> str:
    element = found.get(name)
    return "" if element is None else bounded(leaf_text(element), name, limit)


def need_text(found: Fields, name: str) -> str:
    value = text(found, name)
    if not value:
        raise MalformedMessage(f"<{name}> is missing or empty", code="missing_field")
    return value


def bounded(value: str, name: str, limit: int) -> str:
    if len(value) > limit:
        raise MalformedMessage(f"<{name}> has {len(value)} characters, at most {limit} are allowed", code="too_long")
    return value


def people_text(found: Fields, name: str) -> str:
    """A text for people, cut at its bound; a provider may put elements into errorData: their text is enough."""
    element = found.get(name)
    if element is None:
        return ""
    return "".join(str(piece) for piece in element.itertext()).strip()[:MAX_PEOPLE_TEXT_CHARS]


def sender(element: etree._Element) -> Sender:
    found = fields(element, _SENDER)
    return Sender(sender_id=need_text(found, "senderId"), password=text(found, "password"))


def properties(parent: etree._Element) -> tuple[Property, ...]:
    """The flat, repeated `properties` of `parent`. Raises MalformedMessage (`too_many_properties`)."""
    found = [child for child in parent if local_name(child) == "properties"]
    if len(found) > MAX_PROPERTIES:
        raise MalformedMessage(f"the request has more than {MAX_PROPERTIES} properties", code="too_many_properties")
    read = []
    for element in found:
        item = fields(element, _PROPERTY)
        key = text(item, "key", MAX_PROPERTY_KEY_CHARS)
        value = text(item, "value", MAX_PROPERTY_VALUE_CHARS)
        if key or value:  # templates send the element with nothing in it
            read.append(Property(key, value))
    return tuple(read)


def data(parts: Fields, name: str) -> etree._Element | None:
    """`data` inside of the part `name`, by local name: SmartBridge's own example writes ns4:data (SHEP.md 1.2)."""
    return fields(parts[name], _DATA).get("data") if name in parts else None


def fault(body: etree._Element, detail_name: str, assumed_zone: dt.tzinfo) -> ErrorInfo:
    """The fault that a Body holds: its detail, or what faultcode and faultstring say where that has nothing."""
    soap = fields(operation(body), _FAULT)
    detail = fields(soap["detail"], frozenset({detail_name})) if "detail" in soap else {}
    from_soap = ErrorInfo(
        code=text(soap, "faultcode", MAX_CODE_CHARS).rpartition(":")[2],
        message=people_text(soap, "faultstring"),
        date=None,
    )
    if detail_name not in detail:
        return from_soap
    return error(detail[detail_name], assumed_zone, from_soap)


def error(
    element: etree._Element, assumed_zone: dt.tzinfo, fallback: ErrorInfo | None = None, depth: int = 0
) -> ErrorInfo:
    """An ErrorInfo; `fallback` gives the code and the message that it lacks."""
    if depth > MAX_SUB_ERRORS:
        raise too_many_sub_errors()
    found = fields(element, _ERROR)
    code, message = text(found, "errorCode", MAX_CODE_CHARS), people_text(found, "errorMessage")
    if fallback is not None:
        code, message = code or fallback.code, message or fallback.message
    try:
        date = read_datetime(text(found, "errorDate"), assumed_zone=assumed_zone)
    except MalformedMessage:  # what went wrong matters more than when
        date = None
    sub = found.get("subError")
    return ErrorInfo(
        code=code,
        message=message,
        date=date,
        data=people_text(found, "errorData"),
        # generated clients send the optional element empty
        sub_error=error(sub, assumed_zone, None, depth + 1) if sub is not None and len(sub) else None,
        session_id=text(found, "sessionId"),
    )


def too_many_sub_errors() -> MalformedMessage:
    return MalformedMessage(f"subError nests deeper than {MAX_SUB_ERRORS} levels", code="too_many_sub_errors")
