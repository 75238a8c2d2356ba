"""Invented lives, and the two evaluators compared over them.

    python -m tests.registry.lives --lives 100000

Each life is asked about some days by some knowledge; the rules and the oracle (tests/registry/oracle.py) must agree on
insured, basis, category and budget, on the end of the run of insured days, and on the day of the next change.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import sys
import time
from pathlib import Path

from gateway.registry.days import month_of
from gateway.registry.facts import (
    CategoryRecord,
    ConsumerFacts,
    Death,
    ListedAs,
    MilitaryEvent,
    PayerType,
    Payment,
    ProvisionalEntry,
    Removal,
    ResidencyTold,
    StateStop,
    SubmissionKind,
    TechnicalFailure,
    TreatyInterval,
)
from gateway.registry.standing import standing
from gateway.regulation.law import CategoryList, Law, Residency
from gateway.regulation.reading import load_law
from tests.registry.oracle import Oracle

LAW = load_law(Path(__file__).parents[2] / "config" / "regulation")
STATE_PAID = sorted(slug for slug, one in LAW.categories.items() if one.list.state_paid)
CATEGORIES = sorted(LAW.categories)
SYSTEMS = [
    "fund_is",
    "mem_corp",
    "enbek_is",
    "gbdfl",
    "gzhbm_is",
    "qazh_oad",
    "migration_is",
    "family_card",
    "mod",
    "mia",
]
DOCUMENTS = sorted(
    {one for each in LAW.categories.values() if each.documents for group in each.documents.groups for one in group}
)
ONE_DAY = dt.timedelta(days=1)
FIRST, LAST = dt.date(2025, 10, 1), dt.date(2027, 12, 31)
Life = tuple[ConsumerFacts, tuple[TechnicalFailure, ...]]


def some_day(rng: random.Random, first: dt.date = FIRST, last: dt.date = LAST) -> dt.date:
    return first + dt.timedelta(days=rng.randint(0, max(0, (last - first).days)))


def soon(rng: random.Random, after: dt.date, days: int = 200) -> dt.date:
    return after + dt.timedelta(days=rng.choice([0, 1, rng.randint(0, 20), rng.randint(0, days)]))


def life(rng: random.Random) -> Life:
    """A life in which several rules meet; much is left out of each."""
    residencies = _residencies(rng)
    temporary = any(one.residency.value.startswith("temp") for one in residencies)
    facts = ConsumerFacts(
        records=tuple(_record(rng, number) for number in range(rng.choice([0, 1, 1, 2, 3]))),
        deaths=(_death(rng),) if rng.random() < 0.04 else (),
        residencies=residencies,
        payments=_payments(rng) if rng.random() < 0.5 else (),
        provisional=tuple(_entry(rng, number) for number in range(rng.choice([0, 0, 0, 1, 2]))),
        military=_submissions(rng) if rng.random() < 0.25 else (),
        treaty=_listed(rng) if temporary else (),
        state_stops=_stops(rng) if rng.random() < 0.25 else (),
    )
    return facts, tuple(_failure(rng, number) for number in range(rng.choice([0, 0, 1, 2, 3])))


def _residencies(rng: random.Random) -> tuple[ResidencyTold, ...]:
    """Mostly nothing or one word for all days; some who came, stayed, and became citizens, told at once or later."""
    if rng.random() < 0.4:
        return ()
    told = []
    first = None if rng.random() < 0.8 else some_day(rng)
    for number in range(rng.choice([1, 1, 1, 2, 3, 4])):
        residency = rng.choice([*Residency, Residency.TEMP_FOREIGNER])
        arrived = FIRST if first is None and rng.random() < 0.7 else soon(rng, first or FIRST, 60)
        told.append(ResidencyTold(residency, first, "gbdfl", arrived, f"residency-{number}"))
        # a word of the same day corrects the one before
        first = soon(rng, first or FIRST, 300)
    return tuple(told)


def _record(rng: random.Random, number: int) -> CategoryRecord:
    assigned = some_day(rng)
    removal = None
    if rng.random() < 0.6:
        removed = soon(rng, assigned)
        reason = "death" if rng.random() < 0.03 else "left"
        # a removal may be told before its day
        arrived = removed + dt.timedelta(days=rng.choice([0, 0, rng.randint(-30, 150)]))
        removal = Removal(removed, "enbek_is", reason, arrived, f"removal-{number}")
    arrived = assigned + dt.timedelta(days=rng.choice([0, 0, rng.randint(0, 60)]))
    pool = CATEGORIES if rng.random() < 0.05 else STATE_PAID
    category = rng.choice([*pool, "maternity_childcare_leave", "child_under3_carer_unemployed"])
    return CategoryRecord(category, assigned, "enbek_is", arrived, f"record-{number}", removal)


def _death(rng: random.Random) -> Death:
    died = some_day(rng)
    return Death(died, "zags", soon(rng, died), "death")


def _payments(rng: random.Random) -> tuple[Payment, ...]:
    payer = PayerType.ART14_2_9 if rng.random() < 0.25 else PayerType.GENERAL
    made: list[Payment] = []
    length = rng.choice([1, 3, 12, 13, 24, 59, 60, 61, 62, rng.randint(1, 70)])
    first = month_of(some_day(rng)) - rng.randint(max(0, length - 12), length)
    holes = rng.choice([0, 0, 0, 0.03, 0.1])
    for period in range(first, first + length):
        if rng.random() < holes:
            continue
        made.append(_payment(rng, period, payer))
    for _ in range(rng.choice([0, 0, 1, 3])):
        # what was missing, ahead, or for somebody else's purpose code
        period = first + rng.randint(-2, length + 8)
        made.append(_payment(rng, period, rng.choice([payer, payer, *PayerType]), lump=rng.random() < 0.5))
    if rng.random() < 0.2:
        # everything at once
        on = some_day(rng)
        start = month_of(on) - rng.choice([11, 12, 13])
        arrives = on if rng.random() < 0.8 else soon(rng, on, 40)
        made += [Payment(start + n, on, arrives, f"lump-{n}", payer) for n in range(rng.choice([11, 12, 13, 20]))]
    rng.shuffle(made)
    return tuple(made)


def _payment(rng: random.Random, period: int, payer: PayerType, *, lump: bool = False) -> Payment:
    due = dt.date((period + 1) // 12, (period + 1) % 12 + 1, rng.choice([1, 5, 25, 28]))
    received = some_day(rng, due, due + dt.timedelta(days=150)) if lump else due
    if rng.random() < 0.03:
        received += dt.timedelta(days=rng.choice([10, 40, 70]))
    arrived = received + dt.timedelta(days=rng.choice([3, 30]) if rng.random() < 0.05 else 0)
    return Payment(period, received, arrived, f"payment-{period}", payer)


def _entry(rng: random.Random, number: int) -> ProvisionalEntry:
    applied = some_day(rng)
    documents = None if rng.random() < 0.7 else frozenset(rng.sample(DOCUMENTS, rng.randint(0, 8)))
    arrived = soon(rng, applied, 5)
    return ProvisionalEntry(rng.choice(CATEGORIES), applied, arrived, f"application-{number}", documents)


def _submissions(rng: random.Random) -> tuple[MilitaryEvent, ...]:
    events = []
    for body in rng.choice([["mod"], ["mod", "mia"]]):
        date = some_day(rng)
        for number in range(rng.randint(1, 4)):
            kind = rng.choice(list(SubmissionKind))
            full = kind is SubmissionKind.FULL
            person = rng.choice([ListedAs.LISTED, ListedAs.ABSENT] if full else [ListedAs.ADDED, ListedAs.REMOVED])
            events.append(MilitaryEvent(body, date, kind, person, f"{body}-{number}", rng.random() < 0.1))
            date = soon(rng, date, 100)
    return tuple(events)


def _listed(rng: random.Random) -> tuple[TreatyInterval, ...]:
    intervals = []
    first = some_day(rng, FIRST, dt.date(2026, 8, 1))
    for number in range(rng.choice([0, 1, 1, 2])):
        if rng.random() < 0.3:
            intervals.append(TreatyInterval(first, soon(rng, first, 20), f"listed-{number}"))
            break
        off = soon(rng, first, 400)
        intervals.append(
            TreatyInterval(first, soon(rng, first, 20), f"listed-{number}", off, soon(rng, off, 20), f"off-{number}")
        )
        first = soon(rng, off, 100)
    return tuple(intervals)


def _stops(rng: random.Random) -> tuple[StateStop, ...]:
    stops = []
    for number in range(rng.choice([1, 1, 2, 3])):
        start, budget = (
            some_day(rng),
            rng.choice([CategoryList.REPUBLICAN, CategoryList.REPUBLICAN, CategoryList.LOCAL]),
        )
        if rng.random() < 0.3:
            stops.append(StateStop(budget, start, soon(rng, start, 30), f"stop-{number}"))
        else:
            resumed = soon(rng, start)
            stops.append(
                StateStop(
                    budget, start, soon(rng, start, 30), f"stop-{number}", resumed, soon(rng, resumed, 30), "again"
                )
            )
    return tuple(stops)


def _failure(rng: random.Random, number: int) -> TechnicalFailure:
    system, start = rng.choice([*SYSTEMS, *["fund_is", "mem_corp"] * 3]), some_day(rng)
    if rng.random() < 0.5:
        return TechnicalFailure(system, start, soon(rng, start, 10), f"failure-{number}")
    fixed = soon(rng, start, 90)
    return TechnicalFailure(
        system, start, soon(rng, start, 10), f"failure-{number}", fixed, soon(rng, fixed, 10), f"fix-{number}"
    )


# ---------------------------------------------------------------- the comparison


def disagreement(person: Life, as_of: dt.date, known_at: dt.date, law: Law = LAW) -> str | None:
    """What the rules and the oracle say differently about one person and one day; None: nothing."""
    facts, failures = person
    got = standing(facts, as_of=as_of, known_at=known_at, law=law, failures=failures)
    oracle = Oracle(facts, failures, known_at, law)
    wanted = oracle.answer(as_of)
    if (got.insured, str(got.basis), got.category, got.budget) != wanted:
        return f"on {as_of}: rules {got.insured, str(got.basis), got.category, got.budget}, oracle {wanted}"
    if got.insured:
        if got.valid_until is None:
            if not oracle.insured(dt.date(2050, 1, 1)):
                return f"on {as_of}: the rules see no end, the oracle does"
        else:
            if oracle.insured(got.valid_until + ONE_DAY):
                return f"on {as_of}: the oracle goes on after {got.valid_until}"
            middle = as_of + (got.valid_until - as_of) // 2
            for day in {as_of, middle, got.valid_until}:
                if not oracle.insured(day):
                    return f"on {as_of}: the oracle has a hole on {day}, before {got.valid_until}"
    elif got.valid_until is not None:
        return f"on {as_of}: an end without a right"
    change = got.next_change
    if change is not None:
        after = standing(facts, as_of=change, known_at=known_at, law=law, failures=failures)
        if (*wanted, got.valid_until) == (*oracle.answer(change), after.valid_until):
            return f"on {as_of}: nothing changes on {change}"
        eve = change - ONE_DAY
        if eve > as_of and oracle.answer(eve) != wanted:
            return f"on {as_of}: something changes before {change}"
    elif oracle.answer(as_of + dt.timedelta(days=900)) != wanted:
        return f"on {as_of}: a change was not seen"
    return None


def questions(rng: random.Random) -> tuple[dt.date, dt.date]:
    """A day, and by what was known."""
    as_of = some_day(rng, dt.date(2026, 1, 1), LAST)
    known_at = rng.choice([as_of, as_of, some_day(rng), dt.date(2029, 1, 1)])
    return as_of, known_at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first life; each number is one life")
    options = parser.parse_args()
    started, insured = time.monotonic(), 0
    for number in range(options.first, options.first + options.lives):
        rng = random.Random(number)
        person = life(rng)
        for _ in range(2):
            as_of, known_at = questions(rng)
            found = disagreement(person, as_of, known_at)
            if found is not None:
                print(f"life {number}, known at {known_at}, {found}\n{person}")
                return 1
            insured += standing(person[0], as_of=as_of, known_at=known_at, law=LAW, failures=person[1]).insured
    print(
        f"{options.lives} lives, {2 * options.lives} questions, {insured} of them insured: both evaluators agree "
        f"({time.monotonic() - started:.0f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
