"""The invented people hold together: identifiers, ages, families, registers."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.model import Household, Iin, Sex, iin_control_digit
from gateway.sandbox.family_events import years_after
from gateway.sandbox.family_shapes import FamilyKind
from gateway.sandbox.population import REFERENCE_DAY, SPAN_DAYS, VARIANTS, Population

SEEDS = st.integers(min_value=0, max_value=2**64)
FAMILIES = st.integers(min_value=0, max_value=6_000_000)
LARGE = 20_000_000
_EVERYONE = Population(LARGE, 3)


@pytest.fixture(scope="module")
def families() -> tuple[Household, ...]:
    """Every kind of family many times over: three turns of the first thousand variants."""
    return tuple(islice(Population(12_000, seed=11).households(), 3000))


def test_every_iin_is_valid_and_nobody_shares_one(families: tuple[Household, ...]) -> None:
    people = [c.iin for household in families for c in household.citizens]
    assert len(set(people)) == len(people)
    for iin in people:
        assert iin_control_digit(iin.value[:11]) == int(iin.value[11])


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, family=FAMILIES)
def test_anyone_of_twenty_million_is_found_by_the_iin_alone(seed: int, family: int) -> None:
    population = Population(LARGE, seed)
    family %= population.families
    household = population.household(family)
    for citizen in household.citizens:
        assert population.family_of(citizen.iin) == family
        assert population.find(citizen.iin) == household


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, people=st.integers(1, 3000), as_of=st.dates(dt.date(2015, 1, 1), dt.date(2040, 1, 1)))
def test_the_same_seed_gives_the_same_people(seed: int, people: int, as_of: dt.date) -> None:
    first, second = Population(people, seed, as_of), Population(people, seed, as_of)
    assert first.families == second.families
    assert first.household(first.families - 1) == second.household(second.families - 1)


def test_another_seed_gives_other_people() -> None:
    assert set(Population(500, 1).persons()).isdisjoint(Population(500, 2).persons())


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, few=st.integers(1, 300), more=st.integers(0, 3000))
def test_fewer_people_are_the_beginning_of_more_people(seed: int, few: int, more: int) -> None:
    small, large = Population(few, seed), Population(few + more, seed)
    assert list(small.persons()) == list(islice(large.persons(), small.people))
    assert small.household(small.families - 1) == large.household(small.families - 1)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, people=st.integers(1, 10_000))
def test_a_population_has_the_people_asked_for_and_keeps_the_last_family_whole(seed: int, people: int) -> None:
    population = Population(people, seed)
    last = len(population.household(population.families - 1).citizens)
    assert people <= population.people < people + last


def test_the_nth_person_is_the_nth_of_the_list() -> None:
    population = Population(4000, 5)
    listed = list(population.persons())
    assert len(listed) == population.people
    assert [population.person(number) for number in range(population.people)] == listed
    for number in (-1, population.people):
        with pytest.raises(IndexError):
            population.person(number)
    with pytest.raises(IndexError):
        population.household(population.families)


def test_a_stranger_is_nobody(families: tuple[Household, ...]) -> None:
    population = Population(100, seed=11)
    inside = set(population.persons())
    outside = [c.iin for household in families for c in household.citizens if c.iin not in inside]
    assert outside
    assert all(population.find(iin) is None for iin in outside)


@settings(max_examples=80, deadline=None)
@given(day=st.dates(dt.date(1900, 1, 1), dt.date(2026, 1, 1)), serial=st.integers(0, 9999), century_bit=st.booleans())
def test_any_valid_iin_is_either_found_in_its_own_family_or_nobody(
    day: dt.date, serial: int, century_bit: bool
) -> None:
    century = (3 if day.year < 2000 else 5) + century_bit
    first_eleven = f"{day:%y%m%d}{century}{serial:04d}"
    control = iin_control_digit(first_eleven)
    if control is None:
        return
    iin = Iin(f"{first_eleven}{control}")
    household = _EVERYONE.find(iin)
    assert household is None or household.citizen(iin) is not None


def test_more_people_than_numbers_is_refused() -> None:
    capacity = SPAN_DAYS * len(list(islice(_members_of_one_turn(), 10_000)))
    Population(capacity, 1)
    with pytest.raises(ConfigurationError, match="can be told apart"):
        Population(capacity + 1, 1)
    with pytest.raises(ConfigurationError, match="at least one"):
        Population(0, 1)


def _members_of_one_turn() -> list[Iin]:
    population = Population(LARGE, 1)
    return [c.iin for family in range(VARIANTS) for c in population.household(family).citizens]


# ---------------------------------------------------------------- life makes sense


def test_the_iin_says_the_sex_and_the_century(families: tuple[Household, ...]) -> None:
    for household in families:
        for marriage in household.marriages:
            assert marriage.husband.sex is Sex.MALE
            assert marriage.wife.sex is Sex.FEMALE
        for birth in household.births:
            assert birth.mother is None or birth.mother.sex is Sex.FEMALE
            assert birth.father is None or birth.father.sex is Sex.MALE
        for citizen in household.citizens:
            assert dt.date(1900, 1, 1) <= citizen.iin.birth_date <= REFERENCE_DAY


def test_parents_are_of_an_age_to_be_parents(families: tuple[Household, ...]) -> None:
    for household in families:
        for birth in household.births:
            if birth.mother is not None:
                age = (birth.child.birth_date - birth.mother.birth_date).days / 365.25
                assert 18 <= age <= 46
            if birth.father is not None:
                assert (birth.child.birth_date - birth.father.birth_date).days / 365.25 >= 18


def test_children_of_one_mother_are_twins_or_a_pregnancy_apart(families: tuple[Household, ...]) -> None:
    for household in families:
        by_mother: dict[Iin, list[dt.date]] = {}
        for birth in household.births:
            if birth.mother is not None:
                by_mother.setdefault(birth.mother, []).append(birth.child.birth_date)
        for days in by_mother.values():
            days.sort()
            assert all((b - a).days == 0 or (b - a).days > 280 for a, b in pairwise(days))


def test_nobody_marries_before_eighteen_or_after_death(families: tuple[Household, ...]) -> None:
    for household in families:
        died = {death.person: death.died_on for death in household.deaths}
        for marriage in household.marriages:
            for spouse in (marriage.husband, marriage.wife):
                assert marriage.registered_on >= years_after(spouse.birth_date, 18)
                assert marriage.registered_on <= died.get(spouse, REFERENCE_DAY)
            if marriage.dissolved_on is not None:
                assert marriage.registered_on < marriage.dissolved_on <= REFERENCE_DAY


def test_nobody_is_married_to_two_at_once(families: tuple[Household, ...]) -> None:
    for household in families:
        for wife in {marriage.wife for marriage in household.marriages}:
            mine = sorted((m for m in household.marriages if m.wife == wife), key=lambda m: m.registered_on)
            for earlier, later in pairwise(mine):
                assert earlier.dissolved_on is not None
                assert earlier.dissolved_on < later.registered_on


def test_no_child_is_born_after_the_death_of_a_parent(families: tuple[Household, ...]) -> None:
    for household in families:
        died = {death.person: death.died_on for death in household.deaths}
        for birth in household.births:
            for parent in (birth.mother, birth.father):
                if parent in died:
                    assert birth.child.birth_date < died[parent]


def test_nothing_happens_after_the_reference_day(families: tuple[Household, ...]) -> None:
    for household in families:
        assert all(b.child.birth_date < b.registered_on <= REFERENCE_DAY for b in household.births)
        assert all(d.died_on <= d.registered_on <= REFERENCE_DAY for d in household.deaths)
        assert all(m.registered_on <= REFERENCE_DAY for m in household.marriages)
        assert all(g.act_date <= REFERENCE_DAY for g in household.guardianships)
        assert all(c.disability.valid_from <= REFERENCE_DAY for c in household.citizens if c.disability)


def test_a_death_is_told_the_same_way_everywhere(families: tuple[Household, ...]) -> None:
    for household in families:
        recorded = {death.person: death.died_on for death in household.deaths}
        assert recorded == {c.iin: c.death_date for c in household.citizens if c.death_date is not None}


def test_orphans_have_a_living_adult_guardian_appointed_after_both_deaths(families: tuple[Household, ...]) -> None:
    wards = 0
    for household in families:
        died = {death.person: death.died_on for death in household.deaths}
        births = {birth.child: birth for birth in household.births}
        for act in household.guardianships:
            guardian = household.citizen(act.guardian)
            assert guardian is not None
            assert guardian.death_date is None
            assert act.act_date >= years_after(act.guardian.birth_date, 18)
            assert act.ward.birth_date < act.act_date < years_after(act.ward.birth_date, 18)
            if act.kind == "adoption":
                assert act.valid_to is None
                continue
            wards += 1
            birth = births[act.ward]
            assert birth.mother is not None
            assert birth.father is not None
            assert act.guardian not in (birth.mother, birth.father)
            assert max(died[birth.mother], died[birth.father]) <= act.act_date
            assert act.valid_to == years_after(act.ward.birth_date, 18)
            assert (act.kind == "guardianship") == (years_after(act.ward.birth_date, 14) > REFERENCE_DAY)
    assert wards > 10


def test_disabilities_fit_the_age(families: tuple[Household, ...]) -> None:
    groups: Counter[tuple[str, bool]] = Counter()
    for household in families:
        for citizen in household.citizens:
            disability = citizen.disability
            if disability is None:
                continue
            groups[disability.group, disability.valid_to is None] += 1
            assert citizen.death_date is None
            of_age = years_after(citizen.iin.birth_date, 18)
            if disability.group == "child":
                assert citizen.iin.birth_date < disability.valid_from < of_age
                assert disability.valid_to == of_age
            else:
                assert disability.valid_from >= of_age
            assert disability.valid_to is None or disability.valid_from < disability.valid_to
    assert {("child", False), *((g, o) for g in "123" for o in (True, False))} == set(groups)


def test_children_carry_their_father_in_surname_and_patronymic(families: tuple[Household, ...]) -> None:
    for household in families:
        for birth in household.births:
            child = household.citizen(birth.child)
            father = household.citizen(birth.father) if birth.father else None
            if child is None or father is None or not child.patronymic:
                continue
            assert child.patronymic.startswith(father.name[:1])  # Пётр: Петрович
            married_daughter = any(m.wife == child.iin and m.dissolved_on is None for m in household.marriages)
            assert married_daughter or child.surname in (father.surname, f"{father.surname}а")


def test_the_names_hold_every_kazakh_letter(families: tuple[Household, ...]) -> None:
    text = "".join(f"{c.surname}{c.name}{c.patronymic}" for h in families for c in h.citizens).lower()
    assert set("әіңғүұқөһ") <= set(text)


def test_record_numbers_are_unique(families: tuple[Household, ...]) -> None:
    numbers = [
        record
        for h in families
        for record in (
            *(b.record_number for b in h.births),
            *(m.record_number for m in h.marriages),
            *(d.record_number for d in h.deaths),
            *(g.act_number for g in h.guardianships),
            *(c.disability.certificate_number for c in h.citizens if c.disability),
        )
    ]
    assert len(set(numbers)) == len(numbers)


def test_there_are_people_from_before_the_registers_began(families: tuple[Household, ...]) -> None:
    assert any(b.registered_on < dt.date(2007, 8, 13) for h in families for b in h.births)
    assert any(m.registered_on < dt.date(2008, 6, 1) for h in families for m in h.marriages)
    assert any(d.registered_on < dt.date(2008, 5, 1) for h in families for d in h.deaths)


# ---------------------------------------------------------------- people worth asking about


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_hundred_people_hold_everyone_worth_asking_about(seed: int) -> None:
    population = Population(100, seed)
    shown = {exhibit.slug: exhibit.iin for exhibit in population.showcase()}
    assert len(shown) == 15
    assert {population.kind(number) for number in range(len(FamilyKind))} == set(FamilyKind)

    def family(slug: str) -> Household:
        found = population.find(shown[slug])
        assert found is not None
        return found

    child = next(b for b in family("child_with_parents").births if b.child == shown["child_with_parents"])
    assert child.mother is not None
    assert child.father is not None
    assert child.registered_on > dt.date(2007, 8, 13)
    disabled = family("disabled_for_a_period").citizen(shown["disabled_for_a_period"])
    assert disabled is not None
    assert disabled.disability is not None
    assert disabled.disability.valid_to is not None
    assert disabled.disability.valid_to > years_after(REFERENCE_DAY, 4)
    ward = family("ward")
    assert any(g.ward == shown["ward"] and g.guardian == shown["guardian"] for g in ward.guardianships)
    assert years_after(shown["ward"].birth_date, 14) > REFERENCE_DAY
    deceased = family("deceased").citizen(shown["deceased"])
    assert deceased is not None
    assert deceased.death_date is not None
    couple = family("husband").marriages[0]
    assert (couple.husband, couple.wife) == (shown["husband"], shown["wife"])
    disabled_child = family("disabled_child").citizen(shown["disabled_child"])
    assert disabled_child is not None
    assert disabled_child.disability is not None
    assert disabled_child.disability.group == "child"
    assert not family("unmarried_mother").marriages
    assert family("divorced").marriages[0].dissolved_on is not None
    adopted = family("adopted")
    assert {g.kind for g in adopted.guardianships} == {"adoption"}
    assert family("older_than_registers").marriages[0].registered_on < dt.date(2008, 6, 1)
    assert population.exhibit("ward") == shown["ward"]


def test_a_tiny_population_shows_only_whom_it_has() -> None:
    population = Population(1, 1)
    shown = population.showcase()
    assert shown
    assert all(population.find(exhibit.iin) is not None for exhibit in shown)
    with pytest.raises(KeyError, match="nobody is shown"):
        population.exhibit("ward")


@pytest.mark.parametrize("people", [1, 100])
def test_other_people_are_others(people: int) -> None:
    population = Population(people, 4)
    for iin in population.persons():
        others = population.others(iin)
        assert others
        assert iin not in others


def test_a_population_never_shows_an_iin_in_its_text() -> None:
    population = Population(50, 1)
    text = repr(population) + repr(population.showcase())
    assert all(iin.value not in text for iin in population.persons())
