"""The temporary storage behind the sandbox: up, down, confirmed, told about, gone; with a login of its own."""

from __future__ import annotations

import datetime as dt

from gateway.sandbox.server import RunningSandbox
from gateway.sandbox.simulator import SimulatedGateway
from gateway.sandbox.storage import CREDENTIALS, FileStorage, StorageBounds
from gateway.shep.messages import RequestInfo, Sender, SyncResponse
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.sync_channel import build_request
from gateway.shep.temporary_storage import (
    RESPONSE_NAME,
    SERVICE_ID,
    FileUpload,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    build_storage_request,
    decode_content,
    encode_content,
    read_storage_response,
)
from tests.sandbox.integrator import NOW, Client

CONTENT = "Анықтама. Справка.".encode()


def upload(*contents: bytes, life_time: dt.timedelta | None = None) -> StorageRequest:
    files = tuple(
        FileUpload(str(n), encode_content(content), f"{n}.pdf", "application/pdf", life_time, True)
        for n, content in enumerate(contents)
    )
    return StorageRequest(StorageAction.UPLOAD, CREDENTIALS, files)


def about(action: StorageAction, *file_ids: str) -> StorageRequest:
    return StorageRequest(action, CREDENTIALS, file_ids=file_ids)


def test_a_file_goes_up_and_comes_down_as_signed_messages(
    sandbox: RunningSandbox, simulator: SimulatedGateway, client: Client
) -> None:
    def ask(request: StorageRequest) -> StorageResponse:
        info = RequestInfo("m-1", SERVICE_ID, NOW, Sender("fund-test"))
        sent = client.sign(build_request(info, build_storage_request(request), PayloadCodec.ELEMENT))
        reply = client.read(simulator.answer(sent, now=NOW).body)
        assert isinstance(reply, SyncResponse)
        assert reply.data is not None
        payload = decode(reply.data, PayloadCodec.ELEMENT, root_name=RESPONSE_NAME)
        return read_storage_response(payload, request.action)

    (result,) = ask(upload(CONTENT)).results
    assert (result.process_id, result.status, result.life_time) == ("0", "OK", dt.timedelta(hours=8))
    (down,) = ask(about(StorageAction.DOWNLOAD, result.file_id)).results
    assert down.content is not None
    assert decode_content(down.content) == CONTENT
    assert ask(about(StorageAction.CONFIRM, result.file_id)).status == "OK"
    (told,) = ask(about(StorageAction.GET_FILE_INFO, result.file_id)).results
    assert told.content is None
    assert told.info is not None
    assert (told.info.name, told.info.size_bytes, told.info.confirmed) == ("0.pdf", len(CONTENT), True)
    assert sandbox.simulator.describe()["answered"]["temporary_storage"] == 4


def test_a_file_ends_with_its_life_time() -> None:
    storage = FileStorage()
    stored = storage.answer(upload(CONTENT, life_time=dt.timedelta(minutes=1)), now=NOW)
    wanted = about(StorageAction.DOWNLOAD, stored.results[0].file_id)
    assert storage.answer(wanted, now=NOW + dt.timedelta(seconds=59)).status == "OK"
    assert storage.answer(wanted, now=NOW + dt.timedelta(seconds=60)).status == "NOT_FOUND"


def test_no_life_is_longer_than_a_month() -> None:
    stored = FileStorage().answer(upload(CONTENT, life_time=dt.timedelta(days=3_650)), now=NOW)
    assert stored.results[0].life_time == dt.timedelta(days=30)


def test_the_storage_has_bounds_and_says_which_file_was_too_much() -> None:
    storage = FileStorage(bounds=StorageBounds(max_files=2, max_bytes=10))
    assert [one.status for one in storage.answer(upload(b"12345", b"123456", b"1", b"1"), now=NOW).results] == [
        "OK",
        "STORAGE_FULL",
        "OK",
        "STORAGE_FULL",
    ]
    storage.clear()
    assert storage.answer(upload(b"1234567890"), now=NOW).status == "OK"


def test_damaged_base64_is_told_for_the_file_that_has_it() -> None:
    good = upload(CONTENT).uploads[0]
    request = StorageRequest(StorageAction.UPLOAD, CREDENTIALS, (FileUpload("bad", "A"), good))
    answer = FileStorage().answer(request, now=NOW)
    assert [(one.process_id, one.status) for one in answer.results] == [("bad", "CONTENT_NOT_BASE64"), ("0", "OK")]


def test_the_login_of_the_storage_is_another_one() -> None:
    storage = FileStorage()
    for wrong in (StorageCredentials("fund-test", "hush"), StorageCredentials(CREDENTIALS.sender_id, "hush")):
        answer = storage.answer(StorageRequest(StorageAction.CONFIRM, wrong, file_ids=("file-1",)), now=NOW)
        assert answer == StorageResponse(StorageAction.CONFIRM, "WRONG_CREDENTIALS")
