"""Facts in the database: append-only, with provenance and two times. The transaction belongs to the caller.

A record that did not change costs no row; a changed one is a new version; one that a complete answer no longer lists is
a version that says so. Answers of one register about one person are recorded in the order in which they arrived.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, select

from gateway.errors import MappingError
from gateway.model import Answer, Fact, Iin, Provenance, RecordedFact
from gateway.prepared import Prepared, text_array
from gateway.registry.categories import arrival_is_news, ask_again_on
from gateway.registry.facts import ConsumerFacts
from gateway.registry.people import recorded_fact
from gateway.registry.serving import Asked, computed_standings_of
from gateway.registry.standing import Standing, standing
from gateway.registry.tables import FACT, MAX_KEY_CHARACTERS, MAX_KIND_CHARACTERS
from gateway.registry.touched import touch_each
from gateway.regulation.law import Law
from gateway.statements import FixedStatement, is_among

_RecordKey = tuple[str, str, str]
"""IIN, kind, key: one record of one register."""


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """What one answer changed. `new + changed + gone` rows were written."""

    new: int = 0
    """Records heard of for the first time, or again after they were gone."""
    changed: int = 0
    """Records that say something else than before."""
    unchanged: int = 0
    gone: int = 0
    """Records that a complete answer no longer lists."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A verified answer about one person, with what it rests on."""

    subject: Iin = field(repr=False)
    answer: Answer
    provenance: Provenance


def record_answer(
    connection: Connection, subject: Iin, answer: Answer, provenance: Provenance, *, law: Law
) -> RecordedCounts:
    """Take a verified answer about `subject` into the registry. Raises MappingError when it contradicts itself.

    `law` tells when hearing the same again is news (gateway.registry.categories.arrival_is_news).
    """
    return record_answers(connection, [Arrived(subject, answer, provenance)], law=law)[0]


def record_answers(connection: Connection, arrived: Sequence[Arrived], *, law: Law) -> tuple[RecordedCounts, ...]:
    """The same for several answers, one after the other, in a handful of statements.

    Raises MappingError when one of them contradicts itself; let the transaction roll back then.
    """
    _one_at_a_time(connection, [one.subject for one in arrived])
    known = _Known(connection, arrived)
    rows: list[dict[str, Any]] = []
    counts = []
    for one in arrived:
        written, count = _differences(one, known, law)
        rows += written
        counts.append(count)
    if rows:
        connection.execute(insert(FACT), rows)
        moments: dict[str, dt.datetime] = {}
        for row in rows:
            moments[row["iin"]] = max(row["received_at"], moments.get(row["iin"], row["received_at"]))
        touch_each(connection, moments)
    return tuple(counts)


def _differences(arrived: Arrived, known: _Known, law: Law) -> tuple[list[dict[str, Any]], RecordedCounts]:
    """The versions that an answer adds. They are known from then on."""
    subject, answer, provenance = arrived.subject, arrived.answer, arrived.provenance
    listed = _by_key(answer.facts)
    people = {subject.value, *(fact.subject.value for fact in answer.facts)}
    latest = known.by(provenance, people)
    rows: list[dict[str, Any]] = []
    new = changed = unchanged = gone = 0
    for key, fact in listed.items():
        last, version = latest.get(key, (None, 0))
        if last is None or not last.present:
            new += 1
        elif not _same(last.fact, fact) or arrival_is_news(last, provenance.received_at, law):
            changed += 1
        else:
            unchanged += 1
            continue
        rows.append(known.add(fact, provenance, version + 1, present=True))
    for key, (last, version) in latest.items():
        iin, kind, _ = key
        if (
            last is not None
            and last.present
            and iin == subject.value
            and kind in answer.complete_for
            and key not in listed
        ):
            gone += 1
            rows.append(known.add(last.fact, provenance, version + 1, present=False))
    return rows, RecordedCounts(new, changed, unchanged, gone)


