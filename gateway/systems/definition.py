"""Everything particular to one government system, as frozen values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from lxml import etree

from gateway.errors import ConfigurationError
from gateway.jobs import Job
from gateway.model import Answer, Household, Query
from gateway.systems.contracts import Contract


class Status(StrEnum):
    #: the wire format is public
    DOCUMENTED = "documented"
    #: our own draft, to be replaced by the service passport's
    DRAFT = "draft"


class Channel(StrEnum):
    SYNC = "sync"
    ASYNC = "async"


class Direction(StrEnum):
    #: we ask the system
    ASK = "ask"
    #: the system calls us
    SERVE = "serve"


class Delivery(StrEnum):
    """How messages of the asynchronous channel reach us."""

    #: the gateway posts them to our /shep/async
    PUSH = "push"
    #: we fetch them with getMessages
    POLL = "poll"


class PayloadSignature(StrEnum):
    """Whether the answer's payload carries a business signature of its own (SHEP.md 5.2)."""

    #: none is expected, and none is looked for
    NONE = "none"
    #: most answers carry one: it is checked where it is, and a broken one refuses the answer
    PRESENT = "present"
    #: an answer without one is refused
    REQUIRED = "required"


class RequestPayloadSignature(StrEnum):
    """Whether we sign the payload of our requests (SHEP.md 5.2)."""

    NONE = "none"
    ENVELOPED = "enveloped"


class Mapper(Protocol):
    """What mapper.py gives. Both functions are pure."""

    def build_request(self, query: Query) -> etree._Element: ...

    def read_response(self, response: etree._Element) -> Answer: ...


class Simulator(Protocol):
    """What simulate.py gives: the sandbox's answer. Pure."""

    def answer_request(
        self, request: etree._Element, household: Household | None, *, now: dt.datetime
    ) -> etree._Element: ...


@dataclass(frozen=True, slots=True)
class Service:
    """One entry of the gateway's service register through which the system is asked."""

    service_id: str
    #: the request carries the citizen's consent token (SHEP.md 6.2)
    consent: bool
    #: the XSD of this service's request
    request: Contract


@dataclass(frozen=True, slots=True)
class FactSource:
    """A kind of fact the system gives, and the catalogue's facts that it can answer."""

    kind: str
    catalogue: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float
    reply_s: float
    #: asynchronous channel: how long after the acknowledgement an answer is waited for
    answer_s: float = 86_400


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a message that brought no usable answer is sent, and how long after each other."""

    #: posts of one message, the first among them
    attempts: int
    first_delay_s: float
    factor: float
    longest_delay_s: float = 3_600.0


@dataclass(frozen=True, slots=True)
class SystemDefinition:
    """Everything particular to one government system, as its folder says it."""

    slug: str
    #: other names under which acts and rules know the same system
    aliases: tuple[str, ...]
    #: language ("kk", "ru", "en") or "code" to name
    names: Mapping[str, str]
    status: Status
    channel: Channel
    direction: Direction
    services: tuple[Service, ...]
    #: name of a gateway.shep.payload.PayloadCodec
    codec: str
    #: QName of the payload's root: "{namespace}Name"
    root_request: str
    root_response: str
    response_contract: Contract
    #: enforce the response's XSD at run time; real answers carry elements that no published XSD has
    validate_response: bool
    #: responseInfo/status codes that mean "processed" (SHEP.md 1.7)
    success_codes: tuple[str, ...]
    message_id: Literal["ours", "gateway"]
    #: what counts for the asynchronous channel only; the settings may say otherwise
    delivery: Delivery
    #: asking twice with the same message id has no second effect
    idempotent: bool
    #: participant code agreed with this register; "" means the one of the configuration
    requester: str
    response_payload_signature: PayloadSignature
    request_payload_signature: RequestPayloadSignature
    timeouts: Timeouts
    retry: Retry
    #: of the whole fleet, to each service; None: as the settings say, 0: unbounded
    requests_per_s: float | None
    #: facts older than this are due to be asked for again
    refresh_days: int
    #: what is run for it by the clock, as docs/reference/schedules.md says
    jobs: tuple[Job, ...]
    facts: tuple[FactSource, ...]
    #: fact kind → the day after which the register holds every registered act of that kind
    coverage: Mapping[str, dt.date]
    proven: tuple[str, ...]
    assumed: tuple[str, ...]
    folder: Path
    mapper: Mapper
    simulator: Simulator
    #: business_key(payload) of mapper.py, where the folder has one (docs/decisions/0023)
    business_key: Callable[[etree._Element], str] | None = None

    @property
    def service_ids(self) -> tuple[str, ...]:
        return tuple(service.service_id for service in self.services)

    @property
    def fact_kinds(self) -> tuple[str, ...]:
        return tuple(source.kind for source in self.facts)

    def service_for(self, query: Query) -> Service:
        """The service for this question: with a consent the one that carries it. Raises ConfigurationError."""
        wanted = query.consent is not None
        for service in self.services:
            if service.consent == wanted:
                return service
        raise ConfigurationError(
            f"{self.slug} has no service {'with' if wanted else 'without'} a consent token",
            file=f"{self.slug}/system.toml",
            key="service",
        )

    def contract(self, kind: Literal["request", "response"], service_id: str = "") -> Contract:
        """The XSD of one direction; of the first service where no service is named. Raises KeyError."""
        if kind == "response":
            return self.response_contract
        if not service_id:
            return self.services[0].request
        return {service.service_id: service.request for service in self.services}[service_id]

    def kinds_for(self, fact: str) -> tuple[str, ...]:
        """The fact kinds that answer `fact`, a kind itself or a fact of the catalogue; empty when not given here."""
        if fact in self.fact_kinds:
            return (fact,)
        return tuple(source.kind for source in self.facts if fact in source.catalogue)

    def silence_is_evidence(self, kind: str, earliest_registration: dt.date) -> bool:
        """Whether "no record" means that there is none, for an act that cannot have been registered before that day.

        The register is complete for acts registered *after* the day of [coverage]; an act registered on
        that very day may be missing (catalogue, threshold operator "after").
        """
        since = self.coverage.get(kind)
        return since is None or earliest_registration > since
