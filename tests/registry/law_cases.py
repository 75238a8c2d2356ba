"""The cases of tests/law, and the law with one thing changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from gateway.registry.cases import CaseResult, run_case
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from gateway.regulation.services import Services, load_services

ROOT = Path(__file__).parents[2]
REGULATION = ROOT / "config" / "regulation"
LAW = load_law(REGULATION)
SERVICES = load_services(REGULATION)


def cases_of(path: Path) -> list[Mapping[str, Any]]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["scenarios"])


OWN_CASES = [case for path in sorted((ROOT / "tests" / "law").glob("*.yaml")) for case in cases_of(path)]


def result(case: Mapping[str, Any], law: Law = LAW, services: Services = SERVICES) -> CaseResult:
    return run_case(case, law=law, services=services)


def that_fail(law: Law = LAW, services: Services = SERVICES, kinds: Iterable[str] = ()) -> list[str]:
    """Ids of the project's own cases that no longer pass; `kinds`: only those."""
    wanted = set(kinds)
    return [
        case["id"]
        for case in OWN_CASES
        if (not wanted or case["kind"] in wanted) and not result(case, law, services).passed
    ]


def with_reading(name: str, value: str | bool | int, law: Law = LAW) -> Law:
    return replace(law, readings=MappingProxyType({**law.readings, name: replace(law.reading(name), value=value)}))


def with_window(name: str, value: int, law: Law = LAW) -> Law:
    editions = tuple(
        replace(
            edition,
            windows=MappingProxyType({**edition.windows, name: replace(edition.windows[name], value=value)}),
        )
        if name in edition.windows
        else edition
        for edition in law.editions
    )
    return replace(law, editions=editions)
