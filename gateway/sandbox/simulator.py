"""The simulated ЭҮШ: signed requests in, signed answers of invented people out. Pure but for what it remembers.

One request goes through the same gates as at the real gateway (SHEP.md 1, 5, 6): bounds, signature, certificate,
format, service, payload. Whatever fails there is answered with a signed fault and the channel's code (SHEP.md 1.8).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from lxml import etree

from gateway.apart import TextApart
from gateway.errors import MalformedMessage
from gateway.sandbox.asynchronous import AsynchronousGateway
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_orders import AuthorityService, kinds_of
from gateway.sandbox.dispatch import DEFAULT_POLICY, AsyncPolicy, Dispatch
from gateway.sandbox.gate import Gate, RequestRefused
from gateway.sandbox.misbehaviour import Misbehaviour, Occasion, Orders, Point
from gateway.sandbox.participants import Participants
from gateway.sandbox.population import Population
from gateway.sandbox.received import Received, ReceivedLog, digests
from gateway.sandbox.registers import Question, Registers
from gateway.sandbox.replies import FAULTS, LOST, OUT_OF_SERVICE, XML, Replier, Reply, SandboxKeys, Signer, session_id
from gateway.sandbox.storage import CREDENTIALS, FileStorage
from gateway.shep import temporary_storage
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import RequestInfo, ResponseInfo, SyncRequest
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.sync_channel import build_fault, build_response, read_request
from gateway.shep.temporary_storage import StorageRequest, build_storage_response, read_storage_request
from gateway.systems.definition import SystemDefinition
from gateway.trust.store import TrustStore
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

__all__ = ["XML", "Reply", "SandboxKeys", "Signer", "SimulatedGateway"]

_LOG: Final = structlog.get_logger()
#: how requests to it are counted
_STORAGE: Final = "temporary_storage"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One understood request: to a register, or to the storage."""

    info: RequestInfo
    question: Question | StorageRequest

    @property
    def system(self) -> str:
        """Who is asked: a system's slug, "" for the storage."""
        return self.question.system.slug if isinstance(self.question, Question) else ""

    @property
    def iin(self) -> str:
        return self.question.iin if isinstance(self.question, Question) else ""


