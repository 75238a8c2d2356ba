"""Cases of the law: facts and a day → the expected answer, in files that a lawyer can read and add to. Pure.

The format is described in docs/reference/registry.md (law cases). Every key of `expect` is compared exactly.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import EditionNotInForce, InvalidIdentifier
from gateway.model import Iin
from gateway.registry import feeds
from gateway.registry.days import first_day, last_day, month_of
from gateway.registry.exempt import change_entered
from gateway.registry.facts import (
    CategoryRecord,
    ConsumerFacts,
    ListedAs,
    MilitaryEvent,
    Month,
    PayerType,
    Payment,
    ProvisionalEntry,
    Removal,
    ResidencyTold,
    StateStop,
    SubmissionKind,
    TechnicalFailure,
    TreatyInterval,
)
from gateway.registry.parent_choice import Holder, choose_parent
from gateway.registry.provisional import decide
from gateway.registry.reconciliation import reconcile
from gateway.registry.record_checks import RecordKind, errors_of
from gateway.registry.spans import DayLaw
from gateway.registry.standing import Standing, standing
from gateway.registry.state_paid import residency_excluded
from gateway.regulation.law import CategoryList, Law, Residency
from gateway.regulation.services import Services

Document = Mapping[str, Any]

#: who said it, where a case does not
_SOURCE: Final = "enbek_is"


@dataclass(frozen=True, slots=True)
class CaseResult:
    id: str
    expected: Document
    got: Document

    @property
    def passed(self) -> bool:
        return self.expected == self.got


class UnreadableCase(ValueError):
    """The case does not have the shape of its kind. The message names the case and the key."""


def run_case(case: Document, *, law: Law, services: Services) -> CaseResult:
    """Judge one case. Raises UnreadableCase."""
    name = str(case.get("id", "a case without an id"))
    kind = case.get("kind")
    judge = _KINDS.get(str(kind))
    if judge is None:
        raise UnreadableCase(f"{name}: the kind {kind!r} is not known; known are {', '.join(sorted(_KINDS))}")
    try:
        got = judge(case, law, services)
        return CaseResult(name, case["expect"], got)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableCase(
            f"{name}: cannot be read as a case of kind {kind} ({type(error).__name__}: {error})"
        ) from (error)


# ---------------------------------------------------------------- the facts of a case


def facts_of(facts: Document) -> tuple[ConsumerFacts, tuple[TechnicalFailure, ...]]:
    """The facts of one person and the failures of the country. Arrivals default to the fact's own day."""
    known = {"residency", "categories", "state_stop", "payments", "provisional", "military", "treaty_list", "failures"}
    unknown = sorted(set(facts) - known)
    if unknown:
        raise ValueError(f"facts has no key {unknown[0]}; it has {', '.join(sorted(known))}")
    person = ConsumerFacts(
        records=tuple(_record(entry, number) for number, entry in enumerate(facts.get("categories") or ())),
        residencies=tuple(_residencies(facts.get("residency"))),
        payments=tuple(
            payment for number, entry in enumerate(facts.get("payments") or ()) for payment in _payments(entry, number)
        ),
        provisional=tuple(_entry(entry, number) for number, entry in enumerate(facts.get("provisional") or ())),
        military=tuple(_event(entry, number) for number, entry in enumerate(facts.get("military") or ())),
        treaty=tuple(_interval(entry, number) for number, entry in enumerate(facts.get("treaty_list") or ())),
        state_stops=tuple(_stop(entry, number) for number, entry in enumerate(facts.get("state_stop") or ())),
    )
    return person, tuple(_failure(entry, number) for number, entry in enumerate(facts.get("failures") or ()))


def _residencies(told: Any) -> Iterator[ResidencyTold]:
    """A word for all days, or entries each from a day on; nothing: nobody told it."""
    if told is None:
        return
    for number, entry in enumerate([{"is": told}] if isinstance(told, str) else told):
        first = day(entry["from"]) if entry.get("from") else None
        received = day(entry["received"]) if entry.get("received") else first or dt.date.min
        yield ResidencyTold(Residency(entry["is"]), first, _SOURCE, received, f"residency-{number}")


def _record(entry: Document, number: int) -> CategoryRecord:
    assigned = day(entry["assigned"])
    removal = None
    if entry.get("removed") is not None:
        removed = day(entry["removed"])
        removal = Removal(
            removed,
            _SOURCE,
            entry.get("reason") or "no reason given",
            day(entry.get("removal_received") or removed),
            f"removal-{number}",
        )
    received = day(entry.get("received") or assigned)
    return CategoryRecord(entry["category"], assigned, _SOURCE, received, f"record-{number}", removal)


