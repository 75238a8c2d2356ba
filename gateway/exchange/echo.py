"""An echo call: does the gateway take our signature, and do we take its?

SHEP has no echo service that is public. A signed request to a serviceId that nobody registers does the same: a gateway
that cannot verify us answers SCE005, SCE006 or SCE007, and one that can answers SCE004, no such service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lxml import etree
from sqlalchemy import Engine

from gateway.database import writing
from gateway.errors import PeerError, Undecided
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection, Signer, Verdict
from gateway.exchange.question import AskPolicy
from gateway.exchange.sending import shown_address
from gateway.exchange.transport import Transport
from gateway.exchange.verification import Evidence, TrustPolicy, verify_message
from gateway.shep import sync_channel
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo, RequestInfo
from gateway.shep.payload import PayloadCodec
from gateway.signing.keys import SigningKey
from gateway.signing.own import check_own
from gateway.signing.wss import sign_body

SERVICE_ID: Final = "SHEP_GATEWAY_ECHO"


@dataclass(frozen=True, slots=True)
class EchoResult:
    """`code` is "ok", the gateway's fault code when it did not take our request, or that of our refusal."""

    code: str
    message: str

    @property
    def ok(self) -> bool:
        return self.code == "ok"


def echo(
    *,
    engine: Engine,
    journal: JournalWriter,
    transport: Transport,
    key: SigningKey,
    trust: TrustPolicy,
    policy: AskPolicy,
    message_id: str,
    clock: Callable[[], dt.datetime],
) -> EchoResult:
    """Send one signed request to nobody and judge the signed fault. Both messages are journalled.

    Raises OperatorError for what is wrong on our side.
    """
    asked_at = clock()
    info = RequestInfo(message_id, SERVICE_ID, asked_at, policy.sender)
    body = sync_channel.build_request(info, etree.Element("echo"), PayloadCodec.ELEMENT)
    signed = sign_body(body, key, form=policy.key_info)
    check_own(signed, key.certificate, policy.bounds)
    sent = JournalEntry(
        at=asked_at,
        direction=MessageDirection.OUT,
        step=8,
        kind=EntryKind.REQUEST,
        service_id=SERVICE_ID,
        message_id=message_id,
        peer=shown_address(policy.url),
        body=signed,
        signer=Signer.of(key.certificate),
        verdict=Verdict.SIGNED,
    )
    with writing(engine) as connection:
        journal.append(connection, sent)
    try:
        reply = transport.post(
            policy.url,
            signed,
            connect_timeout_s=policy.connect_timeout_s,
            reply_timeout_s=policy.reply_timeout_s,
            max_reply_bytes=policy.max_reply_bytes,
        )
    except Undecided as error:
        return EchoResult(error.code, error.message)
    received = JournalEntry(
        at=clock(),
        direction=MessageDirection.IN,
        step=10,
        kind=EntryKind.REPLY,
        service_id=SERVICE_ID,
        message_id=message_id,
        peer=sent.peer,
        body=reply.body,
        note=f"HTTP {reply.status}",
    )
    with writing(engine) as connection:
        entry_id = journal.append(connection, received)
    evidence = Evidence()
    verdict: str = Verdict.ACCEPTED
    try:
        message = verify_message(reply.body, trust=trust, bounds=policy.bounds, at=received.at, evidence=evidence)
        result = _judge(sync_channel.read_reply(message.body))
    except (PeerError, Undecided) as error:
        verdict = error.code
        result = EchoResult(error.code, error.message)
    with writing(engine) as connection:
        journal.append_verdict(
            connection,
            entry_id,
            received,
            at=clock(),
            step=11,
            verdict=verdict,
            signer=evidence.signer,
            revocation=evidence.revocation,
            note=received.note,
        )
    return result


def _judge(content: object) -> EchoResult:
    """What a verified reply says about our request (pure)."""
    if not isinstance(content, ErrorInfo):
        return EchoResult("ok", "the gateway took our signature and answered with a signed reply")
    if content.code == FaultCode.SERVICE_UNAVAILABLE:
        return EchoResult("ok", "the gateway took our signature and said, signed, that there is no such service")
    known = {code.value for code in FaultCode}
    code = content.code if content.code in known else "unknown_fault"
    meaning = FaultCode(content.code).meaning if content.code in known else "a fault code that is not known"
    return EchoResult(code, f"the gateway did not take our request: {meaning}")
