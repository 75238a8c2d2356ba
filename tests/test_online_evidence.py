"""OCSP asked of a real responder, its answers kept with the messages that they decided about."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import ocsp

from gateway import daemon, database, settings
from gateway.errors import ConfigurationError
from gateway.exchange.journal import Journal
from gateway.exchange.outbox import State
from gateway.exchange.stamping import stamp_once, stamps
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningSandbox, throwaway_pki.ThrowawayPki]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("online") / "pki"
    pki = throwaway_pki.init(folder, now=daemon.now(), address=f"http://127.0.0.1:{port}")
    simulator = make_simulator(people=30, seed=1, pki_dir=pki.directory)
    with running_sandbox(simulator, now=daemon.now, port=port) as running:
        yield running, pki


@pytest.fixture
def loaded(
    sandbox: tuple[RunningSandbox, throwaway_pki.ThrowawayPki], database_url: str, tmp_path: Path
) -> settings.LoadedSettings:
    running, pki = sandbox
    running.orders.clear()
    trust = tmp_path / "trust"
    trust.mkdir()
    for file in pki.anchors.iterdir():
        if file.name.startswith("root") or file.suffix == ".pem":  # lists about the signers stay out
            (trust / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "gateway.toml"
    text = CONFIG.format(database_url=database_url, sync_url=running.sync_url)
    file.write_text(text.replace("pki/anchors", str(trust)).replace("pki/", f"{pki.directory}/"))
    loaded = settings.load(file, {"GATEWAY_TRUST__OCSP": "true"})
    engine = daemon.open_store(loaded)
    database.upgrade(engine)
    engine.dispose()
    return loaded


def test_an_answer_of_the_responder_decides_and_is_kept_with_the_message(loaded, sandbox) -> None:
    running, _ = sandbox
    with daemon.assemble(loaded) as gateway:
        first, second = (gateway.asker.ask("cbdi", running.population.person(number)) for number in (0, 1))
        assert (first.state, second.state) == (State.ANSWERED, State.ANSWERED)
        assert first.revocation is not None
        assert "ocsp" in first.revocation.source
        kept = Journal(gateway.engine).evidence_of(first.reply_journal_id)
        assert {ocsp.OCSPResponse.load(used.content)["response_status"].native for used in kept} == {"successful"}
        # one answer speaks for both messages
        assert kept == Journal(gateway.engine).evidence_of(second.reply_journal_id)
        assert gateway.trust.refresh is not None
        assert gateway.trust.refresh(gateway.trust.store.material, now=daemon.now()).failures == ()


def test_a_revoked_signer_is_refused_by_what_the_responder_said_and_that_is_kept(loaded, sandbox) -> None:
    running, _ = sandbox
    running.orders.place(Order(Misbehaviour.REVOKED_SIGNER))
    with daemon.assemble(loaded) as gateway:
        result = gateway.asker.ask("cbdi", running.population.person(2))
        assert result.error is not None
        assert (result.state, result.error.code) == (State.REFUSED, "revoked")
        assert Journal(gateway.engine).evidence_of(result.reply_journal_id)


def test_without_asking_the_same_signer_stays_unknown(loaded, sandbox) -> None:
    running, _ = sandbox
    offline = settings.load(loaded.file, {})
    with daemon.assemble(offline) as gateway:
        result = gateway.asker.ask("cbdi", running.population.person(3))
        assert result.error is not None
        assert (result.state, result.error.code) == (State.UNKNOWN, "revocation_unknown")


def test_a_role_that_does_not_exist_and_an_address_that_is_none_are_named(loaded) -> None:
    wrong = settings.load(loaded.file, {"GATEWAY_SERVICES__X__ROLES": '["king"]'})
    with pytest.raises(ConfigurationError, match="king"):
        daemon.load_trust(wrong)
    nowhere = settings.load(loaded.file, {"GATEWAY_TRUST__OCSP": "true", "GATEWAY_TRUST__CRL_URLS": '["ftp://x"]'})
    with pytest.raises(ConfigurationError, match="ftp"):
        daemon.load_trust(nowhere)


def test_the_journal_is_stamped_by_the_daemons_own_stamper_and_doctor_tries_it(loaded, sandbox) -> None:
    running, _ = sandbox
    stamping = settings.load(
        loaded.file, {"GATEWAY_TRUST__OCSP": "true", "GATEWAY_TRUST__TSP_URL": f"{running.url}/tsp"}
    )
    with daemon.assemble(stamping) as gateway:
        check = daemon.stamp_check(gateway)
        assert check is not None
        assert check.ok, check.message
        assert gateway.stamper is not None
        gateway.asker.ask("cbdi", running.population.person(4))
        run = stamp_once(gateway.engine, gateway.stamper, gateway.journal)
        assert run is not None
        assert stamps(gateway.engine) == (run,)
    with daemon.assemble(loaded) as gateway:
        assert daemon.stamp_check(gateway) is None
