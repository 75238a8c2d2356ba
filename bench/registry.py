"""A person's standing in a registry and in one ten times as large. Goal: at most 1.3 times the time.

`python -m bench.registry --people 1000000` measures at that many people and at ten times as many: one person by the
facts, and groups of 32 by the facts and from the cache. Both registries are asked in turns, so that whatever else the
machine does slows both. People, records and cached answers are made by SQL; a sample is compared with the rules.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from sqlalchemy import Engine, text

from bench import _country
from gateway import resources
from gateway.database import engine_for, reading, upgrade, writing
from gateway.model import Iin
from gateway.registry.cached import law_digest, recompute
from gateway.registry.people import country_at
from gateway.registry.serving import Asked, Found, computed_standings_of, standings_of
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law

_GROUP: Final = 32
_SAMPLES: Final = 3_200
_ROUNDS: Final = 10
#: days of birth: a hundred years
_DAYS: Final = 36_500

_WEIGHTS: Final = ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2))
_SUMS: Final = tuple(
    " + ".join(f"{weight} * (eleven / {10 ** (10 - place)} % 10)" for place, weight in enumerate(weights))
    for weights in _WEIGHTS
)
#: valid numbers: day of birth, century, serial, control digit by the one weights or by the others
_PEOPLE: Final = f"""
INSERT INTO category_record (iin, category, assigned_date, version, assigned_source, import_id, received_at)
SELECT iin, 'pension_recipient', DATE '2015-01-01', 1, 'enbek_is', 1, :at FROM (
    SELECT lpad((eleven * 10 + CASE WHEN first < 10 THEN first ELSE second END)::text, 12, '0') AS iin
    FROM (
        SELECT eleven, ({_SUMS[0]}) % 11 AS first, ({_SUMS[1]}) % 11 AS second FROM (
            SELECT (to_char(birth, 'YYMMDD') || CASE WHEN birth < '2000-01-01' THEN '3' ELSE '5' END)::bigint
                * 10000 + place / {_DAYS} AS eleven
            FROM (
                SELECT place, DATE '1925-01-01' + place % {_DAYS} AS birth FROM generate_series(0, :last) AS place
            ) AS a
        ) AS b
    ) AS c WHERE first < 10 OR second < 10
) AS d ORDER BY iin
"""


def _fill(engine: Engine, people: int, at: dt.datetime, law: Law) -> list[str]:
    """Records and cached answers of so many people. Returns some of them."""
    with writing(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO import (id, feed, scope, evidence, digest, received_at, lines_read, applied, unchanged, "
                "refused, absent) VALUES (1, 'republican_categories', 'full', 'list.csv', '', :at, 0, 0, 0, 0, 0)"
            ),
            {"at": at},
        )
        connection.execute(text(_PEOPLE), {"at": at, "last": people - 1})
        first = connection.execute(text("SELECT min(iin) FROM category_record")).scalar_one()
        country = country_at(connection, at, law)
        recompute(connection, [first], as_of=at.date(), country=country, law=law, law_name=law_digest(law))
        columns = list(connection.execute(text("SELECT * FROM standing")).keys())
        others = ", ".join(name for name in columns if name != "iin")
        copied = ", ".join(f"one.{name}" for name in columns if name != "iin")
        connection.execute(
            text(
                f"INSERT INTO standing (iin, {others}) SELECT record.iin, {copied} FROM category_record AS record "
                "CROSS JOIN (SELECT * FROM standing) AS one WHERE record.iin > :first ORDER BY record.iin"
            ),
            {"first": first},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        share = min(100.0, 100.0 * 4 * _SAMPLES / people)
        sample = text(f"SELECT iin FROM category_record TABLESAMPLE BERNOULLI ({share}) REPEATABLE (1)")
        return list(connection.execute(sample).scalars())


_Way = Callable[[Any, Sequence[Asked], Law], Sequence[Found]]
_WAYS: Final[dict[str, tuple[int, _Way]]] = {
    "one, by the facts": (1, computed_standings_of),
    f"{_GROUP} together, by the facts": (_GROUP, computed_standings_of),
    "one, from the cache": (1, standings_of),
    f"{_GROUP} together, from the cache": (_GROUP, standings_of),
}


def _ask(engine: Engine, way: _Way, groups: Sequence[Sequence[Asked]], law: Law) -> tuple[list[float], float]:
    """Seconds of each group, and our CPU for all."""
    times = []
    cpu = time.process_time()
    with reading(engine) as connection:
        for group in groups:
            start = time.perf_counter()
            way(connection, group, law)
            times.append(time.perf_counter() - start)
    return times, time.process_time() - cpu


def main(people: int = 20_000) -> None:
    law = load_law(resources.path("config/regulation"))
    at = dt.datetime(2026, 9, 1, 2, tzinfo=law.timezone)
    known_at = at + dt.timedelta(days=30)
    print(f"\nOne person's standing on PostgreSQL on the same machine ({_country.machine()})")
    with ExitStack() as stack:
        asked: dict[int, tuple[Engine, list[Asked]]] = {}
        for count in (people, 10 * people):
            engine = engine_for(stack.enter_context(_country.database()))
            stack.callback(engine.dispose)
            upgrade(engine)
            sample = _fill(engine, count, at, law)
            random.Random(1).shuffle(sample)
            questions = [Asked(Iin(iin), law.local_day(known_at), known_at) for iin in sample[:_SAMPLES]]
            with reading(engine) as connection:
                if standings_of(connection, questions, law) != computed_standings_of(connection, questions, law):
                    raise AssertionError("the cached answers are not those of the facts")
            asked[count] = engine, questions
        for name, (size, way) in _WAYS.items():
            times: dict[int, list[float]] = {count: [] for count in asked}
            cpu: dict[int, list[float]] = {count: [] for count in asked}
            for turn in range(_ROUNDS):
                for count, (engine, questions) in asked.items():
                    chosen = questions[turn::_ROUNDS]
                    groups = [chosen[start : start + size] for start in range(0, len(chosen), size)]
                    seconds, ours = _ask(engine, way, groups, law)
                    times[count] += seconds
                    cpu[count].append(ours / len(chosen))
            small, large = (statistics.median(one) / size * 1e6 for one in times.values())
            ours = min(cpu[10 * people]) * 1e6
            print(
                f"{name:28} {people:,} people: {small:6.0f} µs · {10 * people:,}: {large:6.0f} µs a person "
                f"({ours:.0f} µs of our CPU) · {large / small:.2f} times (goal: 1.3)"
            )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, default=20_000)
    main(options.parse_args().people)
