"""Files in the gateway's temporary storage (EDS_TEMP_FILES, SHEP.md 4): uploaded once, fetched, confirmed.

An upload is remembered before it is sent. Whoever asks for the same upload again, after a crash or a reply that was
lost, sends the same bytes under the same ids; once the storage has named the file nothing is sent any more.

A file of more than LARGEST_IN_JOURNAL_BYTES is never in memory: its text is made, digested, sent, received and written
in pieces (gateway.apart). The journal has such a message without the text, with the text's digest in its place.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from gateway.apart import PIECE_BYTES, Parting, Spool, TextApart, mark_in
from gateway.database import reading, writing
from gateway.errors import GatewayError, MalformedMessage, OperatorError, PeerError, StoreError, Undecided
from gateway.exchange.calls import About, Called, Caller, fault_of
from gateway.exchange.ending import storing
from gateway.exchange.journal import Journal
from gateway.exchange.streaming import StreamingTransport
from gateway.exchange.tables import STORED_FILE
from gateway.shep import sync_channel
from gateway.shep.messages import ErrorInfo, RequestInfo
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.temporary_storage import (
    RESPONSE_NAME,
    SERVICE_ID,
    FileInfo,
    FileResult,
    FileUpload,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    build_storage_request,
    decoded,
    encode_content,
    encoded,
    read_storage_response,
)
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()
_FLOW: Final[Flow] = "out.sync"
#: a file up to this size stays in its message, in memory and in the journal too
LARGEST_IN_JOURNAL_BYTES: Final = 1_000_000


class FileState(StrEnum):
    #: sent, or about to be; nobody knows whether the storage has it
    UPLOADING = "uploading"
    STORED = "stored"
    CONFIRMED = "confirmed"
    #: the storage said no
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of ours as its row says."""

    reference: str
    process_id: str
    message_id: str
    sha256: str
    size_bytes: int
    state: FileState
    #: the storage's name for it, which goes into the business message
    file_identifier: str
    #: the storage deletes it then; None: it did not say
    expires_at: dt.datetime | None
    request_journal_id: int


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """A file that came, as it lies in the target."""

    sha256: str
    size_bytes: int
    #: what the storage says about it, if anything
    info: FileInfo | None


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """As whom we use the storage, and what a file may cost."""

    credentials: StorageCredentials
    life_time: dt.timedelta = dt.timedelta(hours=8)
    max_file_bytes: int = 500_000_000
    #: of one call, from the first byte sent to the last one received
    transfer_timeout_s: float = 900.0
    success_codes: frozenset[str] = field(default_factory=lambda: frozenset({"SCSS001"}))
    #: what the status of a confirmed file may be: nothing else of the answer says that it was confirmed
    confirmed_statuses: frozenset[str] = field(default_factory=lambda: frozenset({"OK"}))


