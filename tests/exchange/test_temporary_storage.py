"""Files in the temporary storage: stored once, whatever is lost on the way, and fetched whole or not at all."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.errors import MalformedMessage, OperatorError, OutcomeUnknown, PeerError, PeerFault, PeerUnavailable
from gateway.exchange.calls import Caller
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.temporary_storage import FileState, StoragePolicy, TemporaryStorage
from gateway.exchange.transport import Reply
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ErrorInfo, ResponseInfo, StatusInfo
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.temporary_storage import (
    FileInfo,
    FileResult,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    build_storage_response,
    read_storage_request,
)
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import DEFAULT_BOUNDS
from tests.exchange.asynchronous.world import Clock
from tests.exchange.world import NOW, Keys, message_ids, policy, trust

_LARGE = replace(DEFAULT_BOUNDS, max_bytes=20_000_000)
CONTENT = bytes(range(256)) * 700  # several pieces


@dataclass
class Store:
    """The storage as a Transport; it knows a file by the sender's own id of it."""

    keys: Keys
    clock: Clock
    signer: str = "shep"
    error: Exception | None = None
    lose: Exception | None = None
    fault: ErrorInfo | None = None
    status: StatusInfo = SUCCESS
    answer: Callable[[StorageResponse], StorageResponse] = lambda response: response
    files: dict[str, str] = field(default_factory=dict)
    confirmed: list[str] = field(default_factory=list)
    requests: list[tuple[bytes, StorageRequest]] = field(default_factory=list)

    def post(self, _url: str, content: bytes, **_: object) -> Reply:
        if self.error is not None:
            raise self.error
        ours = verify_envelope(content, bounds=_LARGE)
        assert ours.certificate == self.keys["gateway"].certificate
        request = sync_channel.read_request(ours.body)
        asked = read_storage_request(
            decode(request.data, PayloadCodec.ELEMENT, root_name="tempStorageRequest", bounds=_LARGE)
        )
        self.requests.append((content, asked))
        response = self.answer(StorageResponse(asked.action, "OK", tuple(self._results(asked))))
        if self.lose is not None:
            raise self.lose
        info = ResponseInfo(request.info.message_id, self.clock(), self.status, request.info.message_id)
        body = sync_channel.build_response(info, build_storage_response(response), PayloadCodec.ELEMENT)
        if self.fault is not None:
            body = sync_channel.build_fault(self.fault)
        return Reply(200, "text/xml", sign_body(body, self.keys[self.signer], form=KeyInfoForm.ISSUER_SERIAL))

    def _results(self, asked: StorageRequest) -> list[FileResult]:
        if asked.action is StorageAction.UPLOAD:
            (upload,) = asked.uploads
            file_id = f"F-{upload.process_id}"
            self.files[file_id] = upload.content
            return [FileResult(file_id, "OK", process_id=upload.process_id, life_time=dt.timedelta(hours=1))]
        (file_id,) = asked.file_ids
        if file_id not in self.files:
            return [FileResult("", "NOT_FOUND")] if asked.action is StorageAction.UPLOAD else []
        content = self.files[file_id] if asked.action is StorageAction.DOWNLOAD else None
        if asked.action is StorageAction.CONFIRM:
            self.confirmed.append(file_id)
        info = None if asked.action is StorageAction.CONFIRM else FileInfo(name="scan.pdf", size_bytes=1)
        return [FileResult(file_id, "OK", content=content, info=info)]


@dataclass
class World:
    storage: TemporaryStorage
    store: Store
    clock: Clock
    journal: Journal
    file: Path


