"""The simulated ЭҮШ: signed requests in, signed answers of invented people out. Pure but for the order book.

One request goes through the same gates as at the real gateway (SHEP.md 1, 5, 6): bounds, signature, certificate,
format, service, payload. Whatever fails there is answered with a signed fault and the channel's code (SHEP.md 1.8).
"""

from __future__ import annotations

import copy
import datetime as dt
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog
from lxml import etree

from gateway.errors import (
    GatewayError,
    InvalidIdentifier,
    MalformedMessage,
    MappingError,
    RevocationUnknown,
    SignatureRefused,
    TrustRefused,
)
from gateway.exchange.business import signed_payload
from gateway.model import Household, Iin
from gateway.sandbox import forgery
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_orders import AuthorityService, kinds_of
from gateway.sandbox.misbehaviour import Misbehaviour, Order, Orders
from gateway.sandbox.population import Population
from gateway.shep.envelope import build_envelope
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import ErrorInfo, ResponseInfo, SyncRequest
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.sync_channel import build_fault, build_response, read_request
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.signing.wss import sign_body, verify_envelope
from gateway.systems import PayloadSignature, SystemDefinition
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

XML: Final = "text/xml; charset=utf-8"
_HTML_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>500 Internal Server Error</title></head>"
    b"<body><h1>Internal Server Error</h1><hr>sandbox-proxy</body></html>"
)
_NOT_XML: Final = "Қызмет уақытша қолжетімсіз. Service temporarily unavailable.".encode()

_LOG: Final = structlog.get_logger()


class Signer(StrEnum):
    """Whose key signs a reply; the names of the throw-away PKI."""

    SHEP = "shep"
    STRANGER = "stranger"
    EXPIRED = "expired"
    REVOKED = "revoked"


_WRONG_SIGNERS: Final = {
    Misbehaviour.STRANGER_SIGNER: Signer.STRANGER,
    Misbehaviour.EXPIRED_SIGNER: Signer.EXPIRED,
    Misbehaviour.REVOKED_SIGNER: Signer.REVOKED,
}

#: everything else that is wrong with a signature is SCE006
_SIGNATURE_FAULTS: Final = {
    "unsigned": FaultCode.NOT_SIGNED,
    "certificate_unknown": FaultCode.TRANSPORT_CERTIFICATE,
}


