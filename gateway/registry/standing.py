"""The standing of a consumer on a day: insured or not, on what basis, at whose cost, until when, and why. Pure.

Built so far: the persons of chapters 2 and 3 (state-paid categories) and their retention: REGISTRY.md 6.1, 6.2, DT-1
lines 0, G, 1, 2, 7, 10. Every other basis is one more maker of spans.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.model import Citation
from gateway.registry.categories import REASON_DEATH, CategoryRecord, ConsumerFacts, Removal
from gateway.registry.days import ONE_DAY, add_months, end_of_month
from gateway.regulation.law import Category, CategoryList, Law, Residency

P2_6: Final = Citation.parse("004 p.2(6)")
P3: Final = Citation.parse("004 p.3")
P7: Final = Citation.parse("004 p.7")
P9_1: Final = Citation.parse("004 p.9 part 1")
P16: Final = Citation.parse("004 p.16")
P20_1: Final = Citation.parse("004 p.20 part 1")
P20_2: Final = Citation.parse("004 p.20 part 2")
P20_3: Final = Citation.parse("004 p.20 part 3")
P51: Final = Citation.parse("004 p.51")
P55_1: Final = Citation.parse("004 p.55 part 1")
P55_2: Final = Citation.parse("004 p.55 part 2")
P61: Final = Citation.parse("004 p.61")

_TEMPORARY: Final = frozenset({Residency.TEMP_FOREIGNER, Residency.TEMP_STATELESS})


class Basis(StrEnum):
    """What the right rests on, in the order in which it is reported when several apply (R-80)."""

    REPUBLICAN_CATEGORY = "republican_category"
    LOCAL_CATEGORY = "local_category"
    RETENTION_STATE = "retention_state"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer for one day, and what it rests on."""

    as_of: dt.date
    known_at: dt.date
    insured: bool
    basis: Basis
    category: str | None
    budget: str | None
    valid_until: dt.date | None
    """Last day of the unbroken run of insured days around `as_of`; None: open, or not insured."""
    because: tuple[Citation, ...]
    """The clauses that made the answer, the deciding one first."""
    evidence: tuple[str, ...]
    """Ids of the signed messages that it rests on."""
    readings: tuple[str, ...]
    """Readings of ambiguous places (config/regulation/readings.yaml) that it rests on."""
    next_change: dt.date | None
    """The first later day whose answer differs, if nothing new is heard; None: never."""


