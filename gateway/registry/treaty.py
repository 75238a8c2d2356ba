"""004 p.7, p.61: the list of foreigners who stay temporarily under a treaty, a gate to the other bases. Pure. R-29."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY
from gateway.registry.facts import TreatyInterval
from gateway.registry.spans import Basis, DayLaw, Span, Why, ids, within

P7: Final = Citation.parse("004 p.7")
P61: Final = Citation.parse("004 p.61")

TREATY: Final = "treaty_foreigner"


def listed_spans(intervals: Iterable[TreatyInterval], *, known_at: dt.date, law: DayLaw) -> list[Span]:
    """The days on the list, as spans of the basis that the list is under the other reading of A-29."""
    category = law.category(TREATY)
    spans = []
    for interval in intervals:
        if interval.received_at > known_at:
            continue
        last: dt.date | None = None
        evidence: tuple[str, ...] = (interval.evidence,)
        if interval.first_day_off is not None and (interval.off_received_at or interval.first_day_off) <= known_at:
            last, evidence = interval.first_day_off - ONE_DAY, (interval.evidence, interval.off_evidence)
        if last is None or interval.first_day <= last:
            why = partial(_why, evidence)
            spans.append(Span(interval.first_day, last, Basis.TREATY_LIST, category, None, last, category.systems, why))
    return spans


def through_the_gate(spans: Sequence[Span], listed: Sequence[Span], law: DayLaw) -> list[Span]:
    """R-29: a temporarily staying foreigner has a basis only on the days on the list; the list alone is none."""
    days = [(span.first, span.last) for span in sorted(listed, key=lambda one: one.first)]
    gated = within(days, spans)
    return [*gated, *listed] if law.reads("treaty_list") == "basis" else gated


def _why(evidence: tuple[str, ...], _day: dt.date) -> Why:
    return Why((P61, P7), ids(evidence), ("treaty_list",))
