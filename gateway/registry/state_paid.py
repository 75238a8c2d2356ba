"""004 p.9, p.16, p.20, p.51, p.55: persons for whom the state pays, and how long the right is kept afterwards. Pure.

R-06, R-07, R-08, R-24; DT-1 lines 1, 2, 7. The source gives and takes a category; nothing here computes an age (A-43).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY, add_months, end_of_month
from gateway.registry.facts import CategoryRecord, Removal, StateStop
from gateway.registry.spans import Basis, DayLaw, Span, Why, ids, unique
from gateway.regulation.law import Category, CategoryList, Residency

P9_1: Final = Citation.parse("004 p.9 part 1")
P9_2: Final = Citation.parse("004 p.9 part 2")
P16: Final = Citation.parse("004 p.16")
P51: Final = Citation.parse("004 p.51")


def counted(
    records: Iterable[CategoryRecord], *, residency: Residency, known_at: dt.date, law: DayLaw
) -> list[CategoryRecord]:
    """The records that are visible (R-81) and that the Rules do not leave out (R-24)."""
    return [
        record
        for record in records
        if record.received_at <= known_at and not residency_excluded(law.category(record.category), residency)
    ]


def residency_excluded(category: Category, residency: Residency) -> bool:
    """R-24 (p.40, p.42): such a record is refused at intake, and ignored if it is there."""
    return residency in category.excluded_residency


def visible_removal(record: CategoryRecord, known_at: dt.date) -> Removal | None:
    removal = record.removal
    return removal if removal is not None and removal.received_at <= known_at else None


def state_paid_spans(
    records: Iterable[CategoryRecord], stops: Sequence[StateStop], *, known_at: dt.date, law: DayLaw
) -> list[Span]:
    """Spans of the counted records of both lists."""
    spans: list[Span] = []
    for record in records:
        category = law.category(record.category)
        if category.list.state_paid:
            own_stops = merged_stops(stops, category.list, known_at) if stops else ()
            spans.extend(_spans_of(record, visible_removal(record, known_at), category, own_stops, law))
    return spans


@dataclass(frozen=True, slots=True)
class Stop:
    """Stops of one budget that overlap or touch, as one (REGISTRY.md 3.4). [`start`, `resumed`)."""

    start: dt.date
    resumed: dt.date | None
    evidence: tuple[str, ...]

    def runs_on(self, day: dt.date) -> bool:
        return self.start <= day and (self.resumed is None or day < self.resumed)


def merged_stops(stops: Iterable[StateStop], budget: CategoryList, known_at: dt.date) -> tuple[Stop, ...]:
    """The visible stops of one budget in order; an unseen resumption is as if it did not exist."""
    merged: list[Stop] = []
    for stop in sorted(stops, key=lambda one: one.start):
        if stop.budget is not budget or stop.received_at > known_at:
            continue
        resumed = stop.resumed
        evidence: tuple[str, ...] = (stop.evidence,)
        if stop.resumed_received_at is None or stop.resumed_received_at > known_at:
            resumed = None
        else:
            evidence += (stop.resumed_evidence,)
        if resumed is not None and resumed <= stop.start:
            continue
        if merged and (merged[-1].resumed is None or stop.start <= merged[-1].resumed):
            before = merged.pop()
            ends = None if before.resumed is None or resumed is None else max(before.resumed, resumed)
            merged.append(Stop(before.start, ends, before.evidence + evidence))
        else:
            merged.append(Stop(stop.start, resumed, evidence))
    return tuple(merged)


def takes_effect(removal: Removal, law: DayLaw) -> dt.date:
    """A-10: the category stays active up to the day before the removal's arrival."""
    if law.reads("late_removal") == "retroactive":
        return removal.date
    return max(removal.date, removal.received_at)


# ---------------------------------------------------------------- one record