@pytest.fixture
def world(engine: Engine, keys: Keys, tmp_path: Path) -> World:
    clock = Clock()
    store = Store(keys, clock)
    file = tmp_path / "scan.pdf"
    file.write_bytes(CONTENT)
    caller = Caller(
        engine=engine,
        journal=JournalWriter(),
        transport=store,
        key=lambda: keys["gateway"],
        trust=trust(keys.pki),
        policy=policy(),
        clock=clock,
        channel="sync",
    )
    storage = TemporaryStorage(
        engine=engine,
        caller=caller,
        journal=Journal(engine),
        policy=StoragePolicy(StorageCredentials("store-login", "store-password"), max_file_bytes=200_000),
        clock=clock,
        new_message_id=message_ids(),
    )
    return World(storage, store, clock, Journal(engine), file)


def test_a_file_is_stored_under_the_storages_own_login(world: World) -> None:
    stored = world.storage.upload("case-1/scan", world.file, name="scan.pdf", mime="application/pdf")
    assert (stored.state, stored.size_bytes) == (FileState.STORED, len(CONTENT))
    assert base64.b64decode(world.store.files[stored.file_identifier]) == CONTENT
    ((_, request),) = world.store.requests
    assert request.credentials == StorageCredentials("store-login", "store-password")
    assert stored.expires_at == world.clock() + dt.timedelta(hours=1)
    assert world.storage.find("case-1/scan") == stored


def test_a_stored_file_is_not_sent_again(world: World) -> None:
    first = world.storage.upload("case-1/scan", world.file)
    assert world.storage.upload("case-1/scan", world.file) == first
    assert len(world.store.requests) == 1


@pytest.mark.parametrize("lost", [OutcomeUnknown("cut"), PeerUnavailable("away")])
def test_an_upload_whose_reply_was_lost_goes_again_with_the_same_bytes(world: World, lost: Exception) -> None:
    world.store.lose = lost
    with pytest.raises(type(lost)):
        world.storage.upload("case-1/scan", world.file)
    row = world.storage.find("case-1/scan")
    assert row is not None
    assert row.state is FileState.UPLOADING
    world.store.lose = None
    world.clock.move(minutes=5)
    stored = world.storage.upload("case-1/scan", world.file)
    assert stored.state is FileState.STORED
    first, second = (content for content, _ in world.store.requests)
    assert first == second
    assert len(world.store.files) == 1


def test_an_upload_that_died_before_the_post_is_neither_lost_nor_doubled(world: World) -> None:
    class Killed(BaseException):
        pass

    world.store.error = Killed()  # type: ignore[assignment]
    with pytest.raises(Killed):
        world.storage.upload("case-1/scan", world.file)
    world.store.error = None
    world.storage.upload("case-1/scan", world.file)
    assert len(world.store.requests) == 1


def test_a_file_that_ran_out_is_stored_anew(world: World) -> None:
    first = world.storage.upload("case-1/scan", world.file)
    world.clock.move(hours=2)
    second = world.storage.upload("case-1/scan", world.file)
    assert second.file_identifier != first.file_identifier
    assert len(world.store.requests) == 2


def test_one_reference_names_one_file(world: World) -> None:
    world.storage.upload("case-1/scan", world.file)
    world.file.write_bytes(b"another")
    with pytest.raises(OperatorError, match="give every file its own"):
        world.storage.upload("case-1/scan", world.file)


def test_a_file_over_the_bound_is_not_read_into_a_message(world: World) -> None:
    world.file.write_bytes(b"x" * 200_001)
    with pytest.raises(OperatorError, match=r"storage\.max_file_bytes"):
        world.storage.upload("case-1/scan", world.file)
    assert world.store.requests == []


def test_a_file_that_is_not_there_is_an_error_that_names_it(world: World) -> None:
    world.file.unlink()
    with pytest.raises(OperatorError, match=r"scan\.pdf cannot be read"):
        world.storage.upload("case-1/scan", world.file)


