"""Steps 11 and 12 of a question: is the reply to be believed, and what does what was signed say?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage, MappingError, PeerError, PeerFault, SignatureRefused, TrustRefused
from gateway.exchange.business import read_payload
from gateway.exchange.question import AskPolicy
from gateway.exchange.sending import StoredReply
from gateway.exchange.verification import Evidence, TrustPolicy, VerifiedMessage, verify_message
from gateway.model import Answer, Iin, Outcome, Rejection
from gateway.shep import envelope, sync_channel
from gateway.shep.messages import ErrorInfo, ResponseInfo, SyncResponse
from gateway.signing.certificate import Certificate
from gateway.systems.definition import SystemDefinition
from gateway.telemetry import step
from gateway.xml import XmlBounds, parse

#: names a fault code that may be shown: anything else could be anything
_SHOWN_CODE_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a question its reply is judged by; its row has it, however long ago it was made."""

    definition: SystemDefinition
    message_id: str
    subject: Iin
    asked_at: dt.datetime
    #: our certificate
    ours: Certificate


@dataclass(frozen=True, slots=True)
class Understood:
    """A reply that held in every respect."""

    answer: Answer
    message: VerifiedMessage


def understand(
    reply: StoredReply, asked: Asked, *, trust: TrustPolicy, policy: AskPolicy, evidence: Evidence
) -> Understood:
    """Steps 11 and 12; `evidence` is filled as far as it goes. Raises PeerError and Undecided: use nothing of it."""
    received_at = reply.entry.at
    with step(11, "out.sync"):
        message, content, tied = _verified(reply, asked, trust, policy, evidence)
    with step(12, "out.sync"):
        if content.info.status.code not in asked.definition.success_codes:
            answer = _rejected(content.info)
        else:
            answer = read_answer(content.data, message, asked, trust, policy, received_at)
            tied = check_answers_our_question(answer, asked) or tied
        if not tied:
            _check_recent(content.info, asked, received_at, policy.clock_tolerance)
    return Understood(answer, message)


def _verified(
    reply: StoredReply, asked: Asked, trust: TrustPolicy, policy: AskPolicy, evidence: Evidence
) -> tuple[VerifiedMessage, SyncResponse, bool]:
    """The message, its content, and whether it repeats an id of ours."""
    if 300 <= reply.status < 400:
        raise MalformedMessage(
            f"the gateway answered with a redirect (HTTP {reply.status}), which is never followed; "
            "put the true address into shep.sync_url",
            code="redirected",
        )
    try:
        message = verify_message(
            reply.body,
            trust=trust,
            bounds=policy.bounds,
            at=reply.entry.at,
            evidence=evidence,
            service=asked.definition.slug,
        )
    except SignatureRefused as error:
        if error.code == "unsigned":
            raise unsigned_fault(reply.body, policy.bounds) or error from None
        raise
    check_signer(message.certificate, asked.ours, policy.signer_bins)
    content = sync_channel.read_reply(message.body)
    if isinstance(content, ErrorInfo):
        raise PeerFault(content.code, f"the gateway answered with the fault {shown_code(content.code)}", signed=True)
    return message, content, _check_correlation(content.info, asked.message_id)


def read_answer(
    data: etree._Element | None,
    message: VerifiedMessage,
    asked: Asked,
    trust: TrustPolicy,
    policy: AskPolicy,
    received_at: dt.datetime,
) -> Answer:
    """Step 12: what the payload in `data` says. Raises PeerError and Undecided."""
    definition = asked.definition
    if data is None:
        raise MalformedMessage("the answer says that it was processed and carries no data", code="no_payload")
    payload = read_payload(
        data, message, definition, trust=trust, at=received_at, ours=asked.ours, bounds=policy.bounds
    )
    try:
        if definition.validate_response:
            definition.response_contract.validate(payload)
        return definition.mapper.read_response(payload)
    except PeerError:
        raise
    except Exception as error:  # a folder's own code: its fault must not take the process or the row with it
        raise MappingError(
            f"mapper.py of {definition.slug} failed with {type(error).__name__}; "
            "try the recorded reply with `gateway read`",
            code="mapper_failed",
        ) from error


# ---------------------------------------------------------------- decisions (pure)


def check_signer(certificate: Certificate, ours: Certificate, bins: frozenset[str]) -> None:
    """Step 11: trusted is not enough, the reply has to come from the other side. Raises TrustRefused."""
    # keys are compared: KeyInfo is not signed, and one key may come in another certificate
    if certificate.spki_der == ours.spki_der:
        raise TrustRefused("own_signature", "the reply is signed with our own key", step="signer")
    if bins and certificate.bin not in bins:
        raise TrustRefused(
            "unexpected_signer",
            "the reply is signed by an organisation that does not answer for this gateway; "
            "see `gateway journal show`, and the list of signers in the settings",
            step="signer",
        )


def _check_correlation(info: ResponseInfo, message_id: str) -> bool:
    """Step 11: a chain id that is given must be ours. Whether the reply repeats any id of ours."""
    if info.correlation_id and info.correlation_id != message_id:
        raise MalformedMessage("the reply belongs to another chain of messages", code="wrong_correlation")
    return message_id in (info.correlation_id, info.message_id)


def check_answers_our_question(answer: Answer, asked: Asked) -> bool:
    """Step 12: the payload's own word for which question and whom it is about. Whether it named our question."""
    if answer.answers_message_id and answer.answers_message_id != asked.message_id:
        raise MalformedMessage("the payload answers another question", code="wrong_correlation")
    named = {fact.subject for fact in answer.facts} | ({answer.about} if answer.about is not None else set())
    if named - {asked.subject}:
        raise MalformedMessage("the answer is about another person than the one asked about", code="wrong_subject")
    return bool(answer.answers_message_id)


def _check_recent(info: ResponseInfo, asked: Asked, received_at: dt.datetime, tolerance: dt.timedelta) -> None:
    """Step 11, time and replay, for a reply that repeats no id of ours."""
    if not asked.asked_at - tolerance <= info.response_date <= received_at + tolerance:
        raise MalformedMessage(
            "the reply repeats no id of the question and was not made in the time of this exchange", code="stale_reply"
        )


def _rejected(info: ResponseInfo) -> Answer:
    return Answer(Outcome.REJECTED, rejection=Rejection(info.status.code, info.status.message))


def unsigned_fault(data: bytes, bounds: XmlBounds) -> PeerFault | None:
    """A fault in an unsigned envelope: reported, never trusted. None when it is none."""
    try:
        _, body = envelope.split(parse(data, bounds))
        content = sync_channel.read_reply(body) if sync_channel.is_fault(body) else None
    except MalformedMessage:
        return None
    if not isinstance(content, ErrorInfo):
        return None
    fault = PeerFault(content.code, f"unsigned fault, not trusted: {shown_code(content.code)}", signed=False)
    fault.code = "unsigned_fault"
    return fault


def shown_code(code: str) -> str:
    """A fault code as it may be shown: what is no code could be anything."""
    plain = code.replace("_", "").replace("-", "")
    return code if plain.isascii() and plain.isalnum() and len(code) <= _SHOWN_CODE_CHARS else "(unreadable code)"
