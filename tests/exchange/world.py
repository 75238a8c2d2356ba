"""A small world for tests of the exchange: a throw-away PKI, a clock that stands still, and the other side of the wire.

The other side verifies our signature and signs its answers for real; what a test needs it to do wrong, it is told.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from lxml import etree
from sqlalchemy import Engine

from gateway import resources
from gateway.exchange.ask import Asker
from gateway.exchange.business import signed_payload
from gateway.exchange.journal import JournalWriter
from gateway.exchange.question import AskPolicy
from gateway.exchange.transport import Reply, one_by_one
from gateway.exchange.verification import TrustPolicy
from gateway.model import Citizen, Disability, Household, Iin, iin_control_digit
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ErrorInfo, RequestInfo, ResponseInfo, Sender, StatusInfo
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SoftwareKey, load_signing_key
from gateway.signing.wss import sign_body, verify_envelope
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_systems
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.verdict import RevocationMode
from gateway.xml import parse, to_bytes

NOW = dt.datetime(2026, 6, 1, 7, 0, tzinfo=dt.UTC)
URL = "http://login:secret@gateway.example.invalid/bip-sync-wss/?token=secret"


def invented(eleven: str) -> Iin:
    return Iin(f"{eleven}{iin_control_digit(eleven)}")


PERSON = invented("85010130055")
OTHER = invented("90020240055")
HOUSEHOLD = Household(
    citizens=(
        Citizen(
            PERSON, "ТЕСТОВ", "ТЕСТ", "ТЕСТҰЛЫ", None, Disability("2", "жалпы ауру", dt.date(2026, 2, 1), None, "T-1")
        ),
        Citizen(OTHER, "СЫНАҚОВА", "ҮЛГІ", "ТЕСТҚЫЗЫ"),
    )
)


@cache
def systems() -> Mapping[str, SystemDefinition]:
    return find_systems([resources.mappers_path()])


@cache
def law() -> Law:
    return load_law(resources.path("config/regulation"))


class Keys:
    """The signers of the throw-away PKI by name, each read once."""

    def __init__(self, pki: ThrowawayPki) -> None:
        self.pki = pki
        self._read: dict[str, SoftwareKey] = {}

    def __getitem__(self, name: str) -> SoftwareKey:
        if name not in self._read:
            self._read[name] = load_signing_key(self.pki.key(name), certificate_path=self.pki.certificate(name))
        return self._read[name]


def trust(pki: ThrowawayPki, mode: RevocationMode = RevocationMode.REQUIRE) -> TrustPolicy:
    return TrustPolicy(TrustStore.load(pki.anchors), mode)


def message_ids(prefix: str = "ours") -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def body_of(data: bytes, key: SoftwareKey) -> etree._Element:
    """The signed Body of a message of ours, whose certificate travels with it."""
    verified = verify_envelope(data)
    assert verified.certificate == key.certificate
    return verified.body


Change = Callable[[bytes], bytes]


@dataclass
class Register:
    """The other side as a Transport. Everything it may be told to do differently is an attribute."""

    keys: Keys
    household: Household = HOUSEHOLD
    signer: str = "shep"
    form: KeyInfoForm = KeyInfoForm.ISSUER_SERIAL
    status: StatusInfo = SUCCESS
    #: of the responseInfo; None: what the request says
    correlation_id: str | None = None
    message_id: str | None = "theirs-1"
    response_date: dt.datetime = NOW
    without_data: bool = False
    #: the payload before it is put into the envelope
    change_payload: Callable[[etree._Element], etree._Element] = lambda payload: payload
    #: whose business signature the payload carries
    business_signer: str | None = None
    #: the Body before it is signed
    change_body: Change | None = None
    fault: ErrorInfo | None = None
    #: sends our own words back, under its own signature
    reflects: bool = False
    #: the signed bytes before they are sent
    change: Change = lambda data: data
    http_status: int = 200
    error: Exception | None = None
    requests: list[bytes] = field(default_factory=list)
    timeouts: list[tuple[float, float, int]] = field(default_factory=list)
    before_reply: Callable[[], None] = lambda: None
    sent: list[bytes] = field(default_factory=list)

    post_many = one_by_one

    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        self.requests.append(content)
        self.timeouts.append((connect_timeout_s, reply_timeout_s, max_reply_bytes))
        self.before_reply()
        if self.error is not None:
            raise self.error
        reply = self.change(sign_body(self._answer(content), self.keys[self.signer], form=self.form))
        self.sent.append(reply)
        return Reply(self.http_status, "text/xml", reply)

    def _answer(self, content: bytes) -> etree._Element:
        ours = body_of(content, self.keys["gateway"])
        if self.reflects:
            return ours
        request = sync_channel.read_request(ours)
        if self.fault is not None:
            return sync_channel.build_fault(self.fault)
        definition = next(one for one in systems().values() if request.info.service_id in one.service_ids)
        codec = PayloadCodec(definition.codec)
        asked = decode(request.data, codec, root_name=definition.root_request)
        payload = self.change_payload(definition.simulator.answer_request(asked, self.household, now=NOW))
        info = ResponseInfo(
            message_id=request.info.message_id if self.message_id is None else self.message_id,
            response_date=self.response_date,
            status=self.status,
            correlation_id=request.info.message_id if self.correlation_id is None else self.correlation_id,
        )
        sign_data = None
        if self.business_signer is not None:
            payload, sign_data = signed_payload(payload, codec, self.keys[self.business_signer])
        body = sync_channel.build_response(info, payload, codec, sign_data=sign_data)
        if self.change_body is not None:
            body = parse(self.change_body(to_bytes(body)))
        if self.without_data:
            data = body.find(".//responseData")
            data.clear()
        return body


def policy(**changes: object) -> AskPolicy:
    settings = {"url": URL, "sender": Sender("fund-test", "sender-password"), "requester": "FUND", **changes}
    return AskPolicy(**settings)


def asker(engine: Engine, keys: Keys, register: Register, **changes: object) -> Asker:
    settings = {
        "engine": engine,
        "journal": JournalWriter(),
        "transport": register,
        "systems": systems(),
        "key": lambda: keys["gateway"],
        "law": law(),
        "policy": policy(),
        "clock": lambda: NOW,
        "new_message_id": message_ids(),
        **changes,
    }
    if "trust" not in settings:
        settings["trust"] = trust(keys.pki)
    return Asker(**settings)


def request_info(service_id: str, message_id: str = "req-1", **changes: object) -> RequestInfo:
    settings = {
        "message_id": message_id,
        "service_id": service_id,
        "message_date": NOW,
        "sender": Sender("clinic-test", "sender-password"),
        **changes,
    }
    return RequestInfo(**settings)
