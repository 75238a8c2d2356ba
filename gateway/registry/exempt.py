"""004 p.12, p.62-65: servicemen and staff of special and law-enforcement bodies, by the bodies' submissions. Pure.

R-13, R-31, R-32; DT-1 line 3, DT-5.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY, add_months
from gateway.registry.facts import MilitaryEvent
from gateway.registry.spans import BUDGET_EXEMPT, Basis, DayLaw, Span, Why, ids, unique
from gateway.regulation.law import Category

P12: Final = Citation.parse("004 p.12")
P64: Final = Citation.parse("004 p.64")
P65: Final = Citation.parse("004 p.65")

MILITARY: Final = "military_law_enforcement"


def exempt_spans(events: Iterable[MilitaryEvent], *, known_at: dt.date, law: DayLaw) -> list[Span]:
    """From the arrival of a body's data until its next submission without the person; bodies do not matter to each
    other. Of one body's events of one day the last counts."""
    by_body: dict[str, dict[dt.date, MilitaryEvent]] = {}
    for event in events:
        if event.date <= known_at:
            last_of_day = by_body.get(event.body)
            if last_of_day is None:
                by_body[event.body] = last_of_day = {}
            last_of_day[event.date] = event
    category = law.category(MILITARY)
    spans: list[Span] = []
    for body, last_of_day in by_body.items():
        spans.extend(_of_one_body(body, [last_of_day[date] for date in sorted(last_of_day)], category, law))
    return spans


def _of_one_body(body: str, events: Sequence[MilitaryEvent], category: Category, law: DayLaw) -> Iterable[Span]:
    run: list[MilitaryEvent] = []
    expires = law.reads("military_expiry") == "fourteen_days"
    for event in events:
        if run and expires and event.date > _expiry(run[-1], law) + ONE_DAY:
            yield _span(body, run, None, category, law)
            run = []
        if event.serving:
            run.append(event)
        elif run:
            yield _span(body, run, event, category, law)
            run = []
    if run:
        yield _span(body, run, None, category, law)


def _span(body: str, run: Sequence[MilitaryEvent], left: MilitaryEvent | None, category: Category, law: DayLaw) -> Span:
    last = None if left is None else left.date - ONE_DAY
    if law.reads("military_expiry") == "fourteen_days":
        last = _expiry(run[-1], law) if last is None else min(last, _expiry(run[-1], law))
    kept_months = law.reads("military_retention_months")
    if last is not None and kept_months:
        last = add_months(last + ONE_DAY, int(kept_months))
    return Span(
        run[0].date,
        last,
        Basis.MILITARY_EXEMPT,
        category,
        BUDGET_EXEMPT,
        last,
        frozenset({body, *(chain[-1] for chain in category.chains)}),
        partial(_why, tuple(run), left, category),
    )


def _expiry(event: MilitaryEvent, law: DayLaw) -> dt.date:
    """A-30, the other reading: a submission says nothing after the day on which the next one is due (p.63)."""
    return event.date + dt.timedelta(days=law.number("military_submission_days"))


def _why(run: tuple[MilitaryEvent, ...], left: MilitaryEvent | None, category: Category, day: dt.date) -> Why:
    """The submission in force on the day, and the one that first named the person without a break."""
    in_force = max((event for event in run if event.date <= day), key=lambda event: event.date, default=run[0])
    evidence = [run[0].evidence, in_force.evidence]
    if left is not None:
        evidence.append(left.evidence)
    return Why(unique(P12, P64, *category.cites), ids(evidence), ("military_expiry", "military_retention_months"))


# ---------------------------------------------------------------- the bodies' own duties


@dataclass(frozen=True, slots=True)
class ChangeEntered:
    """Whether a change was entered in time (p.65)."""

    due: dt.date
    late: bool


def change_entered(*, changed: dt.date, entered: dt.date, law: DayLaw) -> ChangeEntered:
    """R-32 (p.65): not later than seven calendar days after the change; the seventh is in time (A-31)."""
    due = changed + dt.timedelta(days=law.number("military_change_days"))
    return ChangeEntered(due, entered > due)
