"""Genuine messages of the asynchronous channel, of the storage of files and of the Fund's intake."""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import cache

from lxml import etree

from gateway import resources
from gateway.fund import intake
from gateway.model import Iin, iin_control_digit
from gateway.registry.imports.feeds import RecordKind
from gateway.registry.imports.lines import LAYOUTS, line_of
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.shep import async_channel
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
)
from gateway.shep.envelope import build_envelope
from gateway.shep.messages import ErrorInfo, Property, Sender
from gateway.shep.payload import PayloadCodec
from gateway.shep.temporary_storage import (
    FileInfo,
    FileResult,
    FileUpload,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    build_storage_request,
    build_storage_response,
    encode_content,
)
from gateway.xml import to_bytes

#: one that any answer may carry
SESSION: str = "{0f8fad5b-d9cb-469f-a165-70867728950e}"
_AT = dt.datetime(2026, 1, 31, 7, tzinfo=dt.UTC)
_SENDER = Sender("login", "secret")


@cache
def law() -> Law:
    return load_law(resources.path("config/regulation"))


# ---------------------------------------------------------------- the asynchronous channel


@cache
def asynchronous() -> tuple[bytes, ...]:
    """Every operation, every answer and a fault, as envelopes."""
    payload = etree.fromstring('<q:Request xmlns:q="urn:r"><iin a="1">Ұ</iin><nil/></q:Request>')
    request = AsyncMessageInfo("SERVICE", MessageType.REQUEST, _AT, _SENDER, route_id="r-1", session_id=SESSION)
    answer = AsyncMessageInfo(
        "SERVICE", MessageType.RESPONSE, _AT, _SENDER, "m-2", "c-1", properties=(Property("k", "v"), Property("l", "w"))
    )
    inner = ErrorInfo("SCE002", "inner", _AT)
    error = ErrorInfo("SCE001", "қате", _AT, "data", inner, SESSION)
    status = MessageStatusInfo("100", "жеткізілді", _AT)
    body = async_channel.build_send_message(answer, payload, PayloadCodec.ELEMENT)
    held = async_channel.read_send_message(body)
    bodies = (
        async_channel.build_send_message(request, payload, PayloadCodec.BASE64),
        async_channel.build_send_message(request, None, PayloadCodec.ELEMENT),
        body,
        async_channel.build_send_message_ack(MessageAck("m-1", "c-1", _AT, SESSION)),
        async_channel.build_send_delivery_notification(
            DeliveryNotification(
                "m-1", "SERVICE", _AT, ReceiveStatus.NOT_ACCEPTED, _AT, Resend.RESEND, _AT, error, _SENDER
            )
        ),
        async_channel.build_send_delivery_notification_ack(DeliveryNotificationAck("n-1", _AT, SESSION)),
        async_channel.build_get_message_status(MessageStatusQuery("m-1", _AT, _SENDER, (Property("k", "v"),))),
        async_channel.build_get_message_status_reply(MessageStatus(MessageState.DELIVERED, status, _AT, "plain")),
        async_channel.build_get_messages(MessagesQuery("SERVICE", "m-1", "c-1", _AT, _SENDER, 20)),
        async_channel.build_get_messages_reply(Messages(_AT, SESSION, (held, AsyncMessage(request, None)))),
        async_channel.build_change_status_notification(
            StatusChange("n-1", "m-1", _AT, MessageState.NOT_DELIVERED, status, _AT, error, SESSION)
        ),
        async_channel.build_change_status_notification_ack(StatusChangeAck(_AT, SESSION)),
        async_channel.build_fault(Operation.GET_MESSAGES, error),
    )
    return tuple(build_envelope(one) for one in bodies)


# ---------------------------------------------------------------- files


