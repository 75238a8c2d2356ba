"""First answers copied to those who are alike: the same, to the last column, as computed for each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select

from gateway.database import reading, writing
from gateway.registry import alike, due
from gateway.registry.alike import answer_alike, next_stretch
from gateway.registry.cached import Recomputed, law_digest, recompute
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.people import country_at
from gateway.registry.tables import STANDING, STANDING_TOUCHED, STATE_STOP
from tests.registry.imports.lists import LAW, at, contents, csv, pensioner, person, removed, take


def on(day: int) -> dt.date:
    return LAW.local_day(at(day))


@pytest.fixture
def lists(engine: Engine, tmp_path: Path) -> Engine:
    """People of few kinds, some of whom have more than one record, and all of them waiting for an answer."""
    people = [pensioner(number, assigned_date=f"20{10 + number % 15}-05-01") for number in range(60)]
    for number in range(20, 60):
        days = ("2025-11-30", "2026-02-10", "2026-03-01", "2026-06-01")
        reason = "death" if number % 5 == 0 else "left"
        people[number] = removed(people[number], days[number % 4], reason)
    people[1] = {**people[1], "assigned_source": "family_card"}
    people[2] = {**people[2], "assigned_date": "2026-03-20"}
    people += [{**pensioner(number), "category": "person_with_disability"} for number in (3, 4)]
    take(engine, csv(tmp_path / "categories.csv", people))
    take(engine, csv(tmp_path / "more.csv", [removed(people[5], "2026-03-02")]), scope=Scope.CHANGES, day=2)
    serving = [{"iin": person(6)}, {"iin": person(70)}]
    take(engine, csv(tmp_path / "mod.csv", serving, RecordKind.MILITARY), feed="military_mod")
    return engine


@pytest.mark.parametrize("day", [3, 25, 60, 120])
def test_they_are_the_answers_that_each_would_have_got(
    lists: Engine, day: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(lists) as connection:
        waiting = connection.execute(select(STANDING_TOUCHED)).mappings().all()
    everybody = recompute_due(lists, day=on(day), known_at=at(day), law=LAW, everybody=True)
    each = contents(lists)
    with writing(lists) as connection:
        connection.execute(delete(STANDING))
        connection.execute(insert(STANDING_TOUCHED), [dict(row) for row in waiting])
    monkeypatch.setattr(alike, "PAGE", 25)
    monkeypatch.setattr(alike, "WORTH_IT", 1)
    computed: list[str] = []

    def alone(connection: Connection, iins: Sequence[str], **same: Any) -> Recomputed:
        computed.extend(iins)
        return recompute(connection, iins, **same)

    monkeypatch.setattr(due, "recompute", alone)
    assert recompute_due(lists, day=on(day), known_at=at(day), law=LAW, processes=1) == everybody
    assert contents(lists) == each
    # two records, two versions of one, a serviceman of two lists and one of one; a category that has not begun
    assert set(computed) == {person(number) for number in ((3, 4, 5, 6, 70, 2) if day == 3 else (3, 4, 5, 6, 70))}


def test_few_people_are_computed_alone(lists: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading(lists) as connection:
        country = country_at(connection, at(3), LAW)
        assert next_stretch(connection, "", country) is None
        monkeypatch.setattr(alike, "WORTH_IT", 61)
        assert next_stretch(connection, "", country) == alike.Stretch(
            "", max(person(number) for number in (*range(60), 70))
        )
        monkeypatch.setattr(alike, "WORTH_IT", 62)
        assert next_stretch(connection, "", country) is None


def test_nobody_is_alike_while_the_state_does_not_pay(lists: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "WORTH_IT", 1)
    with writing(lists) as connection:
        row = {"budget": "republican", "start": on(2), "version": 1, "resumed": None, "evidence": "order"}
        connection.execute(insert(STATE_STOP), {**row, "received_at": at(2)})
    with reading(lists) as connection:
        assert next_stretch(connection, "", country_at(connection, at(3), LAW)) is None
        # by what was known before that they are
        assert next_stretch(connection, "", country_at(connection, at(1), LAW)) is not None


def test_who_has_an_answer_is_not_filled(lists: Engine) -> None:
    recompute_due(lists, day=on(3), known_at=at(3), law=LAW)
    before = contents(lists)
    with writing(lists) as connection:
        country = country_at(connection, at(3), LAW)
        stretch = alike.Stretch("", "9" * 12)
        name = law_digest(LAW)
        assert answer_alike(connection, stretch, as_of=on(3), country=country, law=LAW, law_name=name) == 0
    assert contents(lists) == before
