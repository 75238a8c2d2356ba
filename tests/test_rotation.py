"""Keys, certificates and anchors change while requests run, and no request fails."""

from __future__ import annotations

import datetime as dt
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway import daemon, settings
from gateway.database import engine_for, upgrade
from gateway.errors import ConfigurationError, KeyMaterialError
from gateway.exchange.journal import JournalWriter
from gateway.exchange.serve import Server
from gateway.exchange.verification import TrustPolicy
from gateway.rotation import KeyRing, KeySource, Rotation, Watch, choose_key, of_files, of_folder
from gateway.shep import sync_channel
from gateway.shep.messages import SyncResponse
from gateway.shep.payload import PayloadCodec
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.distinguished_names import NameKey
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, SoftwareKey, load_signing_key
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.throwaway.keys import Family
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode
from tests.end_to_end.program import CONFIG, PATIENCE_S, Process, gateway
from tests.exchange.test_serve import BOUNDS, SERVICE, Echo
from tests.exchange.world import NOW, message_ids, request_info
from tests.trust.minting import DAY, Minted, authority, mint

# ---------------------------------------------------------------- which key


@dataclass(frozen=True)
class Named:
    """A key that is only looked at."""

    certificate: Certificate


def key_valid(begin: dt.datetime, end: dt.datetime) -> Named:
    return Named(mint("one TEST", begin=begin, end=end).parsed)


CURRENT = key_valid(NOW - 300 * DAY, NOW + 10 * DAY)
ENDED = key_valid(NOW - 300 * DAY, NOW - DAY)
NEXT = key_valid(NOW - DAY, NOW + 300 * DAY)
TO_COME = key_valid(NOW + DAY, NOW + 300 * DAY)


@pytest.mark.parametrize(
    ("current", "following", "next_from", "expected"),
    [
        (CURRENT, None, None, CURRENT),
        (ENDED, None, None, ENDED),
        (CURRENT, NEXT, None, NEXT),
        (CURRENT, NEXT, NOW, NEXT),
        (CURRENT, NEXT, NOW + DAY, CURRENT),
        (CURRENT, TO_COME, None, CURRENT),
        (CURRENT, TO_COME, NOW - DAY, CURRENT),
        (ENDED, NEXT, NOW + DAY, NEXT),
        (ENDED, TO_COME, None, ENDED),
        (CURRENT, ENDED, NOW - DAY, CURRENT),
    ],
)
def test_the_next_key_signs_from_its_day_on(
    current: SigningKey, following: SigningKey | None, next_from: dt.datetime | None, expected: SigningKey
) -> None:
    assert choose_key(current, following, at=NOW, next_from=next_from) is expected


# ---------------------------------------------------------------- the ring


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("first") / "pki", now=NOW, families=[Family.RSA])


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    """Another hierarchy, as after the authority's renewal."""
    return throwaway_pki.init(tmp_path_factory.mktemp("second") / "pki", now=NOW, families=[Family.RSA])


def load(pki: ThrowawayPki, name: str) -> SoftwareKey:
    return load_signing_key(pki.key(name), certificate_path=pki.certificate(name))


def source(stem: Path, name: str = "signing.key_file") -> KeySource:
    key, certificate = stem.with_suffix(".key"), stem.with_suffix(".pem")
    return KeySource(name, lambda: load_signing_key(key, None, certificate), (key, certificate))


def put(pki: ThrowawayPki, name: str, stem: Path) -> None:
    shutil.copy(pki.key(name), stem.with_suffix(".key"))
    shutil.copy(pki.certificate(name), stem.with_suffix(".pem"))


