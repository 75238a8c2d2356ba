"""SyncChannel v10: build and read the Body of SendMessage, its response and its fault (SHEP.md 1.3 to 1.8).

What is built is exact: schema order, no empty optional element, one date form. What is read is a verified Body
element and nothing beside it; fields are found by local name, in any order, and a field that stands twice is refused.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names
from gateway.shep.dates import ALMATY, read_datetime, write_datetime
from gateway.shep.messages import (
    ErrorInfo,
    Property,
    RequestInfo,
    ResponseInfo,
    Sender,
    StatusInfo,
    SyncRequest,
    SyncResponse,
)
from gateway.shep.payload import OUR_OWN, PayloadCodec, encode
from gateway.xml import leaf_text, local_name, parse

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

#: bounds of what is written (SHEP.md 3)
WRITTEN_PROPERTY_KEY_CHARS: Final = 30
WRITTEN_PROPERTY_VALUE_CHARS: Final = 500
WRITTEN_STATUS_MESSAGE_CHARS: Final = 250

_REQUEST_WRAPPERS: Final = frozenset({"SendMessage", "SendMessageRequest", "sendMessageRequest"})
_REPLY_WRAPPERS: Final = frozenset({"SendMessageResponse", "sendMessageResponse"})
_FAULT_DETAIL: Final = "SendMessageFault1_SendMessageFault"

_GUID: Final = re.compile(r"\{?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}?")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NCNAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_Fields = dict[str, etree._Element]


# ---------------------------------------------------------------- building


def build_request(
    info: RequestInfo,
    payload: etree._Element,
    codec: PayloadCodec,
    *,
    sign_data: Callable[[bytes], bytes] | None = None,
) -> etree._Element:
    """The Body of a SendMessage request. `sign_data` takes the serialised `data` and gives it back signed.

    Raises MalformedMessage (`not_xml_text`, `too_long`, `missing_field`) for a value that the format cannot carry,
    ValueError for a date without a zone, ConfigurationError for a payload that the codec cannot carry.
    """
    properties = "".join(
        "<properties>"
        + _leaf("key", _bounded(item.key, "key", WRITTEN_PROPERTY_KEY_CHARS))
        + _leaf("value", _bounded(item.value, "value", WRITTEN_PROPERTY_VALUE_CHARS))
        + "</properties>"
        for item in info.properties
    )
    head = (
        f'<sync:SendMessage xmlns:sync="{names.SYNC_TYPES}"><request><requestInfo>'
        + _id_leaf("messageId", info.message_id)
        + _optional_leaf("correlationId", info.correlation_id)
        + _id_leaf("serviceId", info.service_id)
        + _leaf("messageDate", write_datetime(info.message_date))
        + _optional_leaf("routeId", info.route_id)
        + "<sender>"
        + _id_leaf("senderId", info.sender.sender_id)
        + _optional_leaf("password", info.sender.password)
        + "</sender>"
        + properties
        + _session_id_leaf(info.session_id)
        + "</requestInfo><requestData>"
    )
    data = encode(payload, codec)
    if sign_data is not None:
        data = sign_data(data)
    return _body(head, data, "</requestData></request></sync:SendMessage>", codec)


def build_response(
    info: ResponseInfo,
    payload: etree._Element | None,
    codec: PayloadCodec,
    *,
    sign_data: Callable[[bytes], bytes] | None = None,
) -> etree._Element:
    """The Body of a SendMessage response; without a payload `data` is there and empty.

    `sign_data` and errors as in `build_request`.
    """
    head = (
        f'<sync:SendMessageResponse xmlns:sync="{names.SYNC_TYPES}"><response><responseInfo>'
        + _id_leaf("messageId", info.message_id)
        + _optional_leaf("correlationId", info.correlation_id)
        + _leaf("responseDate", write_datetime(info.response_date))
        + "<status>"
        + _id_leaf("code", info.status.code)
        + _leaf("message", _for_people(info.status.message, WRITTEN_STATUS_MESSAGE_CHARS))
        + "</status>"
        + _session_id_leaf(info.session_id)
        + "</responseInfo><responseData>"
    )
    data = b"<data/>" if payload is None else encode(payload, codec)
    if sign_data is not None:
        data = sign_data(data)
    return _body(head, data, "</responseData></response></sync:SendMessageResponse>", codec)


def build_fault(error: ErrorInfo) -> etree._Element:
    """The Body of a fault: faultcode and faultstring repeat the detail, as SHEP's own do (SHEP.md 1.8).

    Never fails because of its texts: what XML cannot carry is replaced by U+FFFD, so that the peer gets the fault
    and not a broken connection. Raises MalformedMessage for more than MAX_SUB_ERRORS, ValueError for an `error`
    without a date.
    """
    # faultcode is a QName: an error code that is not one stays in the detail
    code = error.code if _NCNAME.fullmatch(error.code) else "soap:Server"
    return _body(
        "<soap:Fault>"
        + _leaf("faultcode", code)
        + _leaf("faultstring", _for_people(error.message, MAX_PEOPLE_TEXT_CHARS))
        + f'<detail><sync:{_FAULT_DETAIL} xmlns:sync="{names.SYNC_TYPES}">'
        + _error_fields(error, 0)
        + f"</sync:{_FAULT_DETAIL}></detail></soap:Fault>"
    )


def _error_fields(error: ErrorInfo, depth: int) -> str:
    if depth > MAX_SUB_ERRORS:
        raise _too_many_sub_errors()
    if error.date is None:
        raise ValueError("a fault cannot be sent without its date: give ErrorInfo.date")
    sub = "" if error.sub_error is None else f"<subError>{_error_fields(error.sub_error, depth + 1)}</subError>"
    return (
        _leaf("errorCode", _for_people(error.code, MAX_CODE_CHARS))
        + _leaf("errorMessage", _for_people(error.message, MAX_PEOPLE_TEXT_CHARS))
        + _optional_leaf("errorData", _for_people(error.data, MAX_PEOPLE_TEXT_CHARS))
        + _leaf("errorDate", write_datetime(error.date))
        + sub
        + _session_id_leaf(error.session_id)
    )


def _body(head: str, data: bytes = b"", tail: str = "", codec: PayloadCodec | None = None) -> etree._Element:
    """Text becomes the Body in one parse: as quick as building it element by element, and nothing is moved."""
    text = f'<soap:Body xmlns:soap="{names.SOAP_11}">{head}'.encode() + data + f"{tail}</soap:Body>".encode()
    body = parse(text, OUR_OWN)
    if codec is PayloadCodec.CDATA and b"<![CDATA[" in data:
        element = body[0][0][-1][0]
        element.text = etree.CDATA(element.text or "")  # the parser gave plain text
    return body


def _leaf(name: str, text: str) -> str:
    if _NOT_XML.search(text):
        raise MalformedMessage(f"the value of <{name}> holds a character that XML cannot carry", code="not_xml_text")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return f"<{name}>{escaped}</{name}>"


def _optional_leaf(name: str, text: str) -> str:
    return _leaf(name, text) if text else ""


def _id_leaf(name: str, text: str) -> str:
    if not text:
        raise MalformedMessage(f"<{name}> must not be empty", code="missing_field")
    return _leaf(name, _bounded(text, name, MAX_ID_CHARS))


def _session_id_leaf(session_id: str) -> str:
    """A GUID in braces, or nothing: the field is the gateway's, and what is no GUID is not repeated to it."""
    match = _GUID.fullmatch(session_id)
    return f"<sessionId>{{{match[1]}}}</sessionId>" if match else ""


