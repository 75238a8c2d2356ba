"""A night in a registry: a full list of categories read, compared, applied; standing computed of all who are due.

`python -m bench.night --people 20000000` fills a registry, then lives two nights, one with a tenth of the changes of
the other. Goals: the larger one in ten minutes and 500 MB of our processes on two cores; the smaller in a third of its
time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, text

from bench import _country
from gateway import resources
from gateway.database import engine_for, reading, upgrade
from gateway.model import Iin
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import Scope, feed_named
from gateway.registry.imports.run import import_file
from gateway.registry.store import standing_of
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law

_FIRST = dt.date(2026, 9, 1)
_NIGHTS = {dt.date(2026, 9, 10): 0.001, dt.date(2026, 9, 11): 0.01}


def _one(engine: Engine, law: Law, folder: Path, file: Path, day: dt.date) -> dict[str, float]:
    """One list taken in, and everybody computed who is due."""
    received = dt.datetime.combine(day, dt.time(2), law.timezone)
    phases: dict[str, float] = {}
    last, since = "read", time.perf_counter()

    def told(phase: str, done: int, total: int) -> None:  # noqa: ARG001
        nonlocal last, since
        if phase != last:
            phases[last] = phases.get(last, 0) + time.perf_counter() - since
            last, since = phase, time.perf_counter()

    cpu, database_cpu = _country.cpu_s(), _country.postgresql_cpu_s()
    start = time.perf_counter()
    with _country.Peak() as peak:
        feed = feed_named("republican_categories", law)
        result = import_file(
            engine, file, feed, Scope.FULL, law=law, received_at=received, folder=folder / "lists", progress=told
        )
        phases[last] = phases.get(last, 0) + time.perf_counter() - since
        computing = time.perf_counter()
        done = recompute_due(engine, day=day, known_at=received + dt.timedelta(hours=1), law=law)
        phases["compute"] = time.perf_counter() - computing
    phases["whole"] = time.perf_counter() - start
    return {
        "rows read": result.read,
        "applied": result.applied,
        "refused": len(result.refused),
        "people computed": done.people,
        "answers that are new": done.changed,
        **{f"{name}, s": seconds for name, seconds in phases.items()},
        "our CPU, s": _country.cpu_s() - cpu,
        "PostgreSQL's CPU, s": _country.postgresql_cpu_s() - database_cpu,
        "our peak memory, MB": peak.mb,
    }


def standing_us(engine: Engine, law: Law, file: Path, samples: int = 2_000) -> float:
    chosen = random.Random(1)
    size = file.stat().st_size
    people = []
    with file.open("rb") as lines:
        for _ in range(samples):
            lines.seek(chosen.randrange(100, size - 1_000))
            lines.readline()
            people.append(Iin(lines.readline()[:12].decode()))
    known_at = dt.datetime.combine(_FIRST, dt.time(12), law.timezone) + dt.timedelta(days=30)
    times = []
    with reading(engine) as connection:
        for person in people:
            start = time.perf_counter()
            standing_of(connection, person, as_of=_FIRST, known_at=known_at, law=law)
            times.append(time.perf_counter() - start)
    return statistics.median(times[samples // 4 :]) * 1e6


def _sizes(engine: Engine) -> dict[str, int]:
    query = text(
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relname = ANY(:names)"
    )
    names = ["category_record", "standing", "standing_before", "standing_touched"]
    with reading(engine) as connection:
        return {row.relname: row.pg_total_relation_size for row in connection.execute(query, {"names": names})}


def main(people: int = 50_000, *, folder: Path | None = None) -> None:
    law = load_law(resources.path("config/regulation"))
    print(f"\nA registry of {people:,} people, two processes, PostgreSQL on the same machine ({_country.machine()})")
    with tempfile.TemporaryDirectory(dir=folder) as name, _country.database() as url:
        work = Path(name)
        engine = engine_for(url)
        upgrade(engine)
        before = work / "0.csv"
        _country.first_list(before, people, _NIGHTS)
        columns = {"first fill": _one(engine, law, work, before, _FIRST)}
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        sizes = _sizes(engine)
        for number, (night, share) in enumerate(_NIGHTS.items(), 1):
            file = work / f"{number}.csv"
            _country.next_list(before, file, share, night, number)
            before.unlink()
            before = file
            columns[f"{share:.1%} changed"] = _one(engine, law, work, file, night)
        one_us = standing_us(engine, law, before)
        size = before.stat().st_size
        engine.dispose()
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"{'':24}" + "".join(f"{name:>16}" for name in columns))
    for name in names:
        values = [column.get(name, 0.0) for column in columns.values()]
        print(f"{name:24}" + "".join(f"{value:16,.1f}" if "," in name else f"{value:16,.0f}" for value in values))
    small, large = (column["whole, s"] for column in list(columns.values())[1:])
    print(f"the smaller night is {small / large:.2f} of the larger one (goal: 0.33)")
    print(f"the list: {size / 1e9:.2f} GB; bytes a person in the store after the first fill:", end=" ")
    print(", ".join(f"{table} {bytes_ / people:.0f}" for table, bytes_ in sorted(sizes.items()) if bytes_ / people > 1))
    print(f"one person's standing from the facts: {one_us:.0f} µs (median of 1,500)")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, default=50_000)
    options.add_argument(
        "--folder", type=Path, default=None, help="where the lists are written; three times their size"
    )
    given = options.parse_args()
    main(given.people, folder=given.folder)
