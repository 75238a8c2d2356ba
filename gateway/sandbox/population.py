"""An invented country: any number of people without keeping one of them in memory.

A family is computed from (seed, number) when it is asked for. To find a family by an IIN, the IIN carries its own
address. Eleven digits are free to choose: a date, sex with century, and a serial of four digits.

    number of a family = turn x 1000 + variant
    variant  gives its shape: who belongs to it, and how many days older each is than the youngest
    turn     gives the birthday of the youngest: (turn x step + shift of the variant) modulo SPAN_DAYS
    serial   = variant x 10 + place among the family's people of that sex x 2 + spare

From an IIN: the serial gives variant and place, hence the shape, hence how much older this member is than the
youngest, hence the youngest's birthday, hence (the step can be inverted, SPAN_DAYS being prime) the turn.
`spare` is 0, or 1 for the one number in a hundred to which no control digit belongs: with the last serial digit one
higher the second weighting moves from 10 to 1, so one spare always suffices.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gateway.errors import ConfigurationError
from gateway.model import Household, Iin, Sex, iin_control_digit
from gateway.sandbox.dice import Dice
from gateway.sandbox.family_events import FamilyHistory
from gateway.sandbox.family_shapes import FamilyKind, FamilyShape, draw_shape

REFERENCE_DAY: Final = dt.date(2026, 1, 1)
"""The day on which everyone has the age that the shapes say. Fixed, so that the people never change."""

VARIANTS: Final = 1000
#: prime; the youngest of a family was born within this many days (nineteen years)
SPAN_DAYS: Final = 7001
_STEP: Final = 2617
_STEP_BACK: Final = pow(_STEP, -1, SPAN_DAYS)
_KINDS: Final = tuple(FamilyKind)
#: the families that stand first in every population have a youngest of about this age on the reference day
_FIRST_YOUNGEST_DAYS: Final = 6 * 365


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A person worth asking about: what for, and whom."""

    slug: str
    iin: Iin
    what: str