def _payments(entry: Document, number: int) -> list[Payment]:
    first, _, last = str(entry["periods"]).partition("..")
    payer = PayerType(entry.get("payer", "general"))
    made = []
    for period in range(month(first), month(last or first) + 1):
        received = _received(entry["received"], period)
        made.append(Payment(period, received, received, f"payment-{number}", payer))
    return made


def _received(received: Any, period: Month) -> dt.date:
    if not isinstance(received, Mapping):
        return day(received)
    in_month = period + int(received["month_offset"])
    return first_day(in_month).replace(day=min(int(received["day"]), last_day(in_month).day))


def _entry(entry: Document, number: int) -> ProvisionalEntry:
    applied, documents = day(entry["applied"]), entry.get("documents")
    presented = None if documents is None else frozenset(documents)
    return ProvisionalEntry(entry["category"], applied, applied, f"application-{number}", presented)


def _event(entry: Document, number: int) -> MilitaryEvent:
    return MilitaryEvent(
        entry["body"],
        day(entry["date"]),
        SubmissionKind(entry["kind"]),
        ListedAs(entry["person"]),
        f"submission-{number}",
        bool(entry.get("reserve_combat_training", False)),
    )


def _interval(entry: Document, number: int) -> TreatyInterval:
    first, off = day(entry["from"]), entry.get("to")
    if off is None:
        return TreatyInterval(first, first, f"listed-{number}")
    return TreatyInterval(first, first, f"listed-{number}", day(off), day(off), f"off-{number}")


def _stop(entry: Document, number: int) -> StateStop:
    start, resumed, budget = day(entry["from"]), entry.get("resumed"), CategoryList(entry["budget"])
    if resumed is None:
        return StateStop(budget, start, start, f"stop-{number}")
    return StateStop(budget, start, start, f"stop-{number}", day(resumed), day(resumed), f"resumption-{number}")


def _failure(entry: Document, number: int) -> TechnicalFailure:
    start, fixed, system = day(entry["from"]), entry.get("fixed"), entry["system"]
    if fixed is None:
        return TechnicalFailure(system, start, start, f"failure-{number}")
    return TechnicalFailure(system, start, start, f"failure-{number}", day(fixed), day(fixed), f"fix-{number}")


def day(value: Any) -> dt.date:
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)


def month(value: str) -> Month:
    """`2026-03`."""
    return month_of(dt.date.fromisoformat(f"{value}-01"))


def _months(values: Any) -> frozenset[Month]:
    return frozenset(month(str(value)) for value in values or ())


# ---------------------------------------------------------------- the kinds


def standing_document(answer: Standing) -> Document:
    return {
        "insured": answer.insured,
        "basis": str(answer.basis),
        "category": answer.category,
        "budget": answer.budget,
        "valid_until": _text(answer.valid_until),
    }


def _status(case: Document, law: Law, _services: Services) -> Document:
    facts, failures = facts_of(case["facts"])
    as_of = day(case["as_of"])
    known_at = day(case.get("known_at") or as_of)
    try:
        return standing_document(standing(facts, as_of=as_of, known_at=known_at, law=law, failures=failures))
    except EditionNotInForce as error:
        return {"error": error.code}


