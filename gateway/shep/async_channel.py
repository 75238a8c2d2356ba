"""AsyncChannel v10, both port types: build and read the Bodies of its operations, their answers and faults (SHEP.md 2).

As in `sync_channel`: built exactly, in the order of the schema; read leniently, from a verified Body and nothing
beside it. Wrappers are found by local name: a push is declared in two namespaces, and `…/Types` is what is sent.

Every `read_*` raises MalformedMessage: `no_operation`, `two_operations`, `unknown_operation`, `missing_field`,
`repeated`, `too_long`, `too_many_properties`, `too_many_sub_errors`, `bad_date`, `bad_value`, `not_a_leaf`.
Every `build_*` raises MalformedMessage (`not_xml_text`, `too_long`, `missing_field`) for a value that the format
cannot carry, and ValueError for a date without a zone or a date that the schema demands and that is None.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names, reading, writing
from gateway.shep.async_messages import (
    AsyncMessage,
    AsyncMessageInfo,
    DeliveryNotification,
    DeliveryNotificationAck,
    MessageAck,
    Messages,
    MessagesQuery,
    MessageState,
    MessageStatus,
    MessageStatusInfo,
    MessageStatusQuery,
    MessageType,
    Operation,
    ReceiveStatus,
    Resend,
    StatusChange,
    StatusChangeAck,
    UnreadableMessage,
)
from gateway.shep.dates import ALMATY, read_datetime, write_datetime
from gateway.shep.messages import ErrorInfo
from gateway.shep.payload import PayloadCodec, encode
from gateway.shep.reading import Fields, is_fault
from gateway.shep.writing import id_leaf, leaf, optional_id_leaf, optional_leaf
from gateway.xml import children_named, local_name, to_bytes

#: of one getMessages reply; the bounds of the envelope end a larger one earlier
MAX_MESSAGES: Final = 1_000
_MAX_AMOUNT: Final = 2**31 - 1

_NAMESPACES: Final = {Operation.CHANGE_STATUS_NOTIFICATION: names.ASYNC_CLIENT_TYPES}

_MESSAGE: Final = frozenset({"messageInfo", "messageData"})
_MESSAGE_INFO: Final = frozenset(
    {
        "messageId",
        "correlationId",
        "serviceId",
        "messageType",
        "routeId",
        "messageDate",
        "sender",
        "properties",
        "sessionId",
    }
)
_MESSAGE_IDS: Final = frozenset({"messageId", "correlationId", "serviceId"})
_ACK: Final = frozenset({"messageId", "correlationId", "responseDate", "sessionId"})
_DELIVERY_REQUEST: Final = frozenset({"notification", "requestDate", "sender"})
_DELIVERY: Final = frozenset({"messageId", "serviceId", "notificationDate", "deliveryStatus"})
_DELIVERY_STATUS: Final = frozenset({"receiveStatus", "statusDate", "resendMessage", "error"})
_DELIVERY_ACK: Final = frozenset({"notificationId", "responseDate", "sessionId"})
_STATUS_QUERY: Final = frozenset({"messageId", "requestDate", "sender", "properties"})
_STATUS_REPLY: Final = frozenset({"messageState", "status", "responseDate", "sessionId"})
_STATUS_INFO: Final = frozenset({"statusCode", "statusMessage", "statusDate"})
_MESSAGES_QUERY: Final = frozenset(
    {"messageId", "correlationId", "requestDate", "serviceId", "sender", "amount", "properties"}
)
_MESSAGES_REPLY: Final = frozenset({"responseDate", "sessionId", "messages"})
_CHANGE_REQUEST: Final = frozenset({"notification", "requestDate", "sessionId"})
_CHANGE: Final = frozenset({"notificationId", "messageId", "notificationDate", "messageState", "status", "error"})
_CHANGE_ACK: Final = frozenset({"responseDate", "sessionId"})

#: what a peer may write instead of the misspelt true word
_SPELT_RIGHT: Final = {"MESSAGE_NOT_ACCEPTED": ReceiveStatus.NOT_ACCEPTED}

_Word = TypeVar("_Word", bound=StrEnum)


def operation_of(body: etree._Element) -> Operation:
    """Which operation a request asks for. Raises MalformedMessage (`no_operation`, `two_operations`,
    `unknown_operation`)."""
    name = local_name(reading.operation(body))
    try:
        return Operation(name)
    except ValueError:
        raise MalformedMessage(
            f"<{name[:80]}> is no operation of the asynchronous channel; there are {', '.join(Operation)}",
            code="unknown_operation",
        ) from None


# ---------------------------------------------------------------- sendMessage


def build_send_message(
    info: AsyncMessageInfo,
    payload: etree._Element | None,
    codec: PayloadCodec,
    *,
    sign_data: Callable[[bytes], bytes] | None = None,
) -> etree._Element:
    """The Body of a sendMessage, to the gateway or pushed by it; without a payload `data` is there and empty.

    `sign_data` takes the serialised `data` and gives it back signed. Raises ConfigurationError too, for a payload that
    the codec cannot carry, and MalformedMessage (`missing_field`) for an answer without a correlationId.
    """
    data = b"<data/>" if payload is None else encode(payload, codec)
    if sign_data is not None:
        data = sign_data(data)
    head, tail = _wrapped(Operation.SEND_MESSAGE, "request", _message_info(info) + "<messageData>")
    return writing.body(head, data, "</messageData>" + tail, codec)


def build_forwarded_message(message: AsyncMessage) -> etree._Element:
    """The same for a message whose `data` is made already: the gateway hands on what it was given."""
    head, tail = _wrapped(Operation.SEND_MESSAGE, "request", _message_info(message.info) + "<messageData>")
    return writing.body(head, _given_data(message), "</messageData>" + tail)


def read_send_message(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> AsyncMessage:
    """A sendMessage, to the gateway or pushed by it. Dates come out in UTC; one without a zone is in `assumed_zone`."""
    return _message(_request(body, Operation.SEND_MESSAGE), assumed_zone)


def build_send_message_ack(ack: MessageAck) -> etree._Element:
    return _reply(
        Operation.SEND_MESSAGE,
        id_leaf("messageId", ack.message_id)
        + id_leaf("correlationId", ack.correlation_id)
        + _date_leaf("responseDate", ack.response_date)
        + writing.session_id_leaf(ack.session_id),
    )


def read_send_message_ack(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> MessageAck | ErrorInfo:
    """The answer to a sendMessage; ids and date may be missing, since receivers of pushes leave them out."""
    if is_fault(body):
        return _fault(body, Operation.SEND_MESSAGE, assumed_zone)
    found = reading.fields(_response(body, Operation.SEND_MESSAGE), _ACK)
    return MessageAck(
        message_id=reading.text(found, "messageId"),
        correlation_id=reading.text(found, "correlationId"),
        response_date=_optional_date(found, "responseDate", assumed_zone),
        session_id=reading.text(found, "sessionId"),
    )


def _given_data(message: AsyncMessage) -> bytes:
    """`data` alone, with every declaration that it needs."""
    return b"<data/>" if message.data is None else to_bytes(message.data)


def _message_info(info: AsyncMessageInfo) -> str:
    if info.message_type is not MessageType.REQUEST and not info.correlation_id:
        raise MalformedMessage(
            f"<correlationId> must not be empty in a message of the type {info.message_type}", code="missing_field"
        )
    return (
        "<messageInfo>"
        + optional_id_leaf("messageId", info.message_id)
        + optional_id_leaf("correlationId", info.correlation_id)
        + id_leaf("serviceId", info.service_id)
        + leaf("messageType", info.message_type)
        + optional_leaf("routeId", info.route_id)
        + leaf("messageDate", write_datetime(info.message_date))
        + writing.sender_fields(info.sender)
        + writing.property_fields(info.properties)
        + writing.session_id_leaf(info.session_id)
        + "</messageInfo>"
    )


def _message(holder: etree._Element, zone: dt.tzinfo) -> AsyncMessage:
    parts = reading.fields(holder, _MESSAGE)
    info_element = reading.need(parts, "messageInfo")
    info = reading.fields(info_element, _MESSAGE_INFO, repeatable="properties")
    return AsyncMessage(
        info=AsyncMessageInfo(
            service_id=reading.need_text(info, "serviceId"),
            message_type=_word(info, "messageType", MessageType),
            message_date=_date(info, "messageDate", zone),
            # a stray sessionId inside of it is passed over
            sender=reading.sender(reading.need(info, "sender")),
            message_id=reading.text(info, "messageId"),
            correlation_id=reading.text(info, "correlationId"),
            route_id=reading.text(info, "routeId"),
            properties=reading.properties(info_element),
            session_id=reading.text(info, "sessionId"),
        ),
        data=reading.data(parts, "messageData"),
    )


# ---------------------------------------------------------------- sendDeliveryNotification


def build_send_delivery_notification(notification: DeliveryNotification) -> etree._Element:
    sender = "" if notification.sender is None else writing.sender_fields(notification.sender)
    return _request_body(
        Operation.SEND_DELIVERY_NOTIFICATION,
        "<notification>"
        + id_leaf("messageId", notification.message_id)
        + id_leaf("serviceId", notification.service_id)
        + leaf("notificationDate", write_datetime(notification.notification_date))
        + "<deliveryStatus>"
        + leaf("receiveStatus", notification.receive_status)
        + leaf("statusDate", write_datetime(notification.status_date))
        + leaf("resendMessage", notification.resend)
        + _error("error", notification.error)
        + "</deliveryStatus></notification>"
        + leaf("requestDate", write_datetime(notification.request_date))
        + sender,
    )


def read_send_delivery_notification(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> DeliveryNotification:
    request = reading.fields(_request(body, Operation.SEND_DELIVERY_NOTIFICATION), _DELIVERY_REQUEST)
    notification = reading.fields(reading.need(request, "notification"), _DELIVERY)
    status = reading.fields(reading.need(notification, "deliveryStatus"), _DELIVERY_STATUS)
    return DeliveryNotification(
        message_id=reading.need_text(notification, "messageId"),
        service_id=reading.need_text(notification, "serviceId"),
        notification_date=_date(notification, "notificationDate", assumed_zone),
        receive_status=_word(status, "receiveStatus", ReceiveStatus, _SPELT_RIGHT),
        status_date=_date(status, "statusDate", assumed_zone),
        resend=_word(status, "resendMessage", Resend),
        request_date=_date(request, "requestDate", assumed_zone),
        error=_read_error(status, "error", assumed_zone),
        sender=reading.sender(request["sender"]) if len(request.get("sender", ())) else None,
    )


def build_send_delivery_notification_ack(ack: DeliveryNotificationAck) -> etree._Element:
    return _reply(
        Operation.SEND_DELIVERY_NOTIFICATION,
        id_leaf("notificationId", ack.notification_id)
        + _date_leaf("responseDate", ack.response_date)
        + writing.needed_session_id_leaf(ack.session_id),
    )


def read_send_delivery_notification_ack(
    body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY
) -> DeliveryNotificationAck | ErrorInfo:
    if is_fault(body):
        return _fault(body, Operation.SEND_DELIVERY_NOTIFICATION, assumed_zone)
    found = reading.fields(_response(body, Operation.SEND_DELIVERY_NOTIFICATION), _DELIVERY_ACK)
    return DeliveryNotificationAck(
        notification_id=reading.text(found, "notificationId"),
        response_date=_optional_date(found, "responseDate", assumed_zone),
        session_id=reading.text(found, "sessionId"),
    )


# ---------------------------------------------------------------- getMessageStatus


def build_get_message_status(query: MessageStatusQuery) -> etree._Element:
    return _request_body(
        Operation.GET_MESSAGE_STATUS,
        id_leaf("messageId", query.message_id)
        + leaf("requestDate", write_datetime(query.request_date))
        + writing.sender_fields(query.sender)
        + writing.property_fields(query.properties),
    )


def read_get_message_status(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> MessageStatusQuery:
    request = _request(body, Operation.GET_MESSAGE_STATUS)
    found = reading.fields(request, _STATUS_QUERY, repeatable="properties")
    return MessageStatusQuery(
        message_id=reading.need_text(found, "messageId"),
        request_date=_date(found, "requestDate", assumed_zone),
        sender=reading.sender(reading.need(found, "sender")),
        properties=reading.properties(request),
    )


def build_get_message_status_reply(status: MessageStatus) -> etree._Element:
    return _reply(
        Operation.GET_MESSAGE_STATUS,
        leaf("messageState", status.state)
        + _status_info(status.status)
        + _date_leaf("responseDate", status.response_date)
        + optional_id_leaf("sessionId", status.session_id),
    )


def read_get_message_status_reply(
    body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY
) -> MessageStatus | ErrorInfo:
    if is_fault(body):
        return _fault(body, Operation.GET_MESSAGE_STATUS, assumed_zone)
    found = reading.fields(_response(body, Operation.GET_MESSAGE_STATUS), _STATUS_REPLY)
    return MessageStatus(
        state=_word(found, "messageState", MessageState),
        status=_read_status_info(found, assumed_zone),
        response_date=_optional_date(found, "responseDate", assumed_zone),
        session_id=reading.text(found, "sessionId"),
    )


# ---------------------------------------------------------------- getMessages


def build_get_messages(query: MessagesQuery) -> etree._Element:
    if not 0 <= query.amount <= _MAX_AMOUNT:
        raise MalformedMessage(f"<amount> is a number from 0 to {_MAX_AMOUNT}", code="bad_value")
    return _request_body(
        Operation.GET_MESSAGES,
        optional_id_leaf("messageId", query.message_id)
        + optional_id_leaf("correlationId", query.correlation_id)
        + ("" if query.request_date is None else _date_leaf("requestDate", query.request_date))
        + id_leaf("serviceId", query.service_id)
        + ("" if query.sender is None else writing.sender_fields(query.sender))
        + (leaf("amount", str(query.amount)) if query.amount else "")
        + writing.property_fields(query.properties),
    )


def read_get_messages(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> MessagesQuery:
    request = _request(body, Operation.GET_MESSAGES)
    found = reading.fields(request, _MESSAGES_QUERY, repeatable="properties")
    amount = reading.text(found, "amount") or "0"
    if not (amount.isascii() and amount.isdigit()) or len(amount) > 10 or int(amount) > _MAX_AMOUNT:
        raise MalformedMessage(f"<amount> is a number from 0 to {_MAX_AMOUNT}", code="bad_value")
    return MessagesQuery(
        service_id=reading.need_text(found, "serviceId"),
        message_id=reading.text(found, "messageId"),
        correlation_id=reading.text(found, "correlationId"),
        request_date=_optional_date(found, "requestDate", assumed_zone),
        sender=reading.sender(found["sender"]) if len(found.get("sender", ())) else None,
        amount=int(amount),
        properties=reading.properties(request),
    )


def build_get_messages_reply(reply: Messages) -> etree._Element:
    head, tail = _wrapped(
        Operation.GET_MESSAGES,
        "response",
        _date_leaf("responseDate", reply.response_date) + writing.needed_session_id_leaf(reply.session_id),
    )
    messages = b"".join(
        b"<messages>"
        + _message_info(message.info).encode()
        + b"<messageData>"
        + _given_data(message)
        + b"</messageData></messages>"
        for message in reply.messages
    )
    return writing.body(head, messages, tail)


def read_get_messages_reply(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> Messages | ErrorInfo:
    """The waiting messages. One that cannot be read does not take the others with it: it is `unreadable`.

    Raises MalformedMessage (`too_many_messages`) too.
    """
    if is_fault(body):
        return _fault(body, Operation.GET_MESSAGES, assumed_zone)
    response = _response(body, Operation.GET_MESSAGES)
    found = reading.fields(response, _MESSAGES_REPLY, repeatable="messages")
    elements = children_named(response, "messages")
    if len(elements) > MAX_MESSAGES:
        raise MalformedMessage(f"the reply holds more than {MAX_MESSAGES} messages", code="too_many_messages")
    messages: list[AsyncMessage] = []
    unreadable: list[UnreadableMessage] = []
    for element in elements:
        if not len(element):
            continue  # templates send the element with nothing in it
        try:
            messages.append(_message(element, assumed_zone))
        except MalformedMessage as error:
            unreadable.append(_unreadable(element, error))
    return Messages(
        response_date=_optional_date(found, "responseDate", assumed_zone),
        session_id=reading.text(found, "sessionId"),
        messages=tuple(messages),
        unreadable=tuple(unreadable),
    )


def _unreadable(element: etree._Element, error: MalformedMessage) -> UnreadableMessage:
    ids: dict[str, str] = {}
    for info in children_named(element, "messageInfo")[:1]:
        for name in _MESSAGE_IDS:
            found = children_named(info, name)
            if len(found) == 1 and not len(found[0]):
                ids[name] = (found[0].text or "").strip()[: reading.MAX_ID_CHARS]
    return UnreadableMessage(
        message_id=ids.get("messageId", ""),
        correlation_id=ids.get("correlationId", ""),
        service_id=ids.get("serviceId", ""),
        code=error.code,
        why=error.message,
    )


# ---------------------------------------------------------------- changeMassageStatusNotification


def build_change_status_notification(change: StatusChange) -> etree._Element:
    return _request_body(
        Operation.CHANGE_STATUS_NOTIFICATION,
        "<notification>"
        + id_leaf("notificationId", change.notification_id)
        + id_leaf("messageId", change.message_id)
        + leaf("notificationDate", write_datetime(change.notification_date))
        + leaf("messageState", change.state)
        + _status_info(change.status)
        + _error("error", change.error)
        + "</notification>"
        + leaf("requestDate", write_datetime(change.request_date))
        + writing.session_id_leaf(change.session_id),
    )


def read_change_status_notification(body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY) -> StatusChange:
    request = reading.fields(_request(body, Operation.CHANGE_STATUS_NOTIFICATION), _CHANGE_REQUEST)
    notification = reading.fields(reading.need(request, "notification"), _CHANGE)
    return StatusChange(
        notification_id=reading.need_text(notification, "notificationId"),
        message_id=reading.need_text(notification, "messageId"),
        notification_date=_date(notification, "notificationDate", assumed_zone),
        state=_word(notification, "messageState", MessageState),
        status=_read_status_info(notification, assumed_zone),
        request_date=_date(request, "requestDate", assumed_zone),
        error=_read_error(notification, "error", assumed_zone),
        session_id=reading.text(request, "sessionId"),
    )


def build_change_status_notification_ack(ack: StatusChangeAck) -> etree._Element:
    return _reply(
        Operation.CHANGE_STATUS_NOTIFICATION,
        _date_leaf("responseDate", ack.response_date) + writing.needed_session_id_leaf(ack.session_id),
    )


def read_change_status_notification_ack(
    body: etree._Element, *, assumed_zone: dt.tzinfo = ALMATY
) -> StatusChangeAck | ErrorInfo:
    if is_fault(body):
        return _fault(body, Operation.CHANGE_STATUS_NOTIFICATION, assumed_zone)
    found = reading.fields(_response(body, Operation.CHANGE_STATUS_NOTIFICATION), _CHANGE_ACK)
    return StatusChangeAck(
        response_date=_optional_date(found, "responseDate", assumed_zone),
        session_id=reading.text(found, "sessionId"),
    )


# ---------------------------------------------------------------- faults


def build_fault(operation: Operation, error: ErrorInfo) -> etree._Element:
    """The Body of a fault of one operation. Raises as `gateway.shep.writing.fault`."""
    return writing.fault(error, _namespace(operation), _fault_detail(operation))


def _fault(body: etree._Element, operation: Operation, zone: dt.tzinfo) -> ErrorInfo:
    return reading.fault(body, _fault_detail(operation), zone)


def _fault_detail(operation: Operation) -> str:
    return f"{operation}Fault1_{operation}Fault"


# ---------------------------------------------------------------- wrappers


def _namespace(operation: Operation) -> str:
    return _NAMESPACES.get(operation, names.ASYNC_TYPES)


def _wrapped(operation: Operation, holder: str, inner: str) -> tuple[str, str]:
    """What stands before and after the rest of an operation's content."""
    name = operation.value if holder == "request" else f"{operation}Response"
    return (
        f'<async:{name} xmlns:async="{_namespace(operation)}"><{holder}>{inner}',
        f"</{holder}></async:{name}>",
    )


