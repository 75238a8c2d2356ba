"""Files in the temporary storage: stored once, whatever is lost on the way, and fetched whole or not at all."""

from __future__ import annotations

import base64
import datetime as dt
import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.apart import mark_in
from gateway.daemon import signature_check
from gateway.errors import MalformedMessage, OperatorError, OutcomeUnknown, PeerError, PeerFault, PeerUnavailable
from gateway.exchange.calls import Caller
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.temporary_storage import FileState, StoragePolicy, TemporaryStorage
from gateway.exchange.transport import Reply, one_by_one
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
from gateway.trust.store import TrustStore
from gateway.xml import DEFAULT_BOUNDS
from tests.exchange.asynchronous.world import Clock
from tests.exchange.world import NOW, Keys, message_ids, policy, trust

_LARGE = replace(DEFAULT_BOUNDS, max_bytes=20_000_000)
CONTENT = bytes(range(256)) * 700  # several pieces


@dataclass
class Store:
    """The storage as a StreamingTransport; it knows a file by the sender's own id of it."""

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
    #: what is done to the answer on its way
    change: Callable[[bytes], bytes] = lambda data: data

    def post(
        self, _url: str, pieces: Iterable[bytes], size_bytes: int, take: Callable[[bytes], None], **_: object
    ) -> int:
        if self.error is not None:
            raise self.error
        content = b"".join(pieces)
        assert len(content) == size_bytes
        reply = self.change(self._answer(content))
        for start in range(0, len(reply), 65_536):
            take(reply[start : start + 65_536])
        return 200

    def _answer(self, content: bytes) -> bytes:
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
        return sign_body(body, self.keys[self.signer], form=KeyInfoForm.ISSUER_SERIAL)

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


class NoTransport:
    """Nothing of the storage goes this way."""

    post_many = one_by_one

    def post(self, _url: str, _content: bytes, **_: object) -> Reply:
        raise AssertionError


@dataclass
class World:
    storage: TemporaryStorage
    store: Store
    clock: Clock
    journal: Journal
    file: Path
    engine: Engine


@pytest.fixture
def world(engine: Engine, keys: Keys, tmp_path: Path) -> World:
    clock = Clock()
    store = Store(keys, clock)
    file = tmp_path / "scan.pdf"
    file.write_bytes(CONTENT)
    caller = Caller(
        engine=engine,
        journal=JournalWriter(),
        transport=NoTransport(),
        key=lambda: keys["gateway"],
        trust=trust(keys.pki),
        policy=policy(),
        clock=clock,
        channel="sync",
    )
    storage = TemporaryStorage(
        engine=engine,
        caller=caller,
        streams=store,
        journal=Journal(engine),
        policy=StoragePolicy(StorageCredentials("store-login", "store-password"), max_file_bytes=4_000_000),
        clock=clock,
        new_message_id=message_ids(),
    )
    return World(storage, store, clock, Journal(engine), file, engine)


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
    world.file.write_bytes(b"x" * 4_000_001)
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
    came = world.storage.download(stored.file_identifier, target, sha256=stored.sha256)
    assert target.read_bytes() == CONTENT
    assert (came.sha256, came.size_bytes) == (stored.sha256, len(CONTENT))
    assert came.info is not None
    assert came.info.name == "scan.pdf"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("AAAA=AAA", "bad_content"),
        (base64.b64encode(b"x" * 4_000_005).decode(), "file_too_large"),
        ("A" * 49_151 + "=" + "AAAA", "bad_content"),
        ("A" * 3_000_000 + "=" + "AAAA", "bad_content"),
        ("A" * 3_000_001, "bad_content"),
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


def test_a_status_that_is_not_known_is_not_taken_for_a_confirmation(world: World) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    world.store.answer = lambda response: replace(
        response, results=tuple(replace(one, status="NOT_FOUND") for one in response.results)
    )
    with pytest.raises(PeerError) as refused:
        world.storage.confirm(stored.file_identifier)
    assert refused.value.code == "storage_refused"
    row = world.storage.find("case-1/scan")
    assert row is not None
    assert row.state is FileState.STORED


