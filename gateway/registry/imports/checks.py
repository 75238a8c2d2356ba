"""Whether a record may be taken in, and its values as the store holds them. Pure.

What REGISTRY.md 3.3 checks is gateway.registry.record_checks; here are the lists that have no checks there, what a feed
may say, and how much room a value has.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeAlias

from gateway.errors import InvalidIdentifier
from gateway.model import Iin
from gateway.registry.facts import ListedAs, PayerType
from gateway.registry.imports.feeds import ListFeed, RecordKind, Scope
from gateway.registry.imports.lines import LAYOUTS, fields_of
from gateway.registry.record_checks import RecordKind as CheckedKind
from gateway.registry.record_checks import errors_of
from gateway.registry.tables import (
    CATEGORY_RECORD,
    MAX_SOURCE_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    MILITARY_EVENT,
    PAYMENT,
    TREATY_INTERVAL,
)
from gateway.regulation.law import Law

Row: TypeAlias = list[str | None]
"""Values of one record as text, in the order of STAGED; None is SQL NULL."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not taken in. The message says what is wrong and repeats no value."""

    code: str
    message: str


#: table of each kind, and its columns that a record fills
TABLES: Final = {
    RecordKind.CATEGORIES: CATEGORY_RECORD,
    RecordKind.PAYMENTS: PAYMENT,
    RecordKind.MILITARY: MILITARY_EVENT,
    RecordKind.TREATY: TREATY_INTERVAL,
}
STAGED: Final[Mapping[RecordKind, tuple[str, ...]]] = {kind: layout.columns for kind, layout in LAYOUTS.items()}

_AMOUNT: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
#: what is remembered of lines at a time
_MOST_SEEN: Final = 100_000
#: numeric(16, 2)
_TOO_MUCH: Final = Decimal(10) ** 14

_MEANINGS: Final = {
    "missing": "the field must be filled",
    "invalid": "the field has a value that it cannot have",
}
_MESSAGES: Final = {
    "iin_invalid": "the IIN is not one (twelve digits with a date and a control digit)",
    "amount_not_positive": "the amount is not a number above zero",
    "residency_excluded": "such persons are not of this category (004 p.40, p.42)",
    "removed_before_assigned": "the removal is earlier than the assignment",
}


def check(line: bytes, feed: ListFeed, scope: Scope, law: Law) -> Row | tuple[Refusal, ...]:
    """The row of a line, or every reason why it is refused."""
    layout = LAYOUTS[feed.kind]
    fields = fields_of(line)
    if fields is None or len(fields) != len(layout.columns):
        return (Refusal("wrong_columns", f"a record has {len(layout.columns)} values"),)
    return _CHECKS[feed.kind](dict(zip(layout.columns, fields, strict=True)), feed, scope, law)


class Checker:
    """Checks the lines of one list and gives those that may be taken as rows of PostgreSQL's text format.

    What a list of categories says behind the IIN it says of many people alike: it is looked at once.
    """

    def __init__(self, feed: ListFeed, scope: Scope, law: Law) -> None:
        self._feed, self._scope, self._law = feed, scope, law
        self._alike = feed.kind is RecordKind.CATEGORIES
        self._seen: dict[bytes, bytes] = {}

    def row(self, line: bytes) -> bytes | tuple[Refusal, ...]:
        """The row of a line, with its end, or every reason why it is refused."""
        number, comma, rest = line.partition(b",")
        known = self._seen.get(rest)
        if known is not None and _is_iin(number):
            return number + known
        checked = check(line, self._feed, self._scope, self._law)
        if isinstance(checked, tuple):
            return checked
        row = as_text(checked)
        if self._alike and comma and row.startswith(number + b"\t"):
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[rest] = row[len(number) :]
        return row


def _is_iin(number: bytes) -> bool:
    try:
        Iin(number.decode("ascii"))
    except (InvalidIdentifier, UnicodeDecodeError):
        return False
    return True


def as_text(row: Row) -> bytes:
    """A row in PostgreSQL's text format; gateway.registry.imports.stretches.values_of reads it back."""
    return ("\t".join(["\\N" if value is None else _escaped(value) for value in row]) + "\n").encode()


def _escaped(value: str) -> str:
    if "\\" in value or "\t" in value:
        return value.replace("\\", "\\\\").replace("\t", "\\t")
    return value


def refusal(code: str) -> Refusal:
    """The refusal with the message of its code."""
    meaning = _MESSAGES.get(code) or f"{code.rpartition('_')[0]}: {_MEANINGS.get(code.rpartition('_')[2], 'refused')}"
    return Refusal(code, meaning)


_Checked: TypeAlias = Row | tuple[Refusal, ...]


