"""Kinds of families: who belongs to one, and how many days older each is than its youngest.

A shape holds everything about ages that must be undone to find a family by an IIN (see population.py): it depends
on the seed and the variant only, never on the single family.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.model import Sex
from gateway.sandbox.dice import Dice

#: days in a year, for ages where a day more or less does not matter
YEAR_DAYS: Final = 365

#: people of one sex in one family; the IIN has room for five (see population.py)
MAX_OF_ONE_SEX: Final = 5


class FamilyKind(StrEnum):
    """One of each comes first in every population, in this order; later families are drawn by weight."""

    PARENTS_WITH_CHILDREN = "parents_with_children"
    DISABLED_FOR_A_PERIOD = "disabled_for_a_period"
    ORPHANS_WITH_GUARDIAN = "orphans_with_guardian"
    WIDOWED_PARENT = "widowed_parent"
    COUPLE = "couple"
    DISABLED_INDEFINITELY = "disabled_indefinitely"
    DISABLED_CHILD = "disabled_child"
    TWINS = "twins"
    UNMARRIED_MOTHER = "unmarried_mother"
    DIVORCED_PARENTS = "divorced_parents"
    REMARRIED_MOTHER = "remarried_mother"
    ADOPTED_CHILD = "adopted_child"
    THREE_GENERATIONS = "three_generations"
    OLD_COUPLE = "old_couple"
    SINGLE_ADULT = "single_adult"
    OLD_PERSON_ALONE = "old_person_alone"
    FOREIGN_SPOUSE = "foreign_spouse"
    GROWN_UP_CHILDREN = "grown_up_children"


_WEIGHTS: Final = {
    FamilyKind.PARENTS_WITH_CHILDREN: 40,
    FamilyKind.DISABLED_FOR_A_PERIOD: 2,
    FamilyKind.ORPHANS_WITH_GUARDIAN: 1,
    FamilyKind.WIDOWED_PARENT: 3,
    FamilyKind.COUPLE: 8,
    FamilyKind.DISABLED_INDEFINITELY: 2,
    FamilyKind.DISABLED_CHILD: 1,
    FamilyKind.TWINS: 1,
    FamilyKind.UNMARRIED_MOTHER: 5,
    FamilyKind.DIVORCED_PARENTS: 6,
    FamilyKind.REMARRIED_MOTHER: 3,
    FamilyKind.ADOPTED_CHILD: 1,
    FamilyKind.THREE_GENERATIONS: 5,
    FamilyKind.OLD_COUPLE: 5,
    FamilyKind.SINGLE_ADULT: 6,
    FamilyKind.OLD_PERSON_ALONE: 2,
    FamilyKind.FOREIGN_SPOUSE: 1,
    FamilyKind.GROWN_UP_CHILDREN: 8,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One place in a family. `mother` and `father` are indices into the shape's members, None = not in the family."""

    role: str
    sex: Sex
    #: days older than the youngest of the family
    older_by_days: int
    mother: int | None = None
    father: int | None = None
    #: has died
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Couple:
    """A marriage; `dissolved` says that it ended by divorce (an end by death is in the members)."""

    husband: int
    wife: int
    dissolved: bool = False


@dataclass(frozen=True, slots=True)
class FamilyShape:
    kind: FamilyKind
    members: tuple[Member, ...]
    couples: tuple[Couple, ...]
    #: the youngest is at least this old on the reference day
    youngest_at_least_days: int
    #: (sex, number within that sex) of each member, parallel to `members`; what the IIN carries
    slots: tuple[tuple[Sex, int], ...]


def draw_shape(kind: FamilyKind | None, dice: Dice) -> FamilyShape:
    """A shape of the kind given, or of one drawn by weight."""
    kind = kind or _draw_kind(dice)
    builder = _Builder(dice)
    youngest_at_least_days = _BUILDERS[kind](builder)
    return builder.finish(kind, youngest_at_least_days)


def _draw_kind(dice: Dice) -> FamilyKind:
    throw = dice.below(sum(_WEIGHTS.values()))
    for kind, weight in _WEIGHTS.items():
        throw -= weight
        if throw < 0:
            return kind
    raise AssertionError("the weights do not add up")