def test_a_ring_gives_the_next_key_when_its_file_comes_and_its_day_has_come(
    first: ThrowawayPki, tmp_path: Path
) -> None:
    put(first, "gateway", tmp_path / "current")
    day = [NOW]
    ring = KeyRing(
        source(tmp_path / "current"),
        source(tmp_path / "next", "signing.next_key_file"),
        next_from=NOW + DAY,
        clock=lambda: day[0],
    )
    watch = Watch("keys", lambda: of_files(ring.files), ring.reload)
    ours, following = load(first, "gateway").certificate, load(first, "shep").certificate
    assert ring.certificates == (ours,)
    put(first, "shep", tmp_path / "next")
    assert not watch.look()
    assert watch.look()
    assert ring.certificates == (ours, following)
    assert ring().certificate == ours
    day[0] += DAY
    assert ring().certificate == following
    shutil.move(tmp_path / "next.key", tmp_path / "current.key")
    shutil.move(tmp_path / "next.pem", tmp_path / "current.pem")
    watch.look()
    assert watch.look()
    assert ring.certificates == (following,)


def test_without_a_current_key_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError):
        KeyRing(source(tmp_path / "none"), clock=lambda: NOW)


def test_a_next_key_that_cannot_be_used_is_told_and_does_not_stop_us(first: ThrowawayPki, tmp_path: Path) -> None:
    put(first, "gateway", tmp_path / "current")
    put(first, "shep", tmp_path / "next")
    shutil.copy(first.certificate("client"), tmp_path / "next.pem")
    ring = KeyRing(source(tmp_path / "current"), source(tmp_path / "next"), clock=lambda: NOW)
    assert "next.pem" in ring.problems[0]
    assert ring().certificate == load(first, "gateway").certificate
    put(first, "shep", tmp_path / "next")
    ring.reload()
    assert ring.problems == ()
    assert ring().certificate == load(first, "shep").certificate


def test_a_damaged_file_changes_nothing_and_is_told(first: ThrowawayPki, tmp_path: Path) -> None:
    put(first, "gateway", tmp_path / "current")
    ring = KeyRing(source(tmp_path / "current"), clock=lambda: NOW)
    (tmp_path / "current.key").write_text("half of a k")
    with pytest.raises(KeyMaterialError):
        ring.reload()
    assert ring().certificate == load(first, "gateway").certificate
    assert len(ring.problems) == 1


def test_a_key_that_does_not_belong_here_is_not_taken(first: ThrowawayPki, tmp_path: Path) -> None:
    def accept(key: SigningKey) -> None:
        if key.certificate != load(first, "gateway").certificate:
            raise ConfigurationError("a key of another environment", key="signing.key_file")

    put(first, "gateway", tmp_path / "current")
    ring = KeyRing(source(tmp_path / "current"), clock=lambda: NOW, accept=accept)
    put(first, "shep", tmp_path / "current")
    with pytest.raises(ConfigurationError):
        ring.reload()
    assert ring().certificate == load(first, "gateway").certificate


# ---------------------------------------------------------------- watching


def test_a_file_is_read_when_it_has_settled_and_once() -> None:
    state, reads = ["a"], []
    watch = Watch("it", lambda: state[0], lambda: reads.append(state[0]))
    assert not watch.look()
    state[0] = "b"
    assert not watch.look(), "it may still be in the middle of being written"
    state[0] = "bc"
    assert not watch.look()
    assert watch.look()
    assert not watch.look()
    assert reads == ["bc"]


def test_an_order_reads_at_once_changed_or_not() -> None:
    reads: list[int] = []
    watch = Watch("it", lambda: "same", lambda: reads.append(1))
    assert watch.look(force=True)
    assert reads == [1]


def test_what_cannot_be_read_is_told_once_and_tried_again_when_it_changes() -> None:
    state: list[object] = ["a"]
    refused = [True]

    def reload() -> None:
        if refused[0]:
            raise KeyMaterialError("it is damaged")

    watch = Watch("it", lambda: state[0], reload)
    state[0] = "b"
    with capture_logs() as logs:
        assert not any([watch.look() for _ in range(4)])  # noqa: C419 - all four looks count
    assert [(line["action"], line["what"], line["code"]) for line in logs] == [("reload_refused", "it", "key_material")]
    refused[0], state[0] = False, "c"
    assert [watch.look() for _ in range(3)] == [False, True, False]


