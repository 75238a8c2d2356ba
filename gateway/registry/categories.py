"""Register facts → category records: which answer of which register gives or takes which category. Pure.

004 p.8 has the categories come from the State Corporation. Until its lists are taken in, the reading
`register_answers_assign` lets the signed answer of the very source that p.7 names stand for that source's information.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from gateway.model import Fact, RecordedFact
from gateway.registry.days import birthday
from gateway.registry.facts import CategoryRecord, ConsumerFacts, Death, Removal
from gateway.registry.residency import may_change, told_by_register
from gateway.regulation.law import Law

REGISTER_ANSWERS_ASSIGN: Final = "register_answers_assign"

CHILDREN: Final = "children"
PERSON_WITH_DISABILITY: Final = "person_with_disability"

#: register and kind of fact → the category that it gives
#: p.7(3), p.22-23: the state database of natural persons; p.7(4), p.47: the Labour ministry's database
_ASSIGNS: Final[Mapping[tuple[str, str], str]] = {
    ("gbdfl", "person"): CHILDREN,
    ("cbdi", "disability"): PERSON_WITH_DISABILITY,
}

#: reasons of a removal (p.18(6)) that this module gives; the Rules have no list of them
REASON_COME_OF_AGE: Final = "come_of_age"
REASON_PERIOD_ENDED: Final = "period_ended"
REASON_NO_LONGER_LISTED: Final = "no_longer_listed"

#: values of attributes that mappers write
_DECEASED: Final = "deceased"
_ANNULLED: Final = "annulled"


def consumer_facts(history: Iterable[RecordedFact], law: Law) -> ConsumerFacts:
    """What the registers' answers about one person mean for the Rules.

    `history` are all versions of all records known at the moment asked about, in order of arrival
    (gateway.registry.store.history_of): when a thing was first said decides when it takes effect.
    """
    history = tuple(history)
    by_record: dict[tuple[str, str, str], list[RecordedFact]] = {}
    for recorded in history:
        fact = recorded.fact
        by_record.setdefault((recorded.provenance.system, fact.kind, fact.key), []).append(recorded)
    records: list[CategoryRecord] = []
    deaths: list[Death] = []
    for (system, kind, _), versions in by_record.items():
        category = _ASSIGNS.get((system, kind))
        if category is not None and law.reading(REGISTER_ANSWERS_ASSIGN).value is True:
            records.extend(_record_of(category, versions, law))
        deaths.extend(_death_of(versions, law))
    residencies = told_by_register(history, law)
    return ConsumerFacts(records=tuple(records), deaths=tuple(deaths), residencies=residencies)


def arrival_is_news(last: RecordedFact, received_at: dt.datetime, law: Law) -> bool:
    """Whether hearing `last` again, unchanged, says something new, so that it is recorded once more.

    One case: the first answer that shows a child as an adult is the information on removal (A-43: the source decides,
    the adapter never removes by age; so there must be an answer).
    """
    coming_of_age = _coming_of_age(last.fact, law)
    if _ASSIGNS.get((last.provenance.system, last.fact.kind)) != CHILDREN or coming_of_age is None:
        return False
    return law.local_day(last.provenance.received_at) < coming_of_age <= law.local_day(received_at)


def ask_again_on(facts: Iterable[RecordedFact], *, system: str, after: dt.date, law: Law) -> dt.date | None:
    """The first day after `after` on which an answer of `system` may say something new, by what it said last.

    A child comes of age (only an answer that shows the adult takes the category away); a period or a permit to stay
    ends (it may have been prolonged). None: no such day is known.
    """
    days = {
        day
        for recorded in facts
        if recorded.present and recorded.provenance.system == system
        if (system, recorded.fact.kind) in _ASSIGNS or may_change(recorded.fact, system)
        for day in (recorded.fact.valid_to, _coming_of_age(recorded.fact, law))
        if day is not None and day > after
    }
    return min(days, default=None)


# ---------------------------------------------------------------- categories


def _record_of(category: str, versions: Iterable[RecordedFact], law: Law) -> Iterable[CategoryRecord]:
    """None or one: what the last version says, each part of it dated by the version that said it first."""
    record: CategoryRecord | None = None
    for version in versions:
        record = _with_version(record, category, version, law)
    return () if record is None else (record,)


def _with_version(
    record: CategoryRecord | None, category: str, version: RecordedFact, law: Law
) -> CategoryRecord | None:
    provenance, arrived = version.provenance, law.local_day(version.provenance.received_at)
    if category == CHILDREN:
        assigned, removed, reason = _childhood(version.fact, arrived, law)
        if removed is not None and record is None:
            return None  # this source has never shown the person as a child, so it gave nothing that it could take
    else:
        assigned, removed, reason = version.fact.valid_from, version.fact.valid_to, REASON_PERIOD_ENDED
    if not version.present and (removed is None or arrived < removed):
        # the register names no day; the day on which it stopped naming the record is the only one there is
        removed, reason = arrived, REASON_NO_LONGER_LISTED
    if assigned is None or (removed is not None and removed < assigned):
        return None  # a record that p.18 does not allow (removed_before_assigned) is not taken
    if record is None or record.assigned_date != assigned:
        record = CategoryRecord(
            category=category,
            assigned_date=assigned,
            assigned_source=provenance.system,
            received_at=arrived,
            evidence=provenance.message_id,
            readings=(REGISTER_ANSWERS_ASSIGN,),
        )
    if removed is None:
        return replace(record, removal=None)
    if record.removal is not None and record.removal.date == removed:
        return record
    return replace(record, removal=Removal(removed, provenance.system, reason, arrived, provenance.message_id))


def _childhood(fact: Fact, arrived: dt.date, law: Law) -> tuple[dt.date | None, dt.date | None, str]:
    """Assigned, removed, reason: as the answer showed the person on the day it arrived."""
    birth, coming_of_age = _date(fact, "birth_date"), _coming_of_age(fact, law)
    if coming_of_age is None or arrived < coming_of_age:
        return birth, None, ""
    return birth, coming_of_age, REASON_COME_OF_AGE


def _coming_of_age(fact: Fact, law: Law) -> dt.date | None:
    birth = _date(fact, "birth_date")
    if birth is None:
        return None
    # the limit is that of the latest edition: it is assumed, not quoted, and the same in all of them
    return birthday(birth, law.editions[-1].windows["child_age_years"].value)


# ---------------------------------------------------------------- death


def _death_of(versions: Iterable[RecordedFact], law: Law) -> Iterable[Death]:
    """None or one: what the last version says, dated by the version that said it first."""
    death: Death | None = None
    for version in versions:
        arrived = law.local_day(version.provenance.received_at)
        died_on = _died_on(version.fact, arrived, death) if version.present else None
        if died_on is None:
            death = None
        elif death is None or death.died_on != died_on:
            death = Death(died_on, version.provenance.system, arrived, version.provenance.message_id)
    return () if death is None else (death,)


def _died_on(fact: Fact, arrived: dt.date, known: Death | None) -> dt.date | None:
    if fact.kind == "death":
        # an annulled record says that there was no such death
        return None if fact.attributes.get("status") == _ANNULLED else _date(fact, "died_on")
    if fact.kind != "person":
        return None
    died_on = _date(fact, "death_date")
    if died_on is None and fact.attributes.get("life_status") == _DECEASED:
        # dead without a day: no basis can rest on a dead person, at the latest from the day on which we were told
        return arrived if known is None else known.died_on
    return died_on


def _date(fact: Fact, name: str) -> dt.date | None:
    value = fact.attributes.get(name)
    return dt.date.fromisoformat(value) if isinstance(value, str) and value else None
