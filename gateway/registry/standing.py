"""The standing of a consumer on a day: insured or not, on what basis, at whose cost, until when, and why. Pure.

DT-1 of the registry specification. Each rule makes spans of days (state_paid, exempt, payers, provisional), the treaty
gate and death cut them, failures hold what stood, and priority says which one is reported.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import EditionNotInForce
from gateway.model import Citation
from gateway.registry.days import ONE_DAY
from gateway.registry.exempt import exempt_spans
from gateway.registry.facts import REASON_DEATH, CategoryRecord, ConsumerFacts, TechnicalFailure
from gateway.registry.failures import holds, seen_failures
from gateway.registry.payers import P10_1, payer_spans
from gateway.registry.priority import reported
from gateway.registry.provisional import provisional_spans
from gateway.registry.residency import TEMPORARY, Resident, resident_on, residents
from gateway.registry.spans import ACTIVE, Basis, DayLaw, Days, Span, Why, cut_before, end_of_run, ids, unique, within
from gateway.registry.state_paid import P9_1, counted, residency_excluded, state_paid_spans, visible_removal
from gateway.registry.treaty import P7, P61, TREATY, listed_spans, through_the_gate
from gateway.regulation.law import CategoryList, Law, Residency

P2_6: Final = Citation.parse("004 p.2(6)")
P3: Final = Citation.parse("004 p.3")
P20_1: Final = Citation.parse("004 p.20 part 1")
P20_2: Final = Citation.parse("004 p.20 part 2")
P20_3: Final = Citation.parse("004 p.20 part 3")
P55_1: Final = Citation.parse("004 p.55 part 1")
P55_2: Final = Citation.parse("004 p.55 part 2")


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
    """Ids of the signed messages and imports that it rests on."""
    readings: tuple[str, ...]
    """Readings of ambiguous places (config/regulation/readings.yaml) that it rests on."""
    next_change: dt.date | None
    """The first later day whose answer differs, if nothing new is heard; None: never."""
    look_again: dt.date | None = None
    """The first later day on which the answer or what it rests on may be another; until then all of it stays as it is.
    None: never."""


def standing(
    facts: ConsumerFacts,
    *,
    as_of: dt.date,
    known_at: dt.date,
    law: Law,
    failures: Sequence[TechnicalFailure] = (),
) -> Standing:
    """The standing on `as_of` by what had arrived by the end of `known_at` (R-81).

    Raises EditionNotInForce (DT-1 line 0).
    """
    day_law = DayLaw.on(law, as_of)
    life = timeline(facts, known_at=known_at, law=day_law, failures=failures, since=as_of)
    span = reported(life.spans, as_of)
    answer = _outcome(life.spans, span, as_of)
    why = _why(span, life, as_of) if span is not None else _why_not(facts, life, as_of, known_at, day_law)
    insured, basis, category, budget, valid_until = answer
    return Standing(
        as_of,
        known_at,
        insured,
        basis,
        category,
        budget,
        valid_until,
        why.because,
        why.evidence,
        why.readings,
        _next_change(facts, life, answer, as_of, known_at, day_law, failures),
        _look_again(facts, life, as_of, known_at, day_law),
    )


# ---------------------------------------------------------------- a life in spans


@dataclass(frozen=True, slots=True)
class Death:
    """The earliest day of death that was told, and who told it."""

    day: dt.date
    evidence: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All spans of one person by what was known, the gates applied."""

    spans: tuple[Span, ...]
    ungated: tuple[Span, ...]
    """The ordinary bases before the treaty gate and death (for explanation)."""
    runs: tuple[Resident, ...]
    """Who the person is on which days: each day is judged by the residency of that day."""
    listed: tuple[Span, ...]
    """Days on the treaty list, of a person who needs it on some day."""
    death: Death | None

    def list_for(self, day: dt.date) -> tuple[Span, ...] | None:
        """Days on the treaty list; None: on that day the person needs no list."""
        return self.listed if resident_on(self.runs, day).temporary else None


