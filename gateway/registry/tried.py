"""Every rule that was tried for one day, with its result, clauses, facts, and what would change it. Pure.

This is the data of an explanation; gateway.registry.explanation puts it into words. The lines are those of DT-1, in
order: what holds, what has ended, what has not begun, what a gate keeps out, and what there are no facts for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY, first_day
from gateway.registry.exempt import P12, P64
from gateway.registry.facts import ConsumerFacts, TechnicalFailure
from gateway.registry.failures import P13
from gateway.registry.payers import P10_1, P10_2, P11, missing_months
from gateway.registry.priority import reported
from gateway.registry.provisional import P21, P57, data_on, decide
from gateway.registry.residency import resident_on
from gateway.registry.spans import ACTIVE, Basis, DayLaw, Span, ids
from gateway.registry.standing import P2_6, Timeline, timeline
from gateway.registry.state_paid import P9_1, P9_2, P16, P51, counted, residency_excluded
from gateway.registry.treaty import P7, P61
from gateway.regulation.law import CategoryList, Law


class Tried(StrEnum):
    """What came of a rule on the day asked about."""

    HOLDS = "holds"
    """It covers the day (a gate: it keeps the person out)."""
    PASSED = "passed"
    """A gate that lets the person through."""
    ENDED = "ended"
    """It covered earlier days."""
    NOT_YET = "not_yet"
    """It covers later days."""
    KEPT_OUT = "kept_out"
    """It would cover the day, but a gate of line G is closed."""
    IGNORED = "ignored"
    """R-24: a record that the Rules leave out."""
    REFUSED = "refused"
    """R-20: an application that was not accepted."""
    NO_FACTS = "no_facts"


#: what is assumed of a person's residency (RuleResult.reason)
NOBODY_TOLD: Final = "residency_not_told"
STAY_NOT_TOLD: Final = "stay_not_told"


class Change(StrEnum):
    """What would change a result."""

    ENDS = "ends"
    """By itself, on a day."""
    BEGINS = "begins"
    """By itself, on a day."""
    CATEGORY_ASSIGNED = "category_assigned"
    REMOVAL_ARRIVES = "removal_arrives"
    STATE_STOPS_PAYING = "state_stops_paying"
    STATE_PAYS_AGAIN = "state_pays_again"
    SUBMISSION_WITH_PERSON = "submission_with_person"
    SUBMISSION_WITHOUT_PERSON = "submission_without_person"
    MONTHS_PAID = "months_paid"
    """`detail`: the months of the twelve that are still missing, YYYY-MM; none: a receipt is enough."""
    PAYMENT_ARRIVES = "payment_arrives"
    APPLICATION_WITH_DOCUMENTS = "application_with_documents"
    FAILURE_DECLARED = "failure_declared"
    SYSTEM_FIXED = "system_fixed"
    PUT_ON_LIST = "put_on_list"
    TAKEN_OFF_LIST = "taken_off_list"
    RESIDENCY_TOLD = "residency_told"
    """By a register or by the list of p.61: until then it is assumed."""
    RESIDENCY_CHANGES = "residency_changes"
    """By itself, on a day: a permit to stay begins or ends."""
    DEATH_RECORD_ARRIVES = "death_record_arrives"
    DEATH_RECORD_ANNULLED = "death_record_annulled"


@dataclass(frozen=True, slots=True)
class WouldChange:
    what: Change
    on: dt.date | None = None
    """The day, where the facts that are known tell it."""
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule, tried on one group of facts."""

    line: str
    """Of DT-1: `G`, `1` to `9`."""
    rule: str
    """Of the registry specification, `R-06`."""
    outcome: Tried
    reported: bool
    """Whether this is the one that the standing reports."""
    basis: Basis | None
    category: str | None
    budget: str | None
    first: dt.date | None
    last: dt.date | None
    """None is open; both are None where there are no days."""
    because: tuple[Citation, ...]
    evidence: tuple[str, ...]
    readings: tuple[str, ...]
    would_change: tuple[WouldChange, ...]
    reason: str = ""
    """Why it was refused: the code of the registry specification. Of the gate of R-29: what is assumed."""


def tried(
    facts: ConsumerFacts,
    *,
    as_of: dt.date,
    known_at: dt.date,
    law: Law,
    failures: Sequence[TechnicalFailure] = (),
) -> tuple[RuleResult, ...]:
    """All lines of DT-1 for one day. At most one result is the reported one. Raises EditionNotInForce."""
    day_law = DayLaw.on(law, as_of)
    life = timeline(facts, known_at=known_at, law=day_law, failures=failures)
    chosen = reported(life.spans, as_of)
    results = [_death_gate(life, as_of), _treaty_gate(life, as_of)]
    closed = any(one.outcome is Tried.HOLDS for one in results)
    lines = (*_LINES, _TREATY_LINE) if day_law.reads("treaty_list") == "basis" else _LINES
    for line in lines:
        held = [span for span in _of_line(life, line) if span.basis is line.basis]
        if line.basis is Basis.PAYER:
            missing = missing_months(facts.payments, life.ungated, as_of, known_at=known_at, law=day_law)
            otherwise = WouldChange(Change.MONTHS_PAID, None, tuple(first_day(one).isoformat()[:7] for one in missing))
        else:
            otherwise = WouldChange(line.otherwise)
        found = [_result(line, span, chosen, as_of, otherwise, closed=closed) for span in _telling(held, as_of)]
        results += found or [_no_facts(line, otherwise)]
        if line.basis in ACTIVE:
            results += _ignored(facts, life, line, as_of, known_at, day_law)
        if line.basis is Basis.PROVISIONAL:
            results += _refused(facts, life, known_at, day_law)
    return tuple(results)