def test_a_fault_of_the_storage_is_told(world: World) -> None:
    world.store.fault = ErrorInfo("SCE004", "away", world.clock())
    with pytest.raises(PeerFault):
        world.storage.info("F-1")


def test_both_envelopes_are_in_the_journal(world: World) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    entries = world.journal.list_entries(message_id=stored.message_id)
    assert [(entry.direction, entry.verdict) for entry in entries] == [("in", "accepted"), ("out", "signed")]


# ---------------------------------------------------------------- files that are never in memory


LARGE = bytes(range(256)) * 10_001


@pytest.fixture
def large(world: World) -> World:
    world.file.write_bytes(LARGE)
    return world


def test_a_large_file_goes_and_comes_as_the_messages_that_a_small_one_would(large: World, tmp_path: Path) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    ((message, request),) = large.store.requests
    # the other side read it whole, with its signature over the whole Body
    assert base64.b64decode(request.uploads[0].content) == LARGE
    assert len(message) > len(LARGE) * 4 // 3
    target = tmp_path / "copy"
    came = large.storage.download(stored.file_identifier, target, sha256=stored.sha256)
    assert target.read_bytes() == LARGE
    assert (came.sha256, came.size_bytes) == (stored.sha256, len(LARGE))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_journal_has_a_large_message_without_its_text(large: World, tmp_path: Path) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    large.storage.download(stored.file_identifier, tmp_path / "copy")
    text = base64.b64encode(LARGE)
    told = (hashlib.sha256(text).hexdigest(), len(text))
    entries = [large.journal.get(entry.id) for entry in large.journal.list_entries()]
    bodies = [entry.body for entry in entries if entry is not None and entry.body is not None]
    assert [mark_in(body) for body in bodies].count(told) == 2
    assert all(len(body) < 20_000 for body in bodies)


def test_a_large_upload_whose_reply_was_lost_goes_again_with_the_same_bytes(large: World) -> None:
    large.store.lose = OutcomeUnknown("cut")
    with pytest.raises(OutcomeUnknown):
        large.storage.upload("case-1/scan", large.file)
    large.store.lose = None
    large.storage.upload("case-1/scan", large.file)
    first, second = (content for content, _ in large.store.requests)
    assert first == second


def test_a_file_that_changes_while_it_is_sent_does_not_arrive(large: World) -> None:
    def rewriting(_url: str, pieces: Iterable[bytes], *_: object, **__: object) -> int:
        for _piece in pieces:
            large.file.write_bytes(LARGE[:-1] + b"!")
        raise AssertionError

    large.store.post = rewriting  # type: ignore[method-assign]
    with pytest.raises(OperatorError) as refused:
        large.storage.upload("case-1/scan", large.file)
    assert refused.value.code == "file_changed"