def test_everything_is_looked_at_whatever_the_first_finds() -> None:
    reads: list[str] = []
    watches = tuple(
        Watch(name, lambda: 0, lambda name=name: reads.append(name))  # type: ignore[misc]
        for name in ("one", "two")
    )
    assert Rotation(watches).look(force=True)
    assert reads == ["one", "two"]
    assert not Rotation(watches).look()


def test_a_fingerprint_tells_every_change(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "folder" / "a.pem"
    assert of_folder(folder) is None
    folder.mkdir()
    seen = [of_folder(folder)]
    for change in (
        lambda: file.write_text("a"),
        lambda: file.write_text("ab"),
        lambda: os.utime(file, ns=(1, 1)),
        lambda: shutil.copy(file, folder / "b.pem"),
        (folder / "b.pem").unlink,
        lambda: file.rename(folder / "c.pem"),
    ):
        change()
        assert of_folder(folder) not in seen[-1:]
        seen.append(of_folder(folder))
    (folder / ".hidden").write_text("")
    assert of_folder(folder) == seen[-1]
    assert of_files([file]) == (None,)


# ---------------------------------------------------------------- anchors


def add_hierarchy(pki: ThrowawayPki, folder: Path, prefix: str) -> None:
    for file in pki.anchors.iterdir():
        shutil.copy(file, folder / f"{prefix}-{file.name}")


def remove_hierarchy(folder: Path, prefix: str) -> None:
    for file in folder.glob(f"{prefix}-*"):
        file.unlink()


def test_old_and_new_anchors_count_as_long_as_both_lie_there(
    first: ThrowawayPki, second: ThrowawayPki, tmp_path: Path
) -> None:
    def trusted(pki: ThrowawayPki) -> bool:
        try:
            validate(load(pki, "client").certificate, store, at=NOW, revocation=RevocationMode.REQUIRE)
        except Exception:  # whatever the reason
            return False
        return True

    add_hierarchy(first, tmp_path, "old")
    store = TrustStore.load(tmp_path)
    watch = Watch("trust", lambda: of_folder(tmp_path), store.reload)
    assert (trusted(first), trusted(second)) == (True, False)
    add_hierarchy(second, tmp_path, "new")
    watch.look()
    assert watch.look()
    assert (trusted(first), trusted(second)) == (True, True)
    remove_hierarchy(tmp_path, "old")
    watch.look()
    assert watch.look()
    assert (trusted(first), trusted(second)) == (False, True)
    (tmp_path / "new-root.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert not watch.look(force=True)
    assert trusted(second), "what cannot be read changes nothing"


# ---------------------------------------------------------------- while requests run


class Both:
    """Whoever calls us knows our old and our new certificate."""

    def __init__(self, *certificates: Certificate) -> None:
        self._known = {(one.issuer_key, one.serial): one for one in certificates}

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return self._known.get((issuer_key, serial))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    engine = engine_for(f"sqlite:///{tmp_path / 'store.sqlite'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def test_no_request_fails_while_key_certificate_and_anchors_are_exchanged(
    first: ThrowawayPki, second: ThrowawayPki, store: Engine, tmp_path: Path
) -> None:
    folder, stem = tmp_path / "trust", tmp_path / "ours"
    folder.mkdir()
    add_hierarchy(first, folder, "old")
    put(first, "gateway", stem)
    trust = TrustStore.load(folder)
    ring = KeyRing(source(stem), clock=lambda: NOW)
    rotation = Rotation(
        (
            Watch("keys", lambda: of_files(ring.files), ring.reload),
            Watch("trust", lambda: of_folder(folder), trust.reload),
        )
    )
    server = Server(
        engine=store,
        journal=JournalWriter(),
        services={SERVICE: Echo()},
        key=ring,
        trust=TrustPolicy(trust, RevocationMode.REQUIRE),
        new_message_id=message_ids(),
        bounds=BOUNDS,
        key_info=KeyInfoForm.ISSUER_SERIAL,
    )
    old, new = (load(pki, "gateway").certificate for pki in (first, second))
    clients = {"old": load(first, "client"), "new": load(second, "client")}
    asking: list[tuple[str, ...]] = [("old",)]
    known = Both(old, new)
    answered: queue.Queue[Certificate | str] = queue.Queue()
    done = threading.Event()
    counts, progress = [0, 0, 0], threading.Condition()

    def ask_without_end(worker: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            names = asking[0]
            name = names[number % len(names)]
            payload = etree.Element("{urn:test}question")
            info = request_info(service_id=SERVICE, message_id=f"{worker}-{number}")
            body = sync_channel.build_request(info, payload, PayloadCodec.ELEMENT)
            data = sign_body(body, clients[name], form=KeyInfoForm.KEY_IDENTIFIER)
            reply = server.handle(data, received_at=NOW)
            verified = verify_envelope(reply.body, certificates=known)
            content = sync_channel.read_reply(verified.body)
            good = reply.status == 200 and isinstance(content, SyncResponse)
            answered.put(verified.certificate if good else f"{reply.status} {content}")
            with progress:
                counts[worker] = number
                progress.notify_all()

    def some_answers() -> set[Certificate | str]:
        """The next dozen: in the middle of whatever is being done."""
        return {answered.get(timeout=PATIENCE_S) for _ in range(12)}

    def nothing_of_before_is_in_hand() -> None:
        """Every worker has begun and ended a request since now; what was answered until then is looked at, too."""
        with progress:
            wanted = [count + 2 for count in counts]
            assert progress.wait_for(lambda: all(c >= w for c, w in zip(counts, wanted, strict=True)), PATIENCE_S)
        seen.append({answered.get() for _ in range(answered.qsize())})

    seen: list[set[Certificate | str]] = []
    workers = [threading.Thread(target=ask_without_end, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        seen.append(some_answers())
        # 1 the new hierarchy comes to the old one, file by file
        for file in second.anchors.iterdir():
            shutil.copy(file, folder / f"new-{file.name}")
            rotation.look()
        rotation.look()
        asking[0] = ("old", "new")
        nothing_of_before_is_in_hand()
        # 2 our key is exchanged, first one file, then the other; between them nothing fits together
        shutil.copy(second.key("gateway"), stem.with_suffix(".key"))
        rotation.look()
        rotation.look()
        seen.append(some_answers())
        shutil.copy(second.certificate("gateway"), stem.with_suffix(".pem"))
        rotation.look()
        rotation.look()
        nothing_of_before_is_in_hand()
        seen.append(some_answers())
        # 3 nobody uses the old hierarchy any more, and it goes
        asking[0] = ("new",)
        nothing_of_before_is_in_hand()
        remove_hierarchy(folder, "old")
        rotation.look()
        rotation.look()
        seen.append(some_answers())
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert set().union(*seen) == {old, new}, "every request was answered, and signed by one of our two keys"
    assert seen[0] == seen[1] == seen[2] == {old}
    assert seen[-2] == seen[-1] == {new}


# ---------------------------------------------------------------- as the program puts it together


def configured(folder: Path, more: str = "") -> settings.LoadedSettings:
    file = folder / "gateway.toml"
    text = CONFIG.format(database_url=f"sqlite:///{folder / 'gateway.sqlite'}", sync_url="http://127.0.0.1:1/")
    file.write_text(text.replace("[trust]", f"{more}\n[trust]"))
    return settings.load(file, {})


def test_the_daemon_takes_the_next_key_from_the_settings(first: ThrowawayPki, tmp_path: Path) -> None:
    shutil.copytree(first.directory, tmp_path / "pki")
    loaded = configured(
        tmp_path,
        'next_key_file = "next.key"\nnext_certificate_file = "next.pem"\nnext_from = 2020-01-01T00:00:00+05:00',
    )
    keys, trust = daemon.load_keys(loaded), daemon.load_trust(loaded)
    rotation = daemon.watch(loaded, keys, trust)
    assert [one.common_name for one in keys.certificates] == ["TEST FUND INFORMATION SYSTEM"]
    put(first, "shep", tmp_path / "next")
    assert rotation.look(force=True)
    assert [one.common_name for one in keys.certificates] == ["TEST FUND INFORMATION SYSTEM", "TEST SHEP SIMULATOR"]
    assert not rotation.look()


def test_an_anchor_of_the_other_environment_is_not_taken_while_it_runs(first: ThrowawayPki, tmp_path: Path) -> None:
    shutil.copytree(first.directory, tmp_path / "pki")
    loaded = configured(tmp_path)
    keys, trust = daemon.load_keys(loaded), daemon.load_trust(loaded)
    rotation = daemon.watch(loaded, keys, trust)
    before: TrustMaterial = trust.store.material
    (tmp_path / "pki" / "anchors" / "live.pem").write_bytes(authority("A REAL ROOT").pem)
    with capture_logs() as logs:
        rotation.look(force=True)
    assert trust.store.material is before
    assert [line["what"] for line in logs if line["action"] == "reload_refused"] == ["trust"]


def test_a_key_of_the_other_environment_is_not_taken_while_it_runs(first: ThrowawayPki, tmp_path: Path) -> None:
    shutil.copytree(first.directory, tmp_path / "pki")
    loaded = configured(tmp_path)
    keys = daemon.load_keys(loaded)
    real = mint("a real key", authority("A REAL ROOT"))
    _write(real, tmp_path / "pki" / "keys" / "gateway")
    with pytest.raises(ConfigurationError, match="real"):
        keys.reload()
    assert keys().certificate == load(first, "gateway").certificate


def _write(minted: Minted, stem: Path) -> None:
    stem.with_suffix(".pem").write_bytes(minted.pem)
    stem.with_suffix(".key").write_bytes(minted.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


# ---------------------------------------------------------------- as a process


def test_sighup_exchanges_our_key_and_the_process_stays(tmp_path: Path) -> None:
    pki = throwaway_pki.init(tmp_path / "pki", now=dt.datetime.now(dt.UTC), families=[Family.RSA])
    loaded = configured(tmp_path, "[rotation]\ninterval_s = 3600")
    assert gateway("db", "upgrade", "--config", str(loaded.file)).code == 0
    old, new = (_certificate(pki.certificate(name)) for name in ("gateway", "shep"))
    client = load(pki, "client")
    with Process(("run", "--config", str(loaded.file)), "listening on ", tmp_path / "daemon.log") as running:

        def signer() -> Certificate:
            info = request_info("NOBODY_SERVES_THIS", message_date=dt.datetime.now(dt.UTC))
            body = sync_channel.build_request(info, etree.Element("{urn:test}question"), PayloadCodec.ELEMENT)
            data = sign_body(body, client, form=KeyInfoForm.KEY_IDENTIFIER)
            reply = httpx.post(running.url, content=data, headers={"Content-Type": "text/xml"}, trust_env=False)
            return verify_envelope(reply.content).certificate

        assert signer() == old
        put(pki, "shep", pki.key("gateway").with_suffix(""))
        assert signer() == old
        running.process.send_signal(signal.SIGHUP)
        _wait_for(lambda: '"what": "keys"' in running.said() or "reloaded" in running.said())
        # faults of one second and one text are the same bytes: the new key signs from the next second on at the latest
        _wait_for(lambda: signer() == new)
        assert running.process.poll() is None


def _certificate(path: Path) -> Certificate:
    (found,) = read_certificates(path.read_bytes())
    return found


def _wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
