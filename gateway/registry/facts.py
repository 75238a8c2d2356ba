"""Facts about one person with both times: what the rules look at, and all that they look at. Pure values.

Every fact says when it holds and since when we know it (`received_at`, a day of the law's time zone), and names its
evidence: the id of the signed message or of the import that brought it. What arrived after `known_at` is not there;
an unseen removal, resumption or fix is as if it did not exist (R-81; REGISTRY.md 3.4, 3.5).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.regulation.law import CategoryList, Residency

Month: TypeAlias = int
"""A calendar month as one number, `year * 12 + month - 1`, so that months are counted by adding and subtracting
(gateway.registry.days.month_of, first_day, last_day)."""

#: the one reason of a removal that the rules know (p.18(6); A-38): it ends every basis, from its own day
REASON_DEATH: Final = "death"


@dataclass(frozen=True, slots=True)
class Removal:
    """Fields 4-6 of 004 p.18: all of them or none."""

    date: dt.date
    """First day without the category."""
    source: str
    reason: str
    received_at: dt.date
    """Day on which the information arrived; it may precede `date`."""
    evidence: str


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """One assignment of one category: 004 p.18 and p.53 (field 1, the IIN, is that of the person asked about)."""

    category: str
    assigned_date: dt.date
    assigned_source: str
    received_at: dt.date
    """Day on which the record arrived."""
    evidence: str
    removal: Removal | None = None
    readings: tuple[str, ...] = ()
    """Readings without which the record would not be there."""


@dataclass(frozen=True, slots=True)
class ResidencyTold:
    """Who the person is from a day on, as a register or a list tells it: 004 p.7, p.40, p.42, p.61."""

    residency: Residency
    first_day: dt.date | None
    """None: always before."""
    source: str
    received_at: dt.date
    evidence: str
    assumed: bool = False
    """It was told in part only: that the person is no citizen, but not how long the stay is."""


@dataclass(frozen=True, slots=True)
class Death:
    """Ends every basis from its own day, even when it arrives late (A-38)."""

    died_on: dt.date
    source: str
    received_at: dt.date
    evidence: str


class PayerType(StrEnum):
    """Which payers of Law 14(2) paid; p.15 has no such field, it follows from the purpose code (A-40)."""

    GENERAL = "general"
    """Any but 1) the state and 9): 004 p.10."""
    ART14_2_9 = "art14_2_9"
    """004 p.11."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment for one month: what the rules need of the nine fields of 004 p.15."""

    period: Month
    """p.15(5), the month paid for (A-03)."""
    received_date: dt.date
    """p.15(6), the day on which the Fund received the money."""
    received_at: dt.date
    """Day on which the record of it arrived."""
    evidence: str
    payer_type: PayerType = PayerType.GENERAL


@dataclass(frozen=True, slots=True)
class ProvisionalEntry:
    """An application for provisional entry: 004 p.21, p.57."""

    category: str
    applied: dt.date
    received_at: dt.date
    evidence: str
    documents: frozenset[str] | None = None
    """Codes of the documents presented; None: the one who took the application in found them complete."""


class SubmissionKind(StrEnum):
    FULL = "full"
    """All staff of the body, once in fourteen days: 004 p.63."""
    CHANGE = "change"
    """004 p.65."""


class ListedAs(StrEnum):
    """How a submission speaks of the person (DT-5)."""

    LISTED = "listed"
    ABSENT = "absent"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class MilitaryEvent:
    """What one submission of one body says of the person: 004 p.62-65. Of one body's events of one day the last counts.

    It takes effect on the day it arrives (A-31), so the two times are one.
    """

    body: str
    date: dt.date
    kind: SubmissionKind
    person: ListedAs
    evidence: str
    reserve_combat_training: bool = False

    @property
    def serving(self) -> bool:
        """Whether the person is exempt from this event on: reservists called to combat training are not (p.62-65)."""
        listed = self.person is ListedAs.LISTED or self.person is ListedAs.ADDED
        return listed and not self.reserve_combat_training


@dataclass(frozen=True, slots=True)
class TreatyInterval:
    """Days on the list of 004 p.61: [`first_day`, `first_day_off`)."""

    first_day: dt.date
    received_at: dt.date
    evidence: str
    first_day_off: dt.date | None = None
    off_received_at: dt.date | None = None
    """Arrival of the end; there exactly when `first_day_off` is."""
    off_evidence: str = ""


@dataclass(frozen=True, slots=True)
class StateStop:
    """Days on which the state does not pay for its persons, one budget: 004 p.9 part 2. [`start`, `resumed`)."""

    budget: CategoryList
    """REPUBLICAN or LOCAL."""
    start: dt.date
    received_at: dt.date
    evidence: str
    resumed: dt.date | None = None
    resumed_received_at: dt.date | None = None
    """Arrival of the resumption; there exactly when `resumed` is."""
    resumed_evidence: str = ""


@dataclass(frozen=True, slots=True)
class TechnicalFailure:
    """A declared failure of one system: 004 p.13. [`start`, `fixed`). A fact about the country, not about a person."""

    system: str
    start: dt.date
    received_at: dt.date
    evidence: str
    fixed: dt.date | None = None
    fix_received_at: dt.date | None = None
    """Arrival of the fix; there exactly when `fixed` is."""
    fix_evidence: str = ""


@dataclass(frozen=True, slots=True)
class ConsumerFacts:
    """All facts about one person, visible or not yet (REGISTRY.md 3.1-3.4). Order matters only inside `military`."""

    records: tuple[CategoryRecord, ...] = ()
    deaths: tuple[Death, ...] = ()
    residencies: tuple[ResidencyTold, ...] = ()
    """Each holds from its day until the day of the next; before the first of them, and where there is none, the person
    is taken for a citizen (gateway.registry.residency)."""
    payments: tuple[Payment, ...] = ()
    provisional: tuple[ProvisionalEntry, ...] = ()
    military: tuple[MilitaryEvent, ...] = ()
    treaty: tuple[TreatyInterval, ...] = ()
    state_stops: tuple[StateStop, ...] = ()
    """The budget's stops; the same for everybody, and read with the person so that a standing is a pure function."""
