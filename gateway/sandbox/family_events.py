"""What happened in one family: names, births, marriages, deaths, guardianships, disabilities. Pure.

Every date follows from the birth dates of the shape and from dice of this one family, and none is later than the
reference day. The family is told as it was; which of it a register holds (births from 2007-08-13 and so on) is for
the register's own `simulate.py` to say.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from gateway.model import Birth, Citizen, Death, Disability, Guardianship, Household, Iin, Marriage, Sex
from gateway.sandbox.dice import Dice
from gateway.sandbox.family_shapes import Couple, FamilyKind, FamilyShape, Member
from gateway.sandbox.names import FOREIGN, Naming, draw_naming

MARRIAGE_AGE_YEARS: Final = 18
MAJORITY_YEARS: Final = 18
#: below this age guardianship, from it on trusteeship
TRUSTEESHIP_AGE_YEARS: Final = 14

_DAY: Final = dt.timedelta(days=1)
_REASONS: Final = ("общее заболевание", "инвалид с детства", "трудовое увечье")
_AUTHORITIES: Final = (
    "Отдел образования города Көктөбе",
    "Отдел образования Шалқарского района",
    "Управление образования города Алтынтас",
)


def years_after(day: dt.date, years: int) -> dt.date:
    """The birthday that many years later; 29 February falls on 1 March where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return dt.date(day.year + years, 3, 1)