@dataclass(frozen=True, slots=True)
class _Span:
    """An unbroken run of days with one basis; `last` None is open."""

    first: dt.date
    last: dt.date | None
    basis: Basis
    record: CategoryRecord
    category: Category

    def covers(self, day: dt.date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


def standing(facts: ConsumerFacts, *, as_of: dt.date, known_at: dt.date, law: Law) -> Standing:
    """The standing on `as_of` by what had arrived by the end of `known_at` (R-81).

    Raises EditionNotInForce (DT-1 line 0).
    """
    edition = law.edition_on(as_of)
    records = tuple(_visible_records(facts.records, known_at))
    allowed = tuple(
        record for record in records if not residency_excluded(law.category(record.category), facts.residency)
    )
    death = _first_death(facts, records, known_at)
    spans = _before(death, _spans(allowed, as_of, law)) if facts.residency not in _TEMPORARY else ()
    span = _reported(spans, as_of)
    answer = _outcome(spans, as_of)
    next_change = next(
        (day for day in _boundaries(spans, edition.in_force_to) if day > as_of and _outcome(spans, day) != answer),
        None,
    )
    if span is None:
        because, evidence = _why_not(facts, records, death, as_of, law)
        used: tuple[str, ...] = ()
    else:
        because, evidence = _why(span, spans, as_of, law)
        used = span.record.readings
    insured, basis, category, budget, valid_until = answer
    return Standing(
        as_of, known_at, insured, basis, category, budget, valid_until, because, evidence, used, next_change
    )


def residency_excluded(category: Category, residency: Residency) -> bool:
    """R-24: such a record is refused at intake, and ignored if it is there."""
    return residency in category.excluded_residency


# ---------------------------------------------------------------- what is visible


def _visible_records(records: Iterable[CategoryRecord], known_at: dt.date) -> Iterable[CategoryRecord]:
    """An unseen record is not there; an unseen removal is as if it did not exist."""
    for record in records:
        if record.received_at > known_at:
            continue
        if record.removal is not None and record.removal.received_at > known_at:
            yield replace(record, removal=None)
        else:
            yield record


@dataclass(frozen=True, slots=True)
class _Death:
    day: dt.date
    evidence: str


def _first_death(facts: ConsumerFacts, records: Iterable[CategoryRecord], known_at: dt.date) -> _Death | None:
    """A-38: a death record, or a removal with the reason `death`; where they disagree, the earliest day."""
    told = [_Death(death.died_on, death.evidence) for death in facts.deaths if death.received_at <= known_at]
    told += [
        _Death(record.removal.date, record.removal.evidence)
        for record in records
        if record.removal is not None and record.removal.reason == REASON_DEATH
    ]
    return min(told, key=lambda death: (death.day, death.evidence), default=None)


# ---------------------------------------------------------------- state-paid persons (6.2)


def _spans(records: Iterable[CategoryRecord], as_of: dt.date, law: Law) -> tuple[_Span, ...]:
    spans: list[_Span] = []
    for record in records:
        category = law.category(record.category)
        if category.list.state_paid:
            spans.extend(_state_paid(record, category, as_of, law))
    return tuple(spans)


def _state_paid(record: CategoryRecord, category: Category, as_of: dt.date, law: Law) -> Iterable[_Span]:
    """R-06: from the day of assignment, inclusive. R-07: after the removal has arrived, three months."""
    active = Basis.REPUBLICAN_CATEGORY if category.list is CategoryList.REPUBLICAN else Basis.LOCAL_CATEGORY
    removal = record.removal
    if removal is None:
        yield _Span(record.assigned_date, None, active, record, category)
        return
    takes_effect = _takes_effect(removal, law)
    if record.assigned_date < takes_effect:
        yield _Span(record.assigned_date, takes_effect - ONE_DAY, active, record, category)
    # a death needs no exception here: gate G ends every span on its day
    first, last = max(takes_effect, record.assigned_date), _retention_end(removal, as_of, law)
    if first <= last:
        yield _Span(first, last, Basis.RETENTION_STATE, record, category)


def _takes_effect(removal: Removal, law: Law) -> dt.date:
    """A-10: the category stays active up to the day before the removal's arrival."""
    if law.reading("late_removal").value == "retroactive":
        return removal.date
    return max(removal.date, removal.received_at)


def _retention_end(removal: Removal, as_of: dt.date, law: Law) -> dt.date:
    """p.9 part 1 (A-05, A-06, A-08): the last day of the three months."""
    arrival_counts = law.reading("state_cessation_anchor").value == "arrival_of_removal"
    anchor = max(removal.date, removal.received_at) if arrival_counts else removal.date
    end = add_months(anchor, law.window("state_retention_months", as_of).value)
    return end_of_month(end) if law.reading("state_retention_unit").value == "whole_calendar_months" else end


def _before(death: _Death | None, spans: Sequence[_Span]) -> tuple[_Span, ...]:
    """Gate G of DT-1: nothing covers the day of death or a later one."""
    if death is None:
        return tuple(spans)
    last_day = death.day - ONE_DAY
    return tuple(replace(span, last=min(span.last or last_day, last_day)) for span in spans if span.first <= last_day)


# ---------------------------------------------------------------- which one is reported

_Outcome = tuple[bool, Basis, str | None, str | None, dt.date | None]
_NOT_INSURED: Final[_Outcome] = (False, Basis.NONE, None, None, None)


def _outcome(spans: Sequence[_Span], day: dt.date) -> _Outcome:
    span = _reported(spans, day)
    if span is None:
        return _NOT_INSURED
    return True, span.basis, span.category.slug, span.category.list.value, _end_of_run(spans, day)


def _reported(spans: Sequence[_Span], day: dt.date) -> _Span | None:
    covering = [span for span in spans if span.covers(day)]
    for basis in (Basis.REPUBLICAN_CATEGORY, Basis.LOCAL_CATEGORY):
        held = [span for span in covering if span.basis is basis]
        if held:
            slugs = {span.category.slug for span in held}
            # a person of p.20(4) is not in p.20(3), whatever the numbers say
            return min((span for span in held if span.category.yields_to not in slugs), key=_rank)
    # what is left are retentions: the one that ends last, then the higher category
    return min(covering, key=lambda span: (-(span.last or dt.date.max).toordinal(), _rank(span)), default=None)


def _rank(span: _Span) -> tuple[bool, int, dt.date]:
    """R-18, R-25, A-16: republican before local, then the lower number; of equal ones the earliest assignment."""
    category = span.category
    return category.list is not CategoryList.REPUBLICAN, category.priority or 0, span.record.assigned_date


def _end_of_run(spans: Sequence[_Span], day: dt.date) -> dt.date | None:
    """Last day of the unbroken run around `day`, over all bases; None is open."""
    end = day
    for span in sorted(spans, key=lambda one: one.first):
        if span.first > end + ONE_DAY:
            break
        if span.last is None:
            return None
        end = max(end, span.last)
    return end


def _boundaries(spans: Iterable[_Span], edition_ends: dt.date | None) -> list[dt.date]:
    """Days on which an answer may differ from that of the day before."""
    days = {span.first for span in spans} | {span.last + ONE_DAY for span in spans if span.last is not None}
    if edition_ends is not None:
        days.add(edition_ends)
    return sorted(days)


# ---------------------------------------------------------------- why


def _why(span: _Span, spans: Sequence[_Span], day: dt.date, law: Law) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
    record, category = span.record, span.category
    republican = category.list is CategoryList.REPUBLICAN
    sources = law.edition_on(day).sources
    cites = [P9_1, category.cites[0]]
    if record.assigned_source in sources:
        cites += [sources[record.assigned_source], *category.cites[1:]]
    cites.append(P16 if republican else P51)
    others = [other for other in spans if other is not span and other.covers(day)]
    if any(other.basis is span.basis and other.category.list is category.list for other in others):
        cites.append(P20_1 if republican else P55_1)
    if span.basis is not Basis.RETENTION_STATE:
        # a higher category was taken away and this lower one keeps the right
        ended = [other for other in others if other.basis is Basis.RETENTION_STATE and _rank(other) < _rank(span)]
        if any(other.category.list is CategoryList.REPUBLICAN for other in ended):
            cites += [P20_2, P20_3]
        if any(other.category.list is CategoryList.LOCAL for other in ended):
            cites.append(P55_2)
    evidence = [record.evidence]
    if record.removal is not None:
        evidence.append(record.removal.evidence)
    return _unique(cites), tuple(dict.fromkeys(evidence))


def _why_not(
    facts: ConsumerFacts, records: Sequence[CategoryRecord], death: _Death | None, day: dt.date, law: Law
) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
    if death is not None and death.day <= day:
        return (P2_6,), (death.evidence,)
    if facts.residency in _TEMPORARY:
        return (P7, P61), ()
    cites, evidence = [P3], []
    for record in records:
        category = law.category(record.category)
        if residency_excluded(category, facts.residency):
            cites += category.cites
        elif category.list.state_paid:
            cites += [P9_1, category.cites[0]]
        else:
            continue
        evidence.append(record.evidence if record.removal is None else record.removal.evidence)
    return _unique(cites), tuple(dict.fromkeys(evidence))


def _unique(cites: Iterable[Citation]) -> tuple[Citation, ...]:
    return tuple(dict.fromkeys(cites))
