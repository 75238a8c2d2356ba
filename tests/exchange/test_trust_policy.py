"""What the operator wrote about one service, and the evidence that is kept with a message."""

from __future__ import annotations

from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.exchange.journal import Journal, MessageDirection
from gateway.exchange.outbox import State
from gateway.exchange.verification import ServiceTrust, TrustPolicy
from gateway.shep.faults import FaultCode
from gateway.trust.signer_policy import SignerRules
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationMode
from tests.exchange.test_serve import SERVICE, Echo, entries, fault_of, handle, question, server
from tests.exchange.world import PERSON, Keys, Register, asker, message_ids, trust


def blind(keys: Keys, by_service: dict[str, ServiceTrust]) -> TrustPolicy:
    """Trusts the hierarchy and holds no revocation list."""
    material = trust(keys.pki).store.material
    store = TrustStore.of(material.anchors | material.intermediates | material.peers)
    return TrustPolicy(store, RevocationMode.REQUIRE, by_service)


LENIENT = ServiceTrust(RevocationMode.PREFER)


def test_unknown_is_accepted_only_where_the_operator_named_the_service_and_is_logged(store: Engine, keys: Keys) -> None:
    named = server(store, keys, trust=blind(keys, {SERVICE: LENIENT}))
    with capture_logs() as logs:
        assert handle(named, question(keys)).status == 200
    (said,) = [line for line in logs if line.get("action") == "unknown_revocation_accepted"]
    assert said["service_id"] == SERVICE
    assert entries(store)[0].revocation.status == "unknown"


def test_another_service_being_lenient_opens_nothing(store: Engine, keys: Keys) -> None:
    target = server(store, keys, trust=blind(keys, {"ANOTHER": LENIENT}), services={SERVICE: Echo(), "ANOTHER": Echo()})
    refused = handle(target, question(keys))
    assert fault_of(keys, refused).code == FaultCode.TRANSPORT_CERTIFICATE
    assert handle(target, question(keys, service_id="ANOTHER")).status == 200


def test_a_service_may_demand_a_role_of_its_signers(store: Engine, keys: Keys) -> None:
    demanding = ServiceTrust(signers=SignerRules(roles=frozenset({"head"})))
    policy = TrustPolicy(trust(keys.pki).store, RevocationMode.REQUIRE, {SERVICE: demanding})
    refused = handle(server(store, keys, trust=policy), question(keys))
    assert fault_of(keys, refused).code == FaultCode.TRANSPORT_CERTIFICATE
    assert entries(store)[0].verdict == "role_not_allowed"
    assert handle(server(store, keys, trust=policy), question(keys, "head")).status == 200


def test_a_treasury_certificate_serves_where_its_service_says_so_and_nowhere_else(store: Engine, keys: Keys) -> None:
    everywhere = TrustPolicy(trust(keys.pki).store, RevocationMode.REQUIRE)
    refused = handle(server(store, keys, trust=everywhere), question(keys, "treasury"))
    assert fault_of(keys, refused).code == FaultCode.TRANSPORT_CERTIFICATE
    here = ServiceTrust(signers=SignerRules(treasury=True))
    policy = TrustPolicy(everywhere.store, RevocationMode.REQUIRE, {SERVICE: here})
    assert handle(server(store, keys, trust=policy), question(keys, "treasury")).status == 200


def test_a_register_may_be_lenient_by_name_and_the_others_are_not(
    store: Engine, keys: Keys, register: Register
) -> None:
    policy = blind(keys, {"cbdi": LENIENT})
    with capture_logs() as logs:
        assert asker(store, keys, register, trust=policy).ask("cbdi", PERSON).state is State.ANSWERED
    assert [line["system"] for line in logs if line.get("action") == "unknown_revocation_accepted"] == ["cbdi"]
    strict = asker(store, keys, register, trust=policy, new_message_id=message_ids("strict"))
    assert strict.ask("gbdfl", PERSON).state is State.UNKNOWN


def test_a_message_judged_by_lists_keeps_no_answers(engine: Engine, keys: Keys, register: Register) -> None:
    result = asker(engine, keys, register).ask("cbdi", PERSON)
    assert result.reply_journal_id is not None
    assert Journal(engine).evidence_of(result.reply_journal_id) == ()
    (reply,) = Journal(engine).list_entries(direction=MessageDirection.IN)
    assert reply.revocation.source
