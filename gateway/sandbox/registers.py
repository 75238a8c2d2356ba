"""The systems behind the sandbox, whichever channel a question came by: what they understand, and what they say."""

from __future__ import annotations

import copy
import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lxml import etree

from gateway.errors import InvalidIdentifier, MalformedMessage, MappingError
from gateway.exchange.business import signed_payload
from gateway.model import Household, Iin
from gateway.sandbox.gate import RequestRefused
from gateway.sandbox.population import Population
from gateway.shep.faults import FaultCode
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.keys import SigningKey
from gateway.systems.definition import PayloadSignature, SystemDefinition
from gateway.xml import XmlBounds


@dataclass(frozen=True, slots=True)
class Question:
    """One understood request to a register."""

    system: SystemDefinition
    service_id: str
    message_id: str
    payload: etree._Element
    #: the person asked about; None when the payload names nobody by IIN
    subject: Iin | None

    @property
    def codec(self) -> PayloadCodec:
        return PayloadCodec(self.system.codec)

    @property
    def iin(self) -> str:
        return self.subject.value if self.subject else ""


class Registers:
    """Every built system with the invented people in it."""

    def __init__(self, population: Population, systems: Mapping[str, SystemDefinition], *, bounds: XmlBounds) -> None:
        self.population = population
        self.systems = systems
        self._bounds = bounds
        self._by_service = {service: system for system in systems.values() for service in system.service_ids}

    def system_of(self, service_id: str) -> SystemDefinition | None:
        return self._by_service.get(service_id)

    def understand(self, service_id: str, message_id: str, data: etree._Element | None) -> Question:
        """The question in `data`. Raises RequestRefused."""
        system = self.system_of(service_id)
        if system is None:
            raise RequestRefused(FaultCode.SERVICE_UNAVAILABLE, "unknown_service")
        try:
            if data is None:
                raise MalformedMessage("there is no data", code="no_payload")
            payload = decode(data, PayloadCodec(system.codec), root_name=system.root_request, bounds=self._bounds)
            system.contract("request", service_id).validate(payload)
        except (MalformedMessage, MappingError) as error:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        return Question(system, service_id, message_id, payload, _subject(payload))

    def answer(self, question: Question, now: dt.datetime, *, payload: etree._Element | None = None) -> etree._Element:
        """What the register says; `payload` is another question about the same person."""
        subject = question.subject
        household: Household | None = None if subject is None else self.population.find(subject)
        return _ask(question, question.payload if payload is None else payload, household, now)

    def signed(
        self, answer: etree._Element, question: Question, key: SigningKey
    ) -> tuple[etree._Element, Callable[[bytes], bytes] | None]:
        """The payload to send and what signs `data` around it: business-signed where the register's answers are."""
        if question.system.response_payload_signature is PayloadSignature.NONE:
            return answer, None
        return signed_payload(answer, question.codec, key)

    def to_another_question(self, question: Question, now: dt.datetime) -> tuple[str, etree._Element]:
        """The id of a question that nobody asked, and the answer to it."""
        other_id = str(uuid.uuid4())
        return other_id, self.answer(question, now, payload=_with_text(question.payload, question.message_id, other_id))

    def about_another(self, question: Question, now: dt.datetime) -> tuple[Iin | None, etree._Element]:
        """Somebody of another family, and what the register says about that person."""
        subject = question.subject
        other: Iin | None = None
        told: etree._Element | None = None
        if subject is None:
            return None, self.answer(question, now)
        for other in self.population.others(subject):
            asked = _with_text(question.payload, subject.value, other.value)
            told = _ask(question, asked, self.population.find(other), now)
            if question.system.mapper.read_response(told).facts:  # a register has something to say about few people
                break
        if told is None:  # the only person there is
            told = self.answer(question, now)
        return other, told

    def untruth(self, question: Question, now: dt.datetime) -> etree._Element:
        """A plausible lie: another family's records under the IIN that was asked about."""
        other, told = self.about_another(question, now)
        if question.subject is not None and other is not None:
            told = _with_text(told, other.value, question.subject.value)
        return told


def _ask(question: Question, payload: etree._Element, household: Household | None, now: dt.datetime) -> etree._Element:
    return question.system.simulator.answer_request(payload, household, now=now)


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
