"""The law in force as frozen values. Pure: built from parsed data by gateway.regulation.reading."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from gateway.errors import EditionNotInForce
from gateway.model import Citation

#: what the rules that are built ask for by name; each must be in the files, and no other
WINDOWS_IN_USE: Final = frozenset(
    {
        "state_retention_months",
        "state_nonpayment_cap_months",
        "payer_lookback_months",
        "payer_retention_months",
        "payer_continuous_months_for_long_retention",
        "payer_long_retention_months",
        "provisional_months",
        "military_submission_days",
        "military_change_days",
        "reconciliation_assign_months",
        "reconciliation_remove_months",
        "parents_assign_months",
        "parents_remove_months",
        "unemployed_confirmation_months",
        "crisis_months",
        "daily_feed_days",
        "child_age_years",
    }
)
READINGS_IN_USE: Final = frozenset(
    {
        "register_answers_assign",
        "state_retention_unit",
        "state_cessation_anchor",
        "late_removal",
        "state_stop_single_anchor",
        "p10_twelve_months",
        "p10_credited_month",
        "p15_5_meaning",
        "payer_cessation_anchor",
        "payer_retention_unit",
        "sixty_months",
        "sixty_months_excluded",
        "gap_resume",
        "state_and_exempt_months_count_for_twelve",
        "month_covered_by_state",
        "p11_retention_months",
        "failure_scope",
        "provisional_repeat_allowed",
        "provisional_end",
        "two_month_removal",
        "unemployed_confirmation",
        "crisis_removal",
        "treaty_list",
        "military_expiry",
        "military_retention_months",
    }
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
        return self is CategoryList.REPUBLICAN or self is CategoryList.LOCAL


class Profile(StrEnum):
    """How the Labour ministry compares a list with pension contributions and social deductions (REGISTRY.md 6.7)."""

    STANDARD = "standard_1_2"
    """p.26, 35, 37, 43, 45, 50."""
    PARENTS = "parents_1_2"
    """p.30, 33."""
    UNEMPLOYED = "unemployed_confirm_2"
    """p.56."""
    CRISIS = "crisis_3"
    """p.60."""


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
    ru: str
    """The same in Russian."""
    extraction: tuple[tuple[str, str], ...] = ()
    """Where the text that we hold has words out of place: (as quoted here, as it stands there)."""


class ActStanding(StrEnum):
    """Whether an act is law today, as far as our texts tell."""

    IN_FORCE = "in_force"
    """Its editions judge days."""
    ASSUMED = "assumed"
    """No text that we hold says that it is not."""
    ABSORBED = "absorbed"
    """An amending order whose words stand in another act."""
    REPEALED = "repealed"


@dataclass(frozen=True, slots=True)
class Act:
    """One legal act that we hold, whole or in part."""

    number: str
    title: str
    standing: ActStanding
    held: str
    """What of it we have, and how we know its standing."""
    clauses: Mapping[str, Clause]
    """Of an act that judges no day; the clauses of one in force stand in its editions."""


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
    readings: Mapping[str, str | bool | int] = field(default_factory=dict)
    """Places that this edition words plainly: what they say, over the readings for all editions."""
    categories: Mapping[str, Category] = field(default_factory=dict)
    """Categories that this edition has otherwise than categories.yaml, by slug."""

    def judges(self, day: dt.date) -> bool:
        return self.in_force_from <= day and (self.in_force_to is None or day < self.in_force_to)


@dataclass(frozen=True, slots=True)
class ProvisionalDocuments:
    """The documents of one item of p.21 or of p.57: one alternative of every group."""

    item: Citation
    groups: tuple[frozenset[str], ...]

    def complete(self, documents: Iterable[str]) -> bool:
        presented = frozenset(documents)
        return all(group & presented for group in self.groups)


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
    chains: tuple[tuple[str, ...], ...] = ()
    """R-21: the systems through which its data come, from the first source to the Fund."""
    systems: frozenset[str] = frozenset()
    """All systems of the chains."""
    reconciliation: Mapping[str, Profile | None] = field(default_factory=dict)
    """How its list is compared with МЗЖ and ӘА, by subgroup ("" where there are none). None, or none at all: the
    source's list decides alone."""
    documents: ProvisionalDocuments | None = None
    """What p.21 or p.57 wants for provisional entry; None: the Rules name none."""
    yields_to: str | None = None
    """Who is in that category is not in this one (A-44)."""
    excluded_residency: frozenset[Residency] = frozenset()
    """R-24: records of such persons are refused, and ignored if they are there."""

    @property
    def budget(self) -> str | None:
        """At whose cost (DT-4); None: the list gives no basis of its own (p.61)."""
        if self.list.state_paid:
            return self.list.value
        return None if self.list is CategoryList.TREATY else "exempt"


