"""Steps 2 to 7 of a question: from a person and a register to signed bytes. Nothing is stored or sent here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from lxml import etree

from gateway.errors import MalformedMessage, OperatorError
from gateway.exchange.business import signed_payload
from gateway.exchange.journal import EntryKind, JournalEntry, MessageDirection, Signer, Verdict
from gateway.exchange.sending import Target, shown_address
from gateway.model import Consent, Iin, Query
from gateway.shep import sync_channel
from gateway.shep.contract import envelope_schema
from gateway.shep.messages import RequestInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.own import check_made
from gateway.signing.wss import sign_body
from gateway.systems.definition import RequestPayloadSignature, SystemDefinition
from gateway.telemetry import step
from gateway.xml import DEFAULT_BOUNDS, XmlBounds


@dataclass(frozen=True, slots=True)
class AskPolicy:
    """Where and as whom we ask, and what a reply may cost. The daemon makes it from the settings."""

    url: str
    sender: Sender
    #: participant code for registers whose system.toml names none
    requester: str = ""
    key_info: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER
    #: upper bounds; a system's own shorter ones win
    connect_timeout_s: float = 5.0
    reply_timeout_s: float = 60.0
    max_reply_bytes: int = 2_000_000
    bounds: XmlBounds = DEFAULT_BOUNDS
    #: BINs whose certificates may sign a reply; empty: any trusted certificate but our own
    signer_bins: frozenset[str] = frozenset()
    #: how far a peer's clock and time zone may be off. It matters only for replies that repeat none of our ids:
    #: nothing else tells them from an old answer about the same person. An hour: the zone change of 2024 is still
    #: missing in some systems (SHEP.md 1.5 shows both +05:00 and +06:00)
    clock_tolerance: dt.timedelta = dt.timedelta(minutes=65)

    def target(self, definition: SystemDefinition) -> Target:
        """Where questions to a system go, with the shorter of both timeouts."""
        return Target(
            url=self.url,
            connect_timeout_s=min(definition.timeouts.connect_s, self.connect_timeout_s),
            reply_timeout_s=min(definition.timeouts.reply_s, self.reply_timeout_s),
            max_reply_bytes=self.max_reply_bytes,
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A question that is signed and not stored yet."""

    definition: SystemDefinition
    service_id: str
    query: Query
    signed: bytes = field(repr=False)
    #: what step 8 journals
    entry: JournalEntry


def prepare(
    definition: SystemDefinition,
    subject: Iin,
    *,
    message_id: str,
    at: dt.datetime,
    key: SigningKey,
    policy: AskPolicy,
    facts: Sequence[str] = (),
    consent: Consent | None = None,
) -> Question:
    """Steps 2 to 7. Raises OperatorError, MappingError, SignatureRefused: ours to mend, and nothing was sent."""
    with step(2, "out.sync"):
        query = Query(
            subject=subject,
            message_id=message_id,
            created_at=at,
            facts=kinds_of(definition, facts),
            requester=definition.requester or policy.requester,
            consent=consent,
        )
        service = definition.service_for(query)
    with step(3, "out.sync"):
        payload = definition.mapper.build_request(query)
    with step(4, "out.sync"):
        service.request.validate(payload)
    with step(5, "out.sync"):
        codec = PayloadCodec(definition.codec)
        info = RequestInfo(message_id=message_id, service_id=service.service_id, message_date=at, sender=policy.sender)
        sign_data = None
        if definition.request_payload_signature is RequestPayloadSignature.ENVELOPED:
            payload, sign_data = signed_payload(payload, codec, key)
        body = sync_channel.build_request(info, payload, codec, sign_data=sign_data)
        check_fits_channel(body)
    with step(6, "out.sync"):
        signed = sign_body(body, key, form=policy.key_info)
    with step(7, "out.sync"):  # as the other side will see it
        check_made(signed, key.certificate, policy.bounds)
    entry = JournalEntry(
        at=at,
        direction=MessageDirection.OUT,
        step=8,
        kind=EntryKind.REQUEST,
        system=definition.slug,
        service_id=service.service_id,
        message_id=message_id,
        peer=shown_address(policy.url),
        body=signed,
        signer=Signer.of(key.certificate),
        verdict=Verdict.SIGNED,
    )
    return Question(definition, service.service_id, query, signed, entry)


def check_fits_channel(body: etree._Element) -> None:
    """Step 5: what we send fits the channel's schema. What does not is ours to mend: OperatorError."""
    try:
        envelope_schema()(body)
    except MalformedMessage as error:
        raise OperatorError(error.message, code=error.code) from error


def kinds_of(definition: SystemDefinition, facts: Sequence[str]) -> tuple[str, ...]:
    """The kinds of fact that these names mean. Raises OperatorError (`unknown_fact`)."""
    kinds: list[str] = []
    for fact in facts:
        given = definition.kinds_for(fact)
        if not given:
            known = ", ".join(definition.fact_kinds)
            raise OperatorError(f"{definition.slug} does not give {fact!r}; it gives: {known}", code="unknown_fact")
        kinds += [kind for kind in given if kind not in kinds]
    return tuple(kinds)