class FamilyHistory:
    """Tells one family. `iins` are parallel to the shape's members; `number` makes its record numbers unique."""

    def __init__(self, shape: FamilyShape, iins: Sequence[Iin], *, number: int, dice: Dice, as_of: dt.date) -> None:
        self._shape = shape
        self._iins = tuple(iins)
        self._born = tuple(iin.birth_date for iin in self._iins)
        self._number = number
        self._dice = dice
        self._as_of = as_of
        self._naming = draw_naming(dice)

    def household(self) -> Household:
        # the order matters: each step reads what the earlier ones decided
        weddings = self._weddings()
        divorces = self._divorces(weddings)
        deaths = self._deaths(weddings)
        guardianships = self._guardianships(deaths)
        names = self._names(weddings)
        disabilities = self._disabilities(deaths)
        citizens = tuple(
            Citizen(iin, *names[place], deaths.get(place), disabilities.get(place))
            for place, iin in enumerate(self._iins)
        )
        return Household(
            citizens=citizens,
            births=tuple(self._births()),
            marriages=tuple(
                Marriage(
                    husband=self._iins[couple.husband],
                    wife=self._iins[couple.wife],
                    registered_on=weddings[couple],
                    record_number=self._record("M", couple.wife * 10 + couple.husband),
                    dissolved_on=divorces.get(couple),
                )
                for couple in self._shape.couples
            ),
            deaths=tuple(
                Death(
                    person=self._iins[place],
                    died_on=day,
                    registered_on=self._no_later(day + self._days(1, 5)),
                    record_number=self._record("D", place),
                )
                for place, day in sorted(deaths.items())
            ),
            guardianships=tuple(guardianships),
        )

    # ------------------------------------------------------------ small words

    def _days(self, low: int, high: int) -> dt.timedelta:
        return dt.timedelta(days=self._dice.between(low, high))

    def _day_between(self, first: dt.date, last: dt.date) -> dt.date:
        """A day in [first, last]; `first` when the interval is empty."""
        return first + self._days(0, max(0, (last - first).days))

    def _no_later(self, day: dt.date) -> dt.date:
        return min(day, self._as_of)

    def _record(self, letter: str, place: int) -> str:
        return f"{letter}-{self._number:08d}-{place:02d}"

    def _members(self, *roles: str) -> list[tuple[int, Member]]:
        return [(place, member) for place, member in enumerate(self._shape.members) if member.role in roles]

    def _children_of(self, *parents: int) -> list[int]:
        return [
            place
            for place, member in enumerate(self._shape.members)
            if member.mother in parents or member.father in parents
        ]

    # ------------------------------------------------------------ marriages

    def _weddings(self) -> dict[Couple, dt.date]:
        found: dict[Couple, dt.date] = {}
        for couple in self._shape.couples:
            of_age = max(years_after(self._born[place], MARRIAGE_AGE_YEARS) for place in (couple.husband, couple.wife))
            common = [
                self._born[place]
                for place, member in enumerate(self._shape.members)
                if member.mother == couple.wife and member.father == couple.husband
            ]
            if common:
                day = max(of_age, min(common) - self._days(280, 1200))
            else:
                wanted = of_age + self._days(0, 10 * 365)
                day = wanted if wanted <= self._as_of else self._day_between(of_age, self._as_of)
                if self._shape.kind is FamilyKind.ADOPTED_CHILD:
                    day = min(day, self._day_of_adoption() - 365 * _DAY)
            found[couple] = self._no_later(day)
        return found

    def _divorces(self, weddings: dict[Couple, dt.date]) -> dict[Couple, dt.date]:
        found = {}
        for couple in self._shape.couples:
            if not couple.dissolved:
                continue
            earliest = weddings[couple] + 200 * _DAY
            common = [self._born[place] for place in self._children_of(couple.husband)]
            earliest = max([earliest, *(born + 200 * _DAY for born in common)])
            next_weddings = [
                weddings[other] - 30 * _DAY
                for other in self._shape.couples
                if other is not couple and couple.wife == other.wife
            ]
            latest = min([self._as_of, *next_weddings])
            found[couple] = self._day_between(earliest, latest)
        return found

    # ------------------------------------------------------------ deaths

    def _deaths(self, weddings: dict[Couple, dt.date]) -> dict[int, dt.date]:
        found: dict[int, dt.date] = {}
        for place, member in enumerate(self._shape.members):
            if not member.dead:
                continue
            earliest = max(
                [years_after(self._born[place], MARRIAGE_AGE_YEARS)]
                + [self._born[child] + 30 * _DAY for child in self._children_of(place)]
                + [weddings[couple] + _DAY for couple in weddings if place in (couple.husband, couple.wife)]
            )
            latest = self._as_of - 100 * _DAY
            wards = [self._born[ward] for ward, _ in self._members("ward")]
            if wards:
                # orphaned as children: even the eldest was under age
                latest = min(latest, years_after(min(wards), MAJORITY_YEARS) - 365 * _DAY)
                if place != 0:
                    earliest = max([earliest, *found.values()])
            # people mostly die old: never before the last third of the time that is possible without wards
            elif latest > earliest:
                earliest += (latest - earliest) * 2 // 3
            found[place] = self._day_between(earliest, max(earliest, latest))
        return found

    # ------------------------------------------------------------ births

    def _births(self) -> list[Birth]:
        found = []
        for place, member in enumerate(self._shape.members):
            without_parents_here = member.mother is None and member.father is None
            if without_parents_here and member.role != "adopted":
                continue
            found.append(
                Birth(
                    child=self._iins[place],
                    mother=None if member.mother is None else self._iins[member.mother],
                    father=None if member.father is None else self._iins[member.father],
                    registered_on=self._no_later(self._born[place] + self._days(2, 55)),
                    record_number=self._record("B", place),
                )
            )
        return found

    # ------------------------------------------------------------ guardianship and adoption

    def _day_of_adoption(self) -> dt.date:
        """Between half a year of age and a year later: the same day whenever asked, so no dice."""
        child, _ = self._members("adopted")[0]
        return self._born[child] + dt.timedelta(days=200 + self._number % 300)

    def _guardianships(self, deaths: dict[int, dt.date]) -> list[Guardianship]:
        authority = self._dice.pick(_AUTHORITIES)
        found = []
        for place, member in enumerate(self._shape.members):
            if member.role == "adopted":
                found += [
                    Guardianship(
                        kind="adoption",
                        ward=self._iins[place],
                        guardian=self._iins[parent],
                        act_number=self._record("A", parent),
                        act_date=self._day_of_adoption(),
                        authority=authority,
                        valid_to=None,
                    )
                    for parent, _ in self._members("adoptive_mother", "adoptive_father")
                ]
            if member.role == "ward":
                guardian, _ = self._members("guardian")[0]
                orphaned_on = max(deaths[parent] for parent in (member.mother, member.father) if parent is not None)
                act_date = self._no_later(max(orphaned_on, self._born[place]) + self._days(10, 60))
                is_trusteeship = self._as_of >= years_after(self._born[place], TRUSTEESHIP_AGE_YEARS)
                found.append(
                    Guardianship(
                        kind="trusteeship" if is_trusteeship else "guardianship",
                        ward=self._iins[place],
                        guardian=self._iins[guardian],
                        act_number=self._record("G", place),
                        act_date=act_date,
                        authority=authority,
                        # at fourteen the guardian becomes trustee without a new act, so it ends with majority
                        valid_to=years_after(self._born[place], MAJORITY_YEARS),
                    )
                )
        return found

    # ------------------------------------------------------------ names

    def _names(self, weddings: dict[Couple, dt.date]) -> list[tuple[str, str, str]]:
        """(surname, name, patronymic) of each member."""
        surnames: dict[int, tuple[str, str]] = {}
        given: dict[int, str] = {}
        patronymics: dict[int, str] = {}
        namings: dict[int, Naming] = {}
        for place, member in enumerate(self._shape.members):
            naming = namings[place] = FOREIGN if member.role == "foreigner" else self._naming
            surnames[place] = naming.surname(self._dice)
            given[place] = self._given_name(naming, member, given)
            patronymics[place] = naming.patronymic(self._dice.pick(naming.male), member.sex)
        # elders come first in a shape except where a parent follows the child: two passes settle both
        for _ in range(2):
            for couple in weddings:
                if not couple.dissolved:
                    surnames[couple.wife] = surnames[couple.husband]
            for place, member in enumerate(self._shape.members):
                if member.father is not None:
                    surnames[place] = surnames[member.father]
                    patronymics[place] = namings[place].patronymic(given[member.father], member.sex)
                elif member.role == "adopted":
                    adoptive, _ = self._members("adoptive_father")[0]
                    surnames[place] = surnames[adoptive]
                    patronymics[place] = namings[place].patronymic(given[adoptive], member.sex)
                elif member.mother is not None and member.role == "child":
                    surnames[place] = surnames[member.mother]
        return [
            (surnames[place][0 if member.sex is Sex.MALE else 1], given[place], patronymics[place])
            for place, member in enumerate(self._shape.members)
        ]

    def _given_name(self, naming: Naming, member: Member, taken: dict[int, str]) -> str:
        name = naming.given(self._dice, member.sex)
        while name in taken.values():  # within a family nobody shares a name, so that a demo can be read
            name = naming.given(self._dice, member.sex)
        return name

    # ------------------------------------------------------------ disabilities

    def _disabilities(self, deaths: dict[int, dt.date]) -> dict[int, Disability]:
        found = {}
        for place, member in enumerate(self._shape.members):
            adult_on = years_after(self._born[place], MAJORITY_YEARS)
            if member.role == "disabled_child" and adult_on > self._as_of:
                found[place] = self._child_disability(place, adult_on)
            elif member.role == "disabled" and self._shape.kind is FamilyKind.DISABLED_FOR_A_PERIOD:
                found[place] = self._adult_disability(place, adult_on, years=5)
            elif member.role in ("disabled", "disabled_child"):
                found[place] = self._adult_disability(place, adult_on, years=None)
            elif member.role != "guardian" and place not in deaths and adult_on < self._as_of and self._dice.percent(2):
                found[place] = self._adult_disability(place, adult_on, years=self._dice.pick((1, 2, 5, None)))
        return found

    def _child_disability(self, place: int, adult_on: dt.date) -> Disability:
        found_on = self._day_between(self._born[place] + 90 * _DAY, self._as_of)
        return Disability("child", "инвалид с детства", found_on, adult_on, self._record("C", place))

    def _adult_disability(self, place: int, adult_on: dt.date, *, years: int | None) -> Disability:
        group = self._dice.pick(("1", "2", "2", "3", "3"))
        if years is None:
            valid_from, valid_to = self._day_between(adult_on, self._as_of), None
        else:
            # found within the last year; a period of one year may be over soon after the reference day
            valid_from = max(adult_on, self._as_of - self._days(30, 330))
            valid_to = years_after(valid_from, years)
        return Disability(group, self._dice.pick(_REASONS), valid_from, valid_to, self._record("C", place))