# ---------------------------------------------------------------- the lines of DT-1


@dataclass(frozen=True, slots=True)
class _Line:
    number: str
    rule: str
    basis: Basis
    because: tuple[Citation, ...]
    otherwise: Change
    """What would make it hold."""
    over: Change
    """What would end it, or make another basis the reported one."""


_LINES: Final = (
    _Line("1", "R-06", Basis.REPUBLICAN_CATEGORY, (P9_1, P16), Change.CATEGORY_ASSIGNED, Change.REMOVAL_ARRIVES),
    _Line("2", "R-06", Basis.LOCAL_CATEGORY, (P9_1, P51), Change.CATEGORY_ASSIGNED, Change.REMOVAL_ARRIVES),
    _Line(
        "3", "R-13", Basis.MILITARY_EXEMPT, (P12, P64), Change.SUBMISSION_WITH_PERSON, Change.SUBMISSION_WITHOUT_PERSON
    ),
    _Line("4", "R-09", Basis.PAYER, (P10_1,), Change.MONTHS_PAID, Change.PAYMENT_ARRIVES),
    _Line("5", "R-12", Basis.PAYER_14_2_9, (P11,), Change.PAYMENT_ARRIVES, Change.PAYMENT_ARRIVES),
    _Line("6", "R-20", Basis.PROVISIONAL, (P21, P57), Change.APPLICATION_WITH_DOCUMENTS, Change.CATEGORY_ASSIGNED),
    _Line("7", "R-07", Basis.RETENTION_STATE, (P9_1, P9_2), Change.REMOVAL_ARRIVES, Change.CATEGORY_ASSIGNED),
    _Line("8", "R-10", Basis.RETENTION_PAYER, (P10_2,), Change.MONTHS_PAID, Change.PAYMENT_ARRIVES),
    _Line("9", "R-14", Basis.FAILURE_HOLD, (P13,), Change.FAILURE_DECLARED, Change.SYSTEM_FIXED),
)


#: the other reading of A-29: no line of DT-1
_TREATY_LINE: Final = _Line("-", "R-29", Basis.TREATY_LIST, (P61, P7), Change.PUT_ON_LIST, Change.TAKEN_OFF_LIST)


def _of_line(life: Timeline, line: _Line) -> Iterable[Span]:
    """Ordinary bases as they are before the gates, so that the one that a gate cut is seen too; holds after them."""
    return life.spans if line.basis in (Basis.FAILURE_HOLD, Basis.TREATY_LIST) else life.ungated


def _telling(spans: Sequence[Span], day: dt.date) -> Iterator[Span]:
    """Of each category: what covers the day; where nothing does, the last before it and the first after it."""
    groups: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda one: one.first):
        groups.setdefault(None if span.category is None else span.category.slug, []).append(span)
    for group in groups.values():
        covering = [span for span in group if span.covers(day)]
        before = [span for span in group if span.last is not None and span.last < day]
        after = [span for span in group if span.first > day]
        yield from covering or before[-1:]
        yield from after[:1]


def _result(
    line: _Line, span: Span, chosen: Span | None, day: dt.date, otherwise: WouldChange, *, closed: bool
) -> RuleResult:
    covers = span.covers(day)
    why = span.why(max(span.first, min(day, span.last or day)))
    if covers:
        outcome = Tried.KEPT_OUT if closed and line.basis is not Basis.FAILURE_HOLD else Tried.HOLDS
        changes = [WouldChange(line.over)]
        if span.last is not None:
            changes.insert(0, WouldChange(Change.ENDS, span.last + ONE_DAY))
        if line.basis in ACTIVE:
            changes.append(WouldChange(Change.STATE_STOPS_PAYING))
        if line.basis is Basis.RETENTION_STATE and why.because[0] == P9_2:
            changes.append(WouldChange(Change.STATE_PAYS_AGAIN))
    elif span.first > day:
        outcome, changes = Tried.NOT_YET, [WouldChange(Change.BEGINS, span.first)]
    else:
        outcome, changes = Tried.ENDED, [otherwise]
    return RuleResult(
        line=line.number,
        rule=line.rule,
        outcome=outcome,
        reported=covers and chosen is not None and _same(span, chosen),
        basis=span.basis,
        category=None if span.category is None else span.category.slug,
        budget=span.budget,
        first=span.first,
        last=span.last,
        because=why.because,
        evidence=why.evidence,
        readings=tuple(dict.fromkeys(why.readings)),
        would_change=tuple(changes),
    )


