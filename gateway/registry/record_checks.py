"""004 p.15, p.18, p.53: the checks of a payment record and of a category record. Technical; the only ones. Pure.

R-16, R-17. All errors are reported, in the order of REGISTRY.md 3.3.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gateway.errors import InvalidIdentifier
from gateway.model import Iin
from gateway.registry.state_paid import residency_excluded
from gateway.regulation.law import Law, Residency

PAYMENT_FIELDS: Final = (
    "iin",
    "full_name",
    "payer_bin",
    "payer_name",
    "period",
    "received_date",
    "reference",
    "amount",
    "purpose_code",
)
"""p.15(1)-(9)."""
CATEGORY_FIELDS: Final = ("iin", "category", "assigned_date", "assigned_source")
"""p.18(1)-(3), p.53(1)-(3); the category is that of the list."""
REMOVAL_FIELDS: Final = ("removed_date", "removed_source", "removed_reason")
"""p.18(4)-(6), p.53(4)-(6): all of them or none."""
#: p.15(3): "бар болса"
OPTIONAL_FIELDS: Final = frozenset({"payer_bin"})

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class RecordKind(StrEnum):
    PAYMENT = "payment"
    CATEGORY = "category"


def errors_of(
    kind: RecordKind, fields: Mapping[str, object], *, law: Law, residency: Residency = Residency.CITIZEN
) -> tuple[str, ...]:
    """The codes of everything that is wrong with the record; none: it may be taken."""
    present = {name: value for name, value in fields.items() if not _empty(value)}
    if kind is RecordKind.PAYMENT:
        wanted: tuple[str, ...] = PAYMENT_FIELDS
        required = [name for name in wanted if name not in OPTIONAL_FIELDS]
    else:
        wanted = CATEGORY_FIELDS + REMOVAL_FIELDS
        removed = any(name in present for name in REMOVAL_FIELDS)
        required = [name for name in wanted if removed or name not in REMOVAL_FIELDS]
    errors = [f"{name}_missing" for name in required if name not in present]
    if "iin" in present and not _is_iin(present["iin"]):
        errors.append("iin_invalid")
    for name in wanted:
        if name in present and not _well_formed(name, present[name]):
            errors.append(f"{name}_invalid")
    if kind is RecordKind.PAYMENT:
        if "amount" in present and not _is_positive(present["amount"]):
            errors.append("amount_not_positive")
        return tuple(errors)
    category = law.categories.get(str(present.get("category")))
    if category is not None and residency_excluded(category, residency):
        errors.append("residency_excluded")
    assigned, gone = day_of(present.get("assigned_date")), day_of(present.get("removed_date"))
    if assigned is not None and gone is not None and gone < assigned:
        errors.append("removed_before_assigned")
    return tuple(errors)


def day_of(value: object) -> dt.date | None:
    """A day as YYYY-MM-DD; None: it is none."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        return None


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_iin(value: object) -> bool:
    try:
        Iin(str(value))
    except InvalidIdentifier:
        return False
    return isinstance(value, str)


def _well_formed(name: str, value: object) -> bool:
    if name.endswith("_date"):
        return day_of(value) is not None
    if name == "period":
        return isinstance(value, str) and _MONTH.fullmatch(value) is not None and not value.startswith("0000")
    return True


def _is_positive(value: object) -> bool:
    """A number greater than 0. The reader of a text file makes numbers of its text first."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    return math.isfinite(value) and value > 0
