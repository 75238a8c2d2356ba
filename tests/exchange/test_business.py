"""Business signatures between asking and believing: what `system.toml` says about them is what happens."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import Engine

from gateway.errors import RevocationUnknown, TrustRefused
from gateway.exchange.outbox import State
from gateway.exchange.results import AskResult, step_of
from gateway.model import Outcome
from gateway.signing import names
from gateway.signing.enveloped import verify_enveloped
from gateway.signing.wss import verify_envelope
from gateway.systems.definition import PayloadSignature, RequestPayloadSignature, SystemDefinition
from gateway.trust.verdict import RevocationMode
from tests.exchange.world import PERSON, Keys, Register, asker, systems, trust


def gbdfl(**changes: object) -> dict[str, SystemDefinition]:
    return {"gbdfl": dataclasses.replace(systems()["gbdfl"], **changes)}


def asked(store: Engine, keys: Keys, register: Register, mode: PayloadSignature, **changes: object) -> AskResult:
    definitions = gbdfl(response_payload_signature=mode)
    return asker(store, keys, register, systems=definitions, **changes).ask("gbdfl", PERSON)


@pytest.mark.parametrize("mode", list(PayloadSignature))
@pytest.mark.parametrize("codec", ["children", "typed_children", "element", "escaped_text", "cdata", "base64"])
def test_a_signed_payload_is_read_in_every_codec(
    codec: str, mode: PayloadSignature, store: Engine, keys: Keys, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = gbdfl(response_payload_signature=mode, codec=codec)
    monkeypatch.setattr("tests.exchange.world.systems", lambda: definitions)
    register.business_signer = "client"
    result = asker(store, keys, register, systems=definitions).ask("gbdfl", PERSON)
    assert (result.state, result.outcome) == (State.ANSWERED, Outcome.FOUND)
    assert b"Signature>" in register.sent[0]


def test_a_required_signature_that_is_absent_refuses_the_answer(store: Engine, keys: Keys, register: Register) -> None:
    result = asked(store, keys, register, PayloadSignature.REQUIRED)
    assert (result.state, result.outcome) == (State.REFUSED, Outcome.UNKNOWN)
    assert result.error is not None
    assert (result.error.code, step_of(result.error)) == ("payload_unsigned", "payload_signature")


@pytest.mark.parametrize("mode", [PayloadSignature.PRESENT, PayloadSignature.NONE])
def test_an_answer_without_one_is_read_where_none_is_required(
    mode: PayloadSignature, store: Engine, keys: Keys, register: Register
) -> None:
    assert asked(store, keys, register, mode).state is State.ANSWERED


@pytest.mark.parametrize("mode", [PayloadSignature.PRESENT, PayloadSignature.REQUIRED])
def test_a_broken_signature_refuses_the_answer(
    mode: PayloadSignature, store: Engine, keys: Keys, register: Register
) -> None:
    register.business_signer = "client"
    register.change_body = lambda body: body.replace(b"</data>", b"<more/></data>")
    result = asked(store, keys, register, mode)
    assert result.state is State.REFUSED
    assert result.error is not None
    assert result.error.code == "payload_digest"
    assert result.facts == ()


@pytest.mark.parametrize(
    ("signer", "code"), [("gateway", "own_signature"), ("expired", "expired"), ("revoked", "revoked")]
)
def test_a_payload_signed_by_the_wrong_one_is_refused(
    signer: str, code: str, store: Engine, keys: Keys, register: Register
) -> None:
    register.business_signer = signer
    result = asked(store, keys, register, PayloadSignature.PRESENT)
    assert isinstance(result.error, TrustRefused)
    assert (result.error.code, result.error.step) == (code, "payload_signature")
    assert result.state is State.REFUSED


def test_unknown_revocation_of_the_payloads_signer_is_unknown(
    store: Engine, keys: Keys, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.business_signer = "client"
    validated = []

    def validate(certificate: object, *_: object, **__: object) -> None:
        validated.append(certificate)
        raise RevocationUnknown("no CRL")

    monkeypatch.setattr("gateway.exchange.business.validate", validate)
    result = asked(store, keys, register, PayloadSignature.REQUIRED, trust=trust(keys.pki, RevocationMode.REQUIRE))
    assert (result.state, result.outcome) == (State.UNKNOWN, Outcome.UNKNOWN)
    assert validated == [keys["client"].certificate]


def test_our_request_is_signed_where_the_service_wants_it(store: Engine, keys: Keys, register: Register) -> None:
    definitions = gbdfl(request_payload_signature=RequestPayloadSignature.ENVELOPED)
    result = asker(store, keys, register, systems=definitions).ask("gbdfl", PERSON)
    assert result.state is State.ANSWERED
    verified = verify_envelope(register.requests[0])
    data = verified.body.find(".//data")
    assert data[-1].tag == names.DS_SIGNATURE
    (signature,) = verify_enveloped(verified.as_received(data)).signatures
    assert signature.certificate == keys["gateway"].certificate


def test_our_request_is_not_signed_where_nobody_asked_for_it(store: Engine, keys: Keys, register: Register) -> None:
    asker(store, keys, register).ask("gbdfl", PERSON)
    assert verify_envelope(register.requests[0]).body.find(f".//{names.DS_SIGNATURE}") is None
