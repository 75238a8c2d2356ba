"""All that is known about people at a moment, as the rules want it: of the registers' answers and of the lists.

The rules decide by days; what had arrived is decided here, by the moment.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from gateway.model import Fact, Iin, Provenance, RecordedFact
from gateway.registry.categories import consumer_facts
from gateway.registry.days import month_of
from gateway.registry.facts import (
    CategoryRecord,
    ConsumerFacts,
    ListedAs,
    MilitaryEvent,
    PayerType,
    Payment,
    ProvisionalEntry,
    Removal,
    StateStop,
    SubmissionKind,
    TechnicalFailure,
    TreatyInterval,
)
from gateway.registry.heard import CountryVersion, Kind, Told, heard_about
from gateway.registry.imports.feeds import MILITARY_BODIES, RecordKind, Scope, feeds_of
from gateway.registry.residency import with_list
from gateway.registry.tables import (
    CATEGORY_RECORD,
    FACT,
    IMPORT,
    MILITARY_EVENT,
    PAYMENT,
    PROVISIONAL_ENTRY,
    STATE_STOP,
    TECHNICAL_FAILURE,
    TREATY_INTERVAL,
)
from gateway.regulation.law import CategoryList, Law

#: the tables of which every row is about one person
ABOUT_PEOPLE: Final = (FACT, CATEGORY_RECORD, PAYMENT, MILITARY_EVENT, TREATY_INTERVAL, PROVISIONAL_ENTRY)


@dataclass(frozen=True, slots=True)
class Country:
    """What is the same for everybody at a moment: read once for many people."""

    known_at: dt.datetime
    state_stops: tuple[StateStop, ...]
    failures: tuple[TechnicalFailure, ...]
    listed_categories: frozenset[str]
    """Of which a full list was taken in: the registers' answers no longer give them (decision 0005)."""
    submissions: Mapping[str, Sequence[tuple[dt.date, str]]]
    """Full submissions of each body, in order."""
    version: CountryVersion
    """The state of the tables, of what is told here."""
    newest: dt.datetime | None
    """When the last of what is told here arrived."""


def country_at(connection: Connection, known_at: dt.datetime, law: Law) -> Country:
    """What had arrived by `known_at`."""
    feeds = feeds_of(law)
    listed: set[str] = set()
    submissions: dict[str, list[tuple[dt.date, str]]] = {body: [] for body in MILITARY_BODIES}
    arrived = IMPORT.c.received_at <= known_at
    last, newest = connection.execute(
        select(func.max(IMPORT.c.id), func.max(IMPORT.c.received_at)).where(arrived)
    ).one()
    full = select(IMPORT.c.feed).where(arrived, IMPORT.c.scope == Scope.FULL.value)
    for name in connection.execute(full.distinct()).scalars():
        if name in feeds:
            listed |= feeds[name].categories
    military = {name: feed.body for name, feed in feeds.items() if feed.kind is RecordKind.MILITARY}
    told = full.add_columns(IMPORT.c.received_at, IMPORT.c.evidence).where(IMPORT.c.feed.in_(sorted(military)))
    for row in connection.execute(told.order_by(IMPORT.c.id)):
        submissions[military[row.feed]].append((law.local_day(row.received_at), row.evidence))
    stops = connection.execute(
        select(STATE_STOP)
        .where(STATE_STOP.c.received_at <= known_at)
        .order_by(STATE_STOP.c.budget, STATE_STOP.c.start, STATE_STOP.c.version)
    ).all()
    failures = connection.execute(
        select(TECHNICAL_FAILURE)
        .where(TECHNICAL_FAILURE.c.received_at <= known_at)
        .order_by(TECHNICAL_FAILURE.c.system, TECHNICAL_FAILURE.c.start, TECHNICAL_FAILURE.c.version)
    ).all()
    return Country(
        known_at,
        tuple(_state_stops(stops, law)),
        tuple(_failures(failures, law)),
        frozenset(listed),
        submissions,
        (last or 0, len(stops), len(failures)),
        max((one for one in (newest, *(row.received_at for row in (*stops, *failures))) if one), default=None),
    )


