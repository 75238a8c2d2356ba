"""Values everyone shares. Standard library only; no clock, file, environment or socket."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import mul
from typing import Self

from gateway.errors import InvalidIdentifier

FactValue = str | int | bool | None
"""What one attribute of a fact may hold; dates are ISO 8601 strings (JSON keeps them as they are)."""

_IIN_WEIGHTS_FIRST = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
_IIN_WEIGHTS_SECOND = (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)
_IIN_CENTURY_AND_SEX = {
    "1": (1800, "m"),
    "2": (1800, "f"),
    "3": (1900, "m"),
    "4": (1900, "f"),
    "5": (2000, "m"),
    "6": (2000, "f"),
}


class Sex(StrEnum):
    MALE = "m"
    FEMALE = "f"


def iin_control_digit(first_eleven: str) -> int | None:
    """Control digit for eleven digits, or None when no number is issued for them (REGISTRY.md R-70)."""
    digits = list(map(int, first_eleven))
    for weights in (_IIN_WEIGHTS_FIRST, _IIN_WEIGHTS_SECOND):
        remainder: int = sum(map(mul, digits, weights)) % 11
        if remainder < 10:
            return remainder
    return None


def _is_ascii_digits(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True, order=True)
class Iin:
    """Individual identification number: YYMMDD, century and sex, serial, control digit.

    Raises InvalidIdentifier (it never repeats the value). `str()` and `repr()` are masked so that an
    IIN cannot reach a log by accident; ask for `.value` where the digits themselves are needed.
    """

    value: str

    def __post_init__(self) -> None:
        if not _is_ascii_digits(self.value, 12):
            raise InvalidIdentifier("IIN", "it must be exactly twelve digits")
        if self.value[6] not in _IIN_CENTURY_AND_SEX:
            raise InvalidIdentifier("IIN", "the seventh digit names no century")
        try:
            _ = self.birth_date
        except ValueError:
            raise InvalidIdentifier("IIN", "the first six digits are not a date") from None
        if iin_control_digit(self.value[:11]) != int(self.value[11]):
            raise InvalidIdentifier("IIN", "the control digit does not fit")

    @property
    def birth_date(self) -> dt.date:
        century, _ = _IIN_CENTURY_AND_SEX[self.value[6]]
        return dt.date(century + int(self.value[:2]), int(self.value[2:4]), int(self.value[4:6]))

    @property
    def sex(self) -> Sex:
        return Sex(_IIN_CENTURY_AND_SEX[self.value[6]][1])

    def __repr__(self) -> str:
        return "Iin(************)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, order=True)
class Bin:
    """Business identification number: twelve digits. Raises InvalidIdentifier."""

    value: str

    def __post_init__(self) -> None:
        if not _is_ascii_digits(self.value, 12):
            raise InvalidIdentifier("BIN", "it must be exactly twelve digits")

    def __str__(self) -> str:
        return self.value


class Outcome(StrEnum):
    """What a register answered. UNKNOWN (no answer that can be trusted) is never NOT_FOUND."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Consent:
    """What КДП issued for one call: SHEP.md 6.2. Both are secrets; neither is logged."""

    token: str = field(repr=False)
    public_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """One question to one register about one person.

    `message_id` is ours and goes into the payload where the contract has a place for it;
    `facts` are the fact kinds wanted (empty = all that the system gives);
    `requester` is the participant code agreed with the register (senderCode and the like).
    """

    subject: Iin
    message_id: str
    created_at: dt.datetime
    facts: tuple[str, ...] = ()
    requester: str = ""
    consent: Consent | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One dated statement of a register about one person.

    `kind` names it (`person`, `birth`, `disability`, …); `key` is what identifies the record inside
    its register, so that a later answer replaces the earlier one; it holds on days in
    [`valid_from`, `valid_to`), where None means "always before" and "open".
    `attributes` are flat; dates inside are ISO strings.
    """

    kind: str
    subject: Iin
    key: str
    valid_from: dt.date | None
    valid_to: dt.date | None
    #: not shown by repr: they hold names and other people's IINs
    attributes: Mapping[str, FactValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A business refusal by the register (not a fault): its own code and text."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mapper read from one response.

    `outcome` is UNKNOWN where the register answered and its silence proves nothing (`outcome_of`);
    `complete_for` are the fact kinds of which this answer lists *all* current records of the person:
    only for these may an absent record be taken as "no longer there";
    `answers_message_id` is the request id that the register repeats in its payload, "" where it does not;
    `about` is the person whom the payload names as the one asked about, None where the contract has no place for it:
    an answer without facts must not be taken for one about somebody else.
    """

    outcome: Outcome
    facts: tuple[Fact, ...] = ()
    complete_for: tuple[str, ...] = ()
    answers_message_id: str = ""
    about: Iin | None = None
    rejection: Rejection | None = None


