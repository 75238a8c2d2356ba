"""Who is due: of whom something was heard, and whose answer changes by itself on a day that has come.

Pages of people in the order of their numbers, each batch in a transaction of its own: stopped at any moment and run
again, what is left is done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from sqlalchemy import Engine, Select, select, text

from gateway.database import engine_for, reading, writing
from gateway.registry.alike import Stretch, answer_alike, next_stretch
from gateway.registry.cached import Recomputed, law_digest, recompute
from gateway.registry.people import ABOUT_PEOPLE, Country, country_at
from gateway.registry.processes import pool
from gateway.registry.tables import STANDING, STANDING_TOUCHED
from gateway.regulation.law import Law

#: people in one transaction
_BATCH: Final = 1_000
#: people whose numbers are held at a time
_PAGE: Final = 50_000
#: stretches of gateway.registry.alike between two looks at the table
_STRETCHES: Final = 8

_Work: TypeAlias = Sequence[str] | Stretch
"""People by their numbers, or a stretch of those who may be alike."""


def no_progress(done: int) -> None:
    """For those who do not look."""


@dataclass(frozen=True, slots=True)
class _Night:
    """What is the same for all batches of one run."""

    day: dt.date
    country: Country
    law: Law
    law_name: str

    def compute(self, engine: Engine, work: _Work) -> Recomputed:
        same: dict[str, Any] = {
            "as_of": self.day,
            "country": self.country,
            "law": self.law,
            "law_name": self.law_name,
        }
        with writing(engine) as connection:
            if not isinstance(work, Stretch):
                return recompute(connection, work, **same)
            count = answer_alike(connection, work, **same)
            return Recomputed(count, count)


def recompute_due(
    engine: Engine,
    *,
    day: dt.date,
    known_at: dt.datetime,
    law: Law,
    everybody: bool = False,
    processes: int = 2,
    progress: Callable[[int], None] = no_progress,
) -> Recomputed:
    """Compute the standing on `day` of everyone who is due, by what is known at `known_at`.

    `everybody`: all people of whom anything is known, for a law or a reading that changed. `progress` is told how many
    people are done. Raises EditionNotInForce and StoreError.
    """
    law.edition_on(day)
    with reading(engine) as connection:
        country = country_at(connection, known_at, law)
    night = _Night(day, country, law, law_digest(law))
    # each list is one set of people; those of one list are sought together, so that nobody comes twice
    people = [all_people()] if everybody else [[_touched(known_at)], [_due(day)]]
    together = Recomputed()
    with _Hands(engine, night, processes) as hands:
        for stretches in () if everybody else _stretches(engine, country):
            for outcome in hands.do(stretches):
                together += outcome
                progress(together.people)
            _tell_the_planner(engine)
        for batches in pages_of(engine, people):
            for outcome in hands.do(batches):
                together += outcome
                progress(together.people)
            if len(batches) > 1:
                _tell_the_planner(engine)
    return together


class _Hands:
    """Does pieces of work: here, or in processes of their own once there is more than one piece."""

    def __init__(self, engine: Engine, night: _Night, processes: int) -> None:
        self._engine, self._night = engine, night
        # SQLite has one writer: a second process would only wait for it
        self._processes = processes if engine.dialect.name == "postgresql" else 1
        self._workers: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)

    def do(self, work: Sequence[_Work]) -> Iterator[Recomputed]:
        if self._processes == 1 or (self._workers is None and len(work) == 1):
            for one in work:
                yield self._night.compute(self._engine, one)
            return
        if self._workers is None:
            url = self._engine.url.render_as_string(hide_password=False)
            self._workers = pool(self._processes, _prepare, url, self._night)
        for future in as_completed([self._workers.submit(_compute, one) for one in work]):
            yield future.result()


def _tell_the_planner(engine: Engine) -> None:
    # a first fill makes a large table of an empty one, and prepared statements would go on reading all of it
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:
            connection.execute(text("ANALYZE standing"))


# ---------------------------------------------------------------- who


def _touched(known_at: dt.datetime) -> Select[Any]:
    # what was heard later than that is for the next run
    return select(STANDING_TOUCHED.c.iin).where(STANDING_TOUCHED.c.touched_at <= known_at)


def _due(day: dt.date) -> Select[Any]:
    return select(STANDING.c.iin).where(STANDING.c.look_again <= day)


def _stretches(engine: Engine, country: Country) -> Iterator[Sequence[Stretch]]:
    """People who wait for their first answer, some stretches at a time."""
    after, more = "", True
    while more:
        stretches: list[Stretch] = []
        with reading(engine) as connection:
            while more and len(stretches) < _STRETCHES:
                stretch = next_stretch(connection, after, country)
                if stretch is None:
                    more = False
                else:
                    stretches.append(stretch)
                    after = stretch.last
        if stretches:
            yield stretches


def all_people() -> Sequence[Select[Any]]:
    return [select(table.c.iin).distinct() for table in (*ABOUT_PEOPLE, STANDING_TOUCHED)]


def pages_of(engine: Engine, people: Sequence[Sequence[Select[Any]]]) -> Iterator[Sequence[Sequence[str]]]:
    """Batches of people, a page at a time; a page is asked for when the one before it is done."""
    for queries in people:
        last = ""
        while True:
            page: set[str] = set()
            with reading(engine) as connection:
                for query in queries:
                    iin = query.selected_columns[0]
                    page |= set(connection.execute(query.where(iin > last).order_by(iin).limit(_PAGE)).scalars())
            first = sorted(page)[:_PAGE]
            if first:
                yield [first[at : at + _BATCH] for at in range(0, len(first), _BATCH)]
            if len(first) < _PAGE:
                break
            last = first[-1]


# ---------------------------------------------------------------- in a worker

_here: dict[str, Any] = {}


def _prepare(url: str, night: _Night) -> None:
    _here.update(engine=engine_for(url), night=night)


def _compute(work: _Work) -> Recomputed:
    night: _Night = _here["night"]
    return night.compute(_here["engine"], work)