def facts_about(
    connection: Connection, iins: Sequence[str], country: Country, law: Law
) -> Iterator[tuple[str, ConsumerFacts]]:
    """Each person's facts, in the order of `iins`; of whom nothing is known, empty ones. One statement."""
    heard = heard_about(connection, iins, country.known_at)
    for iin in iins:
        yield iin, facts_from(heard.people.get(iin, {}), country, law)


def facts_from(told: Mapping[int, Sequence[Told]], country: Country, law: Law) -> ConsumerFacts:
    """One person's facts of what was heard. Pure."""
    answers = sorted(
        told.get(Kind.ANSWER, ()), key=lambda row: (row.received_at, row.source, row.name, row.key, row.version)
    )
    heard = consumer_facts([_answer(row) for row in answers], law) if answers else _NOTHING
    by_register = tuple(one for one in heard.records if one.category not in country.listed_categories)
    treaty = tuple(_treaty(told.get(Kind.TREATY, ()), law))
    return replace(
        heard,
        records=(*by_register, *_category_records(told.get(Kind.CATEGORY, ()), law)),
        payments=tuple(_payments(told.get(Kind.PAYMENT, ()), law)),
        military=tuple(_military(told.get(Kind.MILITARY, ()), country, law)),
        treaty=treaty,
        residencies=with_list(heard.residencies, treaty),
        provisional=tuple(_provisional(told.get(Kind.PROVISIONAL, ()), law)),
        state_stops=country.state_stops,
    )


_NOTHING: Final = ConsumerFacts()


def heard_of(connection: Connection, iin: Iin, known_at: dt.datetime) -> bool:
    """Whether anything was known about the person: a register's answer that had one, or a place on any list."""
    return iin.value in heard_about(connection, [iin.value], known_at).people


def recorded_fact(row: Any) -> RecordedFact:
    """A row of FACT."""
    return RecordedFact(
        Fact(row.kind, Iin(row.iin), row.key, row.valid_from, row.valid_to, row.attributes),
        Provenance(row.message_id, row.system, row.signer_subject, row.signer_serial, row.received_at),
        present=row.present,
    )


def _answer(row: Told) -> RecordedFact:
    # who signed it was looked at when it was taken in; the rules do not ask again
    return RecordedFact(
        Fact(row.name, Iin(row.iin), row.key, row.first, row.second, row.attributes),
        Provenance(row.evidence, row.source, "", "", row.received_at),
        present=row.flag,
    )


# ---------------------------------------------------------------- each kind


def _category_records(rows: Sequence[Told], law: Law) -> Iterator[CategoryRecord]:
    """Each assignment dated by the list that said it first, and its removal by the one that first said that day."""
    if len(rows) > 1:
        rows = sorted(rows, key=lambda row: (row.name, row.first, row.version))
    for _, versions in groupby(rows, key=lambda row: (row.name, row.first)):
        record: CategoryRecord | None = None
        for row in versions:
            arrived, evidence = _day(row.received_at, law.timezone), row.evidence
            removal = None
            if row.second is not None:
                before = None if record is None else record.removal
                if before is not None and before.date == row.second:
                    removal = Removal(row.second, row.source, row.reason, before.received_at, before.evidence)
                else:
                    removal = Removal(row.second, row.source, row.reason, arrived, evidence)
            if record is None:
                record = CategoryRecord(row.name, row.first, row.key, arrived, evidence, removal)
            else:
                record = replace(record, assigned_source=row.key, removal=removal)
        if record is not None:
            yield record


def _payments(rows: Sequence[Told], law: Law) -> Iterator[Payment]:
    """The last word on each payment; one that was returned covers nothing (A-42)."""
    last: dict[tuple[dt.date, str], tuple[Told, Told]] = {}
    for row in sorted(rows, key=lambda row: (row.version, row.received_at, row.first, row.key)):
        first, _ = last.get((row.first, row.key), (row, row))
        # a correction that leaves what the rules look at alone does not make the payment later
        moved = (first.second, first.name, first.flag) != (row.second, row.name, row.flag)
        last[row.first, row.key] = (row if moved else first, row)
    for first, row in last.values():
        if not row.flag and row.second is not None:
            yield Payment(
                month_of(row.first),
                row.second,
                _day(first.received_at, law.timezone),
                first.evidence,
                PayerType(row.name),
            )


