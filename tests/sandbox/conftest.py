"""One throw-away PKI and one sandbox for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.sandbox.simulator import SimulatedGateway
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.sandbox.integrator import NOW, Client, now


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("sandbox") / "pki", now=NOW)


@pytest.fixture(scope="session")
def load_key(pki: ThrowawayPki) -> Callable[[str], SigningKey]:
    """The key of `gateway`, `stranger`, `expired`, …"""
    return lambda name: load_signing_key(pki.key(name), None, certificate_path=pki.certificate(name))


@pytest.fixture(scope="session")
def trust(pki: ThrowawayPki) -> TrustStore:
    return TrustStore.load(pki.anchors)


@pytest.fixture(scope="session")
def shared_simulator(pki: ThrowawayPki) -> SimulatedGateway:
    return make_simulator(people=120, seed=7, pki_dir=pki.directory)


@pytest.fixture
def simulator(shared_simulator: SimulatedGateway) -> Iterator[SimulatedGateway]:
    """The sandbox without any order waiting."""
    shared_simulator.orders.clear()
    yield shared_simulator
    shared_simulator.orders.clear()


@pytest.fixture(scope="session")
def shared_sandbox(shared_simulator: SimulatedGateway) -> Iterator[RunningSandbox]:
    with running_sandbox(shared_simulator, now=now) as running:
        yield running


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox, simulator: SimulatedGateway) -> RunningSandbox:
    """The sandbox on a real socket, without any order waiting."""
    assert shared_sandbox.simulator is simulator
    return shared_sandbox


@pytest.fixture
def client(simulator: SimulatedGateway, load_key: Callable[[str], SigningKey], trust: TrustStore) -> Client:
    return Client(simulator, load_key("gateway"), trust)