def _request_body(operation: Operation, inner: str) -> etree._Element:
    head, tail = _wrapped(operation, "request", inner)
    return writing.body(head, b"", tail)


def _reply(operation: Operation, inner: str) -> etree._Element:
    head, tail = _wrapped(operation, "response", inner)
    return writing.body(head, b"", tail)


def _request(body: etree._Element, operation: Operation) -> etree._Element:
    return reading.holder(body, frozenset({operation.value}), "request")


def _response(body: etree._Element, operation: Operation) -> etree._Element:
    return reading.holder(body, frozenset({f"{operation}Response"}), "response")


# ---------------------------------------------------------------- fields that only this channel has


def _status_info(status: MessageStatusInfo) -> str:
    return (
        "<status>"
        + id_leaf("statusCode", status.code)
        + leaf("statusMessage", writing.for_people(status.message, reading.MAX_PEOPLE_TEXT_CHARS))
        + _date_leaf("statusDate", status.date)
        + "</status>"
    )


def _read_status_info(parts: Fields, zone: dt.tzinfo) -> MessageStatusInfo:
    found = reading.fields(parts["status"], _STATUS_INFO) if "status" in parts else {}
    return MessageStatusInfo(
        code=reading.text(found, "statusCode", reading.MAX_CODE_CHARS),
        message=reading.people_text(found, "statusMessage"),
        date=_optional_date(found, "statusDate", zone),
    )


def _error(name: str, error: ErrorInfo | None) -> str:
    return "" if error is None else f"<{name}>{writing.error_fields(error)}</{name}>"


def _read_error(found: Fields, name: str, zone: dt.tzinfo) -> ErrorInfo | None:
    element = found.get(name)
    return None if element is None or not len(element) else reading.error(element, zone)


def _word(found: Fields, name: str, words: type[_Word], also: dict[str, _Word] | None = None) -> _Word:
    value = reading.need_text(found, name)
    try:
        return words(value)
    except ValueError:
        if also is not None and value in also:
            return also[value]
        raise MalformedMessage(f"<{name}> is one of {', '.join(words)}", code="bad_value") from None


def _date(found: Fields, name: str, zone: dt.tzinfo) -> dt.datetime:
    return read_datetime(reading.need_text(found, name), assumed_zone=zone)


def _optional_date(found: Fields, name: str, zone: dt.tzinfo) -> dt.datetime | None:
    text = reading.text(found, name)
    return read_datetime(text, assumed_zone=zone) if text else None


def _date_leaf(name: str, moment: dt.datetime | None) -> str:
    if moment is None:
        raise ValueError(f"<{name}> cannot be left out: give it a date")
    return leaf(name, write_datetime(moment))
