"""Invented families for the tests of the mappers, and the reader of a sample's query.toml."""

import datetime as dt
import tomllib
from pathlib import Path

from hypothesis import strategies as st

from gateway.model import (
    Birth,
    Citizen,
    Consent,
    Death,
    Disability,
    Guardianship,
    Household,
    Iin,
    Marriage,
    Query,
    Sex,
    iin_control_digit,
)

TODAY = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.timezone(dt.timedelta(hours=5)))


def iin(born: dt.date, sex: Sex, serial: int) -> Iin:
    """An invented number with a valid control digit: the first possible serial from `serial` on."""
    century = {1800: 1, 1900: 3, 2000: 5}[born.year // 100 * 100] + (sex is Sex.FEMALE)
    while True:
        eleven = f"{born:%y%m%d}{century}{serial % 10_000:04d}"
        digit = iin_control_digit(eleven)
        if digit is not None:
            return Iin(f"{eleven}{digit}")
        serial += 1


def ask(subject: Iin, *facts: str, message_id: str = "q-1") -> Query:
    return Query(subject=subject, message_id=message_id, created_at=NOW, facts=facts, requester="TESTER")


def sample_query(case: Path) -> tuple[Query, dict]:
    """The query of a sample, and what the sample says about itself."""
    values = tomllib.loads((case / "query.toml").read_text(encoding="utf-8"))
    consent = values.get("consent")
    query = Query(
        subject=Iin(values["iin"]),
        message_id=values["message_id"],
        created_at=values["created_at"],
        facts=tuple(values.get("facts", ())),
        requester=values["requester"],
        consent=Consent(consent["token"], consent["public_key"]) if consent else None,
    )
    return query, values["sample"]


names = st.text("АӘБВГҒДЕЖЗИЙКҚЛМНҢОӨПРСТУҰҮФХҺЦЧШЫІЭЮЯ", min_size=1, max_size=12)


@st.composite
def households(draw: st.DrawFn) -> Household:
    """A couple, children, and whatever happened to them, in an order that is possible."""

    def person(born: dt.date, sex: Sex) -> Iin:
        return iin(born, sex, draw(st.integers(0, 9000)))

    def day(since: dt.date) -> dt.date:
        return draw(st.dates(since, TODAY))

    man = person(draw(st.dates(dt.date(1950, 1, 1), dt.date(1995, 1, 1))), Sex.MALE)
    woman = person(draw(st.dates(dt.date(1950, 1, 1), dt.date(1995, 1, 1))), Sex.FEMALE)
    wedding = day(dt.date(2013, 1, 1) if draw(st.booleans()) else dt.date(1996, 1, 1))
    marriage = Marriage(man, woman, wedding, "AM-1", draw(st.none() | st.dates(wedding, TODAY)))
    births, guardianships, deaths = [], [], []
    for place in range(draw(st.integers(0, 3))):
        child = person(day(dt.date(2000, 1, 1)), draw(st.sampled_from(Sex)))
        if child in (man, woman) or child in {birth.child for birth in births}:
            continue
        births.append(
            Birth(
                child,
                woman if draw(st.booleans()) else None,
                man if draw(st.booleans()) else None,
                draw(st.dates(child.birth_date, min(TODAY, child.birth_date + dt.timedelta(days=900)))),
                f"AB-{place}",
            )
        )
    for place, birth in enumerate(births):
        if draw(st.booleans()):
            act_date = draw(st.dates(birth.child.birth_date, TODAY))
            kind = draw(st.sampled_from(["guardianship", "trusteeship", "adoption"]))
            until = draw(st.none() | st.dates(act_date + dt.timedelta(days=1), dt.date(2050, 1, 1)))
            guardianships.append(Guardianship(kind, birth.child, woman, f"№ {place}", act_date, "Әкімдік", until))
    if draw(st.booleans()):
        died_on = day(dt.date(2000, 1, 1))
        deaths.append(Death(man, died_on, draw(st.dates(died_on, TODAY)), "AD-1"))
    citizens = []
    for person_iin in (man, woman, *(birth.child for birth in births)):
        disability = None
        if draw(st.booleans()):
            begin = day(max(person_iin.birth_date, dt.date(2000, 1, 1)))
            end = draw(st.none() | st.dates(begin + dt.timedelta(days=1), dt.date(2060, 1, 1)))
            disability = Disability(draw(st.sampled_from(["1", "2", "3", "child"])), "жалпы ауру", begin, end, "MS-1")
        died_on = next((death.died_on for death in deaths if death.person == person_iin), None)
        citizens.append(Citizen(person_iin, draw(names), draw(names), draw(names | st.just("")), died_on, disability))
    return Household(tuple(citizens), tuple(births), (marriage,), tuple(deaths), tuple(guardianships))
