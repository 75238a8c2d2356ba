"""The cached standing: the same as computed from facts on any day, and recomputed exactly when it changes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from gateway.database import reading, writing
from gateway.errors import EditionNotInForce
from gateway.model import Iin
from gateway.registry import due
from gateway.registry.cached import CachedStanding, Recomputed, history_of_answers, law_digest, said_on
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import Scope
from gateway.registry.store import standing_of
from gateway.registry.tables import STANDING, STANDING_TOUCHED
from gateway.registry.touched import touch
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, removed, take

DAY = dt.timedelta(days=1)


def on(day: int) -> dt.date:
    return LAW.local_day(at(day))


def night(engine: Engine, day: int, **more: bool) -> Recomputed:
    return recompute_due(engine, day=on(day), known_at=at(day), law=LAW, **more)


def answers(engine: Engine, number: int = 1) -> tuple[CachedStanding, ...]:
    with reading(engine) as connection:
        return history_of_answers(connection, Iin(person(number)))


def test_only_those_are_computed_of_whom_something_was_heard(engine: Engine, tmp_path: Path) -> None:
    people = [pensioner(number) for number in range(10)]
    take(engine, csv(tmp_path / "1.csv", people))
    assert night(engine, 1) == Recomputed(10, 10)
    assert night(engine, 2) == Recomputed(0, 0)
    people[1] = removed(people[1], "2026-03-03")
    take(engine, csv(tmp_path / "2.csv", people), day=3)
    assert night(engine, 3) == Recomputed(1, 1)
    assert night(engine, 3, everybody=True) == Recomputed(10, 0)


def test_an_answer_changes_by_itself_on_its_day(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [removed(pensioner(1), "2026-03-01")]))
    night(engine, 1)
    # three months: the first of June is the last day
    assert night(engine, 93) == Recomputed(0, 0)
    assert night(engine, 94) == Recomputed(1, 1)
    assert [(one.as_of, one.insured) for one in answers(engine)] == [(on(1), True), (on(94), False)]
    said = said_on(answers(engine), on(60))
    assert said is not None
    assert (said.basis, said.valid_until) == ("retention_state", dt.date(2026, 6, 1))
    assert said_on(answers(engine), on(0)) is None


def test_the_cache_says_every_day_what_the_facts_say(engine: Engine, tmp_path: Path) -> None:
    people = [
        pensioner(1),
        removed(pensioner(2), "2026-01-31"),
        removed(pensioner(3), "2026-04-10"),
        removed(pensioner(4), "2026-03-05", "death"),
        pensioner(5, assigned_date="2026-04-01"),
    ]
    take(engine, csv(tmp_path / "1.csv", people))
    for day in range(1, 150, 7):
        if day == 50:
            take(engine, csv(tmp_path / "2.csv", [removed(pensioner(1), "2026-04-18")]), day=50, scope=Scope.CHANGES)
        night(engine, day)
        with reading(engine) as connection:
            for row in connection.execute(select(STANDING)).mappings():
                live = standing_of(connection, Iin(row["iin"]), as_of=on(day), known_at=at(day), law=LAW)
                assert {name: row[name] for name in ("insured", "basis", "category", "budget", "valid_until")} == {
                    "insured": live.insured,
                    "basis": live.basis.value,
                    "category": live.category,
                    "budget": live.budget,
                    "valid_until": live.valid_until,
                }
                assert row["next_change"] == live.next_change


def test_what_was_said_stays_said(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    night(engine, 1)
    take(engine, csv(tmp_path / "2.csv", [removed(pensioner(1), "2026-03-01", "death")]), day=9)
    night(engine, 9)
    first, second = answers(engine)
    assert (first.insured, first.known_at, second.insured, second.known_at) == (True, at(1), False, at(9))
    assert first.law == law_digest(LAW)
    with reading(engine) as connection:
        again = standing_of(connection, Iin(person(1)), as_of=on(5), known_at=at(9), law=LAW)
    assert not again.insured


def test_of_one_moment_the_last_answer_counts(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    night(engine, 1)
    take(engine, csv(tmp_path / "2.csv", [removed(pensioner(1), "2026-03-01")]), day=1)
    night(engine, 1)
    (one,) = answers(engine)
    assert one.basis == "retention_state"


def test_a_night_that_stops_halfway_is_finished_by_the_next(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(number) for number in range(30)]))
    monkeypatch.setattr(due, "_BATCH", 7)
    monkeypatch.setattr(due, "_PAGE", 10)

    def killed(people: int) -> None:
        if people > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recompute_due(engine, day=on(1), known_at=at(1), law=LAW, processes=1, progress=killed)
    done = 30 - night(engine, 1).people
    assert 10 < done < 30
    with reading(engine) as connection:
        assert connection.execute(select(STANDING_TOUCHED)).all() == []
        assert len(connection.execute(select(STANDING)).all()) == 30
    assert night(engine, 1, everybody=True) == Recomputed(30, 0)


def test_two_processes_compute_the_same(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.database import engine_for, upgrade

    engine = engine_for(postgresql_url)
    upgrade(engine)
    monkeypatch.setattr(due, "_BATCH", 5)
    take(engine, csv(tmp_path / "1.csv", [pensioner(number) for number in range(23)]))
    assert night(engine, 1) == Recomputed(23, 23)
    assert recompute_due(engine, day=on(1), known_at=at(1), law=LAW, everybody=True, processes=1).changed == 0
    engine.dispose()


def test_people_can_be_marked_more_than_once(engine: Engine) -> None:
    with writing(engine) as connection:
        touch(connection, [person(1), person(1)], at(1))
        touch(connection, [person(1)], at(2))
        touch(connection, [], at(3))
    with reading(engine) as connection:
        assert [row.touched_at for row in connection.execute(select(STANDING_TOUCHED))] == [at(2)]
    assert night(engine, 3) == Recomputed(1, 1)


def test_a_day_before_the_law_is_not_computed(engine: Engine) -> None:
    with pytest.raises(EditionNotInForce):
        recompute_due(engine, day=dt.date(2025, 12, 31), known_at=at(1), law=LAW)