class SimulatedGateway:
    """Answers SendMessage for every system given, as the people of `population` stand in its register; beside it the
    asynchronous channel and the temporary storage of the same gateway."""

    def __init__(
        self,
        *,
        population: Population,
        systems: Mapping[str, SystemDefinition],
        pki_dir: Path,
        orders: Orders | None = None,
        participants: Participants | None = None,
        async_policy: AsyncPolicy = DEFAULT_POLICY,
        bounds: XmlBounds = DEFAULT_BOUNDS,
    ) -> None:
        """Raises KeyMaterialError when `pki_dir` was not made by `gateway pki init`."""
        self.population = population
        self.systems = systems
        self.orders = orders or Orders()
        self.bounds = bounds
        self.received = ReceivedLog()
        self.storage = FileStorage()
        keys = SandboxKeys(pki_dir)
        self._replier = Replier(keys)
        #: who certified everyone here
        self.authority = Authority(pki_dir)
        self._gate = Gate(TrustStore.load(keys.anchors), bounds)
        self._registers = Registers(population, systems, bounds=bounds)
        self.dispatch = Dispatch(
            gate=self._gate,
            replier=self._replier,
            registers=self._registers,
            orders=self.orders,
            participants=participants or Participants(),
            policy=async_policy,
            seed=population.seed,
        )
        self.asynchronous = AsynchronousGateway(
            gate=self._gate,
            replier=self._replier,
            registers=self._registers,
            orders=self.orders,
            received=self.received,
            dispatch=self.dispatch,
        )
        self._answered: Counter[str] = Counter()
        self._counting = threading.Lock()

    def answer(self, data: bytes, *, now: dt.datetime, apart: TextApart | None = None) -> Reply:
        """The reply to one POST on the synchronous channel. Never raises for what came from outside.

        `apart` is the text of a large file, for which a mark stands in `data`.
        """
        body = None
        try:
            body = self._gate.pass_in(data, now=now, apart=apart).body
            asked = self._understand(body)
        except RequestRefused as refused:
            _LOG.info("sandbox", action="refused", code=refused.code.value, why=refused.why)
            entry = _entry(data, body, now)
            self.received.add(replace(entry, end=f"fault {refused.code}: {refused.why}"))
            return self._refuse(refused.code, refused.why, now)
        entry = replace(
            _entry(data, body, now),
            service_id=asked.info.service_id,
            sender_id=asked.info.sender.sender_id,
            message_id=asked.info.message_id,
            correlation_id=asked.info.correlation_id,
        )
        occasion = Occasion(
            system=asked.system,
            service_id=asked.info.service_id,
            iin=asked.iin,
        )
        arrival = self.orders.take(replace(occasion, point=Point.ARRIVAL), now=now)
        if arrival is not None:
            outage = arrival.kind is Misbehaviour.OUTAGE
            end = "out of service" if outage else "lost on arrival"
            self.received.add(replace(entry, end=end, misbehaviour=arrival.kind.value))
            return OUT_OF_SERVICE if outage else LOST
        order = self.orders.take(occasion, now=now)
        kind = order.kind if order else None
        end = "fault on order" if kind in FAULTS else "answered"
        self.received.add(replace(entry, end=end, misbehaviour=kind.value if kind else ""))
        _LOG.info(
            "sandbox",
            action="asked",
            system=asked.system or _STORAGE,
            service_id=asked.info.service_id,
            message_id=asked.info.message_id,
            misbehaviour=kind.value if kind else "",
        )
        self._count(asked.system or _STORAGE)
        refusal = self._replier.ordered_fault(order, build_fault, now)
        if refusal is not None:
            return refusal
        clock = now + dt.timedelta(seconds=order.seconds) if order and kind is Misbehaviour.SKEW else now
        if isinstance(asked.question, StorageRequest):
            stored = self.storage.answer(asked.question, now=clock, apart=apart)
            info = _response_info(asked.info.message_id, asked.info.correlation_id, clock)
            told = build_response(info, build_storage_response(stored), PayloadCodec.ELEMENT)
            large = self.storage.apart_of(stored)
            return self._replier.reply(told, order, lie=lambda: self._lie(asked, clock), apart=large)
        body = self._body(asked.info, asked.question, kind, clock)
        return self._replier.reply(body, order, lie=lambda: self._lie(asked, clock))

    def refuse_too_large(self, *, now: dt.datetime) -> Reply:
        """The reply to a POST of which no more was read than is allowed."""
        return self._refuse(FaultCode.MESSAGE_FORMAT, "too_large", now)

    def describe(self) -> dict[str, object]:
        """What is here, for a person who opens the address in a browser. Everyone named is invented."""
        with self._counting:
            answered = dict(sorted(self._answered.items()))
        return {
            "what": "a simulated e-government gateway; every person here is invented",
            "sync_channel": "/bip-sync-wss/",
            "async_channel": "/bip-async/",
            "temporary_storage": {
                "service_id": temporary_storage.SERVICE_ID,
                "sender_id": CREDENTIALS.sender_id,
                "password": CREDENTIALS.password,
            },
            "participants": [one.as_dict() for one in self.dispatch.participants.known()],
            "systems": [
                {"slug": system.slug, "name": system.names["en"], "service_ids": list(system.service_ids)}
                for system in self.systems.values()
            ],
            "people": self.population.people,
            "seed": self.population.seed,
            "as_of": self.population.as_of.isoformat(),
            "ask_about": [
                {"who": shown.slug, "iin": shown.iin.value, "what": shown.what} for shown in self.population.showcase()
            ],
            "misbehave": {
                "post_to": "/sandbox/misbehave",
                "kinds": [kind.value for kind in Misbehaviour],
                "waiting": [order.as_dict() for order in self.orders.waiting()],
            },
            "authority": {
                "ocsp": "/ocsp",
                "tsp": "/tsp",
                "crl": [f"/crl/{name}" for name in self.authority.crls],
                "certificates": [f"/cert/{name}" for name in self.authority.certificates],
                "misbehave": {
                    "post_to": "/sandbox/authority",
                    "kinds": {service.value: list(kinds_of(service)) for service in AuthorityService},
                    "waiting": [order.as_dict() for order in self.authority.orders.waiting()],
                },
            },
            "answered": answered,
        }

    def _understand(self, body: etree._Element) -> _Asked:
        try:
            request = read_request(body)
            if request.info.service_id == temporary_storage.SERVICE_ID:
                return _Asked(request.info, read_storage_request(self._storage_payload(request)))
        except MalformedMessage as error:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        info = request.info
        return _Asked(info, self._registers.understand(info.service_id, info.message_id, request.data))

    def _storage_payload(self, request: SyncRequest) -> etree._Element:
        if request.data is None:
            raise MalformedMessage("there is no data", code="no_payload")
        name = temporary_storage.REQUEST_NAME
        return decode(request.data, PayloadCodec.ELEMENT, root_name=name, bounds=self.bounds)

    def _body(
        self, asked: RequestInfo, question: Question, kind: Misbehaviour | None, now: dt.datetime
    ) -> etree._Element:
        """The Body of a register's answer: the right one, unless what was ordered is another content."""
        info = _response_info(asked.message_id, asked.correlation_id, now)
        if kind is Misbehaviour.WRONG_CORRELATION:
            other_id, payload = self._registers.to_another_question(question, now)
            return self._response(_response_info(other_id, other_id, now), payload, question)
        if kind is Misbehaviour.OTHER_PERSON:
            payload = self._registers.about_another(question, now)[1]
        else:
            payload = self._registers.answer(question, now)
        return self._response(info, payload, question)

    def _lie(self, asked: _Asked, now: dt.datetime) -> etree._Element:
        """The Body of a plausible untruth about the person who was asked about."""
        info = _response_info(asked.info.message_id, asked.info.correlation_id, now)
        if isinstance(asked.question, StorageRequest):
            return build_response(info, None, PayloadCodec.ELEMENT)
        return self._response(info, self._registers.untruth(asked.question, now), asked.question)

    def _response(self, info: ResponseInfo, payload: etree._Element, question: Question) -> etree._Element:
        payload, sign_data = self._registers.signed(payload, question, self._replier.key)
        return build_response(info, payload, question.codec, sign_data=sign_data)

    def _refuse(self, code: FaultCode, why: str, now: dt.datetime) -> Reply:
        self._count(code.value)
        return self._replier.fault(build_fault, code.value, now, why=why)

    def _count(self, what: str) -> None:
        with self._counting:
            self._answered[what] += 1


def _entry(data: bytes, body: etree._Element | None, now: dt.datetime) -> Received:
    message_sha256, content_sha256 = digests(data, body)
    return Received(now, "sync", "SendMessage", message_sha256, content_sha256, len(data))


def _response_info(message_id: str, correlation_id: str, now: dt.datetime) -> ResponseInfo:
    return ResponseInfo(
        message_id=message_id,  # repeated, as most providers do (SHEP.md 1.4)
        response_date=now,
        status=SUCCESS,
        correlation_id=correlation_id,
        session_id=session_id(),
    )
