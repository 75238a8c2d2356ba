"""Finds the folders of government systems, checks that each is whole, and loads it.

One folder = one system (docs/how-to/add-a-system.md). Nothing here knows any system by name: a folder of
the operator's own is loaded exactly as a shipped one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib
import re
import sys
import threading
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

from lxml import etree

from gateway.errors import ConfigurationError, MappingError, OperatorError, SystemFolderError
from gateway.jobs import Job, JobError, make_job
from gateway.model import Answer, Household, Query

SAMPLE_FILES: Final = ("query.toml", "request.xml", "response.xml", "facts.json")
_SLUG: Final = re.compile(r"[a-z][a-z0-9_]*")
_QNAME: Final = re.compile(r"(\{[^{}\s]+\})?[A-Za-z_][A-Za-z0-9_.-]*")
_SCHEMA_NAMESPACE: Final = "{http://www.w3.org/2001/XMLSchema}"


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


class Contract:
    """One XSD of a folder, compiled at first use; safe to share between threads.

    Every import and include inside it stays in the same folder: nothing is fetched.
    """

    __slots__ = ("_lock", "_schema", "file", "kind", "system")

    def __init__(self, system: str, kind: str, file: Path) -> None:
        self.system = system
        self.kind = kind
        self.file = file
        self._schema: etree.XMLSchema | None = None
        self._lock = threading.Lock()

    def compile(self) -> None:
        """Raises SystemFolderError when the XSD cannot be used."""
        with self._lock:
            self._compiled()

    def validate(self, element: etree._Element) -> None:
        """Raises MappingError naming the place and the rule, never the value (it may be an IIN)."""
        with self._lock:
            schema = self._compiled()
            if schema.validate(element):
                return
            first = cast(Any, schema.error_log)[0]
            place, rule = re.sub(r"[^/]*:", "", first.path or "/"), first.type_name
        raise MappingError(
            f"the {self.kind} does not fit {self.system}/contract/{self.file.name} at {place} ({rule})",
            code="contract",
        )

    def _compiled(self) -> etree.XMLSchema:
        if self._schema is None:
            self._schema = _compile(self.file)
        return self._schema


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


def find_systems(paths: Sequence[Path]) -> Mapping[str, SystemDefinition]:
    """Every system in these folders by slug; a folder of the same name in a later path replaces the earlier.

    Raises SystemFolderError naming the folder and the file or key that is missing or wrong.
    """
    folders: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise SystemFolderError(f"systems.paths names {path}, which is not a folder")
        for folder in sorted(path.iterdir()):
            if folder.is_dir() and not folder.name.startswith((".", "_")):
                folders[folder.name] = folder
    systems = {slug: load_system(folder) for slug, folder in sorted(folders.items())}
    _check_unique(systems)
    return systems


def find_system(systems: Mapping[str, SystemDefinition], name: str) -> SystemDefinition:
    """A system by slug or alias. Raises OperatorError (`unknown_system`) that lists the known ones."""
    for system in systems.values():
        if name == system.slug or name in system.aliases:
            return system
    known = ", ".join(systems) or "none"
    raise OperatorError(f"there is no system {name!r}; known: {known}", code="unknown_system")


def load_system(folder: Path) -> SystemDefinition:
    """One folder, checked whole. Raises SystemFolderError."""
    folder = folder.resolve()
    if not _SLUG.fullmatch(folder.name):
        raise SystemFolderError(f"{folder}: a system's folder is named in small letters, digits and underscores")
    for name in ("system.toml", "mapper.py", "simulate.py"):
        _require_file(folder, name)
    _check_samples(folder)
    values = _Table(folder, _read_toml(folder))
    definition = _definition(folder, values)
    values.finish()
    return definition


# ---------------------------------------------------------------- system.toml


class _Table:
    """A table of system.toml that hands out each key once; what is left at the end is unknown."""

    def __init__(self, folder: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self._folder = folder
        self._values = dict(values)
        self._prefix = prefix
        self._children: list[_Table] = []

    def wrong(self, key: str, why: str) -> SystemFolderError:
        return SystemFolderError(f"{self._folder.name}/system.toml, key {self._prefix}{key}: {why}")

    def _take(self, key: str, default: Any, wanted: type | tuple[type, ...], called: str) -> Any:
        value = self._values.pop(key, default)
        if value is None:
            raise self.wrong(key, f"is missing; write {called}")
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise self.wrong(key, f"write {called}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return cast(str, self._take(key, default, str, "a text"))

    def flag(self, key: str, default: bool | None = None) -> bool:
        return cast(bool, self._take(key, default, bool, "true or false"))

    def number(self, key: str, default: float | None = None, *, least: float = 0) -> float:
        value = float(self._take(key, default, (int, float), "a number"))
        if value < least:
            raise self.wrong(key, f"is at least {least:g}")
        return value

    def whole_number(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        value = cast(int, self._take(key, default, int, "a whole number"))
        if value < least:
            raise self.wrong(key, f"is at least {least}")
        return value

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self._take(key, None if default is None else list(default), list, "a list of texts")
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "write a list of texts")
        return tuple(value)

    def choice(self, key: str, of: type[StrEnum], default: str | None = None) -> Any:
        value = self.text(key, default)
        if value not in set(of):
            raise self.wrong(key, f"is one of {', '.join(of)}")
        return of(value)

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> _Table:
        child = _Table(
            self._folder, self._take(key, default, dict, f"a table [{self._prefix}{key}]"), f"{self._prefix}{key}."
        )
        self._children.append(child)
        return child

    def tables(self, key: str) -> tuple[_Table, ...]:
        values = self._take(key, None, list, f"at least one table [[{key}]]")
        if not values or not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, f"write at least one table [[{key}]]")
        found = tuple(_Table(self._folder, value, f"{key}[{place}].") for place, value in enumerate(values))
        self._children.extend(found)
        return found

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> Iterator[str]:
        yield from tuple(self._values)

    def raw(self, key: str) -> Mapping[str, Any]:
        """A table that is read elsewhere."""
        return cast(Mapping[str, Any], self._take(key, None, dict, f"a table [{self._prefix}{key}]"))

    def date(self, key: str) -> dt.date:
        value = self._take(key, None, dt.date, "a date, for example 2008-06-01")
        if isinstance(value, dt.datetime):
            raise self.wrong(key, "write a date without a time")
        return cast(dt.date, value)

    def finish(self) -> None:
        for key in self._values:
            raise self.wrong(key, "is not a key of system.toml; see docs/reference/systems.md")
        for child in self._children:
            child.finish()


def _definition(folder: Path, values: _Table) -> SystemDefinition:
    slug = values.text("slug")
    if slug != folder.name:
        raise values.wrong("slug", f"is the name of the folder, {folder.name!r}")
    facts = tuple(
        FactSource(table.text("kind"), table.texts("catalogue", ()), table.text("about"))
        for table in values.tables("fact")
    )
    kinds = {source.kind for source in facts}
    coverage_table = values.table("coverage", {})
    coverage = {kind: coverage_table.date(kind) for kind in coverage_table.keys()}  # noqa: SIM118 (not a mapping)
    for kind in coverage:
        if kind not in kinds:
            raise values.wrong(f"coverage.{kind}", "is not a kind of any [[fact]]")
    names_table = values.table("names")
    timeouts, retry, trust = values.table("timeouts"), values.table("retry"), values.table("evidence")
    schedule = values.table("schedule")
    limits = values.table("limits", {})
    message_id = values.text("message_id")
    if message_id not in ("ours", "gateway"):
        raise values.wrong("message_id", "is one of ours, gateway")
    mapper, simulator = _load_code(folder)
    return SystemDefinition(
        slug=slug,
        aliases=values.texts("aliases", ()),
        names={key: names_table.text(key) for key in ("code", "kk", "ru", "en")},
        status=values.choice("status", Status),
        channel=values.choice("channel", Channel),
        direction=values.choice("direction", Direction),
        services=_services(folder, slug, values),
        codec=values.text("codec"),
        root_request=_qname(values, "root_request"),
        root_response=_qname(values, "root_response"),
        response_contract=Contract(slug, "response", _contract_file(folder, values, "response_contract")),
        validate_response=values.flag("validate_response", False),
        success_codes=values.texts("success_codes", ("SCSS001",)),
        message_id=cast(Literal["ours", "gateway"], message_id),
        delivery=values.choice("delivery", Delivery, Delivery.PUSH),
        idempotent=values.flag("idempotent"),
        requester=values.text("requester", ""),
        response_payload_signature=values.choice("response_payload_signature", PayloadSignature),
        request_payload_signature=values.choice(
            "request_payload_signature", RequestPayloadSignature, RequestPayloadSignature.NONE
        ),
        timeouts=Timeouts(
            timeouts.number("connect_s", least=0.1),
            timeouts.number("reply_s", least=0.1),
            timeouts.number("answer_s", 86_400, least=1),
        ),
        retry=Retry(
            retry.whole_number("attempts", least=1),
            retry.number("first_delay_s"),
            retry.number("factor", 2.0, least=1),
            retry.number("longest_delay_s", 3_600.0),
        ),
        requests_per_s=limits.number("requests_per_s") if "requests_per_s" in limits else None,
        refresh_days=schedule.whole_number("refresh_days", least=1),
        jobs=_jobs(slug, schedule),
        facts=facts,
        coverage=coverage,
        proven=trust.texts("proven"),
        assumed=trust.texts("assumed"),
        folder=folder,
        mapper=mapper,
        simulator=simulator,
        business_key=getattr(mapper, "business_key", None),
    )


def _jobs(slug: str, schedule: _Table) -> tuple[Job, ...]:
    table = schedule.table("jobs", {})
    jobs = []
    for name in table.keys():  # noqa: SIM118 (not a mapping)
        try:
            jobs.append(make_job(f"{slug}.{name}", table.raw(name), system=slug))
        except JobError as error:
            raise table.wrong(f"{name}.{error.key}", str(error)) from None
    return tuple(jobs)


def _services(folder: Path, slug: str, values: _Table) -> tuple[Service, ...]:
    services = []
    for table in values.tables("service"):
        file = _contract_file(folder, table, "request_contract")
        services.append(Service(table.text("id"), table.flag("consent", False), Contract(slug, "request", file)))
        if len({service.consent for service in services}) < len(services):
            raise table.wrong("consent", "there is one service with and one without a consent token at most")
    return tuple(services)


def _qname(values: _Table, key: str) -> str:
    name = values.text(key)
    if not _QNAME.fullmatch(name):
        raise values.wrong(key, 'is a qualified name such as "{http://example.org}Request"')
    return name


def _contract_file(folder: Path, values: _Table, key: str) -> Path:
    name = values.text(key)
    if "/" in name or "\\" in name:
        raise values.wrong(key, "is the name of a file in contract/")
    return _require_file(folder, f"contract/{name}")


def _read_toml(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "system.toml").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemFolderError(f"{folder.name}/system.toml is not TOML: {error}") from None


# ---------------------------------------------------------------- is the folder whole


def _require_file(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise SystemFolderError(
            f"the folder of the system {folder.name} is not whole: {name} is missing from {folder}; "
            "docs/how-to/add-a-system.md lists what belongs there"
        )
    return file


def _check_samples(folder: Path) -> None:
    cases = sample_cases(folder)
    if not cases:
        _require_file(folder, "samples/<case>/query.toml")
    for case in cases:
        for name in SAMPLE_FILES:
            _require_file(folder, f"samples/{case.name}/{name}")


def sample_cases(folder: Path) -> tuple[Path, ...]:
    """The folders of recorded questions and answers, one per case."""
    samples = folder / "samples"
    if not samples.is_dir():
        return ()
    return tuple(sorted(case for case in samples.iterdir() if case.is_dir() and not case.name.startswith((".", "_"))))


def _check_unique(systems: Mapping[str, SystemDefinition]) -> None:
    owner_of_name: dict[str, str] = {}
    owner_of_service: dict[str, str] = {}
    for system in systems.values():
        for owners, names in ((owner_of_name, (system.slug, *system.aliases)), (owner_of_service, system.service_ids)):
            for name in names:
                other = owners.setdefault(name, system.slug)
                if other != system.slug or names.count(name) > 1:
                    raise SystemFolderError(
                        f"{system.slug}/system.toml: {name!r} is already taken by the system {other}"
                    )


# ---------------------------------------------------------------- code and schemas


def _load_code(folder: Path) -> tuple[Mapper, Simulator]:
    """mapper.py and simulate.py as modules of a package of their own.

    The package is named after the folder's place, so that two folders of one name never share a module,
    and it makes `from .mapper import …` work in simulate.py.
    """
    package = f"gateway_system_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}_{folder.name}"
    for name in (package, f"{package}.mapper", f"{package}.simulate"):
        sys.modules.pop(name, None)
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    module.__spec__ = ModuleSpec(package, None, is_package=True)
    sys.modules[package] = module
    importlib.invalidate_caches()
    mapper = _load_module(folder, package, "mapper", ("build_request", "read_response"))
    simulator = _load_module(folder, package, "simulate", ("answer_request",))
    return cast(Mapper, mapper), cast(Simulator, simulator)


def _load_module(folder: Path, package: str, name: str, functions: tuple[str, ...]) -> types.ModuleType:
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as error:  # whatever a folder's own code raises is that folder's fault
        raise SystemFolderError(f"{folder.name}/{name}.py cannot be loaded: {type(error).__name__}: {error}") from error
    for function in functions:
        if not callable(getattr(module, function, None)):
            raise SystemFolderError(f"{folder.name}/{name}.py has no function {function}")
    return module


def _compile(file: Path) -> etree.XMLSchema:
    _check_schema_files(file, file.parent, set())
    try:
        return etree.XMLSchema(_parse_schema(file))
    except etree.XMLSchemaParseError as error:
        raise SystemFolderError(
            f"{file.parent.parent.name}/contract/{file.name} is not a usable XSD: {error}"
        ) from None


def _parse_schema(file: Path) -> etree._ElementTree:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.parse(str(file), parser)
    except etree.XMLSyntaxError as error:
        raise SystemFolderError(f"{file.parent.parent.name}/contract/{file.name} is not XML: {error}") from None


def _check_schema_files(file: Path, home: Path, seen: set[Path]) -> None:
    """libxml2 would follow any schemaLocation, also over the network: only neighbours are let through."""
    if file in seen:
        return
    seen.add(file)
    folder = home.parent
    for kind in ("import", "include", "redefine"):
        for element in _parse_schema(file).iter(f"{_SCHEMA_NAMESPACE}{kind}"):
            location = element.get("schemaLocation", "")
            if not re.fullmatch(r"[A-Za-z0-9_.-]+\.xsd", location):
                raise SystemFolderError(
                    f"{folder.name}/contract/{file.name}: schemaLocation {location!r} is not a file of the same folder"
                )
            _check_schema_files(_require_file(folder, f"contract/{location}"), home, seen)
