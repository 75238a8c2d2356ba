"""What if the law were read otherwise, or were another one: whom it would move. Nothing is written.

The standing of each person on one day under the law in force and under the changed one, by what is known now; those
whose answer differs are counted by basis and category, from and to.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Engine

from gateway.database import engine_for, reading
from gateway.errors import ConfigurationError, EditionNotInForce
from gateway.registry.due import all_people, no_progress, pages_of
from gateway.registry.facts import ConsumerFacts
from gateway.registry.people import Country, country_at, facts_about
from gateway.registry.processes import pool
from gateway.registry.standing import standing
from gateway.regulation.law import Law
from gateway.regulation.nodes import read_yaml
from gateway.regulation.reading import build_law, law_files, own_places

_BATCH: Final = 1_000
#: people shown for each move
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an answer stands. `basis` "none": not insured; "edition_not_in_force": no edition judges the day."""

    basis: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One person whom it would move."""

    case: int
    """The person's place in this run, from 1: the same in every run over the same registry, sample and seed."""
    iin: str = field(repr=False)


@dataclass(slots=True)
class Simulation:
    """`moved`: how many go from where to where; who only keeps the right for longer or shorter is in `ends_moved`."""

    people: int = 0
    moved: Counter[tuple[Place, Place]] = field(default_factory=Counter)
    ends_moved: Counter[Place] = field(default_factory=Counter)
    examples: dict[tuple[Place, Place], list[Example]] = field(default_factory=dict)

    def add(self, other: Simulation) -> None:
        self.people += other.people
        self.moved.update(other.moved)
        self.ends_moved.update(other.ends_moved)
        for move, examples in other.examples.items():
            together = sorted([*self.examples.get(move, []), *examples], key=lambda example: example.case)
            self.examples[move] = together[:_EXAMPLES]


# ---------------------------------------------------------------- the changed law


def changed_law(
    folder: Path,
    law: Law,
    *,
    own: Path | None = None,
    readings: Mapping[str, str] = MappingProxyType({}),
    edition: Path | None = None,
) -> Law:
    """The law of `folder` and `own` with the act of the file `edition` in the place of its own, and these readings.

    A reading that an edition words plainly stays as that edition has it. Raises ConfigurationError.
    """
    if edition is not None:
        files = law_files(folder, own)
        documents = {name: read_yaml(path) for name, path in files.items()}
        changed = read_yaml(edition)
        act = changed.get("act") if isinstance(changed, Mapping) else None
        if f"{act}.yaml" not in documents:
            raise ConfigurationError(
                "the file is not one of an act that is loaded (its key `act` says which)", file=str(edition)
            )
        documents[f"{act}.yaml"] = changed
        law = build_law(documents, places=own_places(files, folder))
    chosen = dict(law.readings)
    for name, text in readings.items():
        if name not in chosen:
            raise ConfigurationError(f"there is no such reading; there are: {', '.join(sorted(chosen))}", key=name)
        built = {str(value).lower(): value for value in chosen[name].allowed}
        if text.lower() not in built:
            raise ConfigurationError(f"this reading is not built; built are {', '.join(built)}", key=name)
        chosen[name] = replace(chosen[name], value=built[text.lower()])
    return replace(law, readings=MappingProxyType(chosen))


# ---------------------------------------------------------------- over the registry


