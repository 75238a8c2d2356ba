"""Many people's standing at once, for those who are asked: from the cache where it holds, from the facts elsewhere.

Two statements at most, whatever the number of people; one where the cache answers for all of them. An answer from the
cache is the same as one from the facts, with its clauses, evidence and readings: a row holds until something is heard
of the person (STANDING_TOUCHED), until the day on which anything that it rests on may change (`look_again`), and under
the law that gave it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Select, select

from gateway.errors import EditionNotInForce
from gateway.model import Citation, Iin
from gateway.registry.cached import law_digest
from gateway.registry.heard import CountryVersion, Heard, heard_about
from gateway.registry.people import Country, country_at, facts_from
from gateway.registry.spans import Basis
from gateway.registry.standing import Standing, standing
from gateway.registry.tables import STANDING, STANDING_GROUNDS, STANDING_TOUCHED
from gateway.regulation.law import Law
from gateway.statements import FixedStatement, is_among


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose standing, on which day, by what was known when."""

    iin: Iin = field(repr=False)
    as_of: dt.date
    known_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Found:
    """`standing` None: nothing was heard of the person by then, or no edition of the Rules judges the day."""

    heard_of: bool
    standing: Standing | None


_NEVER_HEARD_OF = Found(heard_of=False, standing=None)


def standings_of(connection: Connection, asked: Sequence[Asked], law: Law) -> Sequence[Found]:
    """An answer for each question, in their order."""
    if not asked:
        return []
    kept = _kept(connection.engine, law)
    iins = list({one.iin.value for one in asked})
    rows = {row[0]: row for row in _CACHED.run(connection, iins=iins)}
    found = [_from_row(rows.get(one.iin.value), one, kept.law_name, law) for one in asked]
    missed = [one for one, answer in zip(asked, found, strict=True) if answer is None]
    computed = iter(computed_standings_of(connection, missed, law))
    return [next(computed) if answer is None else answer for answer in found]


def computed_standings_of(connection: Connection, asked: Sequence[Asked], law: Law) -> Sequence[Found]:
    """The same from the facts alone."""
    if not asked:
        return []
    latest = max(one.known_at for one in asked)
    heard = heard_about(connection, list({one.iin.value for one in asked}), latest)
    return [_from_facts(connection, heard, one, law) for one in asked]


# ---------------------------------------------------------------- from the cache


def _cached(on_postgresql: bool) -> Select[Any]:
    return (
        select(
            STANDING.c.iin,
            STANDING_TOUCHED.c.iin,
            STANDING.c.law,
            STANDING.c.looked_on,
            STANDING.c.looked_at,
            STANDING.c.look_again,
            STANDING.c.insured,
            STANDING.c.basis,
            STANDING.c.category,
            STANDING.c.budget,
            STANDING.c.valid_until,
            STANDING_GROUNDS.c.because,
            STANDING.c.evidence,
            STANDING_GROUNDS.c.readings,
            STANDING.c.next_change,
        )
        .join_from(STANDING, STANDING_GROUNDS, STANDING_GROUNDS.c.id == STANDING.c.grounds)
        .outerjoin(STANDING_TOUCHED, STANDING_TOUCHED.c.iin == STANDING.c.iin)
        .where(is_among(on_postgresql, STANDING.c.iin, "iins"))
    )


_CACHED: Final = FixedStatement("standing_cached", _cached)


def _from_row(row: Any, asked: Asked, law_name: str, law: Law) -> Found | None:
    if row is None:
        return None
    (_, touched, by_law, looked_on, looked_at, look_again, insured, basis, category, budget, valid_until, *why) = row
    because, evidence, readings, next_change = why
    if (
        touched is not None
        or by_law != law_name
        or asked.as_of < looked_on
        or asked.known_at < looked_at
        or (look_again is not None and look_again <= asked.as_of)
    ):
        return None
    answer = Standing(
        asked.as_of,
        law.local_day(asked.known_at),
        insured,
        Basis(basis),
        category,
        budget,
        valid_until,
        _citations(because),
        _names(evidence),
        _names(readings),
        next_change,
        look_again,
    )
    return Found(heard_of=True, standing=answer)


@lru_cache(maxsize=10_000)
def _citations(text: str) -> tuple[Citation, ...]:
    return tuple(Citation.parse(one) for one in json.loads(text))


@lru_cache(maxsize=10_000)
def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


# ---------------------------------------------------------------- from the facts


def _from_facts(connection: Connection, heard: Heard, asked: Asked, law: Law) -> Found:
    told: Mapping[int, Any] = heard.people.get(asked.iin.value, {})
    # others of the same batch may have asked later
    told = {kind: seen for kind, rows in told.items() if (seen := [r for r in rows if r.received_at <= asked.known_at])}
    if not told:
        return _NEVER_HEARD_OF
    country = _country(connection, heard.country, asked.known_at, law)
    facts = facts_from(told, country, law)
    known_on = law.local_day(asked.known_at)
    try:
        answer = standing(facts, as_of=asked.as_of, known_at=known_on, law=law, failures=country.failures)
    except EditionNotInForce:
        return Found(heard_of=True, standing=None)
    return Found(heard_of=True, standing=answer)


@dataclass(slots=True)
class _Kept:
    """What is the same from one batch to the next, of one database."""

    law: Law
    law_name: str
    country: Country | None = None


_KEPT: WeakKeyDictionary[Engine, _Kept] = WeakKeyDictionary()


def _kept(engine: Engine, law: Law) -> _Kept:
    kept = _KEPT.get(engine)
    if kept is None or kept.law is not law:
        _KEPT[engine] = kept = _Kept(law, law_digest(law))
    return kept


def _country(connection: Connection, version: CountryVersion, known_at: dt.datetime, law: Law) -> Country:
    """What holds for everybody, read again only when the tables have moved on or the moment lies further back."""
    kept = _kept(connection.engine, law)
    country = kept.country
    if country is None or country.version != version or (country.newest is not None and known_at < country.newest):
        country = country_at(connection, known_at, law)
        if country.version == version:  # nothing was hidden from that moment
            kept.country = country
    return country
