"""The echo: what each kind of answer says about whether we and the gateway take each other's signature."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.errors import OutcomeUnknown, PeerUnavailable
from gateway.exchange.echo import SERVICE_ID, EchoResult, echo
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.transport import Reply, one_by_one
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ErrorInfo, ResponseInfo
from gateway.shep.payload import PayloadCodec
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body
from tests.exchange.world import NOW, Keys, Register, body_of, policy, trust


def call(engine: Engine, keys: Keys, register: Register) -> EchoResult:
    return echo(
        engine=engine,
        journal=JournalWriter(),
        transport=register,
        key=keys["gateway"],
        trust=trust(keys.pki),
        policy=policy(),
        message_id="echo-1",
        clock=lambda: NOW,
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [("SCE004", "ok"), ("SCE005", "SCE005"), ("SCE007", "SCE007"), ("private 42", "unknown_fault")],
)
def test_a_signed_fault_says_whether_our_signature_was_taken(
    store: Engine, keys: Keys, register: Register, code: str, expected: str
) -> None:
    register.fault = ErrorInfo(code, "private text", NOW)
    result = call(store, keys, register)
    assert (result.code, result.ok) == (expected, expected == "ok")
    assert "private" not in result.message


def test_request_and_reply_are_journalled(engine: Engine, keys: Keys, register: Register) -> None:
    register.fault = ErrorInfo("SCE004", "no such service", NOW)
    assert call(engine, keys, register).ok
    came, went = Journal(engine).list_entries(message_id="echo-1")
    assert (went.step, went.service_id, went.verdict) == (8, SERVICE_ID, "signed")
    assert (came.step, came.verdict, came.revocation.status) == (10, "accepted", "good")


class Answering(Register):
    """Has a service of that name after all."""

    post_many = one_by_one

    def post(self, url: str, content: bytes, **_: Any) -> Reply:
        assert sync_channel.read_request(body_of(content, self.keys["gateway"])).info.service_id == SERVICE_ID
        info = ResponseInfo("theirs-1", NOW, SUCCESS)
        body = sync_channel.build_response(info, None, PayloadCodec.ELEMENT)
        return Reply(200, "text/xml", sign_body(body, self.keys["shep"], form=KeyInfoForm.ISSUER_SERIAL))


def test_a_signed_answer_is_fine_too(store: Engine, keys: Keys) -> None:
    assert call(store, keys, Answering(keys)).ok


def test_a_reply_that_is_not_to_be_trusted_says_nothing(store: Engine, keys: Keys, register: Register) -> None:
    register.fault = ErrorInfo("SCE004", "no such service", NOW)
    register.signer, register.form = "revoked", KeyInfoForm.KEY_IDENTIFIER
    assert call(store, keys, register).code == "revoked"
    assert Journal(store).list_entries(message_id="echo-1")[0].verdict == "revoked"


@pytest.mark.parametrize("error", [PeerUnavailable("down"), OutcomeUnknown("silence", code="reply_timeout")])
def test_without_a_reply_nothing_is_known(store: Engine, keys: Keys, register: Register, error: Any) -> None:
    register.error = error
    assert call(store, keys, register) == EchoResult(error.code, error.message)
