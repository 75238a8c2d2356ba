"""The nightly evaluator, which copies answers to people who are alike, against the one that looks at each person.

    python -m tests.registry.set_based --people 100000

Invented people in a database of its own; PostgreSQL as the benchmarks find it. After the night everybody is computed
alone, on the day of the night and on days after it: nobody's answer may change but by the days that passed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select

from bench import _country
from gateway import resources
from gateway.database import engine_for, reading, upgrade, writing
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import Scope, feed_named
from gateway.registry.imports.run import import_file
from gateway.registry.tables import STANDING, STANDING_BEFORE, STANDING_GROUNDS, STANDING_TOUCHED
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law

_FIRST = dt.date(2026, 9, 1)
_DAYS_LATER = (0, 45, 200)


def _answers(engine: Engine) -> dict[str, tuple[object, ...]]:
    """Everybody's answer, the number of its grounds replaced by what they say."""
    columns = [column for column in STANDING.c if column.name not in {"iin", "grounds"}]
    query = select(STANDING.c.iin, *columns, STANDING_GROUNDS.c.because, STANDING_GROUNDS.c.readings).join_from(
        STANDING, STANDING_GROUNDS, STANDING_GROUNDS.c.id == STANDING.c.grounds
    )
    with reading(engine) as connection:
        return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def differing(engine: Engine, law: Law, day: dt.date) -> tuple[int, int]:
    """How many people have an answer, and how many of them another one when they are computed alone."""
    known_at = dt.datetime.combine(day, dt.time(3), law.timezone)
    with writing(engine) as connection:
        people = (
            connection.execute(select(STANDING_TOUCHED.c.iin)).scalars().all()
            or connection.execute(select(STANDING.c.iin)).scalars().all()
        )
        for table in (STANDING_BEFORE, STANDING, STANDING_TOUCHED):
            connection.execute(delete(table))
        marks = [{"iin": iin, "touched_at": known_at - dt.timedelta(hours=1)} for iin in people]
        connection.execute(insert(STANDING_TOUCHED), marks)
    recompute_due(engine, day=day, known_at=known_at, law=law)
    together = _answers(engine)
    recompute_due(engine, day=day, known_at=known_at, law=law, everybody=True)
    alone = _answers(engine)
    return len(together), sum(alone[iin] != answer for iin, answer in together.items()) + len(alone) - len(together)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    people = parser.parse_args().people
    law = load_law(resources.path("config/regulation"))
    found = 0
    with tempfile.TemporaryDirectory() as name, _country.database() as url:
        engine = engine_for(url)
        upgrade(engine)
        file = Path(name) / "list.csv"
        _country.first_list(file, people, {_FIRST + dt.timedelta(days=1): 0.01})
        feed = feed_named("republican_categories", law)
        received_at = dt.datetime.combine(_FIRST, dt.time(2), law.timezone)
        folder = Path(name) / "lists"
        import_file(engine, file, feed, Scope.FULL, law=law, received_at=received_at, folder=folder)
        for days in _DAYS_LATER:
            answers, differ = differing(engine, law, _FIRST + dt.timedelta(days=days))
            print(
                f"{_FIRST + dt.timedelta(days=days)}: {answers} people answered together, {differ} differ alone",
                flush=True,
            )
            found += differ
        engine.dispose()
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