def timeline(
    facts: ConsumerFacts,
    *,
    known_at: dt.date,
    law: DayLaw,
    failures: Sequence[TechnicalFailure] = (),
    since: dt.date | None = None,
) -> Timeline:
    """Every basis by what had arrived by the end of `known_at`. `since`: nothing before that day is wanted."""
    runs = residents(facts.residencies, known_at)
    seen = seen_failures(failures, known_at) if failures else []
    if since is not None and seen:
        # a hold rests on the bases of the day on which the failure began
        since = min(since, seen[0][0].start)
    listed = listed_spans(facts.treaty, known_at=known_at, law=law) if any(run.temporary for run in runs) else []
    if len(runs) == 1:  # nearly everybody
        ordinary = _bases(facts, runs[0].residency, known_at, law, since)
        spans = through_the_gate(ordinary, listed, law) if runs[0].temporary else ordinary
    else:
        ordinary, spans = [], []
        for residency, days in _judged_alike(runs, facts.records, law):
            bases = _bases(facts, residency, known_at, law, since)
            ordinary += within(days, bases)
            spans += within(days, through_the_gate(bases, listed, law) if residency in TEMPORARY else bases)
    death = first_death(facts, runs, known_at, law)
    if death is not None:
        spans = cut_before(death.day, spans)
    if seen:

        def list_systems(day: dt.date) -> frozenset[str]:
            return law.category(TREATY).systems if resident_on(runs, day).temporary else frozenset()

        held = holds(seen, spans, list_systems=list_systems, law=law)
        spans = [*spans, *(held if death is None else cut_before(death.day, held))]
    if since is not None:
        spans = [span for span in spans if span.last is None or span.last >= since]
    return Timeline(tuple(spans), tuple(ordinary), runs, tuple(listed), death)


def _bases(
    facts: ConsumerFacts, residency: Residency, known_at: dt.date, law: DayLaw, since: dt.date | None
) -> list[Span]:
    """The ordinary bases of a person of this residency, before the gates."""
    records = counted(facts.records, residency=residency, known_at=known_at, law=law)
    ordinary = state_paid_spans(records, facts.state_stops, known_at=known_at, law=law)
    if facts.military:
        ordinary += exempt_spans(facts.military, known_at=known_at, law=law)
    if facts.payments:
        ordinary += payer_spans(facts.payments, tuple(ordinary), known_at=known_at, law=law, since=since)
    if facts.provisional:
        ordinary += provisional_spans(facts.provisional, records, known_at=known_at, law=law)
    return ordinary


def _judged_alike(
    runs: Sequence[Resident], records: Sequence[CategoryRecord], law: DayLaw
) -> Sequence[tuple[Residency, Sequence[Days]]]:
    """The days of each residency; those that differ in nothing for this person are one."""
    groups: dict[tuple[bool, ...], tuple[Residency, list[Days]]] = {}
    for run in runs:
        left_out = (residency_excluded(law.category(record.category), run.residency) for record in records)
        _, days = groups.setdefault((run.temporary, *left_out), (run.residency, []))
        if days and days[-1][1] == run.first - ONE_DAY:
            days[-1] = days[-1][0], run.last
        else:
            days.append((run.first, run.last))
    return tuple(groups.values())


def first_death(facts: ConsumerFacts, runs: Sequence[Resident], known_at: dt.date, law: DayLaw) -> Death | None:
    """A-38: a death record, or a removal with the reason `death`; where they disagree, the earliest day.

    A record that is left out on that day (R-24) tells of no death.
    """
    told = [Death(death.died_on, death.evidence) for death in facts.deaths if death.received_at <= known_at]
    for record in facts.records:
        removal = visible_removal(record, known_at)
        if record.received_at > known_at or removal is None or removal.reason != REASON_DEATH:
            continue
        if not residency_excluded(law.category(record.category), resident_on(runs, removal.date).residency):
            told.append(Death(removal.date, removal.evidence))
    return min(told, key=lambda death: (death.day, death.evidence), default=None)


# ---------------------------------------------------------------- the answer of a day, and the next one

_Outcome = tuple[bool, Basis, str | None, str | None, dt.date | None]
_NOT_INSURED: Final[_Outcome] = (False, Basis.NONE, None, None, None)


def _outcome(spans: Sequence[Span], span: Span | None, day: dt.date) -> _Outcome:
    if span is None:
        return _NOT_INSURED
    category = None if span.category is None else span.category.slug
    return True, span.basis, category, span.budget, end_of_run(spans, day)