def test_what_the_storage_refuses_is_refused_and_may_be_tried_anew(world: World) -> None:
    world.store.answer = lambda response: replace(
        response, results=tuple(replace(one, file_id="", status="NO") for one in response.results)
    )
    with pytest.raises(PeerError) as refused:
        world.storage.upload("case-1/scan", world.file)
    assert refused.value.code == "storage_refused"
    row = world.storage.find("case-1/scan")
    assert row is not None
    assert row.state is FileState.REFUSED
    world.store.answer = lambda response: response
    assert world.storage.upload("case-1/scan", world.file).state is FileState.STORED


@pytest.mark.parametrize(
    ("tell", "code"),
    [
        (lambda store: setattr(store, "signer", "stranger"), "certificate_unknown"),
        (lambda store: setattr(store, "signer", "gateway"), "own_signature"),
        (lambda store: setattr(store, "status", StatusInfo("NO")), "storage_refused"),
        (lambda store: setattr(store, "fault", ErrorInfo("SCE004", "away", NOW)), "peer_fault"),
    ],
)
def test_a_reply_that_must_not_be_used_stores_nothing(world: World, tell: Callable[[Any], None], code: str) -> None:
    tell(world.store)
    with pytest.raises(PeerError) as refused:
        world.storage.upload("case-1/scan", world.file)
    assert refused.value.code == code
    row = world.storage.find("case-1/scan")
    assert row is not None
    assert (row.state, row.file_identifier) == (FileState.UPLOADING, "")
    assert world.journal.list_entries(verdict=code)


def test_a_file_comes_back_as_it_was(world: World, tmp_path: Path) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    target = tmp_path / "copy.pdf"
    info = world.storage.download(stored.file_identifier, target)
    assert target.read_bytes() == CONTENT
    assert info is not None
    assert info.name == "scan.pdf"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("AAAA=AAA", "bad_content"),
        (base64.b64encode(b"x" * 200_005).decode(), "file_too_large"),
        ("A" * 49_151 + "=" + "AAAA", "bad_content"),
        (None, "storage_refused"),
    ],
)
def test_a_download_that_cannot_be_used_leaves_no_file(
    world: World, tmp_path: Path, content: str | None, code: str
) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    world.store.answer = lambda response: replace(
        response, results=tuple(replace(one, content=content) for one in response.results)
    )
    target = tmp_path / "downloads" / "copy.pdf"
    target.parent.mkdir()
    with pytest.raises(PeerError) as refused:
        world.storage.download(stored.file_identifier, target)
    assert refused.value.code == code
    assert isinstance(refused.value, MalformedMessage | PeerError)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_the_storage_does_not_know_is_refused(world: World, tmp_path: Path) -> None:
    for ask in (
        lambda: world.storage.download("F-404", tmp_path / "copy"),
        lambda: world.storage.confirm("F-404"),
        lambda: world.storage.info("F-404"),
    ):
        with pytest.raises(PeerError) as refused:
            ask()
        assert refused.value.code == "storage_refused"


def test_a_folder_that_is_not_there_is_an_error_that_names_the_target(world: World, tmp_path: Path) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    with pytest.raises(OperatorError, match="cannot be read or written"):
        world.storage.download(stored.file_identifier, tmp_path / "nowhere" / "copy.pdf")


def test_a_file_is_confirmed_and_asked_about(world: World) -> None:
    stored = world.storage.upload("case-1/scan", world.file, needs_confirmation=True)
    world.storage.confirm(stored.file_identifier)
    assert world.store.confirmed == [stored.file_identifier]
    row = world.storage.find("case-1/scan")
    assert row is not None
    assert row.state is FileState.CONFIRMED
    assert world.storage.info(stored.file_identifier).name == "scan.pdf"


def test_a_fault_of_the_storage_is_told(world: World) -> None:
    world.store.fault = ErrorInfo("SCE004", "away", world.clock())
    with pytest.raises(PeerFault):
        world.storage.info("F-1")


def test_both_envelopes_are_in_the_journal(world: World) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    entries = world.journal.list_entries(message_id=stored.message_id)
    assert [(entry.direction, entry.verdict) for entry in entries] == [("in", "accepted"), ("out", "signed")]
