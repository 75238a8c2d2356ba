"""Targets: readers of what messages say. What one accepts must be built again and then read the same.

Whatever is read and cannot be written, or is written and reads otherwise, would mean one thing to us and another to
whoever gets it from us.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from lxml import etree

from gateway.errors import GatewayError, MalformedMessage
from gateway.fund import intake
from gateway.fund.intake_service import CODEC
from gateway.registry.imports.lines import LAYOUTS, fields_of, key_of, line_of
from gateway.registry.imports.parts import ListPart
from gateway.shep import async_channel, temporary_storage
from gateway.shep.async_messages import AsyncMessage, Messages, Operation
from gateway.shep.envelope import build_envelope, split
from gateway.shep.messages import ErrorInfo
from gateway.shep.payload import decode
from gateway.shep.temporary_storage import FileResult, StorageAction, StorageRequest, StorageResponse
from gateway.xml import canonicalize, local_name, parse, to_bytes
from tests.fuzz import message_seeds as seeds
from tests.fuzz.engine import Target, WrongAnswer
from tests.fuzz.mutations import of_xml

Read = Callable[[etree._Element], Any]
Build = Callable[[Any], etree._Element]

_AT: Final = dt.datetime(2026, 1, 31, 7, tzinfo=dt.UTC)


# ---------------------------------------------------------------- the asynchronous channel

_REQUESTS: Final[dict[Operation, tuple[Read, Build]]] = {
    Operation.SEND_MESSAGE: (async_channel.read_send_message, async_channel.build_forwarded_message),
    Operation.SEND_DELIVERY_NOTIFICATION: (
        async_channel.read_send_delivery_notification,
        async_channel.build_send_delivery_notification,
    ),
    Operation.GET_MESSAGE_STATUS: (async_channel.read_get_message_status, async_channel.build_get_message_status),
    Operation.GET_MESSAGES: (async_channel.read_get_messages, async_channel.build_get_messages),
    Operation.CHANGE_STATUS_NOTIFICATION: (
        async_channel.read_change_status_notification,
        async_channel.build_change_status_notification,
    ),
}
_REPLIES: Final[dict[Operation, tuple[Read, Build]]] = {
    Operation.SEND_MESSAGE: (async_channel.read_send_message_ack, async_channel.build_send_message_ack),
    Operation.SEND_DELIVERY_NOTIFICATION: (
        async_channel.read_send_delivery_notification_ack,
        async_channel.build_send_delivery_notification_ack,
    ),
    Operation.GET_MESSAGE_STATUS: (
        async_channel.read_get_message_status_reply,
        async_channel.build_get_message_status_reply,
    ),
    Operation.GET_MESSAGES: (async_channel.read_get_messages_reply, async_channel.build_get_messages_reply),
    Operation.CHANGE_STATUS_NOTIFICATION: (
        async_channel.read_change_status_notification_ack,
        async_channel.build_change_status_notification_ack,
    ),
}


def _read_asynchronous(data: bytes) -> None:
    _, body = split(parse(data))
    accepted = 0
    last = MalformedMessage("nothing reads it")
    for read, build, operation, is_request in _every_reader():
        try:
            value = read(body)
        except MalformedMessage as refusal:
            last = refusal
            continue
        repr(value)
        accepted += not isinstance(value, ErrorInfo)
        if accepted > 1:
            raise WrongAnswer("two operations read the same message")
        if is_request and async_channel.operation_of(body) is not operation:
            raise WrongAnswer("a message is served as another operation than it is read as")
        if isinstance(value, ErrorInfo):
            _check_fault(value, read, operation)
            return  # another operation finds its own detail or none
        _check_again(value, read, build)
        for message in (value,) if isinstance(value, AsyncMessage) else getattr(value, "messages", ()):
            _check_again(message, async_channel.read_send_message, async_channel.build_forwarded_message)
    if not accepted:
        raise last


def _every_reader() -> list[tuple[Read, Build, Operation, bool]]:
    return [(*pair, operation, True) for operation, pair in _REQUESTS.items()] + [
        (*pair, operation, False) for operation, pair in _REPLIES.items()
    ]


def _check_again(value: Any, read: Read, build: Build) -> None:
    wanted = _as_written(value)
    try:
        body = build(wanted)
    except GatewayError:  # what is written is bounded more closely than what is read
        return
    if _comparable(read(_received(body))) != _comparable(wanted):
        raise WrongAnswer("what was read is written as something else")


def _check_fault(error: ErrorInfo, read: Read, operation: Operation) -> None:
    wanted = _as_written(error)
    again = read(_received(async_channel.build_fault(operation, wanted)))
    # a fault without a code or without a message takes it from around its detail
    if error.code and error.message and again != wanted:
        raise WrongAnswer("a fault is handed on as another one")


def _received(body: etree._Element) -> etree._Element:
    return split(parse(build_envelope(body)))[1]


def _as_written(value: Any) -> Any:
    """The value with what can be sent: dates of milliseconds, and sessions that are GUIDs."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if field.name == "session_id":
            changes[field.name] = seeds.SESSION
        elif isinstance(inner, dt.datetime):
            changes[field.name] = inner.replace(microsecond=inner.microsecond // 1_000 * 1_000)
        elif inner is None and "datetime" in str(field.type):
            changes[field.name] = _AT
        elif dataclasses.is_dataclass(inner):
            changes[field.name] = _as_written(inner)
    if isinstance(value, Messages):
        changes |= {"messages": tuple(map(_as_written, value.messages)), "unreadable": ()}
    return dataclasses.replace(value, **changes)


def _comparable(value: Any) -> Any:
    """The value with canonical bytes where it has an element."""
    if isinstance(value, AsyncMessage):
        return value.info, b"<data></data>" if value.data is None else canonicalize(value.data)
    if isinstance(value, Messages):
        return value.response_date, value.session_id, [_comparable(one) for one in value.messages], value.unreadable
    return value


# ---------------------------------------------------------------- files


def _read_storage(data: bytes) -> None:
    payload = parse(data)
    if local_name(payload) == temporary_storage.REQUEST_NAME:
        request = temporary_storage.read_storage_request(payload)
        repr(request)
        for upload in request.uploads:
            _check_content(upload.content)
        _check_storage(request, temporary_storage.build_storage_request, temporary_storage.read_storage_request)
        return
    answers = []
    for action in StorageAction:
        try:
            answers.append(temporary_storage.read_storage_response(payload, action))
        except MalformedMessage:
            continue
    if not answers:
        raise MalformedMessage("no request is answered by it")
    for answer in answers:
        repr(answer)
        for result in answer.results:
            _check_content(result.content or "")
        _check_storage(
            _carried(answer),
            temporary_storage.build_storage_response,
            partial(temporary_storage.read_storage_response, expected=answer.action),
        )


def _check_content(text: str) -> None:
    try:
        content = temporary_storage.decode_content(text)
    except MalformedMessage:
        return
    if temporary_storage.decode_content(temporary_storage.encode_content(content)) != content:
        raise WrongAnswer("a file changes on its way")


def _carried(answer: StorageResponse) -> StorageResponse:
    """What an answer of its type carries: a sender may write the rest."""
    if answer.action is StorageAction.UPLOAD:
        results = [dataclasses.replace(one, content=None, info=None) for one in answer.results]
    else:
        results = [dataclasses.replace(one, process_id="", life_time=None) for one in answer.results]
    return dataclasses.replace(answer, results=tuple(map(_with_milliseconds, results)))


def _with_milliseconds(result: FileResult) -> FileResult:
    if result.info is None:
        return result
    moments: dict[str, Any] = {
        field.name: moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
        for field in dataclasses.fields(result.info)
        if isinstance(moment := getattr(result.info, field.name), dt.datetime)
    }
    return dataclasses.replace(result, info=dataclasses.replace(result.info, **moments))


def _check_storage(value: StorageRequest | StorageResponse, build: Build, read: Read) -> None:
    try:
        element = build(value)
    except GatewayError:  # a result without its ids can be read and not written
        return
    if read(parse(to_bytes(element))) != value:
        raise WrongAnswer("what was read is written as something else")


# ---------------------------------------------------------------- the Fund's intake


def _read_intake(data: bytes) -> None:
    payload = decode(parse(data), CODEC, root_name=intake.REQUEST)
    said = intake.read_request(payload, seeds.law())
    shown = repr(said)
    if isinstance(said, intake.Application) and said.iin.value in shown:
        raise WrongAnswer("an IIN is shown")
    if isinstance(said, intake.ForbiddenMarking) and said.marking not in seeds.law().forbidden_markings:
        raise WrongAnswer("a message was not read though nothing forbids it")
    if not isinstance(said, ListPart):
        return
    layout = LAYOUTS[said.feed.kind]
    for line in said.lines:
        if line.decode() in shown and len(line) > len(layout.columns):
            raise WrongAnswer("records are shown")
        values = fields_of(line)
        if values is None or len(values) != len(layout.columns) or line_of(values) != line:
            raise WrongAnswer("a record is kept as another one")
        if key_of(line, layout.key) != tuple(value.encode() for value in values[: layout.key]):
            raise WrongAnswer("a record is found as another one")


def targets() -> list[Target]:
    return [
        Target(
            "async messages",
            _read_asynchronous,
            seeds.asynchronous(),
            of_xml,
            ("gateway.shep.async_channel", "gateway.shep.reading", "gateway.shep.writing"),
        ),
        Target("stored files", _read_storage, seeds.storage(), of_xml, ("gateway.shep.temporary_storage",)),
        Target(
            "Fund lists",
            _read_intake,
            seeds.fund_lists(),
            of_xml,
            ("gateway.fund.intake", "gateway.registry.imports.lines"),
        ),
    ]
