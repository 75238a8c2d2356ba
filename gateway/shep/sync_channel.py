"""SyncChannel v10: build and read the Body of SendMessage, its response and its fault (SHEP.md 1.3 to 1.8).

What is built is exact: schema order, no empty optional element, one date form. What is read is a verified Body
element and nothing beside it; fields are found by local name, in any order, and a field that stands twice is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from lxml import etree

from gateway.shep import names, reading, writing
from gateway.shep.dates import ALMATY, read_datetime, write_datetime
from gateway.shep.messages import ErrorInfo, RequestInfo, ResponseInfo, StatusInfo, SyncRequest, SyncResponse
from gateway.shep.payload import PayloadCodec, WrittenPayload, encode
from gateway.shep.reading import is_fault
from gateway.shep.writing import id_leaf, leaf, optional_leaf

__all__ = [
    "build_fault",
    "build_request",
    "build_response",
    "is_fault",
    "read_reply",
    "read_request",
    "write_response",
]

_REQUEST_WRAPPERS: Final = frozenset({"SendMessage", "SendMessageRequest", "sendMessageRequest"})
_REPLY_WRAPPERS: Final = frozenset({"SendMessageResponse", "sendMessageResponse"})
_FAULT_DETAIL: Final = "SendMessageFault1_SendMessageFault"

_REQUEST_PARTS: Final = frozenset({"requestInfo", "requestData"})
_REQUEST_INFO: Final = frozenset(
    {"messageId", "correlationId", "serviceId", "messageDate", "routeId", "sender", "properties", "sessionId"}
)
_RESPONSE_PARTS: Final = frozenset({"responseInfo", "responseData"})
_RESPONSE_INFO: Final = frozenset({"messageId", "correlationId", "responseDate", "status", "sessionId"})
_STATUS: Final = frozenset({"code", "message"})


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
    head = (
        f'<sync:SendMessage xmlns:sync="{names.SYNC_TYPES}"><request><requestInfo>'
        + id_leaf("messageId", info.message_id)
        + optional_leaf("correlationId", info.correlation_id)
        + id_leaf("serviceId", info.service_id)
        + leaf("messageDate", write_datetime(info.message_date))
        + optional_leaf("routeId", info.route_id)
        + writing.sender_fields(info.sender)
        + writing.property_fields(info.properties)
        + writing.session_id_leaf(info.session_id)
        + "</requestInfo><requestData>"
    )
    data = encode(payload, codec)
    if sign_data is not None:
        data = sign_data(data)
    return writing.body(head, data, "</requestData></request></sync:SendMessage>", codec)


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
    data = b"<data/>" if payload is None else encode(payload, codec)
    if sign_data is not None:
        data = sign_data(data)
    return writing.body(_response_head(info), data, _RESPONSE_TAIL, codec)


def write_response(info: ResponseInfo, payload: WrittenPayload) -> bytes:
    """What stands inside of the Body of a SendMessage response, in its exclusive canonical form; codec ELEMENT.

    The same as `build_response` gives, without a tree. Errors as there.
    """
    return f"{_response_head(info)}<data>{payload.text}</data>{_RESPONSE_TAIL}".encode()


_RESPONSE_TAIL: Final = "</responseData></response></sync:SendMessageResponse>"


def _response_head(info: ResponseInfo) -> str:
    return (
        f'<sync:SendMessageResponse xmlns:sync="{names.SYNC_TYPES}"><response><responseInfo>'
        + id_leaf("messageId", info.message_id)
        + optional_leaf("correlationId", info.correlation_id)
        + leaf("responseDate", write_datetime(info.response_date))
        + "<status>"
        + id_leaf("code", info.status.code)
        + leaf("message", writing.for_people(info.status.message, writing.STATUS_MESSAGE_CHARS))
        + "</status>"
        + writing.session_id_leaf(info.session_id)
        + "</responseInfo><responseData>"
    )


def build_fault(error: ErrorInfo) -> etree._Element:
    """The Body of a fault. Raises as `gateway.shep.writing.fault`."""
    return writing.fault(error, names.SYNC_TYPES, _FAULT_DETAIL)


# ---------------------------------------------------------------- reading


def read_request(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> SyncRequest:
    """Read a verified Body as a request. Dates come out in UTC; one without a zone is in `assumed_zone`.

    Raises MalformedMessage: `no_operation`, `two_operations`, `unknown_operation`, `missing_field`, `repeated`,
    `too_long`, `too_many_properties`, `bad_date`, `not_a_leaf`.
    """
    parts = reading.fields(reading.holder(body, _REQUEST_WRAPPERS, "request"), _REQUEST_PARTS)
    holder = reading.need(parts, "requestInfo")
    info = reading.fields(holder, _REQUEST_INFO, repeatable="properties")
    return SyncRequest(
        info=RequestInfo(
            message_id=reading.need_text(info, "messageId"),
            service_id=reading.need_text(info, "serviceId"),
            message_date=read_datetime(reading.need_text(info, "messageDate"), assumed_zone=assumed_zone),
            sender=reading.sender(reading.need(info, "sender")),
            correlation_id=reading.text(info, "correlationId"),
            route_id=reading.text(info, "routeId"),
            properties=reading.properties(holder) if "properties" in info else (),
            session_id=reading.text(info, "sessionId"),
        ),
        data=reading.data(parts, "requestData"),
    )


def read_reply(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> SyncResponse | ErrorInfo:
    """Read a verified Body as a response or a fault. Raises as `read_request`, and `too_many_sub_errors`."""
    if is_fault(body):
        return reading.fault(body, _FAULT_DETAIL, assumed_zone)
    parts = reading.fields(reading.holder(body, _REPLY_WRAPPERS, "response"), _RESPONSE_PARTS)
    info = reading.fields(reading.need(parts, "responseInfo"), _RESPONSE_INFO)
    status = reading.fields(info["status"], _STATUS) if "status" in info else {}
    return SyncResponse(
        info=ResponseInfo(
            message_id=reading.need_text(info, "messageId"),
            response_date=read_datetime(reading.need_text(info, "responseDate"), assumed_zone=assumed_zone),
            status=StatusInfo(
                code=reading.text(status, "code", reading.MAX_CODE_CHARS),
                message=reading.people_text(status, "message"),
            ),
            correlation_id=reading.text(info, "correlationId"),
            session_id=reading.text(info, "sessionId"),
        ),
        data=reading.data(parts, "responseData"),
    )
