"""The gateway's answer to a message of ours: believed when it is signed, ours, and made now."""

from __future__ import annotations

import datetime as dt
from typing import Final

from gateway.errors import MalformedMessage, PeerFault, SignatureRefused
from gateway.exchange.calls import check_made_now, fault_of, refuse_redirect
from gateway.exchange.question import AskPolicy
from gateway.exchange.sending import StoredReply
from gateway.exchange.understanding import check_signer, shown_code
from gateway.exchange.verification import Evidence, TrustPolicy, verify_message
from gateway.shep import async_channel, envelope
from gateway.shep.async_messages import MessageAck
from gateway.shep.messages import ErrorInfo
from gateway.signing.certificate import Certificate
from gateway.telemetry import Flow, step
from gateway.xml import parse

_FLOW: Final[Flow] = "out.async"


def read_acknowledgement(
    reply: StoredReply,
    *,
    service: str,
    trust: TrustPolicy,
    policy: AskPolicy,
    own_certificate: Certificate,
    evidence: Evidence,
) -> MessageAck:
    """Steps 11 and 12 of a reply that is stored; `evidence` is filled with what was found on the way.

    `service` says whose signers may sign it. Raises PeerError and Undecided; a PeerFault that is signed is the
    gateway's own word that it does not have the message.
    """
    with step(11, _FLOW):
        refuse_redirect(reply.status)
        try:
            message = verify_message(
                reply.body,
                trust=trust,
                bounds=policy.bounds,
                at=reply.entry.at,
                evidence=evidence,
                service=service,
            )
        except SignatureRefused as error:
            if error.code == "unsigned":
                raise _unsigned_fault(reply.body, policy) or error from None
            raise
        check_signer(message.certificate, own_certificate, policy.signer_bins)
    with step(12, _FLOW):
        content = async_channel.read_send_message_ack(message.body)
        if isinstance(content, ErrorInfo):
            raise fault_of(content)
        if not content.message_id:
            raise MalformedMessage("the acknowledgement names no message", code="missing_field")
        # it repeats nothing of ours when ids are the gateway's: an old one must not give this message its ids
        check_made_now(
            content.response_date,
            asked_at=reply.entry.at - dt.timedelta(seconds=policy.reply_timeout_s),
            received_at=reply.entry.at,
            tolerance=policy.clock_tolerance,
        )
    return content


def _unsigned_fault(data: bytes, policy: AskPolicy) -> PeerFault | None:
    try:
        _, body = envelope.split(parse(data, policy.bounds))
        content = async_channel.read_send_message_ack(body)
    except MalformedMessage:
        return None
    if not isinstance(content, ErrorInfo):
        return None
    fault = PeerFault(content.code, f"unsigned fault, not trusted: {shown_code(content.code)}", signed=False)
    fault.code = "unsigned_fault"
    return fault
