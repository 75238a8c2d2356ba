"""THREATS.md section 1: 0 forgeries accepted, for requests and answers, in every form of KeyInfo."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.exchange.outbox import State
from gateway.exchange.transport import Reply, one_by_one
from gateway.exchange.verification import TrustPolicy
from gateway.shep import sync_channel
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize
from tests.exchange.test_serve import Echo, server
from tests.exchange.world import NOW, PERSON, Keys, Register, asker, message_ids, request_info, trust
from tests.hostile import wrapping
from tests.hostile.corpus import CLASSES, FALSE, Genuine, genuine_messages, judged
from tests.hostile.judges import signature_holds
from tests.hostile.wrapping import SOAP

#: every so manieth forgery is shown to the other implementations; `python -m tests.hostile` shows them all
SAMPLE = 29
KINDS = [f"{kind}, {form}" for kind in ("request", "answer") for form in KeyInfoForm]


@pytest.fixture(scope="session")
def messages(keys: Keys) -> Mapping[str, Genuine]:
    return {f"{one.kind}, {one.form}": one for one in genuine_messages(keys)}


@pytest.fixture(scope="session")
def policy(keys: Keys) -> TrustPolicy:
    return trust(keys.pki)


def canonical_body(data: bytes) -> bytes:
    return canonicalize(etree.fromstring(data).find(f"{{{SOAP}}}Body"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_genuine_message_is_accepted(kind: str, messages: Mapping[str, Genuine], policy: TrustPolicy) -> None:
    message = messages[kind]
    assert judged(message.data, canonical_body(message.data), policy) == "genuine"
    assert signature_holds(message.data, message.signer) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_no_forgery_is_accepted(kind: str, messages: Mapping[str, Genuine], policy: TrustPolicy) -> None:
    message = messages[kind]
    body = canonical_body(message.data)
    for name, forge in CLASSES.items():
        verdicts = Counter(judged(forgery.data, body, policy) for forgery in forge(message))
        # strictness: not one is let through, though reading the genuine Body would be harmless
        assert set(verdicts) == {"refused"}, name
        assert verdicts.total() > 30, name


def test_forgeries_have_signatures_that_hold(messages: Mapping[str, Genuine]) -> None:
    """Where a Body only moves the signature stays true, as other implementations find: the refusals are about place."""
    held: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for message in messages.values():
        for name, forge in CLASSES.items():
            for at, forgery in enumerate(forge(message)):
                if at % SAMPLE == 0:
                    asked[name] += 1
                    held[name] += signature_holds(forgery.data, message.signer) > 0
    for name in ("Body moved away, false one in its place", "false Body under another name"):
        assert held[name] > asked[name] // 3, name
    for name in ("signed content changed", "SignedInfo rewritten", "signed by somebody else"):
        assert held[name] == 0, name


def test_the_server_never_answers_a_forgery(store: Engine, keys: Keys) -> None:
    echo = Echo()
    target = server(store, keys, echo)
    payload = etree.fromstring(f'<q:question xmlns:q="urn:test"><iin>{PERSON.value}</iin></q:question>')
    body = sync_channel.build_request(request_info("ECHO"), payload, sync_channel.PayloadCodec.ELEMENT)
    genuine = sign_body(body, keys["client"], form=KeyInfoForm.KEY_IDENTIFIER, body_id="id-1")
    forged = wrapping.forgeries(genuine, genuine_text=PERSON.value, false_text="900202400557")
    with capture_logs():
        statuses = {
            target.handle(forgery.data, received_at=NOW).status for at, forgery in enumerate(forged) if at % 7 == 0
        }
        assert statuses == {500}
        assert echo.asked == []
        assert target.handle(genuine, received_at=NOW).status == 200


def test_the_asker_never_reads_a_forgery(store: Engine, keys: Keys, register: Register) -> None:
    class Forger(Register):
        """Answers with one forgery after the other, each made of a genuine answer to that very question."""

        place = 0

        post_many = one_by_one

        def post(self, *arguments: Any, **options: Any) -> Reply:
            genuine = super().post(*arguments, **options)
            forged = wrapping.forgeries(genuine.body, genuine_text="T-1", false_text="T-9")
            self.place += 61
            return Reply(200, "text/xml", next(itertools.islice(forged, self.place, None)).data)

    ours = asker(store, keys, Forger(keys), new_message_id=message_ids("forged"))
    with capture_logs():
        results = [ours.ask("cbdi", PERSON) for _ in range(17)]
    assert {result.state for result in results} == {State.REFUSED}
    assert all(result.facts == () for result in results)


def test_a_false_value_is_told_from_a_genuine_one(messages: Mapping[str, Genuine], policy: TrustPolicy) -> None:
    """The judge of this suite itself: were a false Body accepted, it would say so."""
    message = messages["request, key_identifier"]
    assert judged(message.another, canonical_body(message.data), policy) == "FALSE"
    assert FALSE.encode() not in verify_envelope(message.data).canonical