def _bounded(text: str, name: str, limit: int) -> str:
    if len(text) > limit:
        raise MalformedMessage(f"<{name}> has {len(text)} characters, at most {limit} are allowed", code="too_long")
    return text


def _for_people(text: str, limit: int) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return _NOT_XML.sub("\ufffd", shown)


# ---------------------------------------------------------------- reading


def read_request(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> SyncRequest:
    """Read a verified Body as a request. Dates come out in UTC; one without a zone is in `assumed_zone`.

    Raises MalformedMessage: `no_operation`, `two_operations`, `unknown_operation`, `missing_field`, `repeated`,
    `too_long`, `too_many_properties`, `bad_date`, `not_a_leaf`.
    """
    request = _holder(body, _REQUEST_WRAPPERS, "request")
    parts = _fields(request, _REQUEST_PARTS)
    info = _fields(_need(parts, "requestInfo"), _REQUEST_INFO, repeatable="properties")
    sender = _fields(_need(info, "sender"), _SENDER)
    return SyncRequest(
        info=RequestInfo(
            message_id=_need_text(info, "messageId"),
            service_id=_need_text(info, "serviceId"),
            message_date=read_datetime(_need_text(info, "messageDate"), assumed_zone=assumed_zone),
            sender=Sender(sender_id=_need_text(sender, "senderId"), password=_text(sender, "password")),
            correlation_id=_text(info, "correlationId"),
            route_id=_text(info, "routeId"),
            properties=_read_properties(_need(parts, "requestInfo")) if "properties" in info else (),
            session_id=_text(info, "sessionId"),
        ),
        data=_data(parts, "requestData"),
    )


def read_reply(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> SyncResponse | ErrorInfo:
    """Read a verified Body as a response or a fault. Raises as `read_request`, and `too_many_sub_errors`."""
    if is_fault(body):
        return _read_fault(_operation(body), assumed_zone)
    response = _holder(body, _REPLY_WRAPPERS, "response")
    parts = _fields(response, _RESPONSE_PARTS)
    info = _fields(_need(parts, "responseInfo"), _RESPONSE_INFO)
    status = _fields(info["status"], _STATUS) if "status" in info else {}
    return SyncResponse(
        info=ResponseInfo(
            message_id=_need_text(info, "messageId"),
            response_date=read_datetime(_need_text(info, "responseDate"), assumed_zone=assumed_zone),
            status=StatusInfo(code=_text(status, "code", MAX_CODE_CHARS), message=_people_text_of(status, "message")),
            correlation_id=_text(info, "correlationId"),
            session_id=_text(info, "sessionId"),
        ),
        data=_data(parts, "responseData"),
    )


def is_fault(body: etree._Element) -> bool:
    """Whether the Body's only child is a SOAP 1.1 Fault. Raises MalformedMessage when there is not exactly one."""
    return bool(_operation(body).tag == names.FAULT)


_REQUEST_PARTS: Final = frozenset({"requestInfo", "requestData"})
_REQUEST_INFO: Final = frozenset(
    {"messageId", "correlationId", "serviceId", "messageDate", "routeId", "sender", "properties", "sessionId"}
)
_SENDER: Final = frozenset({"senderId", "password"})
_PROPERTY: Final = frozenset({"key", "value"})
_RESPONSE_PARTS: Final = frozenset({"responseInfo", "responseData"})
_RESPONSE_INFO: Final = frozenset({"messageId", "correlationId", "responseDate", "status", "sessionId"})
_STATUS: Final = frozenset({"code", "message"})
_DATA: Final = frozenset({"data"})
_FAULT: Final = frozenset({"faultcode", "faultstring", "detail"})
_DETAIL: Final = frozenset({_FAULT_DETAIL})
_ERROR: Final = frozenset({"errorCode", "errorMessage", "errorData", "errorDate", "subError", "sessionId"})


def _operation(body: etree._Element) -> etree._Element:
    """The Body's only child. Two of them could make two readers answer different questions."""
    children = list(body)
    if not children or not isinstance(children[0].tag, str):
        raise MalformedMessage("the Body does not begin with an element", code="no_operation")
    if len(children) > 1:
        raise MalformedMessage("the Body holds more than one operation", code="two_operations")
    return children[0]


def _holder(body: etree._Element, wrappers: frozenset[str], name: str) -> etree._Element:
    wrapper = _operation(body)
    if local_name(wrapper) not in wrappers:
        raise MalformedMessage(
            f"<{local_name(wrapper)[:80]}> is not expected here; the Body must hold {' or '.join(sorted(wrappers))}",
            code="unknown_operation",
        )
    return _need(_fields(wrapper, frozenset({name})), name)


def _fields(parent: etree._Element, known: frozenset[str], *, repeatable: str = "") -> _Fields:
    """Known children by local name; others are passed over (SHEP.md 1.5 shows a stray messageType)."""
    found: _Fields = {}
    for child in parent:
        name = local_name(child)
        if name in known:
            if name in found and name != repeatable:
                raise MalformedMessage(
                    f"<{name}> occurs more than once in <{local_name(parent)[:80]}>", code="repeated"
                )
            found[name] = child
    return found


def _need(fields: _Fields, name: str) -> etree._Element:
    element = fields.get(name)
    if element is None:
        raise MalformedMessage(f"<{name}> is missing", code="missing_field")
    return element


def _text(fields: _Fields, name: str, limit: int = MAX_ID_CHARS) -> str:
    element = fields.get(name)
    return "" if element is None else _bounded(leaf_text(element), name, limit)


def _need_text(fields: _Fields, name: str) -> str:
    text = _text(fields, name)
    if not text:
        raise MalformedMessage(f"<{name}> is missing or empty", code="missing_field")
    return text


def _data(parts: _Fields, name: str) -> etree._Element | None:
    # by local name: SmartBridge's own example writes ns4:data (SHEP.md 1.2)
    return _fields(parts[name], _DATA).get("data") if name in parts else None


def _read_properties(info: etree._Element) -> tuple[Property, ...]:
    found = [child for child in info if local_name(child) == "properties"]
    if len(found) > MAX_PROPERTIES:
        raise MalformedMessage(f"the request has more than {MAX_PROPERTIES} properties", code="too_many_properties")
    properties = []
    for element in found:
        item = _fields(element, _PROPERTY)
        key = _text(item, "key", MAX_PROPERTY_KEY_CHARS)
        value = _text(item, "value", MAX_PROPERTY_VALUE_CHARS)
        if key or value:  # templates send the element with nothing in it
            properties.append(Property(key, value))
    return tuple(properties)


def _read_fault(fault: etree._Element, assumed_zone: dt.tzinfo) -> ErrorInfo:
    soap = _fields(fault, _FAULT)
    detail = _fields(soap["detail"], _DETAIL) if "detail" in soap else {}
    from_soap = ErrorInfo(
        code=_text(soap, "faultcode", MAX_CODE_CHARS).rpartition(":")[2],
        message=_people_text_of(soap, "faultstring"),
        date=None,
    )
    if _FAULT_DETAIL not in detail:
        return from_soap
    return _read_error(detail[_FAULT_DETAIL], assumed_zone, from_soap, 0)


def _read_error(element: etree._Element, assumed_zone: dt.tzinfo, fallback: ErrorInfo | None, depth: int) -> ErrorInfo:
    if depth > MAX_SUB_ERRORS:
        raise _too_many_sub_errors()
    fields = _fields(element, _ERROR)
    code, message = _text(fields, "errorCode", MAX_CODE_CHARS), _people_text_of(fields, "errorMessage")
    if fallback is not None:
        code, message = code or fallback.code, message or fallback.message
    try:
        date = read_datetime(_text(fields, "errorDate"), assumed_zone=assumed_zone)
    except MalformedMessage:  # what went wrong matters more than when
        date = None
    sub = fields.get("subError")
    return ErrorInfo(
        code=code,
        message=message,
        date=date,
        data=_people_text_of(fields, "errorData"),
        # generated clients send the optional element empty
        sub_error=_read_error(sub, assumed_zone, None, depth + 1) if sub is not None and len(sub) else None,
        session_id=_text(fields, "sessionId"),
    )


def _people_text_of(fields: _Fields, name: str) -> str:
    element = fields.get(name)
    if element is None:
        return ""
    # a provider may put elements into errorData: their text is enough for a person
    return "".join(str(piece) for piece in element.itertext()).strip()[:MAX_PEOPLE_TEXT_CHARS]


def _too_many_sub_errors() -> MalformedMessage:
    return MalformedMessage(f"subError nests deeper than {MAX_SUB_ERRORS} levels", code="too_many_sub_errors")
