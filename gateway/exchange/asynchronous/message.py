"""Steps 2 to 7 of a message that we send on the asynchronous channel. Nothing is stored or sent here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from gateway.errors import GatewayError, MappingError
from gateway.exchange.business import signed_payload
from gateway.exchange.calls import CHANNEL
from gateway.exchange.journal import EntryKind, JournalEntry, MessageDirection, Signer, Verdict
from gateway.exchange.question import AskPolicy, check_fits_channel, kinds_of
from gateway.exchange.sending import shown_address
from gateway.model import Consent, Iin, Query
from gateway.shep import async_channel
from gateway.shep.async_messages import AsyncMessageInfo, MessageType
from gateway.shep.payload import PayloadCodec
from gateway.signing.keys import SigningKey
from gateway.signing.own import check_made
from gateway.signing.wss import sign_body
from gateway.systems.definition import RequestPayloadSignature, SystemDefinition
from gateway.telemetry import Flow, step

_FLOW: Final[Flow] = "out.async"


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message that is signed and not stored yet."""

    #: ours, whatever the gateway calls it later
    message_id: str
    message_type: MessageType
    system: str
    service_id: str
    correlation_id: str
    #: by what of the payload its answer is recognised when no id can
    business_key: str = field(repr=False)
    signed: bytes = field(repr=False)
    #: what step 8 journals
    entry: JournalEntry


def prepare_question(
    definition: SystemDefinition,
    subject: Iin,
    *,
    message_id: str,
    at: dt.datetime,
    key: SigningKey,
    policy: AskPolicy,
    facts: Sequence[str] = (),
    consent: Consent | None = None,
) -> SignedMessage:
    """A REQUEST to a register. Raises OperatorError, MappingError, SignatureRefused: ours to mend, nothing was sent."""
    with step(2, _FLOW):
        query = Query(
            subject=subject,
            message_id=message_id,
            created_at=at,
            facts=kinds_of(definition, facts),
            requester=definition.requester or policy.requester,
            consent=consent,
        )
        service = definition.service_for(query)
    with step(3, _FLOW):
        payload = definition.mapper.build_request(query)
    with step(4, _FLOW):
        service.request.validate(payload)
    business_key = message_id if definition.business_key is None else key_in(definition, payload)
    sign_data = None
    codec = PayloadCodec(definition.codec)
    if definition.request_payload_signature is RequestPayloadSignature.ENVELOPED:
        payload, sign_data = signed_payload(payload, codec, key)
    info = AsyncMessageInfo(
        service_id=service.service_id,
        message_type=MessageType.REQUEST,
        message_date=at,
        sender=policy.sender,
        message_id=message_id if definition.message_id == "ours" else "",
    )
    return prepare(
        info,
        payload,
        codec,
        message_id=message_id,
        system=definition.slug,
        business_key=business_key,
        key=key,
        policy=policy,
        sign_data=sign_data,
    )


def prepare(
    info: AsyncMessageInfo,
    payload: etree._Element | None,
    codec: PayloadCodec,
    *,
    message_id: str,
    system: str,
    key: SigningKey,
    policy: AskPolicy,
    business_key: str = "",
    sign_data: Callable[[bytes], bytes] | None = None,
    flow: Flow = _FLOW,
) -> SignedMessage:
    """Steps 5 to 7 of any message. Raises OperatorError, MalformedMessage, SignatureRefused."""
    with step(5, flow):
        body = async_channel.build_send_message(info, payload, codec, sign_data=sign_data)
        check_fits_channel(body)
    with step(6, flow):
        signed = sign_body(body, key, form=policy.key_info)
    with step(7, flow):
        check_made(signed, key.certificate, policy.bounds)
    entry = JournalEntry(
        at=info.message_date,
        direction=MessageDirection.OUT,
        step=8,
        kind=EntryKind.REQUEST,
        channel=CHANNEL,
        system=system,
        service_id=info.service_id,
        message_id=message_id,
        correlation_id=info.correlation_id,
        peer=shown_address(policy.url),
        body=signed,
        signer=Signer.of(key.certificate),
        verdict=Verdict.SIGNED,
    )
    return SignedMessage(
        message_id, info.message_type, system, info.service_id, info.correlation_id, business_key, signed, entry
    )


def key_in(definition: SystemDefinition, payload: etree._Element) -> str:
    """What business_key of mapper.py finds in a payload; "" without that function, or where the payload has none.

    Raises MappingError (`mapper_failed`).
    """
    if definition.business_key is None:
        return ""
    try:
        return definition.business_key(payload)[:200]
    except GatewayError:
        raise
    except Exception as error:  # a folder's own code: its fault must not take the process with it
        raise MappingError(
            f"business_key of {definition.slug}/mapper.py failed with {type(error).__name__}", code="mapper_failed"
        ) from error
