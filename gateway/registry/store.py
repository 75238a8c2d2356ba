"""Facts in the database: append-only, with provenance and two times. The transaction belongs to the caller.

A record that did not change costs no row; a changed one is a new version; one that a complete answer no longer lists is
a version that says so. Answers of one register about one person are recorded in the order in which they arrived.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, text

from gateway.errors import EditionNotInForce, MappingError
from gateway.model import Answer, Fact, Iin, Provenance, RecordedFact
from gateway.registry.categories import arrival_is_news, ask_again_on
from gateway.registry.facts import ConsumerFacts
from gateway.registry.people import recorded_fact
from gateway.registry.serving import Asked, computed_standings_of
from gateway.registry.standing import Standing, standing
from gateway.registry.tables import FACT, MAX_KEY_CHARACTERS, MAX_KIND_CHARACTERS
from gateway.registry.touched import touch
from gateway.regulation.law import Law

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


def record_answer(
    connection: Connection, subject: Iin, answer: Answer, provenance: Provenance, *, law: Law
) -> RecordedCounts:
    """Take a verified answer about `subject` into the registry. Raises MappingError when it contradicts itself.

    `law` tells when hearing the same again is news (gateway.registry.categories.arrival_is_news).
    """
    _one_at_a_time(connection, subject)
    listed = _by_key(answer.facts)
    known = _latest(connection, {subject, *(fact.subject for fact in answer.facts)}, provenance)
    rows: list[dict[str, Any]] = []
    new = changed = unchanged = gone = 0
    for key, fact in listed.items():
        last, version = known.get(key, (None, 0))
        if last is None or not last.present:
            new += 1
        elif not _same(last.fact, fact) or arrival_is_news(last, provenance.received_at, law):
            changed += 1
        else:
            unchanged += 1
            continue
        rows.append(_row(fact, provenance, version + 1, present=True))
    for key, (last, version) in known.items():
        iin, kind, _ = key
        if (
            last is not None
            and last.present
            and iin == subject.value
            and kind in answer.complete_for
            and key not in listed
        ):
            gone += 1
            rows.append(_row(last.fact, provenance, version + 1, present=False))
    if rows:
        connection.execute(insert(FACT), rows)
        touch(connection, {row["iin"] for row in rows}, provenance.received_at)
    return RecordedCounts(new, changed, unchanged, gone)


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
    today = law.local_day(after)
    news = ask_again_on(facts_of(connection, iin, after), system=system, after=today, law=law)
    try:
        own = standing_of(connection, iin, as_of=today, known_at=after, law=law).next_change
    except EditionNotInForce:  # no standing on that day, so nothing of it that could change
        own = None
    return min((day for day in (own, news) if day is not None), default=None)


# ---------------------------------------------------------------- rows


def _one_at_a_time(connection: Connection, subject: Iin) -> None:
    """Two answers about one person at once would both take the next version. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:iin, 0))"), {"iin": subject.value})


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


def _latest(
    connection: Connection, people: Iterable[Iin], provenance: Provenance
) -> Mapping[_RecordKey, tuple[RecordedFact | None, int]]:
    """What this register last said by the answer's arrival, with the highest version that exists."""
    query = (
        select(FACT)
        .where(FACT.c.iin.in_(sorted(person.value for person in people)), FACT.c.system == provenance.system)
        .order_by(FACT.c.received_at, FACT.c.version)
    )
    latest: dict[_RecordKey, tuple[RecordedFact | None, int]] = {}
    for row in connection.execute(query):
        recorded = recorded_fact(row)
        key = _key(recorded.fact)
        before, version = latest.get(key, (None, 0))
        visible = recorded if recorded.provenance.received_at <= provenance.received_at else before
        latest[key] = visible, max(version, row.version)
    return latest


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