def _next_change(
    facts: ConsumerFacts,
    life: Timeline,
    answer: _Outcome,
    as_of: dt.date,
    known_at: dt.date,
    law: DayLaw,
    failures: Sequence[TechnicalFailure],
) -> dt.date | None:
    spans, ends = life.spans, law.edition.in_force_to
    days = {span.first for span in spans if span.first > as_of}
    days.update(span.last + ONE_DAY for span in spans if span.last is not None and span.last >= as_of)
    for day in sorted(days):
        if ends is not None and day >= ends:
            break
        if _outcome(spans, reported(spans, day), day) != answer:
            return day
    if ends is None:
        return None
    # from there on another edition judges
    try:
        after = standing(facts, as_of=ends, known_at=known_at, law=law.law, failures=failures)
    except EditionNotInForce:
        return None
    if (after.insured, after.basis, after.category, after.budget, after.valid_until) != answer:
        return ends
    return after.next_change


def _look_again(facts: ConsumerFacts, life: Timeline, as_of: dt.date, known_at: dt.date, law: DayLaw) -> dt.date | None:
    """The first later day that any part of the computation looks at."""
    days = [] if law.edition.in_force_to is None else [law.edition.in_force_to]
    days += [run.first for run in life.runs]
    for span in (*life.spans, *life.listed):
        days.append(span.first)
        if span.last is not None:
            days.append(span.last + ONE_DAY)
    if life.death is not None:
        days.append(life.death.day)
    # what is dated after the day that is asked about: it counts from then on
    days += [event.date for event in facts.military if as_of < event.date <= known_at]
    seen = (payment for payment in facts.payments if payment.received_at <= known_at)
    days += [payment.received_date.replace(day=1) for payment in seen if payment.received_date > as_of]
    return min((day for day in days if day > as_of), default=None)


# ---------------------------------------------------------------- why


def _why(span: Span, life: Timeline, day: dt.date) -> Why:
    """What the span rests on, with the clauses by which it was chosen before others."""
    why = span.why(day)
    cites = [*why.because]
    others = [other for other in life.spans if other is not span and other.covers(day)]
    if span.category is not None and span.basis in {*ACTIVE, Basis.RETENTION_STATE}:
        if any(_same_list(other, span) and other.basis is span.basis for other in others):
            cites.append(P20_1 if span.category.list is CategoryList.REPUBLICAN else P55_1)
        if span.basis in ACTIVE:
            cites += _lower_categories(span, others)
    evidence = why.evidence
    listed = life.list_for(day)
    if listed is not None and span.basis is not Basis.FAILURE_HOLD:
        on_list = next(one for one in listed if one.covers(day))
        cites += on_list.why(day).because
        evidence += (*on_list.why(day).evidence, *resident_on(life.runs, day).evidence)
    return Why(unique(*cites), ids(evidence), tuple(dict.fromkeys(why.readings)))


def _same_list(one: Span, other: Span) -> bool:
    return one.category is not None and other.category is not None and one.category.list is other.category.list


def _lower_categories(span: Span, others: Iterable[Span]) -> Iterable[Citation]:
    """R-19: a higher category was taken away and this lower one keeps the right."""
    lists = {
        other.category.list
        for other in others
        if other.category is not None and other.basis is Basis.RETENTION_STATE and other.rank()[1:] < span.rank()[1:]
    }
    if CategoryList.REPUBLICAN in lists:
        yield from (P20_2, P20_3)
    if CategoryList.LOCAL in lists:
        yield P55_2


def _why_not(facts: ConsumerFacts, life: Timeline, day: dt.date, known_at: dt.date, law: DayLaw) -> Why:
    if life.death is not None and life.death.day <= day:
        return Why((P2_6,), (life.death.evidence,))
    listed, resident = life.list_for(day), resident_on(life.runs, day)
    if listed is not None and not any(one.covers(day) for one in listed):
        told = [evidence for one in listed for evidence in one.why(day).evidence]
        return Why((P7, P61), ids((*told, *resident.evidence)), ("treaty_list",))
    cites: list[Citation] = [P3]
    evidence: list[str] = []
    for record in facts.records:
        category = law.category(record.category)
        if record.received_at > known_at:
            continue
        removal = visible_removal(record, known_at)
        if residency_excluded(category, resident.residency):
            cites += category.cites
            evidence += resident.evidence
        elif category.list.state_paid:
            cites += [P9_1, category.cites[0]]
        else:
            continue
        evidence.append(record.evidence if removal is None else removal.evidence)
    seen = [payment for payment in facts.payments if payment.received_at <= known_at]
    if seen:
        cites.append(P10_1)
        evidence.append(max(seen, key=lambda payment: payment.received_date).evidence)
    return Why(unique(*cites), ids(evidence))
