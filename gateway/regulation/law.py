"""The law in force as frozen values. Pure: built from parsed data by gateway.regulation.reading."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from gateway.errors import EditionNotInForce
from gateway.model import Citation

#: what the rules that are built ask for by name; each must be in the files, and no other
WINDOWS_IN_USE: Final = frozenset({"state_retention_months", "child_age_years"})
READINGS_IN_USE: Final = frozenset(
    {"register_answers_assign", "state_retention_unit", "state_cessation_anchor", "late_removal"}
)


class Residency(StrEnum):
    """REGISTRY.md 3.1; 004 p.7, p.40, p.42."""

    CITIZEN = "citizen"
    KANDAS = "kandas"
    PERMANENT_FOREIGNER = "permanent_foreigner"
    PERMANENT_STATELESS = "permanent_stateless"
    TEMP_FOREIGNER = "temp_foreigner"
    TEMP_STATELESS = "temp_stateless"


class CategoryList(StrEnum):
    """Which list of the Rules a category stands in; it decides who pays (REGISTRY.md DT-4)."""

    REPUBLICAN = "republican"
    LOCAL = "local"
    TREATY = "treaty"
    EXEMPT = "exempt"
    PROVISIONAL_ONLY = "provisional_only"

    @property
    def state_paid(self) -> bool:
        """Chapters 2 and 3: the persons of 004 p.9."""
        return self in {CategoryList.REPUBLICAN, CategoryList.LOCAL}


class Footing(StrEnum):
    """How firmly a value rests on a text that we hold."""

    QUOTED = "quoted"
    """It stands in the cited clause."""
    ASSUMED = "assumed"
    """General knowledge; no text that we hold says it."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One place of an act with its wording."""

    citation: Citation
    kk: str
    """The wording, line breaks of the source undone."""
    en: str
    """A gloss for those who do not read Kazakh; it decides nothing."""
    extraction: tuple[tuple[str, str], ...] = ()
    """Where the text that we hold has words out of place: (as quoted here, as it stands there)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A number that rules use, with the place it comes from."""

    name: str
    value: int
    cite: Citation | None
    footing: Footing
    note: str = ""


@dataclass(frozen=True, slots=True)
class Edition:
    """One redaction of one act: judges the days in [`in_force_from`, `in_force_to`); None means open."""

    act: str
    title: str
    redaction: str
    in_force_from: dt.date
    in_force_to: dt.date | None
    clauses: Mapping[str, Clause]
    windows: Mapping[str, Window]
    sources: Mapping[str, Citation]
    """Which item of p.7 names a data-forming source, by its slug."""

    def judges(self, day: dt.date) -> bool:
        return self.in_force_from <= day and (self.in_force_to is None or day < self.in_force_to)


@dataclass(frozen=True, slots=True)
class Category:
    """One of the nineteen groups of persons that the Rules name."""

    code: str
    slug: str
    list: CategoryList
    priority: int | None
    """Its number in p.20 or p.55; the lowest is reported (R-18, R-25)."""
    kk: str
    cites: tuple[Citation, ...]
    """First the item that defines it, then the clauses on how its list is made."""
    yields_to: str | None = None
    """Who is in that category is not in this one (A-44)."""
    excluded_residency: frozenset[Residency] = frozenset()
    """R-24: records of such persons are refused, and ignored if they are there."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How an ambiguous place is read: REGISTRY.md section 9. `allowed` are the readings that are built."""

    name: str
    value: str | bool
    allowed: tuple[str | bool, ...]
    ambiguity: str
    cites: tuple[Citation, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Law:
    """All that rules may know of the law. Every unknown name is a KeyError: a mistake in a rule, not in data."""

    timezone: ZoneInfo
    editions: tuple[Edition, ...]
    categories: Mapping[str, Category]
    readings: Mapping[str, Reading]

    def edition_on(self, day: dt.date) -> Edition:
        """The edition that judges `day`. Raises EditionNotInForce (A-39)."""
        for edition in self.editions:
            if edition.judges(day):
                return edition
        first = min(edition.in_force_from for edition in self.editions)
        raise EditionNotInForce(
            f"no edition of the Rules that is loaded judges {day.isoformat()}; the first one is in force from "
            f"{first.isoformat()}. Ask about a later day, or add that edition to config/regulation"
        )

    def clause(self, citation: Citation | str) -> Clause:
        """A clause by `"004 p.9 part 1"`; of several editions that have it, the latest."""
        name = str(citation)
        for edition in reversed(self.editions):
            if name in edition.clauses:
                return edition.clauses[name]
        raise KeyError(name)

    def window(self, name: str, on: dt.date) -> Window:
        """A number by its name, from the edition that judges `on`. Raises EditionNotInForce."""
        return self.edition_on(on).windows[name]

    def category(self, slug: str) -> Category:
        return self.categories[slug]

    def reading(self, name: str) -> Reading:
        return self.readings[name]

    def local_day(self, moment: dt.datetime) -> dt.date:
        """The day of the Rules on which a moment falls: days are days of the law's time zone."""
        return moment.astimezone(self.timezone).date()