def test_a_full_disk_is_ours_to_mend_and_leaves_no_file(
    large: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    target = tmp_path / "downloads" / "copy"
    target.parent.mkdir()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for function in ("write", "fsync"):  # while the text comes, and while the file is written
        with monkeypatch.context() as patched:
            patched.setattr(os, function, full)
            with pytest.raises(OperatorError, match="No space left") as refused:
                large.storage.download(stored.file_identifier, target)
        assert refused.value.code == "file_unreadable"
        assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_text_in_lines_is_verified_as_a_parser_reads_it(large: World, tmp_path: Path, line_end: bytes) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    large.store.answer = lambda response: replace(
        response, results=tuple(replace(one, content=_in_lines(one.content)) for one in response.results)
    )
    # what was signed has line feeds; the parser makes them of CR LF
    large.store.change = lambda data: data.replace(b"\n", line_end)
    large.storage.download(stored.file_identifier, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == LARGE


def _in_lines(text: str | None) -> str:
    assert text is not None
    return "\n".join(text[start : start + 76] for start in range(0, len(text), 76))


def _one_letter(data: bytes) -> bytes:
    at = data.index(b"<content>") + 1_000_000
    return data[:at] + (b"B" if data[at : at + 1] == b"A" else b"A") + data[at + 1 :]


def _into_the_name(data: bytes) -> bytes:
    """The text is moved to another element, and a small file takes its place."""
    start, end = data.index(b"<content>") + 9, data.index(b"</content>")
    return (data[:start] + b"QUFB" + data[end:]).replace(b"scan.pdf", data[start:end])


def _commented_out(data: bytes) -> bytes:
    return data.replace(b"<content>", b"<content>QUFB<!-- >").replace(b"</content>", b"<--></content>")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_one_letter, "digest"),
        (_into_the_name, "digest"),
        (_commented_out, "mark"),
        (lambda data: data.replace(b"</content>", b"\xd0\x96</content>"), "bad_content"),
        (lambda data: data.replace(b"</content>", b"&#65;</content>"), "bad_content"),
        (lambda data: data[: len(data) // 2], "not_xml"),
        (lambda data: data + b"<" + b"a" * 2_100_000, "too_large"),
    ],
)
def test_a_large_reply_that_was_touched_is_refused_and_leaves_no_file(
    large: World, tmp_path: Path, change: Callable[[bytes], bytes], code: str
) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    large.store.change = change
    target = tmp_path / "downloads" / "copy"
    target.parent.mkdir()
    with pytest.raises(PeerError) as refused:
        large.storage.download(stored.file_identifier, target)
    assert refused.value.code == code
    assert list(target.parent.iterdir()) == []


def test_a_mark_in_the_place_of_a_file_is_not_taken_for_one(world: World, tmp_path: Path) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    mark = f"apart:sha256={'0' * 64};bytes=5"
    world.store.answer = lambda response: replace(
        response, results=tuple(replace(one, content=mark) for one in response.results)
    )
    with pytest.raises(MalformedMessage) as refused:
        world.storage.download(stored.file_identifier, tmp_path / "copy")
    assert refused.value.code == "bad_content"


def test_a_long_text_that_is_not_the_file_is_refused(large: World, tmp_path: Path) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    large.store.answer = lambda response: replace(
        response,
        results=tuple(replace(one, content="QUFB", info=FileInfo(mime=one.content or "")) for one in response.results),
    )
    with pytest.raises(MalformedMessage) as refused:
        large.storage.download(stored.file_identifier, tmp_path / "copy")
    assert refused.value.code == "mark"


def test_a_file_other_than_the_announced_one_is_not_put_under_its_name(world: World, tmp_path: Path) -> None:
    stored = world.storage.upload("case-1/scan", world.file)
    with pytest.raises(MalformedMessage) as refused:
        world.storage.download(stored.file_identifier, tmp_path / "copy", sha256="0" * 64)
    assert refused.value.code == "other_content"
    assert not (tmp_path / "copy").exists()


def test_only_a_download_may_have_a_long_text(large: World) -> None:
    stored = large.storage.upload("case-1/scan", large.file)
    large.store.change = lambda data: data.replace(b"</soap:Body>", b"A" * 2_000_000 + b"</soap:Body>")
    with pytest.raises(MalformedMessage) as refused:
        large.storage.confirm(stored.file_identifier)
    assert refused.value.code == "too_large"


def test_the_journal_verifies_a_large_message_but_for_the_digest_of_its_file(large: World, keys: Keys) -> None:
    large.storage.upload("case-1/scan", large.file)
    material = TrustStore.load(keys.pki.anchors)
    check = signature_check(material, (keys["gateway"].certificate,), DEFAULT_BOUNDS)
    report = verify_journal(large.engine, check_signature=check)
    assert report.broken is None
    assert (report.files_apart, report.signatures, report.undecided) == (1, 1, 0)
