"""Whether a message that came to us, by push or by poll, may enter the inbox, and under what identity. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.errors import MalformedMessage
from gateway.exchange.inbox import Arrived, InboxFlow, InboxState, ReplayWindow
from gateway.exchange.refusals import NamedRefusal
from gateway.exchange.serve import ServicePolicy
from gateway.shep.async_messages import AsyncMessage, MessageType
from gateway.shep.faults import FaultCode
from gateway.signing.certificate import Certificate
from gateway.systems.definition import Channel, SystemDefinition
from gateway.xml import canonicalize


@dataclass(frozen=True, slots=True)
class Door:
    """What this participant takes from the asynchronous channel."""

    #: serviceIds of ours
    services: Collection[str]
    systems: Mapping[str, SystemDefinition]
    window: ReplayWindow
    policies: Mapping[str, ServicePolicy] = field(default_factory=lambda: MappingProxyType({}))

    def system_of(self, service_id: str) -> SystemDefinition | None:
        """The asynchronous register behind a serviceId; None for a service of ours or one that nobody here knows."""
        for definition in self.systems.values():
            if definition.channel is Channel.ASYNC and service_id in definition.service_ids:
                return definition
        return None

    def trusted_as(self, service_id: str) -> str:
        """By whose rules the signer of a message for this service is judged: the register's slug, or the service.

        Raises NamedRefusal (`no_service`).
        """
        definition = self.system_of(service_id)
        if definition is not None:
            return definition.slug
        if service_id in self.services:
            return service_id
        raise NamedRefusal(
            FaultCode.SERVICE_UNAVAILABLE, "there is no such asynchronous service here; see serviceId", "no_service"
        )

    def admit(
        self,
        message: AsyncMessage,
        signer: Certificate,
        *,
        at: dt.datetime,
        flow: InboxFlow,
        request_journal_id: int = 0,
    ) -> Arrived:
        """The message as the inbox knows it. Its journal number may come later.

        Raises NamedRefusal, ReplayRefused (`too_old`, `from_the_future`) and MalformedMessage (`missing_field`).
        """
        info = message.info
        if not info.message_id:
            raise MalformedMessage(
                "<messageId> is missing: a message without it cannot be told from its repetition", code="missing_field"
            )
        is_ours = self.trusted_as(info.service_id) == info.service_id
        if (info.message_type is MessageType.REQUEST) and not is_ours:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "this participant asks this service and does not serve it", "no_service"
            )
        if (info.message_type is MessageType.RESPONSE) and is_ours:
            raise NamedRefusal(FaultCode.MESSAGE_FORMAT, "this service answers and does not ask", "unexpected_type")
        if is_ours:
            self._check_policy(info.service_id, info.sender.sender_id, signer)
        self.window.check(info.message_date, at=at)
        return Arrived(
            sender=info.sender.sender_id,
            service_id=info.service_id,
            message_id=info.message_id,
            body_sha256=message_digest(message),
            received_at=at,
            flow=flow,
            request_journal_id=request_journal_id,
            state=InboxState.RECEIVED,
            due_at=at,
            correlation_id=info.correlation_id,
            wire_message_id=info.message_id,
            by_body=info.sender.sender_id in self._policy_of(info.service_id).reusing_ids,
        )

    def _policy_of(self, service_id: str) -> ServicePolicy:
        return self.policies.get(service_id, ServicePolicy())

    def _check_policy(self, service_id: str, sender_id: str, signer: Certificate) -> None:
        policy = self._policy_of(service_id)
        if policy.senders and sender_id not in policy.senders:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this sender", "sender_not_allowed"
            )
        if policy.bins and signer.bin not in policy.bins:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this organisation", "bin_not_allowed"
            )


def message_digest(message: AsyncMessage) -> str:
    """What makes two deliveries the same message: its type, its chain, and its data in canonical form.

    Not the whole Body: a gateway that delivers again may give the delivery another session, and the same message may
    come by push first and in a fetched list afterwards.
    """
    data = b"" if message.data is None else canonicalize(message.data)
    digest = hashlib.sha256()
    for part in (message.info.message_type.encode(), message.info.correlation_id.encode(), data):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