def _same(span: Span, chosen: Span) -> bool:
    """Whether `chosen` is `span`, perhaps cut by a gate."""
    return span.why is chosen.why


def _no_facts(line: _Line, otherwise: WouldChange) -> RuleResult:
    return _without_days(line.number, line.rule, Tried.NO_FACTS, line.because, (otherwise,), basis=line.basis)


def _without_days(
    line: str,
    rule: str,
    outcome: Tried,
    because: tuple[Citation, ...],
    would_change: tuple[WouldChange, ...],
    *,
    basis: Basis | None = None,
    category: str | None = None,
    first: dt.date | None = None,
    evidence: tuple[str, ...] = (),
    readings: tuple[str, ...] = (),
    reason: str = "",
) -> RuleResult:
    return RuleResult(
        line,
        rule,
        outcome,
        False,
        basis,
        category,
        None,
        first,
        None,
        because,
        evidence,
        readings,
        would_change,
        reason,
    )


# ---------------------------------------------------------------- the gates, and what was not taken


def _death_gate(life: Timeline, day: dt.date) -> RuleResult:
    death = life.death
    if death is None:
        return _without_days("G", "R-07", Tried.PASSED, (P2_6,), (WouldChange(Change.DEATH_RECORD_ARRIVES),))
    outcome = Tried.HOLDS if death.day <= day else Tried.NOT_YET
    change = WouldChange(Change.DEATH_RECORD_ANNULLED)
    return _without_days("G", "R-07", outcome, (P2_6,), (change,), first=death.day, evidence=(death.evidence,))


def _treaty_gate(life: Timeline, day: dt.date) -> RuleResult:
    listed, resident = life.list_for(day), resident_on(life.runs, day)
    turns = (run.first for run in life.runs if run.first > day and run.temporary is not resident.temporary)
    changes = tuple(WouldChange(Change.RESIDENCY_CHANGES, first) for first in [*turns][:1])
    if listed is None:
        assumed = NOBODY_TOLD if resident.told is None else STAY_NOT_TOLD if resident.assumed else ""
        if assumed:
            changes = (WouldChange(Change.RESIDENCY_TOLD), *changes)
        return _without_days("G", "R-29", Tried.PASSED, (P7,), changes, evidence=ids(resident.evidence), reason=assumed)
    covering = next((span for span in listed if span.covers(day)), None)
    if covering is not None:
        why = covering.why(day)
        changes = (WouldChange(Change.TAKEN_OFF_LIST, covering.last and covering.last + ONE_DAY), *changes)
        told = ids((*why.evidence, *resident.evidence))
        return _without_days("G", "R-29", Tried.PASSED, why.because, changes, evidence=told, readings=why.readings)
    later = min((span.first for span in listed if span.first > day), default=None)
    told = ids((*(evidence for span in listed for evidence in span.why(day).evidence), *resident.evidence))
    changes = (WouldChange(Change.PUT_ON_LIST, later), *changes)
    return _without_days("G", "R-29", Tried.HOLDS, (P7, P61), changes, evidence=told, readings=("treaty_list",))


def _ignored(
    facts: ConsumerFacts, life: Timeline, line: _Line, day: dt.date, known_at: dt.date, law: DayLaw
) -> Iterator[RuleResult]:
    wanted = CategoryList.REPUBLICAN if line.basis is Basis.REPUBLICAN_CATEGORY else CategoryList.LOCAL
    resident = resident_on(life.runs, day)
    for record in facts.records:
        category = law.category(record.category)
        if (
            category.list is wanted
            and record.received_at <= known_at
            and residency_excluded(category, resident.residency)
        ):
            yield _without_days(
                line.number,
                "R-24",
                Tried.IGNORED,
                category.cites,
                (),
                basis=line.basis,
                category=category.slug,
                first=record.assigned_date,
                evidence=ids((record.evidence, *resident.evidence)),
                reason="residency_excluded",
            )


def _refused(facts: ConsumerFacts, life: Timeline, known_at: dt.date, law: DayLaw) -> Iterator[RuleResult]:
    accepted_before = False
    for entry in sorted(facts.provisional, key=lambda one: one.applied):
        if entry.received_at > known_at:
            continue
        residency = resident_on(life.runs, entry.applied).residency
        records = counted(facts.records, residency=residency, known_at=known_at, law=law)
        decision = decide(
            law.category(entry.category),
            entry.applied,
            entry.documents,
            data_on(records, entry.applied),
            law=law,
            applied_before=accepted_before,
        )
        accepted_before = accepted_before or decision.accepted
        if not decision.accepted:
            yield _without_days(
                "6",
                "R-20",
                Tried.REFUSED,
                decision.because,
                (WouldChange(Change.APPLICATION_WITH_DOCUMENTS),),
                basis=Basis.PROVISIONAL,
                category=entry.category,
                first=entry.applied,
                evidence=(entry.evidence,),
                readings=decision.readings,
                reason=str(decision.reason),
            )
