"""004 p.26-60: the Labour ministry compares its lists with pension contributions (МЗЖ), social deductions (ӘА). Pure.

R-22, R-23, R-26, R-28. The ministry runs it; we verify and simulate it. Months are calendar months before the month of
the reconciliation date, by the month paid for (A-23).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.model import Citation
from gateway.registry.days import month_of
from gateway.registry.facts import Month
from gateway.registry.spans import DayLaw
from gateway.regulation.law import Category, CategoryList, Profile

REGISTERED_UNEMPLOYED: Final = "registered_unemployed"


class Action(StrEnum):
    ASSIGN = "assign"
    """Outside, comes in."""
    NONE = "none"
    """Outside, stays out."""
    KEEP = "keep"
    """Inside, stays."""
    REMOVE = "remove"
    """Inside, goes out."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    action: Action
    because: tuple[Citation, ...]
    readings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Verdict:
    comes_in: bool
    goes_out: bool
    readings: tuple[str, ...]


def reconcile(
    category: Category,
    *,
    date: dt.date,
    inside: bool,
    source_status: bool,
    paid_months: Collection[Month],
    other_status: Collection[str] = (),
    subgroup: str = "",
    law: DayLaw,
) -> Reconciled:
    """What the comparison does with one person of one list. `source_status`: the source names the person."""
    if not source_status:
        return Reconciled(Action.REMOVE if inside else Action.NONE, category.cites)
    profile = category.reconciliation.get(subgroup)
    if profile is None:
        return Reconciled(Action.KEEP if inside else Action.ASSIGN, category.cites)
    verdict = _by_profile(profile, month_of(date), frozenset(paid_months), other_status, law)
    if inside:
        action = Action.REMOVE if verdict.goes_out else Action.KEEP
    else:
        action = Action.ASSIGN if verdict.comes_in else Action.NONE
    return Reconciled(action, (CLAUSE[profile], *category.cites), verdict.readings)


#: the clause that sets the windows; those of p.35, 37, 43, 45, 50 are p.26 again, that of p.33 is p.30
CLAUSE: Final = {
    Profile.STANDARD: Citation.parse("004 p.26"),
    Profile.PARENTS: Citation.parse("004 p.30"),
    Profile.UNEMPLOYED: Citation.parse("004 p.56"),
    Profile.CRISIS: Citation.parse("004 p.60"),
}


def _by_profile(
    profile: Profile, month: Month, paid: frozenset[Month], other_status: Collection[str], law: DayLaw
) -> _Verdict:
    if profile is Profile.UNEMPLOYED:
        window = _before(month, law.number("unemployed_confirmation_months"))
        strict = law.reads("unemployed_confirmation") == "zero_in_both_months"
        defeated = bool(window & paid) if strict else window <= paid
        return _Verdict(not defeated, defeated, ("unemployed_confirmation",))
    if profile is Profile.CRISIS:
        window = _before(month, law.number("crisis_months"))
        status = any(_counts(law.category(slug)) for slug in other_status)
        strict = law.reads("crisis_removal") == "any_in_three_months"
        gone = bool(window & paid) if strict else window <= paid
        return _Verdict(not (window & paid or status), gone or status, ("crisis_removal",))
    name = "reconciliation" if profile is Profile.STANDARD else "parents"
    comes_in = not _before(month, law.number(f"{name}_assign_months")) & paid
    return _Verdict(comes_in, removed_by_payments(month, paid, f"{name}_remove_months", law), ("two_month_removal",))


def removed_by_payments(month: Month, paid: Collection[Month], window: str, law: DayLaw) -> bool:
    """A-24: payments in both of the two months before `month`."""
    months = _before(month, law.number(window))
    if law.reads("two_month_removal") == "any_month":
        return bool(months.intersection(paid))
    return months.issubset(paid)


def _counts(category: Category) -> bool:
    """p.60: a status of Law 26(1) or 26-1(1)(1)."""
    return category.list is CategoryList.REPUBLICAN or category.slug == REGISTERED_UNEMPLOYED


def _before(month: Month, count: int) -> frozenset[Month]:
    return frozenset(range(month - count, month))