class _Builder:
    """Collects members; the mutable half of `draw_shape`."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.members: list[Member] = []
        self.couples: list[Couple] = []

    def add(
        self,
        role: str,
        sex: Sex,
        older_by_days: int,
        *,
        mother: int | None = None,
        father: int | None = None,
        dead: bool = False,
    ) -> int:
        self.members.append(Member(role, sex, older_by_days, mother, father, dead))
        return len(self.members) - 1

    def marry(self, husband: int, wife: int, *, dissolved: bool = False) -> None:
        self.couples.append(Couple(husband, wife, dissolved))

    def sibling_gaps(self, children: int) -> list[int]:
        """Days each child is older than the youngest, youngest first."""
        gaps = [0]
        for _ in range(children - 1):
            gaps.append(gaps[-1] + self.dice.between(450, 1700))
        return gaps

    def mother_gap(self, eldest_gap: int, *, youngest_mother: int = 20, oldest_mother: int = 29) -> int:
        """A mother is 20 to 30 at her first birth, so that she is below 46 at the last of four."""
        return eldest_gap + self.dice.between(youngest_mother * YEAR_DAYS, oldest_mother * YEAR_DAYS)

    def father_gap(self, mother_gap: int, eldest_gap: int) -> int:
        return max(mother_gap + self.dice.between(-2 * YEAR_DAYS, 8 * YEAR_DAYS), eldest_gap + 20 * YEAR_DAYS)

    def sex(self) -> Sex:
        return Sex.MALE if self.dice.percent(51) else Sex.FEMALE

    def children(self, gaps: list[int], mother: int | None, father: int | None, role: str = "child") -> list[int]:
        return [self.add(role, self.sex(), gap, mother=mother, father=father) for gap in gaps]

    def parents(self, gaps: list[int], *, father_dead: bool = False, mother_dead: bool = False) -> tuple[int, int]:
        """(mother, father) for children with these gaps."""
        mother_gap = self.mother_gap(gaps[-1])
        mother = self.add("mother", Sex.FEMALE, mother_gap, dead=mother_dead)
        father = self.add("father", Sex.MALE, self.father_gap(mother_gap, gaps[-1]), dead=father_dead)
        return mother, father

    def finish(self, kind: FamilyKind, youngest_at_least_days: int) -> FamilyShape:
        counts = {Sex.MALE: 0, Sex.FEMALE: 0}
        slots = []
        for member in self.members:
            slots.append((member.sex, counts[member.sex]))
            counts[member.sex] += 1
        if max(counts.values()) > MAX_OF_ONE_SEX:
            raise AssertionError("a family has more people of one sex than an IIN can tell apart")
        return FamilyShape(kind, tuple(self.members), tuple(self.couples), youngest_at_least_days, tuple(slots))


# A birth is registered within two months, so nobody is younger than that on the reference day.
_NEWBORN_DAYS: Final = 60


def _parents_with_children(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.pick((1, 1, 2, 2, 2, 3, 3, 4)))
    mother, father = b.parents(gaps)
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return _NEWBORN_DAYS


def _disabled_adult(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother_gap = b.mother_gap(gaps[-1])
    mother = b.add("mother", Sex.FEMALE, mother_gap)
    father = b.add("disabled", Sex.MALE, b.father_gap(mother_gap, gaps[-1]))
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return _NEWBORN_DAYS


def _orphans_with_guardian(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother_gap = b.mother_gap(gaps[-1], youngest_mother=20, oldest_mother=25)
    mother = b.add("mother", Sex.FEMALE, mother_gap, dead=True)
    father = b.add("father", Sex.MALE, b.father_gap(mother_gap, gaps[-1]), dead=True)
    b.marry(father, mother)
    if b.dice.percent(50):
        b.add("guardian", Sex.FEMALE, mother_gap + b.dice.between(-3 * YEAR_DAYS, 6 * YEAR_DAYS))
        # an aunt: her own parents are not of this family
    else:
        grandmother = b.add("guardian", Sex.FEMALE, mother_gap + b.dice.between(20 * YEAR_DAYS, 25 * YEAR_DAYS))
        b.members[mother] = Member("mother", Sex.FEMALE, mother_gap, mother=grandmother, dead=True)
    b.children(gaps, mother, father, role="ward")
    return YEAR_DAYS


def _widowed_parent(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 3))
    mother_dies = b.dice.percent(25)
    mother, father = b.parents(gaps, father_dead=not mother_dies, mother_dead=mother_dies)
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return YEAR_DAYS


def _couple(b: _Builder) -> int:
    wife = b.add("wife", Sex.FEMALE, 0)
    husband = b.add("husband", Sex.MALE, b.dice.between(0, 8 * YEAR_DAYS))
    b.marry(husband, wife)
    return b.dice.between(20, 40) * YEAR_DAYS


def _disabled_child(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 3))
    mother, father = b.parents(gaps)
    b.marry(father, mother)
    b.children(gaps[:1], mother, father, role="disabled_child")
    b.children(gaps[1:], mother, father)
    return YEAR_DAYS


def _twins(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother, father = b.parents(gaps)
    b.marry(father, mother)
    b.children([gaps[0], *gaps], mother, father)
    return _NEWBORN_DAYS


def _unmarried_mother(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother = b.add("mother", Sex.FEMALE, b.mother_gap(gaps[-1]))
    b.children(gaps, mother, None)
    return _NEWBORN_DAYS


def _divorced_parents(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother, father = b.parents(gaps)
    b.marry(father, mother, dissolved=True)
    b.children(gaps, mother, father)
    return 2 * YEAR_DAYS


def _remarried_mother(b: _Builder) -> int:
    eldest_gap = b.dice.between(7 * YEAR_DAYS, 9 * YEAR_DAYS)
    mother_gap = b.mother_gap(eldest_gap)
    mother = b.add("mother", Sex.FEMALE, mother_gap)
    first = b.add("former_husband", Sex.MALE, b.father_gap(mother_gap, eldest_gap))
    second = b.add("father", Sex.MALE, b.father_gap(mother_gap, 0))
    b.marry(first, mother, dissolved=True)
    b.marry(second, mother)
    b.children([eldest_gap], mother, first)
    b.children([0], mother, second)
    return _NEWBORN_DAYS


def _adopted_child(b: _Builder) -> int:
    older = b.dice.between(26 * YEAR_DAYS, 40 * YEAR_DAYS)
    mother = b.add("adoptive_mother", Sex.FEMALE, older)
    father = b.add("adoptive_father", Sex.MALE, older + b.dice.between(0, 6 * YEAR_DAYS))
    b.marry(father, mother)
    b.children([0], None, None, role="adopted")
    return 2 * YEAR_DAYS


def _three_generations(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 2))
    mother_gap = b.mother_gap(gaps[-1])
    father_gap = b.father_gap(mother_gap, gaps[-1])
    grandmother_gap = father_gap + b.dice.between(20 * YEAR_DAYS, 24 * YEAR_DAYS)
    grandmother = b.add("grandmother", Sex.FEMALE, grandmother_gap)
    grandfather = b.add(
        "grandfather", Sex.MALE, grandmother_gap + b.dice.between(0, 5 * YEAR_DAYS), dead=b.dice.percent(50)
    )
    b.marry(grandfather, grandmother)
    mother = b.add("mother", Sex.FEMALE, mother_gap)
    father = b.add("father", Sex.MALE, father_gap, mother=grandmother, father=grandfather)
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return _NEWBORN_DAYS


def _old_couple(b: _Builder) -> int:
    wife = b.add("wife", Sex.FEMALE, 0)
    husband = b.add("husband", Sex.MALE, b.dice.between(0, 6 * YEAR_DAYS), dead=b.dice.percent(30))
    b.marry(husband, wife)
    return b.dice.between(58, 68) * YEAR_DAYS


def _single_adult(b: _Builder) -> int:
    b.add("adult", b.sex(), 0)
    return b.dice.between(18, 40) * YEAR_DAYS + 10


def _old_person_alone(b: _Builder) -> int:
    b.add("adult", b.sex(), 0)
    return b.dice.between(63, 75) * YEAR_DAYS


def _foreign_spouse(b: _Builder) -> int:
    gaps = b.sibling_gaps(1)
    mother_gap = b.mother_gap(gaps[-1])
    mother = b.add("mother", Sex.FEMALE, mother_gap)
    father = b.add("foreigner", Sex.MALE, b.father_gap(mother_gap, gaps[-1]))
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return _NEWBORN_DAYS


def _grown_up_children(b: _Builder) -> int:
    gaps = b.sibling_gaps(b.dice.between(1, 4))
    mother, father = b.parents(gaps)
    b.marry(father, mother)
    b.children(gaps, mother, father)
    return b.dice.between(14, 22) * YEAR_DAYS


_BUILDERS: Final = {
    FamilyKind.PARENTS_WITH_CHILDREN: _parents_with_children,
    FamilyKind.DISABLED_FOR_A_PERIOD: _disabled_adult,
    FamilyKind.ORPHANS_WITH_GUARDIAN: _orphans_with_guardian,
    FamilyKind.WIDOWED_PARENT: _widowed_parent,
    FamilyKind.COUPLE: _couple,
    FamilyKind.DISABLED_INDEFINITELY: _disabled_adult,
    FamilyKind.DISABLED_CHILD: _disabled_child,
    FamilyKind.TWINS: _twins,
    FamilyKind.UNMARRIED_MOTHER: _unmarried_mother,
    FamilyKind.DIVORCED_PARENTS: _divorced_parents,
    FamilyKind.REMARRIED_MOTHER: _remarried_mother,
    FamilyKind.ADOPTED_CHILD: _adopted_child,
    FamilyKind.THREE_GENERATIONS: _three_generations,
    FamilyKind.OLD_COUPLE: _old_couple,
    FamilyKind.SINGLE_ADULT: _single_adult,
    FamilyKind.OLD_PERSON_ALONE: _old_person_alone,
    FamilyKind.FOREIGN_SPOUSE: _foreign_spouse,
    FamilyKind.GROWN_UP_CHILDREN: _grown_up_children,
}
