"""Files in the gateway's temporary storage (EDS_TEMP_FILES, SHEP.md 4): uploaded once, fetched, confirmed.

An upload is remembered before it is sent. Whoever asks for the same upload again, after a crash or a reply that was
lost, sends the same bytes under the same ids; once the storage has named the file nothing is sent any more.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from gateway.database import reading, writing
from gateway.errors import GatewayError, MalformedMessage, OperatorError, PeerError, StoreError, Undecided
from gateway.exchange.calls import About, Called, Caller, fault_of
from gateway.exchange.ending import storing
from gateway.exchange.journal import Journal
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
    read_storage_response,
)
from gateway.telemetry import Flow, step

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG: Final = structlog.get_logger()
_FLOW: Final[Flow] = "out.sync"
#: read, encoded and decoded at once; a multiple of 3 and of 4, so that every piece is base64 of its own
_CHUNK_BYTES: Final = 12 * 4_096


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
class StoragePolicy:
    """As whom we use the storage, and what a file may cost."""

    credentials: StorageCredentials
    life_time: dt.timedelta = dt.timedelta(hours=8)
    max_file_bytes: int = 5_000_000
    success_codes: frozenset[str] = field(default_factory=lambda: frozenset({"SCSS001"}))


class TemporaryStorage:
    """The storage as we use it. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        caller: Caller,
        journal: Journal,
        policy: StoragePolicy,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._caller = caller
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
        (`file_too_large`, `file_unreadable`, `reference_reused`), PeerUnavailable and OutcomeUnknown (ask again: the
        same bytes go), PeerError (`storage_refused` and what a reply may be refused for), StoreError.
        """
        with _readable(file):
            sha256, size_bytes = _digest(file, self._policy.max_file_bytes)
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
                return self._send(known, stored.body, now)
        process_id, message_id = self._new_message_id(), self._new_message_id()
        upload = FileUpload(
            process_id=process_id,
            content=_encoded(file),
            name=name,
            mime=mime,
            life_time=self._policy.life_time,
            needs_confirmation=needs_confirmation,
        )
        request = StorageRequest(StorageAction.UPLOAD, self._policy.credentials, uploads=(upload,))
        signed = self._caller.sign(self._body(request, message_id, now), flow=_FLOW)
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
        return self._send(row, signed, now)

    def _send(self, row: StoredFile, signed: bytes, now: dt.datetime) -> StoredFile:
        """Steps 9 to 13 of an upload whose bytes are in the journal."""
        try:
            called = self._caller.post(signed, _about(row.message_id), flow=_FLOW)
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

    def download(self, file_identifier: str, target: Path) -> FileInfo | None:
        """Fetch a file into `target`, which is there only when all of it came and was signed. What the storage says
        about it, if anything.

        Raises PeerError (`storage_refused`, `file_too_large`, `bad_content`, and what a reply may be refused for),
        Undecided, OperatorError (`file_unreadable`: the target cannot be written), StoreError.
        """
        result = self._about_file(
            StorageAction.DOWNLOAD, file_identifier, lambda one: _write(one, target, self._policy)
        )
        return result.info

    def confirm(self, file_identifier: str) -> None:
        """Tell the storage that a file arrived. Twice does no more than once. Raises as `download`."""
        self._about_file(StorageAction.CONFIRM, file_identifier)
        with writing(self._engine) as connection:
            connection.execute(
                update(STORED_FILE)
                .where(STORED_FILE.c.file_identifier == file_identifier, STORED_FILE.c.state == FileState.STORED)
                .values(state=FileState.CONFIRMED)
            )

    def info(self, file_identifier: str) -> FileInfo:
        """What the storage knows of a file. Raises as `download`; `storage_refused` when it knows nothing."""
        result = self._about_file(StorageAction.GET_FILE_INFO, file_identifier)
        if result.info is None:
            raise _refused()
        return result.info

    def find(self, reference: str) -> StoredFile | None:
        """The file that was uploaded under a reference. Raises StoreError."""
        return self._row(reference)

    def _about_file(
        self, action: StorageAction, file_identifier: str, take: Callable[[FileResult], None] | None = None
    ) -> FileResult:
        request = StorageRequest(action, self._policy.credentials, file_ids=(file_identifier,))
        message_id = self._new_message_id()
        signed = self._caller.sign(self._body(request, message_id, self._clock()), flow=_FLOW)
        with step(8, _FLOW), writing(self._engine) as connection:
            self._caller.journal_request(connection, signed, _about(message_id))
        called = self._caller.post(signed, _about(message_id), flow=_FLOW)
        response = self._read(called, action)
        result = next((one for one in response.results if one.file_id == file_identifier), None)
        if result is None:
            error = _refused()
            self._caller.refuse(called.entry, called.entry_id, called.evidence, error)
            raise error
        if take is not None:
            try:
                take(result)
            except PeerError as error:
                self._caller.refuse(called.entry, called.entry_id, called.evidence, error)
                raise
        with step(13, _FLOW), writing(self._engine) as connection:
            self._caller.accept(connection, called)
        return result

    # ------------------------------------------------------------ messages

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


def _digest(file: Path, max_bytes: int) -> tuple[str, int]:
    """SHA-256 and size, read piece by piece. Raises OperatorError (`file_too_large`)."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            size += len(piece)
            if size > max_bytes:
                raise OperatorError(
                    f"{file} has more than {max_bytes} bytes; see storage.max_file_bytes", code="file_too_large"
                )
            digest.update(piece)
    return digest.hexdigest(), size


def _encoded(file: Path) -> str:
    """The content as base64, read piece by piece: the file itself is never in memory beside it."""
    encoded = bytearray()
    with _readable(file), file.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            encoded += base64.b64encode(piece)
    return encoded.decode("ascii")


def _write(result: FileResult, target: Path, policy: StoragePolicy) -> None:
    """The content into a file beside the target, piece by piece, and only then under its name."""
    if result.content is None:
        raise _refused()
    text = "".join(result.content.split())
    if len(text) // 4 * 3 > policy.max_file_bytes + 2:
        raise MalformedMessage(
            f"the file is larger than {policy.max_file_bytes} bytes; see storage.max_file_bytes", code="file_too_large"
        )
    with (
        _readable(target),
        tempfile.NamedTemporaryFile(dir=target.parent, prefix=".download-", delete=False) as stream,
    ):
        partial = Path(stream.name)
        try:
            for start in range(0, len(text), _CHUNK_BYTES):
                piece = text[start : start + _CHUNK_BYTES]
                if "=" in piece and start + _CHUNK_BYTES < len(text):
                    raise ValueError
                stream.write(base64.b64decode(piece, validate=True))
            stream.flush()
            partial.replace(target)
        except ValueError:
            partial.unlink()
            raise MalformedMessage("the base64 of the file is damaged", code="bad_content") from None
        except OSError:
            partial.unlink(missing_ok=True)
            raise
