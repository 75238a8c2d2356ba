"""Why a standing is what it is: every rule tried, its paragraphs, the facts and the messages behind them. Pure.

Only values: gateway.cli.explain and gateway.cli.explain_html put them into words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.model import Citation
from gateway.registry.days import first_day
from gateway.registry.facts import ConsumerFacts, TechnicalFailure
from gateway.registry.standing import Standing, standing
from gateway.registry.tried import RuleResult, Tried, WouldChange, tried
from gateway.regulation.law import Category, Clause, Edition, Law, Reading


class Told(StrEnum):
    """What one message or list said of the person, or of the country."""

    CATEGORY_ASSIGNED = "category_assigned"
    CATEGORY_REMOVED = "category_removed"
    DIED = "died"
    PAID = "paid"
    """`day` is the first day of the month paid for, `detail` the day on which the money came."""
    APPLIED = "applied"
    SERVICE = "service"
    """`detail`: listed, absent, added or removed (gateway.registry.facts.ListedAs)."""
    ON_TREATY_LIST = "on_treaty_list"
    OFF_TREATY_LIST = "off_treaty_list"
    STATE_STOPPED_PAYING = "state_stopped_paying"
    STATE_PAID_AGAIN = "state_paid_again"
    RESIDENCY = "residency"
    """Who the person is from `day` on; `detail` is a gateway.regulation.law.Residency."""
    SYSTEM_FAILED = "system_failed"
    SYSTEM_FIXED = "system_fixed"


@dataclass(frozen=True, slots=True)
class ToldFact:
    what: Told
    day: dt.date
    source: str
    """Who said it: a register, a body, a system, a budget; "" where the message alone tells."""
    evidence: str
    category: str | None = None
    detail: str = ""


class ProofKind(StrEnum):
    ANSWER = "answer"
    """A register's signed answer."""
    LIST = "list"
    """A list that was taken in."""
    APPLICATION = "application"
    DECLARATION = "declaration"
    """A failure, or a stop of the state's payments: the same for everybody."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a fact rests on: one message or list that arrived."""

    id: str
    kind: ProofKind
    source: str
    """The register, the feed, or the system."""
    received_at: dt.datetime
    signer_subject: str = ""
    """Who signed; "" where the registry keeps no signature: a file is known by its digest."""
    signer_serial: str = ""
    digest: str = ""
    declared_by: str = ""
    """Who declared it, and why; "" of everything else."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule, tried, with all that it rests on."""

    result: RuleResult
    category: Category | None
    clauses: tuple[Clause, ...]
    """As the edition that judges the day words them."""
    readings: tuple[Reading, ...]
    facts: tuple[ToldFact, ...]
    """What was said, with the id of the message or list that said it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    standing: Standing
    edition: Edition
    known: bool
    """False: nobody asked yet about this person, so that no "no" is meant (docs/decisions/0009)."""
    category: Category | None
    because: tuple[Clause, ...]
    """The clauses that made the answer, the deciding one first."""
    rules: tuple[ExplainedRule, ...]
    """In the order of the decision table, each at least once."""
    changes: tuple[tuple[RuleResult, WouldChange], ...]
    """What would change the answer: of the rule that is reported, or, where none is, of every rule that could be."""
    proofs: Mapping[str, Sequence[Proof]] = field(default_factory=dict)
    """What arrived under each evidence id; filled by gateway.registry.proofs."""

    @property
    def evidence(self) -> frozenset[str]:
        """Every id of which a proof is wanted."""
        return frozenset(self.standing.evidence).union(*(rule.result.evidence for rule in self.rules))

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """Every clause that is cited, once, those that made the answer first."""
        cited = [*self.because, *(clause for rule in self.rules for clause in rule.clauses)]
        return tuple({str(clause.citation): clause for clause in cited}.values())


def explain(
    facts: ConsumerFacts,
    *,
    as_of: dt.date,
    known_at: dt.date,
    law: Law,
    failures: Sequence[TechnicalFailure] = (),
    known: bool,
) -> Explanation:
    """The standing on `as_of` with every rule that was tried. `known`: whether anything was heard about the person.

    Raises EditionNotInForce.
    """
    answer = standing(facts, as_of=as_of, known_at=known_at, law=law, failures=failures)
    results = tried(facts, as_of=as_of, known_at=known_at, law=law, failures=failures)
    edition = law.edition_on(as_of)
    told = (*told_of(facts, known_at), *told_of_failures(failures, known_at))
    return Explanation(
        standing=answer,
        edition=edition,
        known=known,
        category=_category(answer.category, edition, law),
        because=_clauses(answer.because, as_of, law),
        rules=tuple(_rule(result, told, as_of, edition, law) for result in results),
        changes=tuple(_changes(results)),
    )


def _rule(
    result: RuleResult,
    told: Sequence[ToldFact],
    as_of: dt.date,
    edition: Edition,
    law: Law,
) -> ExplainedRule:
    about = [
        one
        for one in told
        if one.evidence in result.evidence
        and (None in (one.category, result.category) or one.category == result.category)
        and _speaks_of(one, result)
    ]
    return ExplainedRule(
        result=result,
        category=_category(result.category, edition, law),
        clauses=_clauses(result.because, as_of, law),
        readings=tuple(law.reading(name) for name in result.readings),
        facts=tuple(sorted(about, key=lambda one: (one.day, one.what))),
    )


def _speaks_of(fact: ToldFact, result: RuleResult) -> bool:
    """One message may tell of residency and of much else."""
    if result.rule == "R-29":
        return fact.what in (Told.RESIDENCY, Told.ON_TREATY_LIST, Told.OFF_TREATY_LIST)
    return fact.what is not Told.RESIDENCY or result.rule == "R-24"


def _clauses(citations: Iterable[Citation], as_of: dt.date, law: Law) -> tuple[Clause, ...]:
    return tuple(law.clause_on(citation, as_of) for citation in citations)


def _category(slug: str | None, edition: Edition, law: Law) -> Category | None:
    return None if slug is None else edition.categories.get(slug) or law.category(slug)


def _changes(results: Sequence[RuleResult]) -> Iterator[tuple[RuleResult, WouldChange]]:
    reported = [result for result in results if result.reported]
    closed = [result for result in results if result.line == "G" and result.outcome is Tried.HOLDS]
    for result in reported or closed or results:
        for change in result.would_change:
            yield result, change
    if reported:
        # what is yet to begin may take over; a gate that is open may close
        for result in results:
            if result.outcome is Tried.NOT_YET or result.outcome is Tried.PASSED:
                for change in result.would_change:
                    yield result, change


# ---------------------------------------------------------------- what was said


def told_of(facts: ConsumerFacts, known_at: dt.date) -> Iterator[ToldFact]:
    """What had been said by the end of `known_at`, each with its evidence."""
    for record in facts.records:
        if record.received_at > known_at:
            continue
        yield ToldFact(
            Told.CATEGORY_ASSIGNED, record.assigned_date, record.assigned_source, record.evidence, record.category
        )
        removal = record.removal
        if removal is not None and removal.received_at <= known_at:
            yield ToldFact(
                Told.CATEGORY_REMOVED, removal.date, removal.source, removal.evidence, record.category, removal.reason
            )
    for told in facts.residencies:
        if told.received_at <= known_at:
            since = told.first_day or told.received_at
            yield ToldFact(Told.RESIDENCY, since, told.source, told.evidence, detail=str(told.residency))
    for death in facts.deaths:
        if death.received_at <= known_at:
            yield ToldFact(Told.DIED, death.died_on, death.source, death.evidence)
    for payment in facts.payments:
        if payment.received_at <= known_at:
            paid_for, came = first_day(payment.period), payment.received_date.isoformat()
            yield ToldFact(Told.PAID, paid_for, str(payment.payer_type), payment.evidence, detail=came)
    for entry in facts.provisional:
        if entry.received_at <= known_at:
            yield ToldFact(Told.APPLIED, entry.applied, "", entry.evidence, entry.category)
    for event in facts.military:
        if event.date <= known_at:
            yield ToldFact(Told.SERVICE, event.date, event.body, event.evidence, detail=str(event.person))
    for interval in facts.treaty:
        if interval.received_at <= known_at:
            yield ToldFact(Told.ON_TREATY_LIST, interval.first_day, "", interval.evidence)
        off = interval.first_day_off
        if off is not None and interval.off_received_at is not None and interval.off_received_at <= known_at:
            yield ToldFact(Told.OFF_TREATY_LIST, off, "", interval.off_evidence)
    for stop in facts.state_stops:
        if stop.received_at <= known_at:
            yield ToldFact(Told.STATE_STOPPED_PAYING, stop.start, str(stop.budget), stop.evidence)
        if stop.resumed is not None and stop.resumed_received_at is not None and stop.resumed_received_at <= known_at:
            yield ToldFact(Told.STATE_PAID_AGAIN, stop.resumed, str(stop.budget), stop.resumed_evidence)


def told_of_failures(failures: Iterable[TechnicalFailure], known_at: dt.date) -> Iterator[ToldFact]:
    for failure in failures:
        if failure.received_at <= known_at:
            yield ToldFact(Told.SYSTEM_FAILED, failure.start, failure.system, failure.evidence)
        if failure.fixed is not None and failure.fix_received_at is not None and failure.fix_received_at <= known_at:
            yield ToldFact(Told.SYSTEM_FIXED, failure.fixed, failure.system, failure.fix_evidence)
