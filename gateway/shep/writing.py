"""Fields of a channel message as text: what both channels write in the same way (SHEP.md 1.3, 1.8 and 3).

Text becomes a Body in one parse: as quick as building it element by element, and nothing is moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names
from gateway.shep.dates import write_datetime
from gateway.shep.messages import ErrorInfo, Property, Sender
from gateway.shep.payload import OUR_OWN, PayloadCodec
from gateway.shep.reading import MAX_CODE_CHARS, MAX_ID_CHARS, MAX_PEOPLE_TEXT_CHARS, MAX_SUB_ERRORS, bounded
from gateway.shep.reading import too_many_sub_errors as _too_many_sub_errors
from gateway.xml import parse

#: bounds of what is written (SHEP.md 3)
PROPERTY_KEY_CHARS: Final = 30
PROPERTY_VALUE_CHARS: Final = 500
STATUS_MESSAGE_CHARS: Final = 250

GUID: Final = re.compile(r"\{?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}?")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NCNAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def body(head: str, data: bytes = b"", tail: str = "", codec: PayloadCodec | None = None) -> etree._Element:
    """The Body around `head`, `data` and `tail`; `codec` says whether the text of `data` goes into a CDATA section."""
    text = f'<soap:Body xmlns:soap="{names.SOAP_11}">{head}'.encode() + data + f"{tail}</soap:Body>".encode()
    root = parse(text, OUR_OWN)
    if codec is PayloadCodec.CDATA and b"<![CDATA[" in data:
        element = root[0][0][-1][0]
        element.text = etree.CDATA(element.text or "")  # the parser gave plain text
    return root


def leaf(name: str, text: str) -> str:
    """An element with a text, in canonical form. Raises MalformedMessage (`not_xml_text`)."""
    if text.isascii() and text.isprintable():
        if "&" not in text and "<" not in text and ">" not in text:
            return f"<{name}>{text}</{name}>"
    elif _NOT_XML.search(text):
        raise MalformedMessage(f"the value of <{name}> holds a character that XML cannot carry", code="not_xml_text")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")
    return f"<{name}>{escaped}</{name}>"


def optional_leaf(name: str, text: str) -> str:
    return leaf(name, text) if text else ""


def id_leaf(name: str, text: str) -> str:
    """Raises MalformedMessage (`missing_field`, `too_long`, `not_xml_text`)."""
    if not text:
        raise MalformedMessage(f"<{name}> must not be empty", code="missing_field")
    return leaf(name, bounded(text, name, MAX_ID_CHARS))


def optional_id_leaf(name: str, text: str) -> str:
    return id_leaf(name, text) if text else ""


def session_id_leaf(session_id: str) -> str:
    """A GUID in braces, or nothing: the field is the gateway's, and what is no GUID is not repeated to it."""
    match = GUID.fullmatch(session_id)
    return f"<sessionId>{{{match[1]}}}</sessionId>" if match else ""


def needed_session_id_leaf(session_id: str) -> str:
    """The same where the schema demands it. Raises MalformedMessage (`missing_field`)."""
    written = session_id_leaf(session_id)
    if not written:
        raise MalformedMessage("<sessionId> must be a GUID here; give a new one", code="missing_field")
    return written


def sender_fields(sender: Sender) -> str:
    return "<sender>" + id_leaf("senderId", sender.sender_id) + optional_leaf("password", sender.password) + "</sender>"


def property_fields(properties: Iterable[Property]) -> str:
    return "".join(
        "<properties>"
        + leaf("key", bounded(item.key, "key", PROPERTY_KEY_CHARS))
        + leaf("value", bounded(item.value, "value", PROPERTY_VALUE_CHARS))
        + "</properties>"
        for item in properties
    )


def fault(error: ErrorInfo, namespace: str, detail_name: str) -> etree._Element:
    """The Body of a fault: faultcode and faultstring repeat the detail, as SHEP's own do (SHEP.md 1.8).

    Never fails because of its texts: what XML cannot carry is replaced by U+FFFD, so that the peer gets the fault
    and not a broken connection. Raises MalformedMessage for more than MAX_SUB_ERRORS, ValueError for an `error`
    without a date.
    """
    # faultcode is a QName: an error code that is not one stays in the detail
    code = error.code if _NCNAME.fullmatch(error.code) else "soap:Server"
    return body(
        "<soap:Fault>"
        + leaf("faultcode", code)
        + leaf("faultstring", for_people(error.message, MAX_PEOPLE_TEXT_CHARS))
        + f'<detail><t:{detail_name} xmlns:t="{namespace}">'
        + error_fields(error)
        + f"</t:{detail_name}></detail></soap:Fault>"
    )


def error_fields(error: ErrorInfo, depth: int = 0) -> str:
    """The fields of an ErrorInfo. Raises as `fault`."""
    if depth > MAX_SUB_ERRORS:
        raise _too_many_sub_errors()
    if error.date is None:
        raise ValueError("an error cannot be sent without its date: give ErrorInfo.date")
    sub = "" if error.sub_error is None else f"<subError>{error_fields(error.sub_error, depth + 1)}</subError>"
    return (
        leaf("errorCode", for_people(error.code, MAX_CODE_CHARS))
        + leaf("errorMessage", for_people(error.message, MAX_PEOPLE_TEXT_CHARS))
        + optional_leaf("errorData", for_people(error.data, MAX_PEOPLE_TEXT_CHARS))
        + leaf("errorDate", write_datetime(error.date))
        + sub
        + session_id_leaf(error.session_id)
    )


def for_people(text: str, limit: int) -> str:
    """A text that never stops a message: cut at `limit`, U+FFFD for what XML cannot carry."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return _NOT_XML.sub("\ufffd", shown)
