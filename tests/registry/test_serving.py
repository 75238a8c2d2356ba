"""Standings for those who are asked: what the cache answers is what the facts answer, for many people at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Connection, Engine, event, insert

from gateway import prepared
from gateway.database import reading, writing
from gateway.errors import EditionNotInForce
from gateway.model import Iin
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.serving import Asked, Found, computed_standings_of, standings_of
from gateway.registry.spans import Basis
from gateway.registry.store import standing_of
from gateway.registry.tables import PROVISIONAL_ENTRY, TECHNICAL_FAILURE
from gateway.registry.touched import touch
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, removed, take

PEOPLE = 30
NOBODY = 99


def on(day: int) -> dt.date:
    return LAW.local_day(at(day))


def asked(day: int, numbers: Sequence[int] = range(PEOPLE)) -> list[Asked]:
    return [Asked(Iin(person(number)), on(day), at(day)) for number in numbers]


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What was sent to the store meanwhile, but for the beginnings of transactions."""
    sent: list[str] = []

    def heard(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    def prepared_heard(connection: Connection, calls: Sequence[prepared.Call], *, commit: bool = False) -> Any:
        sent.extend(statement.text for statement, _ in calls)
        return genuine(connection, calls, commit=commit)

    genuine = prepared.run_together
    event.listen(engine, "before_cursor_execute", heard)
    try:
        with patch.object(prepared, "run_together", prepared_heard):
            yield sent
    finally:
        event.remove(engine, "before_cursor_execute", heard)


def payments(number: int, months: int) -> Iterator[dict[str, str]]:
    """As many months up to February 2026, each paid for on the 25th of the month after it."""
    for back in range(months):
        year, month = divmod(2026 * 12 + 1 - back, 12)
        after_year, after = divmod(2026 * 12 + 2 - back, 12)
        yield {
            "iin": person(number),
            "period": f"{year}-{month + 1:02}",
            "reference": f"{number}-{back}",
            "full_name": "Somebody",
            "payer_name": "An employer",
            "received_date": min(f"{after_year}-{after + 1:02}-25", "2026-03-01"),
            "amount": "1000",
            "purpose_code": "122",
        }


@pytest.fixture
def country(engine: Engine, tmp_path: Path) -> Engine:
    """Lives of every kind of fact, computed on the first day."""
    people = [
        removed(pensioner(number), f"2026-0{1 + number % 3}-01") if number % 4 == 3 else pensioner(number)
        for number in range(12)
    ]
    people.append(removed(pensioner(12), "2026-02-20", "death"))
    people.append({**pensioner(0), "category": "person_with_disability"})
    take(engine, csv(tmp_path / "categories.csv", people))
    paid = [
        one for number, months in ((13, 12), (14, 40), (15, 62), (3, 15), (16, 3)) for one in payments(number, months)
    ]
    take(engine, csv(tmp_path / "paid.csv", paid, RecordKind.PAYMENTS), feed="payments", scope=Scope.CHANGES)
    serving = [{"iin": person(number)} for number in (17, 18, 13)]
    take(engine, csv(tmp_path / "mod.csv", serving, RecordKind.MILITARY), feed="military_mod")
    listed = [{"iin": person(19), "first_day": "2026-01-10"}, {"iin": person(20), "first_day": "2026-03-05"}]
    take(engine, csv(tmp_path / "treaty.csv", listed, RecordKind.TREATY), feed="treaty_foreigner")
    with writing(engine) as connection:
        entry = {"iin": person(21), "category": "pension_recipient", "applied": on(1), "documents": None}
        connection.execute(insert(PROVISIONAL_ENTRY), {**entry, "evidence": "entry", "received_at": at(1)})
        touch(connection, [person(21)], at(1))
    recompute_due(engine, day=on(1), known_at=at(1), law=LAW)
    return engine


def both(connection: Connection, questions: Sequence[Asked]) -> Sequence[Found]:
    """What is answered, and that the facts alone say the same."""
    answers = standings_of(connection, questions, LAW)
    assert answers == computed_standings_of(connection, questions, LAW)
    return answers


def test_the_cache_answers_as_the_facts_do_on_every_day(country: Engine) -> None:
    for day in range(1, 140, 3):
        recompute_due(country, day=on(day), known_at=at(day), law=LAW)
        with reading(country) as connection:
            both(connection, asked(day))
            # nobody has computed anything for these days yet
            both(connection, asked(day + 2))


def test_one_statement_answers_for_all_of_them(country: Engine) -> None:
    known = [number for number in range(PEOPLE) if number < 22]
    with reading(country) as connection, statements(country) as sent:
        answers = standings_of(connection, asked(1, known), LAW)
    assert len(sent) == 1
    assert {found.standing.basis for found in answers if found.standing} >= {
        Basis.REPUBLICAN_CATEGORY,
        Basis.RETENTION_STATE,
        Basis.PAYER,
        Basis.MILITARY_EXEMPT,
        Basis.PROVISIONAL,
        Basis.NONE,
    }


def test_a_second_statement_answers_for_all_whom_the_cache_does_not_know(country: Engine) -> None:
    with reading(country) as connection:
        computed_standings_of(connection, asked(1), LAW)  # the state of the country is read once
        with statements(country) as sent:
            standings_of(connection, asked(200), LAW)
    assert len(sent) == 2


def test_of_whom_nothing_was_heard_there_is_no_answer(country: Engine) -> None:
    with reading(country) as connection:
        (found,) = both(connection, asked(1, [NOBODY]))
        assert found == Found(heard_of=False, standing=None)
        # the list came at noon of the first day
        (early,) = both(connection, [replace(asked(1, [0])[0], known_at=at(1) - dt.timedelta(seconds=1))])
        assert early == found
        assert standings_of(connection, [], LAW) == computed_standings_of(connection, [], LAW) == []
        alone = standing_of(connection, Iin(person(NOBODY)), as_of=on(1), known_at=at(1), law=LAW)
        assert (alone.insured, alone.evidence) == (False, ())


def test_no_edition_judges_the_day(country: Engine) -> None:
    with reading(country) as connection:
        early = [replace(one, as_of=dt.date(2025, 12, 31)) for one in asked(1, [0, NOBODY])]
        assert both(connection, early) == [Found(heard_of=True, standing=None), Found(heard_of=False, standing=None)]
        with pytest.raises(EditionNotInForce):
            standing_of(connection, Iin(person(0)), as_of=early[0].as_of, known_at=at(1), law=LAW)


def test_what_was_just_heard_is_in_the_answer(country: Engine, tmp_path: Path) -> None:
    died = removed(pensioner(1), "2026-03-02", "death")
    take(country, csv(tmp_path / "died.csv", [died]), day=3, scope=Scope.CHANGES)
    with reading(country) as connection:
        (found,) = both(connection, asked(3, [1]))
        assert found.standing is not None
        assert not found.standing.insured
        # who asked before that still hears what was known
        (before,) = both(connection, asked(2, [1]))
        assert before.standing is not None
        assert before.standing.insured


def test_what_is_heard_during_a_computation_is_looked_at_by_the_next(country: Engine, tmp_path: Path) -> None:
    died = removed(pensioner(1), "2026-03-02", "death")
    take(country, csv(tmp_path / "died.csv", [died]), day=3, scope=Scope.CHANGES)
    # a computation that began before the list came
    assert recompute_due(country, day=on(2), known_at=at(2), law=LAW).people == 0
    recompute_due(country, day=on(2), known_at=at(2), law=LAW, everybody=True)
    with reading(country) as connection:
        (found,) = both(connection, asked(3, [1]))
    assert found.standing is not None
    assert not found.standing.insured
    assert recompute_due(country, day=on(3), known_at=at(3), law=LAW).changed == 1


def test_another_law_is_not_answered_from_the_cache(country: Engine) -> None:
    chosen = replace(LAW.readings["state_retention_unit"], value="whole_calendar_months")
    other = replace(LAW, readings={**LAW.readings, "state_retention_unit": chosen})
    with reading(country) as connection:
        answers = standings_of(connection, asked(1), other)
        assert answers == computed_standings_of(connection, asked(1), other)
        assert answers != standings_of(connection, asked(1), LAW)


def test_the_state_of_the_country_is_read_again_when_it_changed(country: Engine) -> None:
    question = asked(90, [7])
    with reading(country) as connection:
        (before,) = computed_standings_of(connection, question, LAW)
    assert before.standing is not None
    with writing(country) as connection:
        connection.execute(
            insert(TECHNICAL_FAILURE),
            {
                "system": min(LAW.category("pension_recipient").systems),
                "start": on(40),
                "version": 1,
                "fixed": None,
                "reason": "it is down",
                "evidence": "failure",
                "received_at": at(40),
            },
        )
        touch(connection, [person(number) for number in range(13)], at(40))
    later = [replace(question[0], as_of=on(150), known_at=at(150))]
    with reading(country) as connection:
        (held,) = both(connection, later)
        assert held.standing is not None
        assert held.standing.basis is Basis.FAILURE_HOLD
        # by what was known before the failure was declared
        (early,) = computed_standings_of(connection, [replace(question[0], known_at=at(30))], LAW)
        assert early.standing == replace(before.standing, known_at=on(30))
        with statements(country) as sent:
            computed_standings_of(connection, later, LAW)
        assert len(sent) == 1
