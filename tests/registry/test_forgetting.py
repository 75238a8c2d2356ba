"""Erasure: everything about one person, nothing of another, and only where nothing rests on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from gateway.database import metadata, reading, writing
from gateway.errors import ConfigurationError
from gateway.model import Iin
from gateway.registry.due import recompute_due
from gateway.registry.forgetting import Forgotten, NotForgotten, forget
from gateway.registry.tables import FORGOTTEN, PROVISIONAL_ENTRY
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, removed, take


def erase(
    engine: Engine, number: int, *, day: int = 400, keep_days: int = 365, reason: str = "request 44"
) -> Forgotten:
    with writing(engine) as connection:
        return forget(
            connection,
            Iin(person(number)),
            reason=reason,
            by="operator",
            at=at(day),
            keep_days=keep_days,
            salt="salt",
            law=LAW,
        )


def rows_about(engine: Engine, number: int) -> dict[str, int]:
    with reading(engine) as connection:
        counts = {
            table.name: len(connection.execute(select(table).where(table.c.iin == person(number))).all())
            for table in metadata.sorted_tables
            if "iin" in table.c
        }
    return {name: count for name, count in counts.items() if count}


def two_who_are_dead(engine: Engine, folder: Path) -> None:
    people = [removed(pensioner(number), "2026-02-01", "death") for number in (1, 2)]
    take(engine, csv(folder / "1.csv", people))
    recompute_due(engine, day=LAW.local_day(at(1)), known_at=at(1), law=LAW)


def test_everything_about_the_person_goes_and_a_word_of_it_stays(engine: Engine, tmp_path: Path) -> None:
    two_who_are_dead(engine, tmp_path)
    before = rows_about(engine, 1)
    assert {"category_record", "standing"} <= set(before)
    done = erase(engine, 1)
    assert done.rows == sum(before.values())
    assert rows_about(engine, 1) == {}
    assert rows_about(engine, 2) == before
    with reading(engine) as connection:
        (row,) = connection.execute(select(FORGOTTEN)).mappings()
    assert (row["reason"], row["forgotten_by"], row["rows"], row["digest"]) == (
        "request 44",
        "operator",
        done.rows,
        done.digest,
    )
    assert person(1) not in str(dict(row))
    assert erase(engine, 2).number == 2


def test_the_digest_speaks_for_the_rows(engine: Engine) -> None:
    row = {
        "iin": person(1),
        "category": "children",
        "applied": LAW.local_day(at(1)),
        "documents": None,
        "evidence": "application 7",
        "received_at": at(1),
    }
    with writing(engine) as connection:
        connection.execute(insert(PROVISIONAL_ENTRY), row)
    line = f'["{person(1)}","children","2026-03-01",null,"application 7","2026-03-01T07:00:00.000000+00:00"]\n'
    assert erase(engine, 1).digest == hashlib.sha256(f"saltprovisional_entry {line}".encode()).hexdigest()


def refused(engine: Engine, number: int = 1, **how: int) -> str:
    before = rows_about(engine, number)
    with pytest.raises(NotForgotten) as error:
        erase(engine, number, **how)  # type: ignore[arg-type]
    assert rows_about(engine, number) == before
    return error.value.code


def test_while_a_standing_rests_on_it_nothing_is_erased(engine: Engine, tmp_path: Path) -> None:
    people = [
        pensioner(1),
        pensioner(2, assigned_date="2030-01-01"),
        removed(pensioner(3), "2026-03-01"),
    ]
    take(engine, csv(tmp_path / "1.csv", people))
    # insured today; insured on a later day; in the three months after
    assert [refused(engine, number, day=50, keep_days=1) for number in (1, 2, 3)] == ["standing_rests"] * 3
    assert erase(engine, 3, day=120, keep_days=1).rows


def test_before_the_time_that_the_fund_set_nothing_is_erased(engine: Engine, tmp_path: Path) -> None:
    two_who_are_dead(engine, tmp_path)
    assert refused(engine, day=365) == "still_kept"
    assert erase(engine, 1, day=366).rows


def test_of_whom_nothing_is_known_nothing_is_said(engine: Engine) -> None:
    assert refused(engine) == "nothing_known"
    with pytest.raises(ConfigurationError, match="say why"):
        erase(engine, 1, reason=" ")