def _military(rows: Sequence[Told], country: Country, law: Law) -> Iterator[MilitaryEvent]:
    """What the submissions said, and, where a submission holds for a time only, each one that said the same again."""
    if not rows:
        return
    expires = law.reading("military_expiry").value == "fourteen_days"
    for body, of_body in groupby(sorted(rows, key=lambda row: (row.name, row.version)), key=lambda row: row.name):
        said = list(of_body)
        for place, row in enumerate(said, 1):
            event = MilitaryEvent(
                body,
                row.first,
                SubmissionKind.FULL if row.key in {ListedAs.LISTED, ListedAs.ABSENT} else SubmissionKind.CHANGE,
                ListedAs(row.key),
                row.evidence,
                row.flag,
            )
            yield event
            if expires and event.serving:
                until = said[place].first if place < len(said) else dt.date.max
                for day, evidence in country.submissions[body]:
                    if row.first < day < until:
                        yield replace(
                            event, date=day, kind=SubmissionKind.FULL, person=ListedAs.LISTED, evidence=evidence
                        )


def _treaty(rows: Sequence[Told], law: Law) -> Iterator[TreatyInterval]:
    for _, versions in groupby(sorted(rows, key=lambda row: (row.first, row.version)), key=lambda row: row.first):
        interval: TreatyInterval | None = None
        for row in versions:
            arrived = _day(row.received_at, law.timezone)
            if interval is None:
                interval = TreatyInterval(row.first, arrived, row.evidence)
            if row.second is None:
                interval = replace(interval, first_day_off=None, off_received_at=None, off_evidence="")
            elif interval.first_day_off != row.second:
                interval = replace(
                    interval, first_day_off=row.second, off_received_at=arrived, off_evidence=row.evidence
                )
        if interval is not None:
            yield interval


def _provisional(rows: Sequence[Told], law: Law) -> Iterator[ProvisionalEntry]:
    for row in sorted(rows, key=lambda row: (row.first, row.name)):
        documents = None if row.key is None else frozenset(row.key.split())
        yield ProvisionalEntry(row.name, row.first, _day(row.received_at, law.timezone), row.evidence, documents)


@lru_cache(maxsize=10_000)
def _day(moment: dt.datetime, zone: ZoneInfo) -> dt.date:
    """The law's local_day: what one list brought came at one moment."""
    return moment.astimezone(zone).date()


# ---------------------------------------------------------------- the same for everybody


def _state_stops(rows: Iterable[Any], law: Law) -> Iterator[StateStop]:
    for _, versions in groupby(rows, key=lambda row: (row.budget, row.start)):
        first, *_rest = told = list(versions)
        stop = StateStop(CategoryList(first.budget), first.start, law.local_day(first.received_at), first.evidence)
        for row in told:
            if row.resumed != stop.resumed:
                arrived = None if row.resumed is None else law.local_day(row.received_at)
                stop = replace(
                    stop,
                    resumed=row.resumed,
                    resumed_received_at=arrived,
                    resumed_evidence="" if row.resumed is None else row.evidence,
                )
        yield stop


def _failures(rows: Iterable[Any], law: Law) -> Iterator[TechnicalFailure]:
    for _, versions in groupby(rows, key=lambda row: (row.system, row.start)):
        first, *_rest = told = list(versions)
        failure = TechnicalFailure(first.system, first.start, law.local_day(first.received_at), first.evidence)
        for row in told:
            if row.fixed != failure.fixed:
                arrived = None if row.fixed is None else law.local_day(row.received_at)
                failure = replace(
                    failure,
                    fixed=row.fixed,
                    fix_received_at=arrived,
                    fix_evidence="" if row.fixed is None else row.evidence,
                )
        yield failure