class Population:
    """At least `people` invented people (the last family is kept whole), the same for the same seed and `as_of`.

    A smaller population is the beginning of a larger one of the same seed. Raises ConfigurationError when more
    people are asked for than there are numbers.
    """

    def __init__(self, people: int, seed: int, as_of: dt.date = REFERENCE_DAY) -> None:
        if people < 1:
            raise ConfigurationError("a population needs at least one person", key="people")
        self.seed = seed
        self.as_of = as_of
        self._shapes: dict[int, FamilyShape] = {}
        self._shifts: dict[int, int] = {}
        sizes = self._sizes_before
        capacity = sizes[-1] * SPAN_DAYS
        if people > capacity:
            raise ConfigurationError(f"at most {capacity} people can be told apart; ask for fewer", key="people")
        #: number of families
        self.families: Final = self._family_of_person(people - 1) + 1
        turns, rest = divmod(self.families, VARIANTS)
        #: number of people, whole families
        self.people: Final = turns * sizes[-1] + sizes[rest]

    def __repr__(self) -> str:
        return f"Population(people={self.people}, seed={self.seed}, as_of={self.as_of.isoformat()})"

    # ------------------------------------------------------------ by number

    def household(self, family: int) -> Household:
        """The family of that number. Raises IndexError."""
        if not 0 <= family < self.families:
            raise IndexError(f"there is no family {family}, only {self.families}")
        shape = self._shape(family % VARIANTS)
        iins = [self._iin(family, place) for place in range(len(shape.members))]
        dice = Dice("family", self.seed, family)
        return FamilyHistory(shape, iins, number=family, dice=dice, as_of=self.as_of).household()

    def households(self) -> Iterator[Household]:
        """Every family in order, computed one at a time."""
        return (self.household(family) for family in range(self.families))

    def person(self, number: int) -> Iin:
        """The IIN of the n-th person, family by family. Raises IndexError."""
        if not 0 <= number < self.people:
            raise IndexError(f"there is no person {number}, only {self.people}")
        family = self._family_of_person(number)
        turn, variant = divmod(family, VARIANTS)
        first = turn * self._sizes_before[-1] + self._sizes_before[variant]
        return self._iin(family, number - first)

    def persons(self) -> Iterator[Iin]:
        """Every IIN in order, computed one at a time."""
        for family in range(self.families):
            for place in range(len(self._shape(family % VARIANTS).members)):
                yield self._iin(family, place)

    def kind(self, family: int) -> FamilyKind:
        return self._shape(family % VARIANTS).kind

    # ------------------------------------------------------------ by IIN

    def family_of(self, iin: Iin) -> int | None:
        """The number of the family that this person belongs to, None for a stranger."""
        serial = int(iin.value[7:11])
        variant, rest = divmod(serial, 10)
        shape = self._shape(variant)
        slot = (iin.sex, rest // 2)
        if slot not in shape.slots:
            return None
        place = shape.slots.index(slot)
        youngest_born = iin.birth_date + dt.timedelta(days=shape.members[place].older_by_days)
        age_days = (self.as_of - youngest_born).days - shape.youngest_at_least_days
        if not 0 <= age_days < SPAN_DAYS:
            return None
        turn = (age_days - self._shift(variant)) * _STEP_BACK % SPAN_DAYS
        family = turn * VARIANTS + variant
        if family >= self.families or self._iin(family, place) != iin:
            return None
        return family

    def find(self, iin: Iin) -> Household | None:
        """The family of this person, None for a stranger."""
        family = self.family_of(iin)
        return None if family is None else self.household(family)

    def others(self, iin: Iin) -> tuple[Iin, ...]:
        """Shown people of other families than this person's, for answers about the wrong person.

        In a population of one family: its other members.
        """
        own = self.family_of(iin)
        others = tuple(shown.iin for shown in self.showcase() if self.family_of(shown.iin) != own)
        return others or tuple(other for other in self.persons() if other != iin)

    # ------------------------------------------------------------ people worth asking about

    def showcase(self) -> tuple[Exhibit, ...]:
        """One person for each thing that a register can say; fewer in a very small population."""
        found = []
        for family in range(min(len(_KINDS), self.families)):
            household = self.household(family)
            found += [
                Exhibit(slug, household.citizens[place].iin, what)
                for slug, role, what in _EXHIBITS.get(self.kind(family), ())
                if (place := self._place_of(family, role)) is not None
            ]
        return tuple(found)

    def exhibit(self, slug: str) -> Iin:
        """The person shown under that name. Raises KeyError."""
        for shown in self.showcase():
            if shown.slug == slug:
                return shown.iin
        raise KeyError(f"nobody is shown as {slug!r} among {self.people} people")

    def _place_of(self, family: int, role: str) -> int | None:
        """The first member of that role, or the first who has died when the role is "dead"."""
        for place, member in enumerate(self._shape(family % VARIANTS).members):
            if member.dead if role == "dead" else member.role == role:
                return place
        return None

    # ------------------------------------------------------------ the arithmetic of the module's docstring

    @cached_property
    def _sizes_before(self) -> tuple[int, ...]:
        """People in the variants before each one; the last entry is a whole turn."""
        sums = [0]
        for variant in range(VARIANTS):
            sums.append(sums[-1] + len(self._shape(variant).members))
        return tuple(sums)

    def _family_of_person(self, number: int) -> int:
        turn, rest = divmod(number, self._sizes_before[-1])
        return turn * VARIANTS + bisect_right(self._sizes_before, rest) - 1

    def _shape(self, variant: int) -> FamilyShape:
        shape = self._shapes.get(variant)
        if shape is None:
            kind = _KINDS[variant] if variant < len(_KINDS) else None
            shape = self._shapes[variant] = draw_shape(kind, Dice("shape", self.seed, variant))
        return shape

    def _shift(self, variant: int) -> int:
        shift = self._shifts.get(variant)
        if shift is None:
            if variant < len(_KINDS):
                shift = _FIRST_YOUNGEST_DAYS + Dice("shift", self.seed, variant).below(2 * 365)
            else:
                shift = Dice("shift", self.seed, variant).below(SPAN_DAYS)
            self._shifts[variant] = shift
        return shift

    def _iin(self, family: int, place: int) -> Iin:
        turn, variant = divmod(family, VARIANTS)
        shape = self._shape(variant)
        age_days = (turn * _STEP + self._shift(variant)) % SPAN_DAYS + shape.youngest_at_least_days
        born = self.as_of - dt.timedelta(days=age_days + shape.members[place].older_by_days)
        sex, slot = shape.slots[place]
        return _build_iin(born, sex, variant * 10 + slot * 2)


def _build_iin(born: dt.date, sex: Sex, serial: int) -> Iin:
    """The IIN with this serial, or with the next one where no control digit belongs to it."""
    century = (1 if sex is Sex.MALE else 2) + 2 * (born.year // 100 - 18)
    for spare in (0, 1):
        first_eleven = f"{born:%y%m%d}{century}{serial + spare:04d}"
        control = iin_control_digit(first_eleven)
        if control is not None:
            return Iin(f"{first_eleven}{control}")
    raise AssertionError("one of two neighbouring serials always has a control digit")


_EXHIBITS: Final = {
    FamilyKind.PARENTS_WITH_CHILDREN: (
        ("child_with_parents", "child", "a child with both parents"),
        ("mother", "mother", "a married mother"),
    ),
    FamilyKind.DISABLED_FOR_A_PERIOD: (
        ("disabled_for_a_period", "disabled", "an adult with a disability for a period"),
    ),
    FamilyKind.ORPHANS_WITH_GUARDIAN: (
        ("ward", "ward", "an orphan under guardianship"),
        ("guardian", "guardian", "the guardian of an orphan"),
    ),
    FamilyKind.WIDOWED_PARENT: (("deceased", "dead", "a person who has died"),),
    FamilyKind.COUPLE: (
        ("husband", "husband", "a married man"),
        ("wife", "wife", "his wife"),
    ),
    FamilyKind.DISABLED_INDEFINITELY: (
        ("disabled_indefinitely", "disabled", "an adult with an indefinite disability"),
    ),
    FamilyKind.DISABLED_CHILD: (("disabled_child", "disabled_child", "a child with a disability"),),
    FamilyKind.TWINS: (("twin", "child", "one of twins"),),
    FamilyKind.UNMARRIED_MOTHER: (("unmarried_mother", "mother", "a mother who never married"),),
    FamilyKind.DIVORCED_PARENTS: (("divorced", "mother", "a divorced mother"),),
    FamilyKind.ADOPTED_CHILD: (("adopted", "adopted", "an adopted child"),),
    FamilyKind.OLD_COUPLE: (("older_than_registers", "wife", "someone whose records are older than the registers"),),
}