class TemporaryStorage:
    """The storage as we use it. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        caller: Caller,
        streams: StreamingTransport,
        journal: Journal,
        policy: StoragePolicy,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._caller = caller
        self._streams = streams
        self._journal = journal
        self._policy = policy
        self._clock = clock
        self._new_message_id = new_message_id

    # ------------------------------------------------------------ upload

    def upload(
        self, reference: str, file: Path, *, name: str = "", mime: str = "", needs_confirmation: bool = False
    ) -> StoredFile:
        """Have a file stored, once for one `reference`: a name of the caller's own, the same whenever it asks again.

        A file that is stored and has not run out is returned without a word on the wire. Raises OperatorError
        (`file_too_large`, `file_unreadable`, `file_changed`, `reference_reused`), PeerUnavailable and OutcomeUnknown
        (ask again: the same bytes go), PeerError (`storage_refused` and what a reply may be refused for), StoreError.
        """
        with _readable(file):
            sha256, size_bytes, text = _measured(file, self._policy.max_file_bytes)
        known = self._row(reference)
        now = self._clock()
        if known is not None:
            if known.sha256 != sha256:
                raise OperatorError(
                    f"the reference {reference!r} was used for another file; give every file its own",
                    code="reference_reused",
                )
            if known.state in (FileState.STORED, FileState.CONFIRMED) and (
                known.expires_at is None or known.expires_at > now
            ):
                return known
        if known is not None and known.state is FileState.UPLOADING:
            stored = self._journal.get(known.request_journal_id)
            if stored is not None and stored.body is not None:
                return self._send(known, stored.body, None if mark_in(stored.body) is None else text, now)
        apart = text if size_bytes > LARGEST_IN_JOURNAL_BYTES else None
        process_id, message_id = self._new_message_id(), self._new_message_id()
        upload = FileUpload(
            process_id=process_id,
            content=_content(file) if apart is None else apart.mark,
            name=name,
            mime=mime,
            life_time=self._policy.life_time,
            needs_confirmation=needs_confirmation,
        )
        request = StorageRequest(StorageAction.UPLOAD, self._policy.credentials, uploads=(upload,))
        signed = self._caller.sign(self._body(request, message_id, now), flow=_FLOW, apart=apart)
        with step(8, _FLOW), storing(self._engine) as connection:
            values = {
                "process_id": process_id,
                "message_id": message_id,
                "name": name[:255],
                "mime": mime[:100],
                "size_bytes": size_bytes,
                "sha256": sha256,
                "state": FileState.UPLOADING,
                "file_identifier": "",
                "code": "",
                "created_at": now,
                "stored_at": None,
                "expires_at": None,
            }
            values["request_journal_id"] = self._caller.journal_request(connection, signed, _about(message_id))
            self._remember(connection, reference, known, values)
        row = self._row(reference)
        if row is None:
            raise StoreError("the row of an upload is gone; nothing was sent", code="clash")
        return self._send(row, signed, apart, now)

    def _send(self, row: StoredFile, signed: bytes, apart: TextApart | None, now: dt.datetime) -> StoredFile:
        """Steps 9 to 13 of an upload whose bytes are in the journal."""
        try:
            called = self._call(signed, apart, row.message_id, self._reply_without_file())
            response = self._read(called, StorageAction.UPLOAD)
        except (PeerError, Undecided) as error:
            # not knowing is no refusal: the next call sends the same bytes
            self._note(row, error)
            raise
        result = next((one for one in response.results if one.process_id == row.process_id), None)
        with step(13, _FLOW), writing(self._engine) as connection:
            if result is None or not result.file_id:
                self._set(connection, row.reference, state=FileState.REFUSED, code="storage_refused")
            else:
                expires_at = now + (result.life_time or self._policy.life_time)
                self._set(
                    connection,
                    row.reference,
                    state=FileState.STORED,
                    code="",
                    file_identifier=result.file_id,
                    stored_at=now,
                    expires_at=expires_at,
                )
            self._caller.accept(connection, called)
        if result is None or not result.file_id:
            raise _refused()
        found = self._row(row.reference)
        if found is None:
            raise StoreError("the row of an upload is gone; the storage has the file", code="clash")
        _LOG.info("exchange", action="file_stored", message_id=row.message_id, bytes=row.size_bytes)
        return found

    # ------------------------------------------------------------ download, confirm, ask about

    def download(self, file_identifier: str, target: Path, *, sha256: str = "") -> DownloadedFile:
        """Fetch a file into `target`, which is there only when all of it came, was signed and is on the disk.

        `sha256` is what it must have, where somebody has said so. Raises PeerError (`storage_refused`,
        `file_too_large`, `bad_content`, `other_content`, and what a reply may be refused for), Undecided,
        OperatorError (`file_unreadable`: the target cannot be written), StoreError.
        """
        with _readable(target):
            reply = self._reply_with_file(target.parent)
            written: list[DownloadedFile] = []
            self._about_file(
                StorageAction.DOWNLOAD,
                file_identifier,
                reply,
                lambda one, apart: written.append(_write(one, apart, target, self._policy, sha256)),
            )
        return written[0]

    def confirm(self, file_identifier: str) -> None:
        """Tell the storage that a file arrived. Twice does no more than once. Raises as `download`."""
        self._about_file(
            StorageAction.CONFIRM,
            file_identifier,
            self._reply_without_file(),
            lambda one, _: self._check_confirmed(one),
        )
        with writing(self._engine) as connection:
            connection.execute(
                update(STORED_FILE)
                .where(STORED_FILE.c.file_identifier == file_identifier, STORED_FILE.c.state == FileState.STORED)
                .values(state=FileState.CONFIRMED)
            )

    def _check_confirmed(self, result: FileResult) -> None:
        if result.status not in self._policy.confirmed_statuses:
            raise PeerError(
                "the temporary storage did not say that the file is confirmed: see its status with `gateway journal"
                " show`, and storage.confirmed_statuses",
                code="storage_refused",
            )

    def info(self, file_identifier: str) -> FileInfo:
        """What the storage knows of a file. Raises as `download`; `storage_refused` when it knows nothing."""
        result = self._about_file(StorageAction.GET_FILE_INFO, file_identifier, self._reply_without_file())
        if result.info is None:
            raise _refused()
        return result.info

    def find(self, reference: str) -> StoredFile | None:
        """The file that was uploaded under a reference. Raises StoreError."""
        return self._row(reference)

    def _about_file(
        self,
        action: StorageAction,
        file_identifier: str,
        reply: Parting,
        take: Callable[[FileResult, TextApart | None], None] | None = None,
    ) -> FileResult:
        request = StorageRequest(action, self._policy.credentials, file_ids=(file_identifier,))
        message_id = self._new_message_id()
        signed = self._caller.sign(self._body(request, message_id, self._clock()), flow=_FLOW)
        with step(8, _FLOW), writing(self._engine) as connection:
            self._caller.journal_request(connection, signed, _about(message_id))
        called = self._call(signed, None, message_id, reply)
        response = self._read(called, action)
        result = next((one for one in response.results if one.file_id == file_identifier), None)
        if result is None:
            error = _refused()
            self._caller.refuse(called.entry, called.entry_id, called.evidence, error)
            raise error
        if take is not None:
            try:
                take(result, called.apart)
            except PeerError as error:
                self._caller.refuse(called.entry, called.entry_id, called.evidence, error)
                raise
        with step(13, _FLOW), writing(self._engine) as connection:
            self._caller.accept(connection, called)
        return result

    # ------------------------------------------------------------ messages

    def _call(self, signed: bytes, apart: TextApart | None, message_id: str, reply: Parting) -> Called:
        return self._caller.post_streamed(
            signed,
            apart,
            _about(message_id),
            flow=_FLOW,
            streams=self._streams,
            reply=reply,
            transfer_timeout_s=self._policy.transfer_timeout_s,
        )

    def _reply_without_file(self) -> Parting:
        return Parting(_no_file, max_message_bytes=self._caller.policy.max_reply_bytes, max_text_bytes=0)

    def _reply_with_file(self, folder: Path) -> Parting:
        """Its text lies in `folder` until it is decoded."""
        return Parting(
            lambda: Spool(folder),
            max_message_bytes=self._caller.policy.max_reply_bytes,
            max_text_bytes=_longest_text(self._policy.max_file_bytes),
        )

    def _body(self, request: StorageRequest, message_id: str, at: dt.datetime) -> etree._Element:
        info = RequestInfo(
            message_id=message_id, service_id=SERVICE_ID, message_date=at, sender=self._caller.policy.sender
        )
        return sync_channel.build_request(info, build_storage_request(request), PayloadCodec.ELEMENT)

    def _read(self, called: Called, action: StorageAction) -> StorageResponse:
        """Step 12; a reply that must not be used has its verdict then."""
        try:
            with step(12, _FLOW):
                content = sync_channel.read_reply(called.message.body)
                if isinstance(content, ErrorInfo):
                    raise fault_of(content)
                self._caller.check_made_now(called, content.info.response_date)
                if content.info.status.code not in self._policy.success_codes or content.data is None:
                    raise _refused()
                payload = decode(
                    content.data, PayloadCodec.ELEMENT, root_name=RESPONSE_NAME, bounds=self._caller.policy.bounds
                )
                return read_storage_response(payload, action)
        except PeerError as error:
            self._caller.refuse(called.entry, called.entry_id, called.evidence, error)
            raise

    # ------------------------------------------------------------ rows

    def _row(self, reference: str) -> StoredFile | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(STORED_FILE).where(STORED_FILE.c.reference == reference)).mappings().first()
        return None if row is None else _stored(row)

    @staticmethod
    def _remember(connection: Connection, reference: str, known: StoredFile | None, values: dict[str, object]) -> None:
        if known is None:
            connection.execute(insert(STORED_FILE).values(reference=reference, **values))
            return
        # it ran out, was refused, or its bytes are gone: begun anew, unless somebody else has done so meanwhile
        changed = connection.execute(
            update(STORED_FILE)
            .where(STORED_FILE.c.reference == reference, STORED_FILE.c.process_id == known.process_id)
            .values(values)
        )
        if changed.rowcount != 1:
            raise StoreError("another worker uploads this file at the moment; ask again", code="clash")

    def _note(self, row: StoredFile, error: GatewayError) -> None:
        with writing(self._engine) as connection:
            self._set(connection, row.reference, code=error.code[:64])

    @staticmethod
    def _set(connection: Connection, reference: str, **values: object) -> None:
        connection.execute(update(STORED_FILE).where(STORED_FILE.c.reference == reference).values(values))


def _about(message_id: str) -> About:
    return About("", SERVICE_ID, SERVICE_ID, message_id)


def _refused() -> PeerError:
    return PeerError(
        "the temporary storage did not do it; see its status with `gateway journal show`", code="storage_refused"
    )


def _stored(row: RowMapping) -> StoredFile:
    return StoredFile(
        reference=row["reference"],
        process_id=row["process_id"],
        message_id=row["message_id"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        state=FileState(row["state"]),
        file_identifier=row["file_identifier"],
        expires_at=row["expires_at"],
        request_journal_id=row["request_journal_id"],
    )


# ---------------------------------------------------------------- files


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{file} cannot be read or written: {error.strerror}", code="file_unreadable") from None


def _pieces(file: Path) -> Iterator[bytes]:
    with _readable(file), file.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _measured(file: Path, max_bytes: int) -> tuple[str, int, TextApart]:
    """SHA-256 and size, and its base64 text, read piece by piece. Raises OperatorError (`file_too_large`)."""
    content, text = hashlib.sha256(), hashlib.sha256()
    size_bytes = text_bytes = 0

    def counted() -> Iterator[bytes]:
        nonlocal size_bytes
        for piece in _pieces(file):
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise OperatorError(
                    f"{file} has more than {max_bytes} bytes; see storage.max_file_bytes", code="file_too_large"
                )
            content.update(piece)
            yield piece

    for piece in encoded(counted()):
        text.update(piece)
        text_bytes += len(piece)
    sha256 = text.hexdigest()
    return content.hexdigest(), size_bytes, TextApart(sha256, text_bytes, lambda: _unchanged(file, sha256))


def text_of(file: Path) -> TextApart:
    """The base64 text of a file, on one line. Raises OperatorError (`file_unreadable`)."""
    return _measured(file, sys.maxsize)[2]


def _unchanged(file: Path, sha256: str) -> Iterator[bytes]:
    """The text of a file that was measured; its last piece comes only when it is still the same."""
    digest, last = hashlib.sha256(), b""
    for piece in encoded(_pieces(file)):
        digest.update(piece)
        if last:
            yield last
        last = piece
    if digest.hexdigest() != sha256:
        raise OperatorError(
            f"{file} was changed while it was being sent; send it again when nobody writes to it", code="file_changed"
        )
    yield last


def _content(file: Path) -> str:
    return encode_content(b"".join(_pieces(file)))


def _longest_text(file_bytes: int) -> int:
    """Of the base64 text of a file, in lines of 76 characters that end with CR LF (RFC 2045)."""
    signs = (file_bytes + 2) // 3 * 4
    return signs + signs // 76 * 2 + 2


def _no_file() -> Spool:
    raise MalformedMessage("the reply has a text that is far too long for it", code="too_large")


def _write(
    result: FileResult, apart: TextApart | None, target: Path, policy: StoragePolicy, sha256: str
) -> DownloadedFile:
    """The content into a file beside the target, piece by piece, and only then under its name."""
    if result.content is None:
        raise _refused()
    if apart is None:
        text: Iterator[bytes] = iter((result.content.encode(),))
    elif result.content == apart.mark:
        text = apart.pieces()
    else:
        raise MalformedMessage("the long text of the reply is not the content of the file", code="mark")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".download-", delete=False) as stream:
        partial = Path(stream.name)
        try:
            written = _decoded_into(stream.file, text, policy.max_file_bytes)
            if sha256 and written[0] != sha256:
                raise MalformedMessage(
                    "the file is not the one that was announced: its digest differs", code="other_content"
                )
            stream.flush()
            os.fsync(stream.fileno())
            partial.replace(target)
            _sync_folder(target.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return DownloadedFile(*written, result.info)


def _sync_folder(folder: Path) -> None:
    """A name is on the disk when its folder is: the storage may forget a file that is confirmed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _decoded_into(stream: IO[bytes], text: Iterator[bytes], max_bytes: int) -> tuple[str, int]:
    """SHA-256 and size of what was written."""
    digest, size_bytes = hashlib.sha256(), 0
    for piece in decoded(text):
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise MalformedMessage(
                f"the file is larger than {max_bytes} bytes; see storage.max_file_bytes", code="file_too_large"
            )
        digest.update(piece)
        stream.write(piece)
    return digest.hexdigest(), size_bytes