def _spans_of(
    record: CategoryRecord, removal: Removal | None, category: Category, stops: Sequence[Stop], law: DayLaw
) -> Iterator[Span]:
    """R-06: active from the day of assignment, inclusive. R-07, R-08: kept for three months, never added up."""
    ends = None if removal is None else takes_effect(removal, law)
    open_from: dt.date | None = record.assigned_date
    for stop in stops:
        if open_from is None or (ends is not None and stop.start >= ends):
            break
        if stop.resumed is not None and stop.resumed <= open_from:
            continue
        if open_from < stop.start:
            yield _active(record, removal, category, open_from, stop.start - ONE_DAY, law)
        yield from _stopped(record, category, stop, ends, law)
        open_from = stop.resumed
    if open_from is not None and (ends is None or open_from < ends):
        yield _active(record, removal, category, open_from, None if ends is None else ends - ONE_DAY, law)
    if removal is not None and ends is not None:
        yield from _removed(record, removal, category, max(ends, record.assigned_date), stops, law)


def _active(
    record: CategoryRecord,
    removal: Removal | None,
    category: Category,
    first: dt.date,
    last: dt.date | None,
    law: DayLaw,
) -> Span:
    republican = category.list is CategoryList.REPUBLICAN
    evidence = (record.evidence,) if removal is None else (record.evidence, removal.evidence)
    late = removal is not None and removal.received_at > removal.date
    return Span(
        first,
        last,
        Basis.REPUBLICAN_CATEGORY if republican else Basis.LOCAL_CATEGORY,
        category,
        category.budget,
        last,
        category.systems,
        partial(_why, record, category, law, P9_1, evidence, ("late_removal",) if late else ()),
    )


def _stopped(
    record: CategoryRecord, category: Category, stop: Stop, ends: dt.date | None, law: DayLaw
) -> Iterator[Span]:
    """R-08: not more than three months, though the category is still assigned."""
    first = max(stop.start, record.assigned_date)
    own_end = _months_after(first, law.number("state_nonpayment_cap_months"), law)
    last = own_end
    for day in (ends, stop.resumed):
        if day is not None:
            last = min(last, day - ONE_DAY)
    if first <= last:
        evidence = (record.evidence, *stop.evidence)
        why = partial(_why, record, category, law, P9_2, evidence, ("state_retention_unit",))
        yield Span(first, last, Basis.RETENTION_STATE, category, category.budget, own_end, category.systems, why)


def _removed(
    record: CategoryRecord,
    removal: Removal,
    category: Category,
    first: dt.date,
    stops: Sequence[Stop],
    law: DayLaw,
) -> Iterator[Span]:
    """R-07: three months from the cessation of payment; a stop running on the removal day is that cessation (A-09)."""
    readings = ["state_retention_unit", "state_cessation_anchor"]
    anchor, decides = removal.date, P9_1
    evidence: tuple[str, ...] = (record.evidence, removal.evidence)
    if law.reads("state_cessation_anchor") == "arrival_of_removal":
        anchor = max(removal.date, removal.received_at)
    running = next((stop for stop in stops if stop.runs_on(removal.date)), None)
    if running is not None:
        readings.append("state_stop_single_anchor")
        if law.reads("state_stop_single_anchor"):
            anchor, decides = max(running.start, record.assigned_date), P9_2
            evidence += running.evidence
    if removal.received_at > removal.date:
        readings.append("late_removal")
    own_end = _months_after(anchor, law.number("state_retention_months"), law)
    if first <= own_end:
        why = partial(_why, record, category, law, decides, evidence, tuple(readings))
        yield Span(first, own_end, Basis.RETENTION_STATE, category, category.budget, own_end, category.systems, why)


def _months_after(anchor: dt.date, months: int, law: DayLaw) -> dt.date:
    """A-05, A-06: the last day of the months kept."""
    end = add_months(anchor, months)
    return end_of_month(end) if law.reads("state_retention_unit") == "whole_calendar_months" else end


def _why(
    record: CategoryRecord,
    category: Category,
    law: DayLaw,
    decides: Citation,
    evidence: tuple[str, ...],
    readings: tuple[str, ...],
    _day: dt.date,
) -> Why:
    cites = [decides, P9_1, category.cites[0]]
    source = law.edition.sources.get(record.assigned_source)
    if source is not None:
        cites += [source, *category.cites[1:]]
    cites.append(P16 if category.list is CategoryList.REPUBLICAN else P51)
    return Why(unique(*cites), ids(evidence), (*record.readings, *readings))