@cache
def storage() -> tuple[bytes, ...]:
    """Every request and every answer, as payloads."""
    credentials = StorageCredentials("store", "hush")
    info = FileInfo("тізім.csv", "text/csv", 9, _AT, _AT, True, False, None, False, _AT)
    content = encode_content(b"\0 a file \xff")
    upload = FileUpload("p-1", content, "тізім.csv", "text/csv", dt.timedelta(hours=8), needs_confirmation=True)
    done = {
        StorageAction.UPLOAD: FileResult("f-1", "OK", "p-1", dt.timedelta(hours=8)),
        StorageAction.DOWNLOAD: FileResult("f-1", "OK", content=content, info=info),
        StorageAction.CONFIRM: FileResult("f-1", "OK"),
        StorageAction.GET_FILE_INFO: FileResult("f-1", "OK", info=info),
    }
    requests = [StorageRequest(StorageAction.UPLOAD, credentials, (upload, FileUpload("p-2", "")))]
    requests += [
        StorageRequest(action, credentials, file_ids=("f-1", "f-2"))
        for action in StorageAction
        if action is not StorageAction.UPLOAD
    ]
    return (
        *(to_bytes(build_storage_request(one)) for one in requests),
        *(to_bytes(build_storage_response(StorageResponse(one, "OK", (result,)))) for one, result in done.items()),
        to_bytes(build_storage_response(StorageResponse(StorageAction.CONFIRM, "қате"))),
    )


# ---------------------------------------------------------------- the Fund's intake

_PERSON = Iin(f"85010130055{iin_control_digit('85010130055')}").value
_RECORDS = {
    "republican_categories": {
        "iin": _PERSON, "category": "pension_recipient", "assigned_date": "2020-05-01", "assigned_source": "enbek_is",
    },
    "payments": {
        "iin": _PERSON, "period": "2026-01", "reference": "r-1", "full_name": 'Ә "Б", В', "payer_name": "Ұ",
        "received_date": "2026-02-01", "amount": "4250.00", "purpose_code": "121",
    },
    "treaty_foreigner": {"iin": _PERSON, "first_day": "2026-01-01", "first_day_off": "2026-06-01"},
    "military_mod": {"iin": _PERSON, "listed_as": "conscript", "changed_on": "2026-01-01"},
}  # fmt: skip
_KINDS = {
    "republican_categories": RecordKind.CATEGORIES,
    "payments": RecordKind.PAYMENTS,
    "treaty_foreigner": RecordKind.TREATY,
    "military_mod": RecordKind.MILITARY,
}


@cache
def fund_lists() -> tuple[bytes, ...]:
    """`data` with each thing that a message may say."""
    failure = "<system>mem_corp</system><from>2026-03-01</from><reason>letter 12</reason>"
    said = (
        *(_part(feed) for feed in _RECORDS),
        f"<failure>{failure}</failure>",
        f"<failureEnd>{failure}<fixed>2026-03-03</fixed></failureEnd>",
        f"<application><iin>{_PERSON}</iin><category>children</category><applied>2026-03-01</applied>"
        "<documents><document>birth_certificate</document></documents></application>",
        f"<failure>{failure}<marking>state_secret</marking></failure>",
    )
    return tuple(
        f'<data><li:listIntakeRequest xmlns:li="{intake.NAMESPACE}">{one}</li:listIntakeRequest></data>'.encode()
        for one in said
    )


def _part(feed: str) -> str:
    values = _RECORDS[feed]
    line = line_of([values.get(name, "") for name in LAYOUTS[_KINDS[feed]].columns])
    assert line is not None
    record = etree.Element("record")
    for name, value in values.items():
        etree.SubElement(record, name).text = value
    digest = hashlib.sha256(line + b"\n").hexdigest()
    return (
        f"<listPart><listId>l-1</listId><feed>{feed}</feed><scope>changes</scope><madeOn>2026-03-01</madeOn>"
        f"<number>1</number><of>2</of><digest>{digest}</digest>"
        f"<records>{to_bytes(record).decode()}</records></listPart>"
    )
