"""The temporary storage behind the sandbox: up, down, confirmed, told about, gone; with a login of its own."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.apart import Spool, TextApart
from gateway.errors import TrustRefused
from gateway.sandbox.misbehaviour import read_order
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
from gateway.signing.wss import verify_envelope
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode
from gateway.xml import XmlBounds
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

    def answered() -> int:
        counts: Any = sandbox.simulator.describe()["answered"]
        return counts.get("temporary_storage", 0)  # type: ignore[no-any-return]

    before = answered()
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
    assert answered() == before + 4


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


# ---------------------------------------------------------------- large files

LARGE = bytes(range(256)) * 8_000
TEXT = encode_content(LARGE).encode()


def text_apart() -> TextApart:
    spool = Spool()
    spool.write(TEXT)
    return spool.text()


def large_upload(apart: TextApart) -> StorageRequest:
    return replace(upload(b""), uploads=(FileUpload("0", apart.mark, "large.bin"),))


def test_a_large_file_is_kept_as_its_text_and_its_answer_has_the_mark() -> None:
    storage, apart = FileStorage(), text_apart()
    (stored,) = storage.answer(large_upload(apart), now=NOW, apart=apart).results
    down = storage.answer(about(StorageAction.DOWNLOAD, stored.file_id), now=NOW)
    assert down.results[0].content == apart.mark
    assert storage.apart_of(down) is apart
    told = storage.answer(about(StorageAction.GET_FILE_INFO, stored.file_id), now=NOW)
    assert told.results[0].info is not None
    assert told.results[0].info.size_bytes == len(LARGE)
    assert storage.apart_of(told) is None


def test_a_download_holds_one_large_file_and_names_the_rest() -> None:
    storage, apart = FileStorage(), text_apart()
    ids = [storage.answer(large_upload(apart), now=NOW, apart=apart).results[0].file_id for _ in range(2)]
    ids.append(storage.answer(upload(CONTENT), now=NOW).results[0].file_id)
    down = storage.answer(about(StorageAction.DOWNLOAD, *ids), now=NOW)
    assert [one.status for one in down.results] == ["OK", "ONE_LARGE_FILE_AT_A_TIME", "OK"]
    assert [one.content is None for one in down.results] == [False, True, False]


def test_a_large_text_that_is_no_base64_is_damaged_and_a_mark_alone_is_no_file() -> None:
    spool = Spool()
    spool.write(b"A" * 1_600_001)
    damaged = spool.text()
    answer = FileStorage().answer(large_upload(damaged), now=NOW, apart=damaged)
    assert answer.results[0].status == "CONTENT_NOT_BASE64"
    assert FileStorage().answer(large_upload(damaged), now=NOW).results[0].status == "CONTENT_NOT_BASE64"


def test_a_large_message_over_the_socket_is_judged_as_any_other(sandbox: RunningSandbox, client: Client) -> None:
    def post(data: bytes) -> httpx.Response:
        return httpx.post(sandbox.sync_url, content=data, timeout=60, trust_env=False)

    apart = text_apart()
    info = RequestInfo("m-large", SERVICE_ID, NOW, Sender("fund-test"))
    body = build_request(info, build_storage_request(large_upload(apart)), PayloadCodec.ELEMENT)
    short = client.sign(body, apart=apart)
    whole = b"".join(apart.whole(short))
    assert b"<status>OK</status>" in post(whole).content
    touched = whole.replace(TEXT[:4_000], TEXT[4:4_000] + b"AAAA")
    assert b"SCE006" in post(touched).content
    assert b"SCE001" in post(whole.replace(b"</content>", b"&#65;</content>")).content


@pytest.mark.parametrize("kind", ["cut_body", "lose_reply", "stranger_signer", "slow"])
def test_a_large_answer_misbehaves_on_order(sandbox: RunningSandbox, client: Client, kind: str) -> None:
    apart = text_apart()
    stored = sandbox.simulator.storage.answer(large_upload(apart), now=NOW, apart=apart).results[0]
    order = read_order({"kind": kind, "seconds": 0.1} if kind == "slow" else {"kind": kind}, [])
    sandbox.orders.place(order)
    info = RequestInfo(f"m-{kind}", SERVICE_ID, NOW, Sender("fund-test"))
    asked = build_storage_request(about(StorageAction.DOWNLOAD, stored.file_id))
    request = client.sign(build_request(info, asked, PayloadCodec.ELEMENT))
    cut = pytest.raises(httpx.RemoteProtocolError) if kind in ("cut_body", "lose_reply") else nullcontext()
    with cut:
        reply = httpx.post(sandbox.sync_url, content=request, timeout=60, trust_env=False).content
    if kind == "slow":
        assert TEXT in reply
    if kind == "stranger_signer":
        signed = verify_envelope(reply, certificates=client.trust, bounds=XmlBounds(max_bytes=10_000_000))
        with pytest.raises(TrustRefused):
            validate(signed.certificate, client.trust, at=NOW, revocation=RevocationMode.PREFER)