@dataclass(frozen=True, slots=True)
class _Question:
    day: dt.date
    known_at: dt.datetime
    law: Law
    changed: Law

    def ask(self, engine: Engine, batch: Sequence[tuple[int, str]], countries: tuple[Country, Country]) -> Simulation:
        found = Simulation()
        iins = [iin for _, iin in batch]
        with reading(engine) as connection:
            # a reading may decide which facts there are, so they are read under each law
            before = facts_about(connection, iins, countries[0], self.law)
            after = facts_about(connection, iins, countries[1], self.changed)
            for (case, iin), (_, facts), (_, changed_facts) in zip(batch, before, after, strict=True):
                here, until = self._answer(facts, countries[0], self.law)
                there, changed_until = self._answer(changed_facts, countries[1], self.changed)
                found.people += 1
                if here != there:
                    found.moved[here, there] += 1
                    examples = found.examples.setdefault((here, there), [])
                    if len(examples) < _EXAMPLES:
                        examples.append(Example(case, iin))
                elif until != changed_until:
                    found.ends_moved[here] += 1
        return found

    def _answer(self, facts: ConsumerFacts, country: Country, law: Law) -> tuple[Place, dt.date | None]:
        known_on = law.local_day(self.known_at)
        try:
            answer = standing(facts, as_of=self.day, known_at=known_on, law=law, failures=country.failures)
        except EditionNotInForce:
            return Place(EditionNotInForce.code), None
        return Place(answer.basis.value, answer.category or ""), answer.valid_until

    def countries(self, engine: Engine) -> tuple[Country, Country]:
        with reading(engine) as connection:
            return (
                country_at(connection, self.known_at, self.law),
                country_at(connection, self.known_at, self.changed),
            )


def simulate(
    engine: Engine,
    *,
    law: Law,
    changed: Law,
    day: dt.date,
    known_at: dt.datetime,
    sample: int | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: Callable[[int], None] = no_progress,
) -> Simulation:
    """Count whom `changed` would move on `day`: of everybody, or of `sample` people drawn with `seed`.

    Only reads. Raises StoreError.
    """
    question = _Question(day, known_at, law, changed)
    together = Simulation()
    workers: ProcessPoolExecutor | None = None
    countries = question.countries(engine)
    try:
        for batches in _numbered(engine, sample, seed):
            if processes > 1 and (workers is not None or len(batches) > 1):
                if workers is None:
                    url = engine.url.render_as_string(hide_password=False)
                    workers = pool(processes, _prepare, url, question)
                futures = [workers.submit(_ask, batch) for batch in batches]
                outcomes: Iterator[Simulation] = (future.result() for future in as_completed(futures))
            else:
                outcomes = (question.ask(engine, batch, countries) for batch in batches)
            for outcome in outcomes:
                together.add(outcome)
                progress(together.people)
    finally:
        if workers is not None:
            workers.shutdown(cancel_futures=True)
    return together


def _numbered(engine: Engine, sample: int | None, seed: int) -> Iterator[Sequence[Sequence[tuple[int, str]]]]:
    """Batches of people with their case numbers, in the order of their IINs."""
    if sample is not None:
        drawn = sorted(_drawn(engine, sample, seed))
        numbered = list(enumerate(drawn, 1))
        yield [numbered[at : at + _BATCH] for at in range(0, len(numbered), _BATCH)]
        return
    first = 1
    for batches in pages_of(engine, [all_people()]):
        page = []
        for batch in batches:
            page.append(list(enumerate(batch, first)))
            first += len(batch)
        yield page


def _drawn(engine: Engine, sample: int, seed: int) -> list[str]:
    """A random sample of everybody, held in the memory of the sample alone."""
    dice = random.Random(seed)  # noqa: S311
    drawn: list[str] = []
    seen = 0
    for batches in pages_of(engine, [all_people()]):
        for batch in batches:
            for iin in batch:
                seen += 1
                if len(drawn) < sample:
                    drawn.append(iin)
                elif (place := dice.randrange(seen)) < sample:
                    drawn[place] = iin
    return drawn


# ---------------------------------------------------------------- in a worker

_here: dict[str, Any] = {}


def _prepare(url: str, question: _Question) -> None:
    engine = engine_for(url)
    _here.update(engine=engine, question=question, countries=question.countries(engine))


def _ask(batch: Sequence[tuple[int, str]]) -> Simulation:
    question: _Question = _here["question"]
    return question.ask(_here["engine"], batch, _here["countries"])
