"""An explanation as the words of a page, for text and HTML alike. Pure: nothing here knows how a page looks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from zoneinfo import ZoneInfo

from gateway.cli.explain_words import (
    BASES,
    BUDGETS,
    CHANGES,
    GATE_HOLDS,
    OUTCOMES,
    PAYERS,
    PROOFS,
    REASONS,
    RESIDENCIES,
    RULES,
    TOLD,
    Language,
    category_name,
    in_language,
    label,
    shown_day,
    shown_days,
)
from gateway.registry.explanation import ExplainedRule, Explanation, Proof, ProofKind, Told, ToldFact
from gateway.registry.facts import PayerType
from gateway.registry.tried import Change, RuleResult, Tried, WouldChange
from gateway.regulation.law import Clause, Law, Reading, Residency


@dataclass(frozen=True, slots=True)
class ClauseView:
    cite: str
    kk: str
    gloss: str
    """In the language of the page; "" where that is Kazakh."""


@dataclass(frozen=True, slots=True)
class RuleView:
    rule: str
    title: str
    outcome: str
    reported: bool
    told: bool
    """Whether there are facts to it: the others are told in one line."""
    category: str
    days: str
    cites: tuple[str, ...]
    facts: tuple[str, ...]
    proofs: tuple[str, ...]
    changes: tuple[str, ...]
    readings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadingView:
    name: str
    value: str
    ambiguity: str
    why: str
    """English, as config/regulation/readings.yaml has it."""


@dataclass(frozen=True, slots=True)
class Page:
    language: Language
    verdict: str
    insured: bool | None
    """None: not known."""
    summary: tuple[tuple[str, str], ...]
    because: tuple[str, ...]
    changes: tuple[str, ...]
    rules: tuple[RuleView, ...]
    readings: tuple[ReadingView, ...]
    clauses: tuple[ClauseView, ...]
    redaction: str


def page_of(explanation: Explanation, *, known_at: dt.datetime, language: Language, law: Law) -> Page:
    """`known_at`: the moment of knowledge, for which the explanation was made."""
    answer = explanation.standing
    words = _Words(language, law)
    day = shown_day(answer.as_of, language)
    if not explanation.known:
        verdict, insured = label("unknown", language), None
    else:
        insured = answer.insured
        verdict = f"{label('insured' if insured else 'not_insured', language)} {label('on_day', language)} {day}"
    shown_clauses = explanation.clauses
    return Page(
        language=language,
        verdict=verdict,
        insured=insured,
        summary=tuple(words.summary(explanation, known_at)),
        because=tuple(str(clause.citation) for clause in explanation.because),
        changes=_unique(words.change_of(result, change) for result, change in explanation.changes),
        rules=tuple(words.rule(rule, explanation) for rule in explanation.rules),
        readings=tuple(_readings(explanation.rules)),
        clauses=tuple(words.clause(clause) for clause in shown_clauses),
        redaction=f"{explanation.edition.title}; {explanation.edition.redaction}",
    )


@dataclass(frozen=True, slots=True)
class _Words:
    language: Language
    law: Law

    def say(self, name: str) -> str:
        return label(name, self.language)

    def day(self, day: dt.date) -> str:
        return shown_day(day, self.language)

    def moment(self, moment: dt.datetime, zone: ZoneInfo) -> str:
        local = moment.astimezone(zone)
        return f"{self.day(local.date())} {local:%H:%M} ({zone.key})"

    def summary(self, explanation: Explanation, known_at: dt.datetime) -> Iterator[tuple[str, str]]:
        answer = explanation.standing
        if not explanation.known:
            yield self.say("because"), self.say("ask")
        elif answer.insured:
            yield self.say("basis"), in_language(BASES[answer.basis], self.language)
            if explanation.category is not None:
                yield self.say("category"), category_name(explanation.category, self.law, self.language)
            if answer.budget is not None:
                yield self.say("budget"), in_language(BUDGETS[answer.budget], self.language)
            until = answer.valid_until
            yield self.say("valid_until"), self.say("open") if until is None else self.day(until)
        if explanation.known:
            changes = answer.next_change
            yield self.say("next_change"), self.say("never") if changes is None else self.day(changes)
        yield self.say("known_at"), self.moment(known_at, self.law.timezone)

    def clause(self, clause: Clause) -> ClauseView:
        gloss = {Language.KK: "", Language.RU: clause.ru, Language.EN: clause.en}[self.language]
        return ClauseView(str(clause.citation), clause.kk, gloss)

    def rule(self, rule: ExplainedRule, explanation: Explanation) -> RuleView:
        result = rule.result
        proofs = [self.proof(one) for name in result.evidence for one in explanation.proofs.get(name, ())]
        bare = [name for name in result.evidence if name not in explanation.proofs]
        days = shown_days(result.first, result.last, self.language)
        return RuleView(
            rule=result.rule,
            title=self.title(result),
            outcome=self.outcome(result),
            reported=result.reported,
            told=result.outcome not in (Tried.NO_FACTS, Tried.PASSED) or bool(rule.facts),
            category="" if rule.category is None else category_name(rule.category, self.law, self.language),
            days=days,
            cites=tuple(str(clause.citation) for clause in rule.clauses),
            facts=tuple(self.facts(rule.facts)),
            proofs=(*proofs, *bare),
            changes=_unique(self.change(change) for change in result.would_change),
            readings=result.readings,
        )

    def title(self, result: RuleResult) -> str:
        return in_language(RULES.get(result.line) or RULES[f"{result.line} {result.rule}"], self.language)

    def outcome(self, result: RuleResult) -> str:
        if result.line == "G" and result.outcome is Tried.HOLDS:
            return in_language(GATE_HOLDS, self.language)
        word = in_language(OUTCOMES[result.outcome], self.language)
        if result.reason:
            return f"{word}: {in_language(REASONS[result.reason], self.language)}"
        return word

    def change_of(self, result: RuleResult, change: WouldChange) -> str:
        return f"{self.title(result)}: {self.change(change)}"

    def change(self, change: WouldChange) -> str:
        text = in_language(CHANGES[change.what], self.language)
        if change.on is not None:
            text = f"{text}, {self.day(change.on)}"
        if change.detail:
            return f"{text}; {self.say('months_missing')}: {', '.join(_month_runs(change.detail))}"
        # nothing is missing of the twelve
        return f"{text}; {self.say('only_a_receipt')}" if change.what is Change.MONTHS_PAID else text

    def facts(self, facts: Iterable[ToldFact]) -> Iterator[str]:
        """Each fact in a line; payments that one list brought in one line for each run of months."""
        paid = [fact for fact in facts if fact.what is Told.PAID]
        for fact in facts:
            if fact.what is not Told.PAID:
                yield self.fact(fact)
        for evidence, group in groupby(sorted(paid, key=lambda one: (one.evidence, one.day)), lambda one: one.evidence):
            told = list(group)
            months = ", ".join(_month_runs([one.day.isoformat()[:7] for one in told]))
            last = self.day(dt.date.fromisoformat(max(one.detail for one in told)))
            word = in_language(TOLD[Told.PAID], self.language)
            payers = "; ".join(
                in_language(PAYERS[PayerType(name)], self.language) for name in sorted({one.source for one in told})
            )
            yield f"{word} {months}; {self.say('received')} {last}; {payers} [{evidence}]"

    def fact(self, fact: ToldFact) -> str:
        words = [f"{in_language(TOLD[fact.what], self.language)} {self.day(fact.day)}"]
        if fact.category is not None:
            words.append(category_name(self.law.category(fact.category), self.law, self.language))
        if fact.source:
            words.append(f"{self.say('by')} {fact.source}")
        if fact.what is Told.RESIDENCY:
            words.append(in_language(RESIDENCIES[Residency(fact.detail)], self.language))
        elif fact.detail:
            words.append(fact.detail)
        return f"{'; '.join(words)} [{fact.evidence}]"

    def proof(self, proof: Proof) -> str:
        arrived = self.moment(proof.received_at, self.law.timezone)
        words = [
            f"{in_language(PROOFS[proof.kind], self.language)} {proof.id}",
            proof.source,
            f"{self.say('arrived')} {arrived}",
        ]
        if proof.signer_subject:
            words.append(f"{self.say('signed_by')} {proof.signer_subject}")
            words.append(f"{self.say('serial')} {proof.signer_serial}")
        if proof.declared_by:
            words.append(f"{self.say('declared_by')} {proof.declared_by}: {proof.reason}")
        if proof.kind is ProofKind.LIST:
            words.append(f"{self.say('digest')} {proof.digest}")
        return "; ".join(words)


def _readings(rules: Iterable[ExplainedRule]) -> Iterator[ReadingView]:
    used: dict[str, Reading] = {reading.name: reading for rule in rules for reading in rule.readings}
    for reading in used.values():
        value = str(reading.value)
        # as the file has it: true, not True
        shown = value.lower() if isinstance(reading.value, bool) else value
        yield ReadingView(reading.name, shown, reading.ambiguity, reading.why)


def _month_runs(months: Iterable[str]) -> Iterator[str]:
    """`2025-01, 2025-02, 2025-03, 2025-05` → `2025-01…2025-03`, `2025-05`."""

    def ordinal(month: str) -> int:
        return int(month[:4]) * 12 + int(month[5:])

    ordered = sorted(set(months))
    for _, run in groupby(enumerate(ordered), key=lambda pair: ordinal(pair[1]) - pair[0]):
        names = [month for _, month in run]
        yield names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}"


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
