"""The cached standing: the last answer about each person, the day on which it changes by itself, and those before it.

The rules answer from facts; the cache holds what they answered, so that a night looks only at whom something was heard
of and at whose day has come (docs/decisions/0035).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import one_of
from gateway.model import Citation, Iin
from gateway.registry.people import Country, facts_about
from gateway.registry.standing import Standing, standing
from gateway.registry.tables import STANDING, STANDING_BEFORE, STANDING_GROUNDS, STANDING_TOUCHED
from gateway.regulation.law import Law

#: what makes one answer another
_ANSWER: Final = ("insured", "basis", "category", "budget", "valid_until")
#: what is kept beside it, and may change while the answer stays
_BESIDE: Final = ("next_change", "look_again", "law", "grounds", "evidence")


@dataclass(frozen=True, slots=True)
class CachedStanding:
    """An answer that was given: for the day `as_of`, by what was known at `known_at`."""

    as_of: dt.date
    known_at: dt.datetime
    insured: bool
    basis: str
    category: str | None
    budget: str | None
    valid_until: dt.date | None
    law: str


@dataclass(frozen=True, slots=True)
class Recomputed:
    people: int = 0
    changed: int = 0
    """People whose answer is another one than before, or who had none."""

    def __add__(self, other: Recomputed) -> Recomputed:
        return Recomputed(self.people + other.people, self.changed + other.changed)


def law_digest(law: Law) -> str:
    """Names the editions, windows, categories and readings that answers rest on: with another one they may differ."""
    told = [
        *(
            (edition.act, edition.redaction, edition.in_force_from, edition.in_force_to, name, window.value)
            for edition in law.editions
            for name, window in sorted(edition.windows.items())
        ),
        *((edition.in_force_from, *sorted(edition.readings.items())) for edition in law.editions),
        *(
            repr((edition.in_force_from, slug, one.list, one.priority))
            for edition in law.editions
            for slug, one in sorted(edition.categories.items())
        ),
        *((name, reading.value) for name, reading in sorted(law.readings.items())),
        *(repr((category.slug, category.list, category.priority)) for _, category in sorted(law.categories.items())),
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def recompute(
    connection: Connection, iins: Sequence[str], *, as_of: dt.date, country: Country, law: Law, law_name: str
) -> Recomputed:
    """Compute these people's standing and keep what is new, in the caller's transaction.

    `law_name` is `law_digest(law)`. Raises EditionNotInForce.
    """
    # first, so that whoever writes facts about them now is either seen below or marks them again; a mark of something
    # that arrived later than what is looked at stays
    connection.execute(
        delete(STANDING_TOUCHED).where(
            one_of(connection, STANDING_TOUCHED.c.iin, iins), STANDING_TOUCHED.c.touched_at <= country.known_at
        )
    )
    known_on = law.local_day(country.known_at)
    answers = [
        (iin, standing(facts, as_of=as_of, known_at=known_on, law=law, failures=country.failures))
        for iin, facts in facts_about(connection, iins, country, law)
    ]
    query = select(STANDING).where(one_of(connection, STANDING.c.iin, iins))
    before = {row["iin"]: row for row in connection.execute(query).mappings()}
    said_anew: list[str] = []
    rows: list[dict[str, Any]] = []
    grounds: set[Grounds] = set()
    for iin, answer in answers:
        why = grounds_of(answer.because, answer.readings)
        row = row_of(iin, answer, country.known_at, law_name, why)
        last = before.get(iin)
        if last is None or any(last[name] != row[name] for name in _ANSWER):
            said_anew.append(iin)
        elif all(last[name] == row[name] for name in _BESIDE):
            continue
        else:
            # the same answer: it was given first when it was given first
            row |= {"as_of": last["as_of"], "known_at": last["known_at"]}
        rows.append(row)
        grounds.add(why)
    put_grounds(connection, grounds)
    _put(connection, said_anew, rows, as_of, country.known_at)
    return Recomputed(len(answers), len(said_anew))


class Grounds(NamedTuple):
    """A row of STANDING_GROUNDS."""

    id: int
    because: str
    readings: str


@lru_cache(maxsize=10_000)
def grounds_of(because: tuple[Citation, ...], readings: tuple[str, ...]) -> Grounds:
    """The clauses and readings of an answer; those of many answers are the same."""
    cites, names = json.dumps([str(one) for one in because]), json.dumps(readings)
    digest = hashlib.blake2b(f"{cites}\n{names}".encode(), digest_size=8).digest()
    return Grounds(int.from_bytes(digest, signed=True), cites, names)


def put_grounds(connection: Connection, grounds: Iterable[Grounds]) -> None:
    """Keep those that are not there. In one order, so that two processes wait for each other and not in a circle."""
    rows = [one._asdict() for one in sorted(grounds)]
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(STANDING_GROUNDS).on_conflict_do_nothing(), rows)


def row_of(iin: str, answer: Standing, known_at: dt.datetime, law_name: str, why: Grounds) -> dict[str, Any]:
    """The row of STANDING for an answer computed by what was known at `known_at`."""
    return {
        "iin": iin,
        "as_of": answer.as_of,
        "known_at": known_at,
        "insured": answer.insured,
        "basis": answer.basis.value,
        "category": answer.category,
        "budget": answer.budget,
        "valid_until": answer.valid_until,
        "law": law_name,
        "next_change": answer.next_change,
        "look_again": answer.look_again,
        "looked_on": answer.as_of,
        "looked_at": known_at,
        "grounds": why.id,
        "evidence": _evidence(answer.evidence),
    }


@lru_cache(maxsize=10_000)
def _evidence(ids: tuple[str, ...]) -> str:
    return json.dumps(ids, ensure_ascii=False)


def _put(
    connection: Connection,
    said_anew: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    as_of: dt.date,
    known_at: dt.datetime,
) -> None:
    """Replace the answers; those that differ go to the history first."""
    if said_anew:
        kept = [column.name for column in STANDING_BEFORE.c]
        connection.execute(
            insert(STANDING_BEFORE).from_select(
                kept,
                select(*(STANDING.c[name] for name in kept)).where(
                    one_of(connection, STANDING.c.iin, said_anew),
                    # of one moment the last counts: nobody was told anything in between
                    or_(STANDING.c.as_of != as_of, STANDING.c.known_at != known_at),
                ),
            )
        )
    if not rows:
        return
    connection.execute(delete(STANDING).where(one_of(connection, STANDING.c.iin, [row["iin"] for row in rows])))
    if connection.dialect.name != "postgresql":
        connection.execute(insert(STANDING), rows)
        return
    driver: Any = connection.connection.driver_connection
    columns = STANDING.c.keys()
    with driver.cursor() as cursor, cursor.copy(f"COPY standing ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in columns])


def history_of_answers(connection: Connection, iin: Iin) -> tuple[CachedStanding, ...]:
    """What was said of a person, the first answer first."""
    said = [
        *connection.execute(select(STANDING_BEFORE).where(STANDING_BEFORE.c.iin == iin.value)),
        *connection.execute(select(STANDING).where(STANDING.c.iin == iin.value)),
    ]
    return tuple(
        CachedStanding(
            row.as_of, row.known_at, row.insured, row.basis, row.category, row.budget, row.valid_until, row.law
        )
        for row in sorted(said, key=lambda row: row.known_at)
    )


def said_on(answers: Sequence[CachedStanding], day: dt.date) -> CachedStanding | None:
    """The answer that held on a day: the last one that was computed for it or an earlier day."""
    return max((one for one in answers if one.as_of <= day), key=lambda one: (one.as_of, one.known_at), default=None)