@dataclass(frozen=True, slots=True)
class Reading:
    """How an ambiguous place is read: REGISTRY.md section 9. `allowed` are the readings that are built."""

    name: str
    value: str | bool | int
    allowed: tuple[str | bool | int, ...]
    ambiguity: str
    decision: str
    """Number of the record that says why: docs/decisions."""
    cites: tuple[Citation, ...]
    why: str


class Frequency(StrEnum):
    """How often a feed must come (R-04; p.6, p.17, p.19, p.52, p.54, p.63)."""

    DAILY = "daily"
    MONTHLY = "monthly"
    EVERY_14_CALENDAR_DAYS = "every_14_calendar_days"


@dataclass(frozen=True, slots=True)
class Feed:
    """One stream of data into the registry and how often it must come."""

    name: str
    sender: str
    receiver: str
    frequency: Frequency
    cites: tuple[Citation, ...]
    monitored: bool = True
    """False: it stands inside the State Corporation, out of the Fund's sight."""


@dataclass(frozen=True, slots=True)
class Law:
    """All that rules may know of the law. Every unknown name is a KeyError: a mistake in a rule, not in data."""

    timezone: ZoneInfo
    editions: tuple[Edition, ...]
    categories: Mapping[str, Category]
    readings: Mapping[str, Reading]
    payment_systems: frozenset[str]
    """p.8, p.15: the systems through which the information on payments comes."""
    feeds: Mapping[str, Feed]
    forbidden_markings: frozenset[str]
    """p.5: what so marked messages carry is not exchanged."""
    acts: Mapping[str, Act] = field(default_factory=dict)
    """Every act that is loaded, by number, those that judge no day among them."""

    def edition_on(self, day: dt.date) -> Edition:
        """The edition that judges `day`. Raises EditionNotInForce (A-39)."""
        for edition in self.editions:
            if edition.judges(day):
                return edition
        first = min(edition.in_force_from for edition in self.editions)
        raise EditionNotInForce(
            f"no edition of the Rules that is loaded judges {day.isoformat()}; the first one is in force from "
            f"{first.isoformat()}. Ask about a later day, or add that edition "
            "(docs/how-to/add-an-edition-of-the-law.md)"
        )

    def clause(self, citation: Citation | str) -> Clause:
        """A clause by `"004 p.9 part 1"`; of several editions that have it, the latest."""
        name = str(citation)
        for edition in reversed(self.editions):
            if name in edition.clauses:
                return edition.clauses[name]
        return self.acts[name.partition(" ")[0]].clauses[name]

    def clause_on(self, citation: Citation | str, day: dt.date) -> Clause:
        """A clause as the edition that judges `day` words it; one of another act as it stands.

        Raises EditionNotInForce.
        """
        name = str(citation)
        edition = self.edition_on(day)
        return edition.clauses[name] if name in edition.clauses else self.clause(name)

    def reading_on(self, name: str, day: dt.date) -> str | bool | int:
        """How an ambiguous place is read on `day`: as its edition says, or as chosen. Raises EditionNotInForce."""
        return self.edition_on(day).readings.get(name, self.readings[name].value)

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