class SandboxKeys:
    """The keys of `gateway pki init`, each loaded when it is first needed."""

    def __init__(self, pki_dir: Path) -> None:
        self._pki = ThrowawayPki(pki_dir)
        self._keys: dict[Signer, SigningKey] = {}

    @property
    def anchors(self) -> Path:
        return self._pki.anchors

    def get(self, signer: Signer) -> SigningKey:
        """Raises KeyMaterialError naming the file."""
        key = self._keys.get(signer)
        if key is None:
            key = self._keys[signer] = load_signing_key(
                self._pki.key(signer), None, certificate_path=self._pki.certificate(signer)
            )
        return key


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over the socket."""

    body: bytes
    http_status: int = 200
    content_type: str = XML
    #: wait this long before the first byte
    delay_s: float = 0.0
    #: send only so many bytes of the body announced, then end the connection
    cut_after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """One understood request."""

    system: SystemDefinition
    request: SyncRequest
    payload: etree._Element
    #: the person asked about; None when the payload names nobody by IIN
    subject: Iin | None


class SimulatedGateway:
    """Verifies, routes, asks the system's `simulate.py`, signs. `answer` may be called from several threads."""

    def __init__(
        self,
        *,
        population: Population,
        systems: Mapping[str, SystemDefinition],
        pki_dir: Path,
        orders: Orders | None = None,
        bounds: XmlBounds = DEFAULT_BOUNDS,
    ) -> None:
        """Raises KeyMaterialError when the PKI directory is not one of `gateway pki init`."""
        self.population = population
        self.systems = systems
        self.orders = orders or Orders()
        self.bounds = bounds
        self._keys = SandboxKeys(pki_dir)
        self._keys.get(Signer.SHEP)
        #: who certified everyone here
        self.authority = Authority(pki_dir)
        self._trust = TrustStore.load(self._keys.anchors)
        self._by_service = {service: system for system in systems.values() for service in system.service_ids}
        self._answered: Counter[str] = Counter()
        self._counting = threading.Lock()

    def answer(self, data: bytes, *, now: dt.datetime) -> Reply:
        """The reply to one POST. Never raises for what came from outside."""
        try:
            question = self._understand(data, now)
        except _RequestRefused as refused:
            _LOG.info("sandbox", action="refused", code=refused.code.value, why=refused.why)
            return self._refuse(refused.code, refused.why, now)
        order = self.orders.take(question.system.slug)
        _LOG.info(
            "sandbox",
            action="asked",
            system=question.system.slug,
            service_id=question.request.info.service_id,
            message_id=question.request.info.message_id,
            misbehaviour=order.kind.value if order else "",
        )
        self._count(question.system.slug)
        if order is None:
            return Reply(self._sign(self._body(question, now)))
        return self._misbehave(order, question, now)

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

    # ------------------------------------------------------------ gates, in the order of the real gateway

    def _understand(self, data: bytes, now: dt.datetime) -> _Question:
        try:
            verified = verify_envelope(data, certificates=self._trust, bounds=self.bounds)
        except MalformedMessage as error:
            raise _RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        except SignatureRefused as error:
            code = _SIGNATURE_FAULTS.get(error.code, FaultCode.TRANSPORT_SIGNATURE)
            raise _RequestRefused(code, error.code) from None
        try:
            validate(verified.certificate, self._trust, at=now, revocation=RevocationMode.REQUIRE)
        except (TrustRefused, RevocationUnknown) as error:
            raise _RequestRefused(FaultCode.TRANSPORT_CERTIFICATE, error.code) from None
        try:
            request = read_request(verified.body)
        except MalformedMessage as error:
            raise _RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        system = self._by_service.get(request.info.service_id)
        if system is None:
            raise _RequestRefused(FaultCode.SERVICE_UNAVAILABLE, "unknown_service")
        try:
            if request.data is None:
                raise MalformedMessage("there is no data", code="no_payload")
            codec = PayloadCodec(system.codec)
            payload = decode(request.data, codec, root_name=system.root_request, bounds=self.bounds)
            system.contract("request", request.info.service_id).validate(payload)
        except (MalformedMessage, MappingError) as error:
            raise _RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        return _Question(system, request, payload, _subject(payload))

    # ------------------------------------------------------------ answering as one should

    def _body(self, question: _Question, now: dt.datetime, *, payload: etree._Element | None = None) -> etree._Element:
        """The Body of a good answer; `payload` replaces what the register would say."""
        info = question.request.info
        if payload is None:
            payload = self._register_answer(question, question.payload, question.subject, now)
        response = _response_info(info.message_id, info.correlation_id, now)
        return self._response(response, payload, question)

    def _response(self, info: ResponseInfo, payload: etree._Element, question: _Question) -> etree._Element:
        """The Body, business-signed where the register's answers are."""
        codec, sign_data = _codec(question), None
        if question.system.response_payload_signature is not PayloadSignature.NONE:
            payload, sign_data = signed_payload(payload, codec, self._keys.get(Signer.SHEP))
        return build_response(info, payload, codec, sign_data=sign_data)

    def _register_answer(
        self, question: _Question, payload: etree._Element, subject: Iin | None, now: dt.datetime
    ) -> etree._Element:
        household: Household | None = None if subject is None else self.population.find(subject)
        return question.system.simulator.answer_request(payload, household, now=now)

    def _sign(self, body: etree._Element, signer: Signer = Signer.SHEP) -> bytes:
        # a certificate that the other side has never seen cannot be named by issuer and serial alone
        form = KeyInfoForm.ISSUER_SERIAL if signer is Signer.SHEP else KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE
        return sign_body(body, self._keys.get(signer), form=form)

    def _refuse(self, code: FaultCode, why: str, now: dt.datetime) -> Reply:
        self._count(code.value)
        return self._fault(code, now, why=why)

    def _fault(self, code: FaultCode, now: dt.datetime, *, why: str) -> Reply:
        return Reply(self._sign(build_fault(_error_info(code, now, why=why))), http_status=500)

    def _count(self, what: str) -> None:
        with self._counting:
            self._answered[what] += 1

    # ------------------------------------------------------------ answering as one should not

    def _misbehave(self, order: Order, question: _Question, now: dt.datetime) -> Reply:
        kind = order.kind
        if kind is Misbehaviour.FAULT:
            return self._fault(FaultCode.SERVICE_UNAVAILABLE, now, why="on order")
        if kind is Misbehaviour.UNSIGNED_FAULT:
            error = _error_info(FaultCode.SERVICE_UNAVAILABLE, now, why="on order")
            return Reply(build_envelope(build_fault(error)), http_status=500)
        if kind is Misbehaviour.NOT_XML:
            return Reply(_NOT_XML, content_type="text/plain; charset=utf-8")
        if kind is Misbehaviour.HTTP_500_HTML:
            return Reply(_HTML_PAGE, http_status=500, content_type="text/html")
        if kind is Misbehaviour.WRONG_CORRELATION:
            return Reply(self._sign(self._answer_to_another_question(question, now)))
        if kind is Misbehaviour.OTHER_PERSON:
            _, told = self._about_another(question, now)
            return Reply(self._sign(self._body(question, now, payload=told)))
        body = self._body(question, now)
        if kind is Misbehaviour.UNSIGNED_REPLY:
            return Reply(build_envelope(body))
        if kind in _WRONG_SIGNERS:
            return Reply(self._sign(body, _WRONG_SIGNERS[kind]))
        genuine = self._sign(body)
        if kind is Misbehaviour.WRAPPED_FORGERY:
            return Reply(forgery.wrap(genuine, self._lie(question, now)))
        if kind is Misbehaviour.WRONG_SIGNATURE:
            return Reply(forgery.swap_content(genuine, self._lie(question, now)))
        if kind is Misbehaviour.TOO_LARGE:
            return Reply(forgery.pad(genuine, order.reply_bytes))
        if kind is Misbehaviour.CUT_BODY:
            return Reply(genuine, cut_after_bytes=len(genuine) // 2)
        return Reply(genuine, delay_s=order.seconds)  # SLOW

    def _answer_to_another_question(self, question: _Question, now: dt.datetime) -> etree._Element:
        other_id = str(uuid.uuid4())
        payload = _with_text(question.payload, question.request.info.message_id, other_id)
        answer = self._register_answer(question, payload, question.subject, now)
        return self._response(_response_info(other_id, other_id, now), answer, question)

    def _about_another(self, question: _Question, now: dt.datetime) -> tuple[Iin | None, etree._Element]:
        """Somebody of another family, and what the register says about that person."""
        subject = question.subject
        other: Iin | None = None
        told: etree._Element | None = None
        if subject is None:
            return None, self._register_answer(question, question.payload, None, now)
        for other in self.population.others(subject):
            asked = _with_text(question.payload, subject.value, other.value)
            told = self._register_answer(question, asked, other, now)
            if question.system.mapper.read_response(told).facts:  # a register has something to say about few people
                break
        if told is None:  # the only person there is
            told = self._register_answer(question, question.payload, subject, now)
        return other, told

    def _lie(self, question: _Question, now: dt.datetime) -> etree._Element:
        """The Body of a plausible untruth: another family's records under the IIN that was asked about."""
        other, told = self._about_another(question, now)
        if question.subject is not None and other is not None:
            told = _with_text(told, other.value, question.subject.value)
        return self._body(question, now, payload=told)


class _RequestRefused(GatewayError):
    """The request gets a fault. `why` is the code of what failed, for the sandbox's own log."""

    def __init__(self, code: FaultCode, why: str) -> None:
        super().__init__(code.meaning)
        self.code: FaultCode = code
        self.why = why


def _codec(question: _Question) -> PayloadCodec:
    return PayloadCodec(question.system.codec)


def _response_info(message_id: str, correlation_id: str, now: dt.datetime) -> ResponseInfo:
    return ResponseInfo(
        message_id=message_id,  # repeated, as most providers do (SHEP.md 1.4)
        response_date=now,
        status=SUCCESS,
        correlation_id=correlation_id,
        session_id=_session_id(),
    )


def _error_info(code: FaultCode, now: dt.datetime, *, why: str) -> ErrorInfo:
    # the real gateway says less; whoever tests an integration wants to know which check it was
    return ErrorInfo(code=code.value, message=code.meaning, date=now, data=f"sandbox: {why}", session_id=_session_id())


def _session_id() -> str:
    return f"{{{uuid.uuid4()}}}"


def _leaves(payload: etree._Element) -> Iterator[etree._Element]:
    return (element for element in payload.iter(etree.Element) if len(element) == 0 and element.text)


def _subject(payload: etree._Element) -> Iin | None:
    """The first IIN in the payload. A BIN is never taken for one: its fifth digit makes no day of a month."""
    for leaf in _leaves(payload):
        try:
            return Iin((leaf.text or "").strip())
        except InvalidIdentifier:
            continue
    return None


def _with_text(payload: etree._Element, old: str, new: str) -> etree._Element:
    """A copy in which every leaf that says `old` says `new`."""
    changed = copy.deepcopy(payload)
    for leaf in _leaves(changed):
        if (leaf.text or "").strip() == old:
            leaf.text = new
    return changed
