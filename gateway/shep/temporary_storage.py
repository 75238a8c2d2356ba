"""Temporary storage of files, serviceId EDS_TEMP_FILES on the SyncChannel: its payloads, read and written (SHEP.md 4).

The payload stands unqualified in `data`; children are found by local name and in any order, since no sender agrees
with another on either. What no public record describes is assumed and said here: confirmRequest and
getFileInfoRequest name files as downloadRequest does, the answers are called as their requests are, and a status is
a text. A content is base64 text here, which `encode_content` and `decode_content` turn, `encoded` and `decoded` piece
by piece. The parser takes texts of 10 MB at most: a large content is the mark of a text apart (gateway.apart).
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import reading
from gateway.shep.dates import ALMATY, read_datetime, write_datetime
from gateway.shep.payload import OUR_OWN
from gateway.shep.reading import Fields
from gateway.shep.writing import id_leaf, leaf, optional_leaf
from gateway.xml import children_named, leaf_text, local_name, parse

SERVICE_ID: Final = "EDS_TEMP_FILES"
REQUEST_NAME: Final = "tempStorageRequest"
RESPONSE_NAME: Final = "tempStorageResponse"

#: files of one message
MAX_FILES: Final = 100
MAX_NAME_CHARS: Final = 1_000
MAX_LIFE_TIME: Final = dt.timedelta(days=3_650)

_REQUEST: Final = frozenset(
    {"type", "uploadRequest", "downloadRequest", "confirmRequest", "getFileInfoRequest", "credentials"}
)
_UPLOAD: Final = frozenset({"fileProcessIdentifier", "content", "name", "mime", "lifeTime", "needToBeConfirmed"})
_RESPONSE: Final = frozenset(
    {"type", "uploadResponse", "downloadResponse", "confirmResponse", "getFileInfoResponse", "status"}
)
_RESULT: Final = frozenset({"fileProcessIdentifier", "fileIdentifier", "status", "lifeTime", "content", "meta"})
_META: Final = frozenset(
    {
        "name",
        "mime",
        "uploadDate",
        "expirationTime",
        "needToBeConfirmed",
        "size",
        "deleted",
        "deletionTime",
        "confirmed",
        "confirmationTime",
    }
)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)


class StorageAction(StrEnum):
    """`type` of a request."""

    UPLOAD = "UPLOAD"
    DOWNLOAD = "DOWNLOAD"
    CONFIRM = "CONFIRM"
    GET_FILE_INFO = "GET_FILE_INFO"


#: request element, response element, element of one result
_PARTS: Final = {
    StorageAction.UPLOAD: ("uploadRequest", "uploadResponse", "uploadFileResults"),
    StorageAction.DOWNLOAD: ("downloadRequest", "downloadResponse", "fileDownloadResults"),
    StorageAction.CONFIRM: ("confirmRequest", "confirmResponse", "fileConfirmResults"),
    StorageAction.GET_FILE_INFO: ("getFileInfoRequest", "getFileInfoResponse", "fileInfoResults"),
}


@dataclass(frozen=True, slots=True)
class StorageCredentials:
    """A login of the storage: a second one, not that of requestInfo."""

    sender_id: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileUpload:
    #: the sender's own id of this file within the request
    process_id: str
    #: base64 text
    content: str = field(repr=False)
    name: str = field(default="", repr=False)
    mime: str = ""
    life_time: dt.timedelta | None = None
    needs_confirmation: bool | None = None


@dataclass(frozen=True, slots=True)
class StorageRequest:
    action: StorageAction
    credentials: StorageCredentials
    #: of an upload
    uploads: tuple[FileUpload, ...] = ()
    #: of everything else
    file_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What the storage knows of a file; None and "" where it does not say."""

    name: str = field(default="", repr=False)
    mime: str = ""
    size_bytes: int | None = None
    uploaded_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    needs_confirmation: bool | None = None
    deleted: bool | None = None
    deleted_at: dt.datetime | None = None
    confirmed: bool | None = None
    confirmed_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file."""

    file_id: str
    status: str
    #: of an upload
    process_id: str = ""
    life_time: dt.timedelta | None = None
    #: of a download: base64 text, None when there is none
    content: str | None = field(default=None, repr=False)
    #: of a download or of GET_FILE_INFO
    info: FileInfo | None = None


@dataclass(frozen=True, slots=True)
class StorageResponse:
    action: StorageAction
    status: str
    results: tuple[FileResult, ...] = ()


def encode_content(content: bytes) -> str:
    return base64.b64encode(content).decode()


def decode_content(text: str) -> bytes:
    """Raises MalformedMessage (`bad_content`)."""
    try:
        return _decoded("".join(text.split()).encode("ascii"))
    except UnicodeEncodeError:
        raise _damaged() from None


def encoded(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same piece by piece, on one line, as bytes."""
    left = b""
    for one in content:
        piece = left + one
        end = len(piece) - len(piece) % 3
        left = piece[end:]
        if end:
            yield base64.b64encode(piece[:end])
    if left:
        yield base64.b64encode(left)


