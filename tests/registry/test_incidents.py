"""Failures of p.13: declared and closed by people, with both times, and felt by those whom they concern."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.model import Iin
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.incidents import Incident, close_failure, declare_failure, incidents
from gateway.registry.simulate import changed_law
from gateway.registry.standing import Standing
from gateway.registry.store import standing_of
from gateway.registry.tables import STANDING_TOUCHED
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, removed, take

FOLDER = Path(__file__).parents[2] / "config" / "regulation"
START = dt.date(2026, 3, 5)


def declare(engine: Engine, day: int = 5, system: str = "enbek_is", start: dt.date = START, **more: object) -> Incident:
    said = {"reason": "letter 12", "by": "operator", "at": at(day), "law": LAW, **more}
    with writing(engine) as connection:
        return declare_failure(connection, system, start, **said)  # type: ignore[arg-type]


def close(engine: Engine, name: str, fixed: dt.date, day: int, **more: object) -> Incident:
    said = {"reason": "letter 15", "by": "another", "at": at(day), "law": LAW, **more}
    with writing(engine) as connection:
        return close_failure(connection, name, fixed, **said)  # type: ignore[arg-type]


def standing(engine: Engine, day: int, known: int) -> Standing:
    with reading(engine) as connection:
        return standing_of(connection, Iin(person(1)), as_of=LAW.local_day(at(day)), known_at=at(known), law=LAW)


def touched(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(select(STANDING_TOUCHED.c.iin)).scalars())


def test_a_failure_preserves_the_right_until_it_is_put_right(engine: Engine, tmp_path: Path) -> None:
    # retention ends on 6 March; the failure begins on the day before
    take(engine, csv(tmp_path / "1.csv", [removed(pensioner(1), "2025-12-06")]))
    assert not standing(engine, 8, 8).insured
    made = declare(engine)
    assert made.name == "enbek_is@2026-03-05"
    held = standing(engine, 8, 8)
    assert (held.insured, held.basis.value) == (True, "failure_hold")
    assert "failure enbek_is@2026-03-05" in held.evidence
    # what was not declared yet was not there
    assert not standing(engine, 8, 4).insured
    close(engine, made.name, dt.date(2026, 3, 8), 9)
    assert not standing(engine, 8, 9).insured
    assert standing(engine, 7, 9).insured


def test_who_and_why_are_kept_of_both_ends(engine: Engine) -> None:
    made = declare(engine, evidence="message-1")
    close(engine, made.name, dt.date(2026, 3, 7), 7)
    with reading(engine) as connection:
        (found,) = incidents(connection)
    assert (found.declared_by, found.reason, found.declared_at, found.evidence) == (
        "operator",
        "letter 12",
        at(5),
        "message-1",
    )
    assert (found.closed_by, found.closed_because, found.closed_at, found.fixed) == (
        "another",
        "letter 15",
        at(7),
        dt.date(2026, 3, 7),
    )


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"system": "nowhere"}, "no system of this name"),
        ({"start": dt.date(2026, 3, 6)}, "not before"),
        ({"reason": " "}, "say why"),
        ({"by": ""}, "who decided"),
    ],
)
def test_what_cannot_be_declared_is_refused(engine: Engine, said: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        declare(engine, **said)  # type: ignore[arg-type]
    with reading(engine) as connection:
        assert incidents(connection) == ()


def test_a_failure_is_declared_once_and_closed_once(engine: Engine) -> None:
    made = declare(engine)
    with pytest.raises(ConfigurationError, match="declared already"):
        declare(engine)
    for fixed in (dt.date(2026, 3, 4), dt.date(2026, 3, 10)):
        with pytest.raises(ConfigurationError, match="day lies"):
            close(engine, made.name, fixed, 9)
    close(engine, made.name, dt.date(2026, 3, 9), 9)
    with pytest.raises(ConfigurationError, match="no open failure"):
        close(engine, made.name, dt.date(2026, 3, 9), 9)


def people_of_every_kind(engine: Engine, folder: Path) -> None:
    take(engine, csv(folder / "1.csv", [pensioner(1), pensioner(2, category="fulltime_student")]))
    paid = {
        "iin": person(3),
        "period": "2026-02",
        "reference": "1",
        "full_name": "A",
        "payer_name": "B",
        "received_date": "2026-02-20",
        "amount": "1",
        "purpose_code": "122",
    }
    take(engine, csv(folder / "2.csv", [paid], RecordKind.PAYMENTS), feed="payments", scope=Scope.CHANGES)
    for number, body in ((4, "mod"), (5, "knb")):
        file = csv(folder / f"{body}.csv", [{"iin": person(number)}], RecordKind.MILITARY)
        take(engine, file, feed=f"military_{body}")
    treaty = csv(folder / "3.csv", [{"iin": person(6), "first_day": "2026-01-01"}], RecordKind.TREATY)
    take(engine, treaty, feed="treaty_foreigner")
    recompute_due(engine, day=LAW.local_day(at(2)), known_at=at(2), law=LAW)


@pytest.mark.parametrize(
    ("system", "people"),
    [
        ("gzhbm_is", {2}),
        ("enbek_is", {1, 2}),
        ("mod", {4}),
        ("migration_is", {6}),
        ("mem_corp", {1, 2, 3, 6}),
        ("fund_is", {1, 2, 3, 4, 5, 6}),
    ],
)
def test_those_whom_it_concerns_are_computed_again(
    engine: Engine, tmp_path: Path, system: str, people: set[int]
) -> None:
    people_of_every_kind(engine, tmp_path)
    assert touched(engine) == set()
    declare(engine, system=system)
    assert touched(engine) == {person(number) for number in people}


def test_by_the_other_reading_a_failure_concerns_everybody(engine: Engine, tmp_path: Path) -> None:
    people_of_every_kind(engine, tmp_path)
    declare(engine, system="mod", law=changed_law(FOLDER, LAW, readings={"failure_scope": "everyone"}))
    assert touched(engine) == {person(number) for number in range(1, 7)}
