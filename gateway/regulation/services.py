"""State services around the registry (config/regulation/services.yaml): clock, refusal, steps, map of an amendment.

They stand beside the Rules: nothing here decides a standing. `load_services` reads the file; the rest is pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gateway.regulation.nodes import Node, read_yaml
from gateway.regulation.reading import SERVICES_FILE, law_files, own_places

_ONE_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ParticipationService:
    """The numbers of 001: the Fund tells a person whether he takes part and what was paid for him (R-40 to R-42)."""

    service_minutes: int
    working_weekdays: frozenset[int]
    """1 is Monday."""
    opens: dt.time
    closes: dt.time
    fee: int
    certified_by: frozenset[str]
    needs_registered_phone: frozenset[str]
    refusal_grounds: tuple[str, ...]
    """In the order of their numbers, the first is 1."""

    def decide(
        self,
        submitted_at: dt.datetime,
        *,
        certified_by: str,
        phone_registered: bool,
        consent: bool,
        findings: Collection[str],
        holidays: Collection[dt.date],
    ) -> ServiceDecision:
        """What becomes of a request. `submitted_at` is local time. A finding that row 9 does not name is a KeyError."""
        if certified_by not in self.certified_by or (
            certified_by in self.needs_registered_phone and not phone_registered
        ):
            return ServiceDecision("not_accepted", (), None, self.fee)
        numbers = {code: number for number, code in enumerate(self.refusal_grounds, start=1)}
        codes = {*findings} if consent else {*findings, "no_consent"}
        grounds = tuple(sorted(numbers[code] for code in codes))
        outcome = "refuse" if grounds else "answer"
        return ServiceDecision(outcome, grounds, self.due_at(submitted_at, holidays), self.fee)

    def due_at(self, submitted_at: dt.datetime, holidays: Collection[dt.date]) -> dt.datetime:
        """R-40: fifteen minutes of the clock, which starts in working time (A-35). Lunch does not stop it."""
        day = submitted_at.date()
        if self._works_on(day, holidays) and submitted_at.time() < self.closes:
            start = max(submitted_at, submitted_at.replace(hour=self.opens.hour, minute=self.opens.minute, second=0))
        else:
            day += _ONE_DAY
            while not self._works_on(day, holidays):
                day += _ONE_DAY
            start = dt.datetime.combine(day, self.opens, submitted_at.tzinfo)
        return start + dt.timedelta(minutes=self.service_minutes)

    def _works_on(self, day: dt.date, holidays: Collection[dt.date]) -> bool:
        return day.isoweekday() in self.working_weekdays and day not in holidays


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    outcome: str
    """answer, refuse or not_accepted; the last one starts no clock (A-36)."""
    grounds: tuple[int, ...]
    due_at: dt.datetime | None
    fee: int


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    time: str
    """As the act has it: working hours `h` or working days `wd`."""

    @property
    def hours(self) -> int:
        return 0 if self.time.endswith("wd") else int(self.time.removesuffix("h"))

    @property
    def working_days(self) -> int:
        return int(self.time.removesuffix("wd")) if self.time.endswith("wd") else 0


@dataclass(frozen=True, slots=True)
class EducationService:
    """000: the repealed procedure of the education ministry. History, never a live service (R-50 to R-52)."""

    in_force: bool
    branches: Mapping[str, tuple[Step, ...]]

    def steps(self, branch: str, *, package_complete: bool) -> tuple[Step, ...]:
        """A refused package stops after the first step, with a receipt. An unknown branch is a KeyError."""
        steps = self.branches[branch]
        return steps if package_complete else steps[:1]


@dataclass(frozen=True, slots=True)
class Amendment:
    """Where the paragraphs of an amending order stand in the redaction in force (R-60)."""

    absorbed: Mapping[str, str]
    elsewhere: frozenset[str]
    """Paragraphs that are about another act."""

    def in_004(self, paragraph: str) -> str | None:
        """The same text in 004; None: it is not part of it. An unknown paragraph is a KeyError."""
        if paragraph in self.elsewhere:
            return None
        return self.absorbed[paragraph]


@dataclass(frozen=True, slots=True)
class Services:
    participation: ParticipationService
    education: EducationService
    amendments: Mapping[str, Amendment]


def load_services(folder: Path, own: Path | None = None) -> Services:
    """Read services.yaml, as `gateway.regulation.reading.law_files` finds it. Raises ConfigurationError."""
    files = law_files(folder, own)
    file = files.get(SERVICES_FILE, folder / SERVICES_FILE)
    node = Node(own_places(files, folder).get(SERVICES_FILE, SERVICES_FILE), "", read_yaml(file))
    fields = node.fields(("participation", "education", "amendments"))
    return Services(
        _participation(fields["participation"]),
        _education(fields["education"]),
        MappingProxyType({order: _amendment(item) for order, item in fields["amendments"].children().items()}),
    )


def _participation(node: Node) -> ParticipationService:
    names = tuple(ParticipationService.__dataclass_fields__)
    value = {name: _cited(item) for name, item in node.fields(names).items()}
    return ParticipationService(
        service_minutes=value["service_minutes"].integer(),
        working_weekdays=frozenset(item.integer() for item in value["working_weekdays"].not_empty()),
        opens=value["opens"].parsed(dt.time.fromisoformat),
        closes=value["closes"].parsed(dt.time.fromisoformat),
        fee=value["fee"].integer(),
        certified_by=frozenset(item.text() for item in value["certified_by"].not_empty()),
        needs_registered_phone=frozenset(item.text() for item in value["needs_registered_phone"].items()),
        refusal_grounds=tuple(item.text() for item in value["refusal_grounds"].not_empty()),
    )


def _cited(node: Node) -> Node:
    fields = node.fields(("value", "cite"))
    fields["cite"].citation()
    return fields["value"]


def _education(node: Node) -> EducationService:
    fields = node.fields(("in_force", "repealed_by", "branches"))
    branches: dict[str, tuple[Step, ...]] = {}
    for name, item in fields["branches"].children().items():
        described = item.fields(("cites", "steps"))
        for cite in described["cites"].not_empty():
            cite.citation()
        steps = described["steps"].not_empty()
        branches[name] = tuple(Step(*(word.text() for word in step.items())) for step in steps)
    return EducationService(fields["in_force"].flag(), MappingProxyType(branches))


def _amendment(node: Node) -> Amendment:
    fields = node.fields(("absorbed", "elsewhere"))
    absorbed = {paragraph: item.text() for paragraph, item in fields["absorbed"].children().items()}
    return Amendment(MappingProxyType(absorbed), frozenset(item.text() for item in fields["elsewhere"].items()))