def _category(values: Mapping[str, str], feed: ListFeed, scope: Scope, law: Law) -> _Checked:  # noqa: ARG001
    errors = [refusal(code) for code in errors_of(CheckedKind.CATEGORY, values, law=law)]
    if values["category"] and values["category"] not in feed.categories:
        errors.append(Refusal("category_not_of_feed", f"lists of {feed.name} do not name this category"))
    errors += _too_long(
        values,
        assigned_source=MAX_SOURCE_CHARACTERS,
        removed_source=MAX_SOURCE_CHARACTERS,
        removed_reason=MAX_TEXT_CHARACTERS,
    )
    return tuple(errors) or [value or None for value in values.values()]


def _payment(values: Mapping[str, str], feed: ListFeed, scope: Scope, law: Law) -> _Checked:  # noqa: ARG001
    amount = _amount(values["amount"])
    # text that is no number stays text, and is refused for it
    fields = values if amount is None else {**values, "amount": amount}
    errors = [refusal(code) for code in errors_of(CheckedKind.PAYMENT, fields, law=law)]
    row: dict[str, str | None] = {name: value or None for name, value in values.items()}
    row["payer_type"] = values["payer_type"] or PayerType.GENERAL.value
    if row["payer_type"] not in set(PayerType):
        errors.append(refusal("payer_type_invalid"))
    errors += _flag(row, "withdrawn")
    if values["payer_bin"] and not (len(values["payer_bin"]) == 12 and _digits(values["payer_bin"])):
        errors.append(refusal("payer_bin_invalid"))
    errors += _too_long(
        values,
        reference=MAX_SOURCE_CHARACTERS,
        full_name=MAX_TEXT_CHARACTERS,
        payer_name=MAX_TEXT_CHARACTERS,
        purpose_code=16,
    )
    if amount is not None and not _storable(amount):
        errors.append(Refusal("amount_invalid", "an amount has at most two decimals and fourteen digits before them"))
    if errors:
        return tuple(errors)
    row["period"] = f"{values['period']}-01"
    return list(row.values())


def _military(values: Mapping[str, str], feed: ListFeed, scope: Scope, law: Law) -> _Checked:  # noqa: ARG001
    errors = _iin(values)
    row: dict[str, str | None] = {name: value or None for name, value in values.items()}
    if scope is Scope.FULL:
        row["listed_as"] = values["listed_as"] or ListedAs.LISTED.value
        allowed = {ListedAs.LISTED}
    else:
        allowed = {ListedAs.ADDED, ListedAs.REMOVED}
        if not values["listed_as"]:
            errors.append(refusal("listed_as_missing"))
    if row["listed_as"] is not None and row["listed_as"] not in allowed:
        errors.append(refusal("listed_as_invalid"))
    errors += _flag(row, "reserve_combat_training")
    errors += _date(values, "changed_on", required=False)
    return tuple(errors) or list(row.values())


def _treaty(values: Mapping[str, str], feed: ListFeed, scope: Scope, law: Law) -> _Checked:  # noqa: ARG001
    errors = [*_iin(values), *_date(values, "first_day"), *_date(values, "first_day_off", required=False)]
    if not errors and values["first_day_off"] and values["first_day_off"] < values["first_day"]:
        errors.append(Refusal("ends_before_it_begins", "first_day_off is earlier than first_day"))
    return tuple(errors) or [value or None for value in values.values()]


_CHECKS: Final[Mapping[RecordKind, Callable[[Mapping[str, str], ListFeed, Scope, Law], _Checked]]] = {
    RecordKind.CATEGORIES: _category,
    RecordKind.PAYMENTS: _payment,
    RecordKind.MILITARY: _military,
    RecordKind.TREATY: _treaty,
}


# ---------------------------------------------------------------- single values


def _iin(values: Mapping[str, str]) -> list[Refusal]:
    if not values["iin"]:
        return [refusal("iin_missing")]
    try:
        Iin(values["iin"])
    except InvalidIdentifier:
        return [refusal("iin_invalid")]
    return []


def _date(values: Mapping[str, str], name: str, *, required: bool = True) -> list[Refusal]:
    if not values[name]:
        return [refusal(f"{name}_missing")] if required else []
    return [] if _is_day(values[name]) else [refusal(f"{name}_invalid")]


@lru_cache(maxsize=100_000)
def _is_day(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _flag(row: dict[str, str | None], name: str) -> list[Refusal]:
    row[name] = row[name] or "false"
    return [] if row[name] in {"true", "false"} else [refusal(f"{name}_invalid")]


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _amount(text: str) -> Decimal | None:
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def _storable(amount: Decimal) -> bool:
    return amount == round(amount, 2) and amount < _TOO_MUCH


def _too_long(values: Mapping[str, str], **bounds: int) -> list[Refusal]:
    return [
        Refusal(f"{name}_too_long", f"{name} has at most {bound} characters")
        for name, bound in bounds.items()
        if len(values[name]) > bound
    ]
