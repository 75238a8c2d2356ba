"""What a SyncChannel message says, as frozen values (SHEP.md 1.3, 1.4, 1.8 and 3).

Texts that a peer wrote for people, and the sender's password, stay out of `repr`: they may name a person.
Dates are timezone-aware; optional texts that are absent are "".
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from lxml import etree


@dataclass(frozen=True, slots=True)
class Sender:
    """SenderInfo: a login of the gateway, not of a person."""

    sender_id: str
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Property:
    """One repetition of the flat element `properties`."""

    #: at most 30 characters when written
    key: str
    #: at most 500 characters when written
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """The business outcome. The code is chosen by the provider, both are "" in answers of the KDP."""

    code: str
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    message_id: str
    service_id: str
    #: when the sender made the message
    message_date: dt.datetime
    sender: Sender
    correlation_id: str = ""
    route_id: str = ""
    properties: tuple[Property, ...] = ()
    #: belongs to the gateway: as received, braces or not; a sender leaves it empty
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    info: RequestInfo
    #: the element `data`, opaque until `payload.decode`; None when the sender left it out
    data: etree._Element | None


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    #: the id in the provider's system; many providers repeat the request's
    message_id: str
    response_date: dt.datetime
    status: StatusInfo
    correlation_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class SyncResponse:
    info: ResponseInfo
    #: the element `data`; None when the provider sent an empty `responseData`
    data: etree._Element | None


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """A fault's detail; read from faultcode and faultstring where the detail is missing."""

    code: str
    message: str = field(repr=False)
    #: None only in a fault that came without a detail or with an unreadable date
    date: dt.datetime | None
    #: "original text or exception": shown to an operator who asks, never logged
    data: str = field(default="", repr=False)
    sub_error: ErrorInfo | None = None
    session_id: str = ""