def decoded(text: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a text that comes in pieces, with white space anywhere. Raises MalformedMessage (`bad_content`).

    What was given out is the content's beginning; that all of it was base64 is known at the end.
    """
    left = b""
    for one in text:
        piece = left + b"".join(one.split())
        padding = piece.find(b"=")
        if padding >= 0:
            # the end of the text, which nothing but the second sign may follow
            if len(piece) - padding > 2:
                raise _damaged()
            left = piece
            continue
        end = len(piece) - len(piece) % 4
        left = piece[end:]
        if end:
            yield _decoded(piece[:end])
    if left:
        yield _decoded(left)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _damaged() from None


def _damaged() -> MalformedMessage:
    return MalformedMessage("the base64 in <content> is damaged", code="bad_content")


# ---------------------------------------------------------------- requests


def build_storage_request(request: StorageRequest) -> etree._Element:
    """The payload `tempStorageRequest`, for the codec `element`.

    Raises MalformedMessage (`missing_field`, `too_long`, `not_xml_text`, `too_many_files`).
    """
    part = _PARTS[request.action][0]
    if request.action is StorageAction.UPLOAD:
        inner = "".join(_upload(one) for one in request.uploads)
        count = len(request.uploads)
    else:
        inner = "".join(id_leaf("fileIdentifiers", one) for one in request.file_ids)
        count = len(request.file_ids)
    _check_count(count)
    return _element(
        REQUEST_NAME,
        f"<{part}>{inner}</{part}><credentials>"
        + id_leaf("senderId", request.credentials.sender_id)
        + leaf("password", request.credentials.password)
        + "</credentials>"
        + leaf("type", request.action),
    )


def read_storage_request(payload: etree._Element) -> StorageRequest:
    """A request from the payload of a verified message.

    Raises MalformedMessage: `unexpected_payload`, `missing_field`, `repeated`, `too_long`, `bad_value`,
    `too_many_files`.
    """
    fields = reading.fields(_named(payload, REQUEST_NAME), _REQUEST)
    action = _action(fields)
    credentials = reading.sender(reading.need(fields, "credentials"))
    part = reading.need(fields, _PARTS[action][0])
    uploads: tuple[FileUpload, ...] = ()
    file_ids: tuple[str, ...] = ()
    if action is StorageAction.UPLOAD:
        elements = children_named(part, "fileUploadRequests")
        uploads = tuple(_read_upload(one) for one in elements)
    else:
        elements = children_named(part, "fileIdentifiers")
        file_ids = tuple(reading.need_text({"fileIdentifiers": one}, "fileIdentifiers") for one in elements)
    _check_count(len(elements))
    return StorageRequest(action, StorageCredentials(credentials.sender_id, credentials.password), uploads, file_ids)


def _upload(file: FileUpload) -> str:
    return (
        "<fileUploadRequests>"
        + id_leaf("fileProcessIdentifier", file.process_id)
        + optional_leaf("name", reading.bounded(file.name, "name", MAX_NAME_CHARS))
        + leaf("content", file.content)
        + optional_leaf("mime", file.mime)
        + _life_time(file.life_time)
        + _flag("needToBeConfirmed", file.needs_confirmation)
        + "</fileUploadRequests>"
    )


def _read_upload(element: etree._Element) -> FileUpload:
    fields = reading.fields(element, _UPLOAD)
    return FileUpload(
        process_id=reading.need_text(fields, "fileProcessIdentifier"),
        content=leaf_text(reading.need(fields, "content")),
        name=reading.text(fields, "name", MAX_NAME_CHARS),
        mime=reading.text(fields, "mime"),
        life_time=_read_life_time(fields),
        needs_confirmation=_read_flag(fields, "needToBeConfirmed"),
    )


# ---------------------------------------------------------------- responses


def build_storage_response(response: StorageResponse) -> etree._Element:
    """The payload `tempStorageResponse`, for the codec `element`. Raises as `build_storage_request`."""
    _, part, item = _PARTS[response.action]
    inner = "".join(f"<{item}>{_result(response.action, one)}</{item}>" for one in response.results)
    # a response without a single result has its status alone: the schema demands one result in the part
    held = f"<{part}>{inner}{leaf('status', response.status)}</{part}>" if inner else ""
    return _element(RESPONSE_NAME, leaf("type", response.action) + held + leaf("status", response.status))


def read_storage_response(
    payload: etree._Element, expected: StorageAction, *, assumed_zone: dt.tzinfo = ALMATY
) -> StorageResponse:
    """The answer to a request of the type `expected`. Raises as `read_storage_request`, and `bad_date`."""
    fields = reading.fields(_named(payload, RESPONSE_NAME), _RESPONSE)
    if "type" in fields and _action(fields) is not expected:
        raise MalformedMessage("the storage answers another type of request than was sent", code="bad_value")
    _, name, item = _PARTS[expected]
    part = fields.get(name)
    elements = [] if part is None else children_named(part, item)
    if elements:
        _check_count(len(elements))
    status = reading.people_text(fields, "status")
    if part is not None and not status:
        status = reading.people_text(reading.fields(part, frozenset({"status"})), "status")
    return StorageResponse(expected, status, tuple(_read_result(one, assumed_zone) for one in elements))


def _result(action: StorageAction, result: FileResult) -> str:
    if action is StorageAction.UPLOAD:
        return (
            id_leaf("fileProcessIdentifier", result.process_id)
            + leaf("status", result.status)
            + optional_leaf("fileIdentifier", result.file_id)
            + _life_time(result.life_time)
        )
    content = leaf("content", result.content) if result.content is not None else ""
    return (
        leaf("status", result.status)
        + id_leaf("fileIdentifier", result.file_id)
        + content
        + ("" if result.info is None else _info(result.info))
    )


def _read_result(element: etree._Element, zone: dt.tzinfo) -> FileResult:
    fields = reading.fields(element, _RESULT)
    return FileResult(
        file_id=reading.text(fields, "fileIdentifier"),
        status=reading.people_text(fields, "status"),
        process_id=reading.text(fields, "fileProcessIdentifier"),
        life_time=_read_life_time(fields),
        content=leaf_text(fields["content"]) if "content" in fields else None,
        info=_read_info(fields["meta"], zone) if "meta" in fields else None,
    )


def _info(info: FileInfo) -> str:
    return (
        "<meta>"
        + optional_leaf("name", reading.bounded(info.name, "name", MAX_NAME_CHARS))
        + optional_leaf("mime", info.mime)
        + _moment("uploadDate", info.uploaded_at)
        + _moment("expirationTime", info.expires_at)
        + _flag("needToBeConfirmed", info.needs_confirmation)
        + ("" if info.size_bytes is None else leaf("size", str(info.size_bytes)))
        + _flag("deleted", info.deleted)
        + _moment("deletionTime", info.deleted_at)
        + _flag("confirmed", info.confirmed)
        + _moment("confirmationTime", info.confirmed_at)
        + "</meta>"
    )


def _read_info(element: etree._Element, zone: dt.tzinfo) -> FileInfo:
    fields = reading.fields(element, _META)
    return FileInfo(
        name=reading.text(fields, "name", MAX_NAME_CHARS),
        mime=reading.text(fields, "mime"),
        size_bytes=_number(fields, "size"),
        uploaded_at=_read_moment(fields, "uploadDate", zone),
        expires_at=_read_moment(fields, "expirationTime", zone),
        needs_confirmation=_read_flag(fields, "needToBeConfirmed"),
        deleted=_read_flag(fields, "deleted"),
        deleted_at=_read_moment(fields, "deletionTime", zone),
        confirmed=_read_flag(fields, "confirmed"),
        confirmed_at=_read_moment(fields, "confirmationTime", zone),
    )


# ---------------------------------------------------------------- fields


def _element(name: str, inner: str) -> etree._Element:
    return parse(f"<{name}>{inner}</{name}>".encode(), OUR_OWN)


def _named(payload: etree._Element, name: str) -> etree._Element:
    if local_name(payload) != name:
        raise MalformedMessage(
            f"the payload is <{local_name(payload)[:80]}> where <{name}> is expected", code="unexpected_payload"
        )
    return payload


def _action(fields: Fields) -> StorageAction:
    try:
        return StorageAction(reading.need_text(fields, "type"))
    except ValueError:
        raise MalformedMessage(f"<type> is one of {', '.join(StorageAction)}", code="bad_value") from None


def _check_count(count: int) -> None:
    if count == 0:
        raise MalformedMessage("a storage message must name at least one file", code="missing_field")
    if count > MAX_FILES:
        raise MalformedMessage(f"a storage message holds at most {MAX_FILES} files", code="too_many_files")


def _life_time(life_time: dt.timedelta | None) -> str:
    """Milliseconds."""
    return "" if life_time is None else leaf("lifeTime", str(life_time // _MILLISECOND))


def _read_life_time(fields: Fields) -> dt.timedelta | None:
    number = _number(fields, "lifeTime")
    if number is None:
        return None
    # a longer life than anyone keeps a file is written as a very large number
    return min(number, MAX_LIFE_TIME // _MILLISECOND) * _MILLISECOND


def _number(fields: Fields, name: str) -> int | None:
    text = reading.text(fields, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise MalformedMessage(f"<{name}> is a whole number", code="bad_value")
    return int(text)


def _flag(name: str, value: bool | None) -> str:
    return "" if value is None else leaf(name, "true" if value else "false")


def _read_flag(fields: Fields, name: str) -> bool | None:
    text = reading.text(fields, name)
    if text not in ("", "true", "false", "1", "0"):
        raise MalformedMessage(f"<{name}> is true or false", code="bad_value")
    return text in ("true", "1") if text else None


def _moment(name: str, moment: dt.datetime | None) -> str:
    return "" if moment is None else leaf(name, write_datetime(moment))


def _read_moment(fields: Fields, name: str, zone: dt.tzinfo) -> dt.datetime | None:
    text = reading.text(fields, name)
    return read_datetime(text, assumed_zone=zone) if text else None