def history_of(connection: Connection, iin: Iin, known_at: dt.datetime) -> tuple[RecordedFact, ...]:
    """Every version of every record about the person that had arrived by `known_at`, in order of arrival."""
    query = (
        select(FACT)
        .where(FACT.c.iin == iin.value, FACT.c.received_at <= known_at)
        .order_by(FACT.c.received_at, FACT.c.system, FACT.c.kind, FACT.c.key, FACT.c.version)
    )
    return tuple(recorded_fact(row) for row in connection.execute(query))


def facts_of(connection: Connection, iin: Iin, known_at: dt.datetime) -> tuple[RecordedFact, ...]:
    """What each register last said about the person by `known_at`, ordered by system, kind and key.

    Records that are gone are among them, with `present` False.
    """
    return _last_versions(history_of(connection, iin, known_at))


def standing_of(connection: Connection, iin: Iin, *, as_of: dt.date, known_at: dt.datetime, law: Law) -> Standing:
    """The person's standing on `as_of` by all that was known at `known_at`, answers and lists.

    From the facts; what the cache holds is the same answer, given earlier (gateway.registry.serving). Raises
    EditionNotInForce.
    """
    law.edition_on(as_of)
    (found,) = computed_standings_of(connection, [Asked(iin, as_of, known_at)], law)
    if found.standing is None:  # nobody has told us anything, which is an answer too: no basis
        return standing(ConsumerFacts(), as_of=as_of, known_at=law.local_day(known_at), law=law)
    return found.standing


def next_change_of(connection: Connection, iin: Iin, *, system: str, after: dt.datetime, law: Law) -> dt.date | None:
    """The first day after `after` on which the person's standing changes by itself, or on which an answer of `system`
    may say something new (a child comes of age, a period ends). None: no such day is known."""
    return next_changes_of(connection, [Heard(iin, system, after)], law=law)[0]


@dataclass(frozen=True, slots=True)
class Heard:
    """Of whom which register was heard, and when."""

    iin: Iin = field(repr=False)
    system: str
    at: dt.datetime


def next_changes_of(connection: Connection, heard: Sequence[Heard], *, law: Law) -> tuple[dt.date | None, ...]:
    """`next_change_of` for several people at once."""
    if not heard:
        return ()
    told: dict[str, list[RecordedFact]] = {one.iin.value: [] for one in heard}
    for row in _versions_of(connection, told):
        told[row.iin].append(recorded_fact(row))
    days = [law.local_day(one.at) for one in heard]
    standings = computed_standings_of(
        connection, [Asked(one.iin, day, one.at) for one, day in zip(heard, days, strict=True)], law
    )
    changes = []
    for one, day, found in zip(heard, days, standings, strict=True):
        seen = _last_versions(fact for fact in told[one.iin.value] if fact.provenance.received_at <= one.at)
        news = ask_again_on(seen, system=one.system, after=day, law=law)
        own = None if found.standing is None else found.standing.next_change
        changes.append(min((change for change in (own, news) if change is not None), default=None))
    return tuple(changes)


# ---------------------------------------------------------------- rows


