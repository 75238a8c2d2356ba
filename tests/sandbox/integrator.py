"""An integrator's client for tests: nothing of gateway.exchange in it."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from lxml import etree

from gateway.apart import TextApart
from gateway.model import Answer, Iin, Query
from gateway.sandbox.simulator import SimulatedGateway
from gateway.shep import sync_channel
from gateway.shep.messages import ErrorInfo, RequestInfo, Sender, SyncResponse
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.wss import sign_body, verify_envelope
from gateway.systems.definition import SystemDefinition
from gateway.trust.store import TrustStore

NOW = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)


def now() -> dt.datetime:
    """The clock of every test here: it stands still."""
    return NOW


@dataclass(frozen=True)
class Client:
    """Makes signed questions and reads verified answers."""

    simulator: SimulatedGateway
    key: SigningKey
    trust: TrustStore

    def system(self, slug: str) -> SystemDefinition:
        return self.simulator.systems[slug]

    def body(self, slug: str, subject: Iin, *, message_id: str = "", service_id: str = "") -> etree._Element:
        system = self.system(slug)
        message_id = message_id or str(uuid.uuid4())
        query = Query(subject, message_id, NOW, requester="FUND")
        info = RequestInfo(message_id, service_id or system.service_for(query).service_id, NOW, Sender("test"))
        return sync_channel.build_request(info, system.mapper.build_request(query), PayloadCodec(system.codec))

    def request(self, slug: str, subject: Iin, *, message_id: str = "", service_id: str = "") -> bytes:
        return self.sign(self.body(slug, subject, message_id=message_id, service_id=service_id))

    def sign(
        self,
        body: etree._Element,
        form: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER,
        *,
        apart: TextApart | None = None,
    ) -> bytes:
        return sign_body(body, self.key, form=form, apart=apart)

    def read(self, reply: bytes) -> SyncResponse | ErrorInfo:
        """What a verified reply says. Raises when its signature does not hold."""
        return sync_channel.read_reply(verify_envelope(reply, certificates=self.trust).body)

    def answer(self, slug: str, reply: bytes) -> Answer:
        system, response = self.system(slug), self.read(reply)
        assert isinstance(response, SyncResponse)
        assert response.data is not None
        payload = decode(response.data, PayloadCodec(system.codec), root_name=system.root_response)
        system.response_contract.validate(payload)
        return system.mapper.read_response(payload)

    def fault(self, reply: bytes) -> ErrorInfo:
        response = self.read(reply)
        assert isinstance(response, ErrorInfo)
        return response
