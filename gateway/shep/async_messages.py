"""What an AsyncChannel message says, as frozen values (SHEP.md 2.2 and 3).

As in `gateway.shep.messages`: dates are timezone-aware, optional texts that are absent are "", and texts for people
stay out of `repr`. A date is None only where a peer left it out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from lxml import etree

from gateway.shep.messages import ErrorInfo, Property, Sender


class Operation(StrEnum):
    """The six operations by their wire names; "Massage" is the true one."""

    #: on both port types: to the gateway, and pushed by it
    SEND_MESSAGE = "sendMessage"
    SEND_DELIVERY_NOTIFICATION = "sendDeliveryNotification"
    GET_MESSAGE_STATUS = "getMessageStatus"
    GET_MESSAGES = "getMessages"
    #: on the participant's side
    CHANGE_STATUS_NOTIFICATION = "changeMassageStatusNotification"


class MessageType(StrEnum):
    #: opens an exchange
    REQUEST = "REQUEST"
    #: changes the data of one
    UPDATE = "UPDATE"
    #: stands between request and answer
    NOTIFICATION = "NOTIFICATION"
    #: answers
    RESPONSE = "RESPONSE"


class MessageState(StrEnum):
    ON_DELIVERY = "ON_DELIVERY"
    DELIVERED = "DELIVERED"
    NOT_DELIVERED = "NOT_DELIVERED"
    DELIVERY_STOPPED = "DELIVERY_STOPPED"


class ReceiveStatus(StrEnum):
    ACCEPTED = "MESSAGE_ACCEPTED"
    #: the misspelling is the wire's
    NOT_ACCEPTED = "MESSAGE_NOT_ACCTEPTED"


class Resend(StrEnum):
    RESEND = "RESEND"
    NOT_RESEND = "NOT_RESEND"


@dataclass(frozen=True, slots=True)
class AsyncMessageInfo:
    service_id: str
    message_type: MessageType
    #: when the sender made the message
    message_date: dt.datetime
    sender: Sender
    #: the gateway's to give; many senders put an id of their own into a REQUEST
    message_id: str = ""
    #: the gateway's to give; mandatory in every message but a REQUEST
    correlation_id: str = ""
    route_id: str = ""
    properties: tuple[Property, ...] = ()
    #: as received, braces or not; a sender leaves it empty
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class AsyncMessage:
    info: AsyncMessageInfo
    #: the element `data`, opaque until `payload.decode`; None when the sender left it out
    data: etree._Element | None


@dataclass(frozen=True, slots=True)
class UnreadableMessage:
    """One message of a getMessages reply that cannot be read: the others can, and this one can be refused by its id."""

    #: "" where not even these can be read
    message_id: str
    correlation_id: str
    service_id: str
    #: of the MalformedMessage
    code: str
    why: str


# ---------------------------------------------------------------- sendMessage


@dataclass(frozen=True, slots=True)
class MessageAck:
    """The answer to sendMessage: the gateway's ids. Some receivers of a push answer with next to nothing."""

    message_id: str
    correlation_id: str
    response_date: dt.datetime | None
    session_id: str = ""


# ---------------------------------------------------------------- sendDeliveryNotification


@dataclass(frozen=True, slots=True)
class DeliveryNotification:
    """A receiver tells the gateway whether it has a message; "not accepted" with RESEND asks for it again."""

    message_id: str
    service_id: str
    notification_date: dt.datetime
    receive_status: ReceiveStatus
    status_date: dt.datetime
    resend: Resend
    request_date: dt.datetime
    error: ErrorInfo | None = None
    sender: Sender | None = None


@dataclass(frozen=True, slots=True)
class DeliveryNotificationAck:
    notification_id: str
    response_date: dt.datetime | None
    #: a GUID when written: the schema demands it here
    session_id: str


# ---------------------------------------------------------------- getMessageStatus


@dataclass(frozen=True, slots=True)
class MessageStatusQuery:
    message_id: str
    request_date: dt.datetime
    sender: Sender
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageStatusInfo:
    code: str
    message: str = field(repr=False)
    date: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MessageStatus:
    state: MessageState
    status: MessageStatusInfo
    response_date: dt.datetime | None
    #: a plain string in this answer alone
    session_id: str = ""


# ---------------------------------------------------------------- getMessages


@dataclass(frozen=True, slots=True)
class MessagesQuery:
    service_id: str
    message_id: str = ""
    correlation_id: str = ""
    request_date: dt.datetime | None = None
    sender: Sender | None = None
    #: 0: the gateway's own batch size
    amount: int = 0
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class Messages:
    response_date: dt.datetime | None
    #: a GUID when written: the schema demands it here
    session_id: str
    messages: tuple[AsyncMessage, ...] = ()
    #: only when read
    unreadable: tuple[UnreadableMessage, ...] = ()


# ---------------------------------------------------------------- changeMassageStatusNotification


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The gateway tells a sender what became of a message."""

    notification_id: str
    message_id: str
    notification_date: dt.datetime
    state: MessageState
    status: MessageStatusInfo
    request_date: dt.datetime
    error: ErrorInfo | None = None
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class StatusChangeAck:
    response_date: dt.datetime | None
    #: the request's; a GUID when written
    session_id: str