def _one_at_a_time(connection: Connection, subjects: Sequence[Iin]) -> None:
    """Two answers about one person at once would both take the next version. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        # in one order, or two groups would wait for each other
        numbers = sorted({subject.value for subject in subjects})
        _LOCK_SUBJECTS.run(connection, text_array(numbers))


_LOCK_SUBJECTS: Final = Prepared(
    "subjects_lock", "SELECT pg_advisory_xact_lock(hashtextextended(iin, 0)) FROM unnest($1::text[]) AS iin"
)


def _last_versions(history: Iterable[RecordedFact]) -> tuple[RecordedFact, ...]:
    last: dict[_RecordKey, RecordedFact] = {}
    for recorded in history:
        last[recorded.provenance.system, recorded.fact.kind, recorded.fact.key] = recorded
    return tuple(last[key] for key in sorted(last))


def _by_key(facts: Iterable[Fact]) -> Mapping[_RecordKey, Fact]:
    listed: dict[_RecordKey, Fact] = {}
    for fact in facts:
        for name, value, bound in (("kind", fact.kind, MAX_KIND_CHARACTERS), ("key", fact.key, MAX_KEY_CHARACTERS)):
            if not 0 < len(value) <= bound:
                raise MappingError(f"the {name} of a {fact.kind or 'nameless'} record has {len(value)} characters")
        before = listed.setdefault(_key(fact), fact)
        if not _same(before, fact):
            raise MappingError(f"the answer lists two different {fact.kind} records under one key")
    return listed


def _key(fact: Fact) -> _RecordKey:
    return fact.subject.value, fact.kind, fact.key


def _same(one: Fact, other: Fact) -> bool:
    return (
        (one.valid_from, one.valid_to) == (other.valid_from, other.valid_to)
        # as text, because True == 1
        and _canonical(one.attributes) == _canonical(other.attributes)
    )


def _canonical(attributes: Mapping[str, Any]) -> str:
    return json.dumps(dict(attributes), sort_keys=True, ensure_ascii=False)


class _FactRow(NamedTuple):
    """A row of FACT: as much of it as `recorded_fact` reads, and its version."""

    iin: str
    system: str
    kind: str
    key: str
    version: int
    present: bool
    valid_from: dt.date | None
    valid_to: dt.date | None
    attributes: Mapping[str, Any]
    message_id: str
    signer_subject: str
    signer_serial: str
    received_at: dt.datetime


def _versions_of(connection: Connection, people: Collection[str]) -> Iterable[_FactRow]:
    """Every version of every record about these people, in the order in which they arrived."""
    return map(_FactRow._make, _FACTS.run(connection, iins=sorted(people)))


_FACTS: Final = FixedStatement(
    "facts_of",
    lambda on_postgresql: (
        select(*(FACT.c[name] for name in _FactRow._fields))
        .where(is_among(on_postgresql, FACT.c.iin, "iins"))
        .order_by(FACT.c.received_at, FACT.c.system, FACT.c.kind, FACT.c.key, FACT.c.version)
    ),
)


class _Known:
    """Every version of every record that these answers may be compared with."""

    def __init__(self, connection: Connection, arrived: Sequence[Arrived]) -> None:
        people = {iin.value for one in arrived for iin in (one.subject, *(fact.subject for fact in one.answer.facts))}
        systems = {one.provenance.system for one in arrived}
        self._versions: dict[tuple[str, str], list[tuple[RecordedFact, int]]] = {}
        for row in _versions_of(connection, people):
            if row.system in systems:
                self._keep(recorded_fact(row), row.version)

    def _keep(self, recorded: RecordedFact, version: int) -> None:
        place = (recorded.fact.subject.value, recorded.provenance.system)
        self._versions.setdefault(place, []).append((recorded, version))

    def by(self, provenance: Provenance, people: Iterable[str]) -> Mapping[_RecordKey, tuple[RecordedFact | None, int]]:
        """What the register last said of these people by the answer's arrival, with the highest version there is."""
        latest: dict[_RecordKey, tuple[RecordedFact | None, int]] = {}
        for iin in people:
            for recorded, number in self._versions.get((iin, provenance.system), ()):
                key = _key(recorded.fact)
                before, version = latest.get(key, (None, 0))
                visible = recorded if recorded.provenance.received_at <= provenance.received_at else before
                latest[key] = visible, max(version, number)
        return latest

    def add(self, fact: Fact, provenance: Provenance, version: int, *, present: bool) -> dict[str, Any]:
        """The row of a new version; the next answer is compared with it."""
        self._keep(RecordedFact(fact, provenance, present), version)
        return _row(fact, provenance, version, present=present)


def _row(fact: Fact, provenance: Provenance, version: int, *, present: bool) -> dict[str, Any]:
    return {
        "iin": fact.subject.value,
        "system": provenance.system,
        "kind": fact.kind,
        "key": fact.key,
        "version": version,
        "present": present,
        "valid_from": fact.valid_from,
        "valid_to": fact.valid_to,
        "attributes": dict(fact.attributes),
        "message_id": provenance.message_id,
        "signer_subject": provenance.signer_subject,
        "signer_serial": provenance.signer_serial,
        "received_at": provenance.received_at,
    }
