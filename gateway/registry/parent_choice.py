"""004 p.30, p.33: which parent holds the category of the carer of a child. Pure. R-23, DT-3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.model import Citation
from gateway.registry.days import month_of
from gateway.registry.facts import Month
from gateway.registry.reconciliation import removed_by_payments
from gateway.registry.spans import DayLaw

P30: Final = Citation.parse("004 p.30")
P33: Final = Citation.parse("004 p.33")
LEAVE: Final = "maternity_childcare_leave"


class Holder(StrEnum):
    MOTHER = "mother"
    FATHER = "father"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ParentChoice:
    holder: Holder
    because: tuple[Citation, ...]
    readings: tuple[str, ...] = ("two_month_removal",)


def choose_parent(
    category: str,
    *,
    date: dt.date,
    incumbent: Holder,
    mother_paid: Collection[Month] | None,
    father_paid: Collection[Month] | None,
    father_applied: bool,
    law: DayLaw,
) -> ParentChoice:
    """Who holds it after the reconciliation of `date`. The paid months of a parent; None: there is no such parent."""
    clause = (P33 if category == LEAVE else P30,)
    month = month_of(date)
    paid = {Holder.MOTHER: mother_paid, Holder.FATHER: father_paid}
    assign_window = frozenset(range(month - law.number("parents_assign_months"), month))
    can_hold = {parent: not assign_window.intersection(months) for parent, months in paid.items() if months is not None}
    held_by = paid.get(incumbent)
    if held_by is not None and not removed_by_payments(month, held_by, "parents_remove_months", law):
        # 1)-2) say to whom it is given, only 3) takes it away; the father's application is a new act of the parents
        moved = incumbent is Holder.MOTHER and father_applied and len(can_hold) == 2 and all(can_hold.values())
        return ParentChoice(Holder.FATHER if moved else incumbent, clause)
    if can_hold.get(Holder.MOTHER) and can_hold.get(Holder.FATHER):
        return ParentChoice(Holder.FATHER if father_applied else Holder.MOTHER, clause)
    return ParentChoice(next((parent for parent, free in can_hold.items() if free), Holder.NONE), clause)
