"""What every rule makes: runs of days on which the right rests on one basis. Pure values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.model import Citation
from gateway.registry.days import ONE_DAY
from gateway.regulation.law import Category, CategoryList, Edition, Law


class Basis(StrEnum):
    """What the right rests on, in the order in which it is reported when several apply (R-80, A-16)."""

    REPUBLICAN_CATEGORY = "republican_category"
    LOCAL_CATEGORY = "local_category"
    MILITARY_EXEMPT = "military_exempt"
    PAYER = "payer"
    PAYER_14_2_9 = "payer_14_2_9"
    TREATY_LIST = "treaty_list"
    """Only where the reading `treaty_list` makes the list a basis (A-29)."""
    PROVISIONAL = "provisional"
    RETENTION_STATE = "retention_state"
    RETENTION_PAYER = "retention_payer"
    FAILURE_HOLD = "failure_hold"
    NONE = "none"


#: the budget of a basis without a category, and of the exempt (DT-4)
BUDGET_PAYER: Final = "payer"
BUDGET_EXEMPT: Final = "exempt"

ACTIVE: Final = frozenset({Basis.REPUBLICAN_CATEGORY, Basis.LOCAL_CATEGORY})
"""A state-paid category that is held and being paid for."""

_ORDER: Final = {basis: number for number, basis in enumerate(Basis)}
_LIST_ORDER: Final = {
    one: number
    for number, one in enumerate((CategoryList.REPUBLICAN, CategoryList.LOCAL, CategoryList.PROVISIONAL_ONLY))
}

Days: TypeAlias = tuple[dt.date, dt.date | None]
"""First and last day, both inclusive; None is open."""


@dataclass(frozen=True, slots=True)
class Why:
    """What one decision rests on."""

    because: tuple[Citation, ...]
    """The clauses that made it, the deciding one first."""
    evidence: tuple[str, ...]
    """Ids of the messages or imports that brought the facts."""
    readings: tuple[str, ...] = ()
    """Readings of ambiguous places (config/regulation/readings.yaml) that it rests on."""


@dataclass(frozen=True, slots=True)
class Span:
    """An unbroken run of days with one basis."""

    first: dt.date
    last: dt.date | None
    """None is open."""
    basis: Basis
    category: Category | None
    budget: str | None
    own_end: dt.date | None
    """The end by its own rule, which a gate, a later receipt or a resumption may cut (DT-1, last column); None is open.
    It decides between several of one basis."""
    systems: frozenset[str]
    """The systems through which the data of this basis come (R-14)."""
    why: Callable[[dt.date], Why]
    """What it rests on, as seen from a day of it."""
    preserved: Span | None = None
    """What a hold preserves."""

    def covers(self, day: dt.date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)

    def rank(self) -> tuple[int, int, int, dt.date]:
        """R-80, R-18, R-25, A-16: by basis; republican before local; the lower number; of equal ones the earlier."""
        if self.preserved is not None:
            return self.preserved.rank()
        if self.category is None:
            return _ORDER[self.basis], 0, 0, self.first
        in_list = _LIST_ORDER.get(self.category.list, len(_LIST_ORDER))
        return _ORDER[self.basis], in_list, self.category.priority or 0, self.first


@dataclass(frozen=True, slots=True)
class DayLaw:
    """The law that judges one day: numbers of its edition, and the readings. Unknown names are KeyErrors."""

    law: Law
    edition: Edition

    @classmethod
    def on(cls, law: Law, day: dt.date) -> DayLaw:
        """Raises EditionNotInForce."""
        return cls(law, law.edition_on(day))

    def number(self, window: str) -> int:
        return self.edition.windows[window].value

    def reads(self, name: str) -> str | bool | int:
        own = self.edition.readings
        return own[name] if name in own else self.law.readings[name].value

    def category(self, slug: str) -> Category:
        own = self.edition.categories
        return own[slug] if slug in own else self.law.categories[slug]


def cut_before(day: dt.date, spans: Iterable[Span]) -> list[Span]:
    """The spans without `day` and all later days."""
    last_day = day - ONE_DAY
    return [
        span if span.last is not None and span.last <= last_day else replace(span, last=last_day)
        for span in spans
        if span.first <= last_day
    ]


def within(days: Sequence[Days], spans: Iterable[Span]) -> list[Span]:
    """The spans on these days only."""
    cut: list[Span] = []
    for span in spans:
        for first, last in days:
            lower = max(first, span.first)
            upper = span.last if last is None else last if span.last is None else min(last, span.last)
            if upper is None or lower <= upper:
                cut.append(replace(span, first=lower, last=upper))
    return cut


def end_of_run(spans: Iterable[Span], day: dt.date) -> dt.date | None:
    """Last day of the unbroken run around `day`, over all bases; None is open."""
    end = day
    for first, last in sorted((span.first, span.last or dt.date.max) for span in spans):
        if first > end and first - ONE_DAY > end:
            break
        if last == dt.date.max:
            return None
        end = max(end, last)
    return end


def unique(*cites: Citation) -> tuple[Citation, ...]:
    return tuple(dict.fromkeys(cites))


def ids(evidence: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions and without the empty ones."""
    return tuple(dict.fromkeys(one for one in evidence if one))
