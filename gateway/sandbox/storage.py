"""The temporary storage behind the sandbox, serviceId EDS_TEMP_FILES: bounded, for a life time.

Small files are in memory, large ones on disk, as the text that came in the message (gateway.apart).

No public record says what stands in a status: here it is a word (docs/reference/sandbox.md).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from gateway.apart import TextApart, mark_in
from gateway.errors import MalformedMessage
from gateway.shep.temporary_storage import (
    FileInfo,
    FileResult,
    FileUpload,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    decode_content,
    decoded,
    encode_content,
)

OK: Final = "OK"
NOT_FOUND: Final = "NOT_FOUND"
FULL: Final = "STORAGE_FULL"
ONE_AT_A_TIME: Final = "ONE_LARGE_FILE_AT_A_TIME"
DAMAGED: Final = "CONTENT_NOT_BASE64"
WRONG_CREDENTIALS: Final = "WRONG_CREDENTIALS"

#: the login of every sandbox: a second one beside that of requestInfo, as the real storage has
CREDENTIALS: Final = StorageCredentials("sandbox-storage", "sandbox-storage-password")
#: all samples of the public record ask for eight hours
DEFAULT_LIFE_TIME: Final = dt.timedelta(hours=8)
LONGEST_LIFE_TIME: Final = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class StorageBounds:
    max_files: int = 10_000
    max_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _File:
    #: a large one as the text of its message
    content: bytes | TextApart
    info: FileInfo

    @property
    def size_bytes(self) -> int:
        return self.info.size_bytes or 0


class FileStorage:
    """Safe to use from several threads."""

    def __init__(self, credentials: StorageCredentials = CREDENTIALS, *, bounds: StorageBounds | None = None) -> None:
        self._credentials = credentials
        self._bounds = bounds or StorageBounds()
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._given = 0

    def answer(self, request: StorageRequest, *, now: dt.datetime, apart: TextApart | None = None) -> StorageResponse:
        """What the storage says; nothing is done for a wrong login. `apart` is a large file of an upload."""
        if request.credentials != self._credentials:
            return StorageResponse(request.action, WRONG_CREDENTIALS)
        with self._lock:
            self._drop_expired(now)
            if request.action is StorageAction.UPLOAD:
                results = tuple(self._upload(one, apart, now) for one in request.uploads)
            else:
                results = _one_large(self._about(one, request.action, now) for one in request.file_ids)
        bad = next((one.status for one in results if one.status != OK), OK)
        return StorageResponse(request.action, bad, results)

    def apart_of(self, response: StorageResponse) -> TextApart | None:
        """The text that a mark in the answer stands for."""
        marks = {one.content for one in response.results}
        with self._lock:
            large = (one.content for one in self._files.values() if isinstance(one.content, TextApart))
            return next((one for one in large if one.mark in marks), None)

    def _upload(self, file: FileUpload, apart: TextApart | None, now: dt.datetime) -> FileResult:
        content: bytes | TextApart
        try:
            if apart is not None and file.content == apart.mark:
                content, content_bytes = apart, sum(len(piece) for piece in decoded(apart.pieces()))
            else:
                content = decode_content(file.content)
                content_bytes = len(content)
        except MalformedMessage:
            return FileResult("", DAMAGED, file.process_id)
        size = sum(one.size_bytes for one in self._files.values())
        if len(self._files) >= self._bounds.max_files or size + content_bytes > self._bounds.max_bytes:
            return FileResult("", FULL, file.process_id)
        life_time = min(file.life_time or DEFAULT_LIFE_TIME, LONGEST_LIFE_TIME)
        self._given += 1
        file_id = f"file-{self._given}"
        info = FileInfo(
            name=file.name,
            mime=file.mime,
            size_bytes=content_bytes,
            uploaded_at=now,
            expires_at=now + life_time,
            needs_confirmation=bool(file.needs_confirmation),
            deleted=False,
            confirmed=False,
        )
        self._files[file_id] = _File(content, info)
        return FileResult(file_id, OK, file.process_id, life_time)

    def _about(self, file_id: str, action: StorageAction, now: dt.datetime) -> FileResult:
        file = self._files.get(file_id)
        if file is None:
            return FileResult(file_id, NOT_FOUND)
        if action is StorageAction.CONFIRM:
            info = replace(file.info, confirmed=True, confirmed_at=now)
            self._files[file_id] = replace(file, info=info)
            return FileResult(file_id, OK)
        content = None
        if action is StorageAction.DOWNLOAD:
            kept = file.content
            content = kept.mark if isinstance(kept, TextApart) else encode_content(kept)
        return FileResult(file_id, OK, content=content, info=file.info)

    def _drop_expired(self, now: dt.datetime) -> None:
        for file_id, file in tuple(self._files.items()):
            if file.info.expires_at is not None and file.info.expires_at <= now:
                del self._files[file_id]

    def clear(self) -> None:
        with self._lock:
            self._files.clear()


def _one_large(results: Iterable[FileResult]) -> tuple[FileResult, ...]:
    """A message holds one large file: whoever asks for a second gets word of it, and asks again."""
    told: list[FileResult] = []
    large = False
    for one in results:
        is_large = one.content is not None and mark_in(one.content.encode()) is not None
        told.append(replace(one, status=ONE_AT_A_TIME, content=None) if is_large and large else one)
        large = large or is_large
    return tuple(told)