def _mis_query(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    facts, failures = facts_of(given["facts"])
    on = day(given["service_date"])
    try:
        answer = standing(facts, as_of=on, known_at=on, law=law, failures=failures)
    except EditionNotInForce as error:
        return {"error": error.code}
    # a negative answer is an answer
    return {"answered": True, "consumer": answer.insured, "basis": str(answer.basis)}


def _reconcile(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    date = day(given["recon_date"])
    decision = reconcile(
        law.category(given["category"]),
        date=date,
        inside=given["in_category"],
        source_status=given["source_status"],
        paid_months=_months(given["paid_months"]),
        other_status=given.get("other_status") or (),
        subgroup=given.get("subgroup") or "",
        law=_day_law(law, date),
    )
    return {"action": str(decision.action)}


def _parent_choice(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    mother, father = given.get("mother"), given.get("father")
    date = day(given["recon_date"])
    choice = choose_parent(
        given["category"],
        date=date,
        incumbent=Holder(given["incumbent"]),
        mother_paid=None if mother is None else _months(mother["paid_months"]),
        father_paid=None if father is None else _months(father["paid_months"]),
        father_applied=given["father_application"],
        law=_day_law(law, date),
    )
    return {"holder": str(choice.holder)}


def _provisional_request(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    applied = day(given["applied"])
    decision = decide(
        law.category(given["category"]),
        applied,
        given["documents"],
        given["active_categories"],
        law=_day_law(law, applied),
    )
    return {
        "accepted": decision.accepted,
        "reason": decision.reason,
        "from": _text(decision.first),
        "to": _text(decision.last),
    }


def _record_validation(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    residency = Residency(given.get("residency") or "citizen")
    errors = errors_of(RecordKind(given["record"]), given["fields"], law=law, residency=residency)
    return {"valid": not errors, "errors": list(errors)}


def _feed_chain(case: Document, law: Law, _services: Services) -> Document:
    return {"chains": [list(chain) for chain in law.category(case["input"]["category"]).chains]}


def _feed_freshness(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    feed, now = law.feeds[given["feed"]], day(given["now"])
    overdue = feeds.overdue(feed, last_received=day(given["last_received"]), now=now, law=_day_law(law, now))
    return {"overdue": overdue, "frequency": str(feed.frequency)}


def _feed_eligibility(case: Document, law: Law, _services: Services) -> Document:
    given = case["input"]
    return {"included": not residency_excluded(law.category(given["category"]), Residency(given["residency"]))}


def _military_deadline(case: Document, law: Law, _services: Services) -> Document:
    changed, entered = day(case["input"]["changed"]), day(case["input"]["entered"])
    verdict = change_entered(changed=changed, entered=entered, law=_day_law(law, entered))
    return {"due": _text(verdict.due), "late": verdict.late}


def _exchange(case: Document, law: Law, _services: Services) -> Document:
    return {"accepted": feeds.exchanged(case["input"]["marking"], law)}


def _service_request(case: Document, _law: Law, services: Services) -> Document:
    given = case["input"]
    decision = services.participation.decide(
        dt.datetime.fromisoformat(str(given["submitted_at"])),
        certified_by=given["auth"],
        phone_registered=bool(given.get("phone_registered", False)),
        consent=given["consent"],
        findings=given["findings"],
        holidays={day(one) for one in given["holidays"]},
    )
    return {
        "outcome": decision.outcome,
        "grounds": list(decision.grounds),
        "due_at": None if decision.due_at is None else decision.due_at.isoformat(timespec="minutes"),
        "fee": decision.fee,
    }


def _education_service(case: Document, _law: Law, services: Services) -> Document:
    given, service = case["input"], services.education
    if given["documents"] not in ("complete", "incomplete", "expired"):
        raise ValueError("documents is complete, incomplete or expired")
    complete = given["documents"] == "complete"
    steps = service.steps(given["branch"], package_complete=complete)
    return {
        "accepted": complete,
        "receipt": not complete,
        "steps": [[step.name, step.time] for step in steps],
        "total": {
            "hours": sum(step.hours for step in steps),
            "working_days": sum(step.working_days for step in steps),
        },
        "in_force": service.in_force,
    }


def _amendment_map(case: Document, _law: Law, services: Services) -> Document:
    in_004 = services.amendments[case["input"]["order"]].in_004(str(case["input"]["paragraph"]))
    return {"in_004": in_004, "same_text": in_004 is not None}


def _iin(case: Document, _law: Law, _services: Services) -> Document:
    try:
        Iin(str(case["input"]["iin"]))
    except InvalidIdentifier:
        return {"valid": False}
    return {"valid": True}


_KINDS: Final[Mapping[str, Callable[[Document, Law, Services], Document]]] = {
    "status": _status,
    "mis_query": _mis_query,
    "reconcile": _reconcile,
    "parent_choice": _parent_choice,
    "provisional_request": _provisional_request,
    "record_validation": _record_validation,
    "feed_chain": _feed_chain,
    "feed_freshness": _feed_freshness,
    "feed_eligibility": _feed_eligibility,
    "military_deadline": _military_deadline,
    "exchange": _exchange,
    "service_request": _service_request,
    "education_service": _education_service,
    "amendment_map": _amendment_map,
    "iin": _iin,
}


def _day_law(law: Law, on: dt.date) -> DayLaw:
    """The law of the day; for days before the first edition, the first one: these rules are older than it (A-39)."""
    try:
        return DayLaw.on(law, on)
    except EditionNotInForce:
        return DayLaw(law, min(law.editions, key=lambda edition: edition.in_force_from))


def _text(value: dt.date | None) -> str | None:
    return None if value is None else value.isoformat()
