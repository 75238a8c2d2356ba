"""One folder of a system, checked whole and read (docs/reference/systems.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, cast

from gateway.errors import SystemFolderError
from gateway.jobs import Job, JobError, make_job
from gateway.systems.code import load_code
from gateway.systems.contracts import Contract
from gateway.systems.definition import (
    Channel,
    Delivery,
    Direction,
    FactSource,
    PayloadSignature,
    RequestPayloadSignature,
    Retry,
    Service,
    Status,
    SystemDefinition,
    Timeouts,
)
from gateway.systems.folders import check_samples, require_file
from gateway.systems.tables import Table, read_toml

_SLUG: Final = re.compile(r"[a-z][a-z0-9_]*")
_QNAME: Final = re.compile(r"(\{[^{}\s]+\})?[A-Za-z_][A-Za-z0-9_.-]*")


def load_system(folder: Path) -> SystemDefinition:
    """One folder, checked whole. Raises SystemFolderError."""
    folder = folder.resolve()
    if not _SLUG.fullmatch(folder.name):
        raise SystemFolderError(f"{folder}: a system's folder is named in small letters, digits and underscores")
    for name in ("system.toml", "mapper.py", "simulate.py"):
        require_file(folder, name)
    check_samples(folder)
    values = Table(folder, read_toml(folder))
    definition = _definition(folder, values)
    values.finish()
    return definition


def _definition(folder: Path, values: Table) -> SystemDefinition:
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
    mapper, simulator = load_code(folder)
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


def _jobs(slug: str, schedule: Table) -> tuple[Job, ...]:
    table = schedule.table("jobs", {})
    jobs = []
    for name in table.keys():  # noqa: SIM118 (not a mapping)
        try:
            jobs.append(make_job(f"{slug}.{name}", table.raw(name), system=slug))
        except JobError as error:
            raise table.wrong(f"{name}.{error.key}", str(error)) from None
    return tuple(jobs)


def _services(folder: Path, slug: str, values: Table) -> tuple[Service, ...]:
    services = []
    for table in values.tables("service"):
        file = _contract_file(folder, table, "request_contract")
        services.append(Service(table.text("id"), table.flag("consent", False), Contract(slug, "request", file)))
        if len({service.consent for service in services}) < len(services):
            raise table.wrong("consent", "there is one service with and one without a consent token at most")
    return tuple(services)


def _qname(values: Table, key: str) -> str:
    name = values.text(key)
    if not _QNAME.fullmatch(name):
        raise values.wrong(key, 'is a qualified name such as "{http://example.org}Request"')
    return name


def _contract_file(folder: Path, values: Table, key: str) -> Path:
    name = values.text(key)
    if "/" in name or "\\" in name:
        raise values.wrong(key, "is the name of a file in contract/")
    return require_file(folder, f"contract/{name}")