def outcome_of(facts: Iterable[Fact], kinds: Collection[str], complete_for: Collection[str]) -> Outcome:
    """What one answer proves about facts of these kinds.

    Silence is NOT_FOUND only where the answer is complete for every one of the kinds: a register that began
    in 2008 and lists nothing has said nothing about 2005. Otherwise it is UNKNOWN.
    """
    if any(fact.kind in kinds for fact in facts):
        return Outcome.FOUND
    return Outcome.NOT_FOUND if all(kind in complete_for for kind in kinds) else Outcome.UNKNOWN


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which signed message a fact rests on. `received_at` is timezone-aware."""

    message_id: str
    system: str
    signer_subject: str
    signer_serial: str
    received_at: dt.datetime

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is None:
            raise ValueError("received_at needs a time zone")


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact with its provenance. `present` is False when a complete answer no longer listed it."""

    fact: Fact
    provenance: Provenance
    present: bool = True


@dataclass(frozen=True, slots=True)
class Citation:
    """A place in an act: `act` is its number here ("004"), `paragraph` as in `p.20(12)`, `annex 1 row 7`."""

    act: str
    paragraph: str

    def __str__(self) -> str:
        return f"{self.act} {self.paragraph}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"004 p.9 part 1"`. Raises ValueError."""
        act, _, paragraph = text.partition(" ")
        if not act or not paragraph.startswith(("p.", "item ", "annex ", "chapter ")):
            raise ValueError(f"not a citation: {text!r}; write it as '004 p.9 part 1'")
        return cls(act, paragraph)


# ---------------------------------------------------------------- invented people for the sandbox


@dataclass(frozen=True, slots=True)
class Disability:
    """Group 1, 2 or 3, or "child"; `valid_to` None means indefinite."""

    group: str
    reason: str
    valid_from: dt.date
    valid_to: dt.date | None
    certificate_number: str


@dataclass(frozen=True, slots=True)
class Citizen:
    """One invented person of the sandbox population."""

    iin: Iin
    surname: str
    name: str
    patronymic: str
    death_date: dt.date | None = None
    disability: Disability | None = None


@dataclass(frozen=True, slots=True)
class Marriage:
    husband: Iin
    wife: Iin
    registered_on: dt.date
    record_number: str
    dissolved_on: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Birth:
    child: Iin
    mother: Iin | None
    father: Iin | None
    registered_on: dt.date
    record_number: str


@dataclass(frozen=True, slots=True)
class Death:
    person: Iin
    died_on: dt.date
    registered_on: dt.date
    record_number: str


@dataclass(frozen=True, slots=True)
class Guardianship:
    """`kind`: "guardianship" (ward under 14), "trusteeship" (14 to 18) or "adoption"."""

    kind: str
    ward: Iin
    guardian: Iin
    act_number: str
    act_date: dt.date
    authority: str
    valid_to: dt.date | None


@dataclass(frozen=True, slots=True)
class Household:
    """Everything the sandbox knows about one family: the input of every `simulate.py`."""

    citizens: tuple[Citizen, ...]
    births: tuple[Birth, ...] = ()
    marriages: tuple[Marriage, ...] = ()
    deaths: tuple[Death, ...] = ()
    guardianships: tuple[Guardianship, ...] = ()

    def citizen(self, iin: Iin) -> Citizen | None:
        return next((c for c in self.citizens if c.iin == iin), None)
