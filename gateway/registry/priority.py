"""R-80, R-18, R-25, R-19: which of several bases is reported. It never changes insured or not. Pure.

004 p.20 part 1 and p.55 part 1 order the categories of one list; the order between the bases is a reading (A-16).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from gateway.registry.spans import ACTIVE, Basis, Span

_RANKED_BY_NUMBER = ACTIVE


def reported(spans: Iterable[Span], day: dt.date) -> Span | None:
    """The span that is reported on `day`; None: no basis covers it."""
    return highest([span for span in spans if span.covers(day)])


def highest(covering: list[Span]) -> Span | None:
    """The one that is reported of spans that cover the same day."""
    if len(covering) < 2:
        return covering[0] if covering else None
    order = min(_order(span) for span in covering)
    best = [span for span in covering if _order(span) == order]
    if best[0].basis in _RANKED_BY_NUMBER:
        return min(not_yielding(best), key=Span.rank)
    # several entries, retentions or holds: the one whose own end is the latest, then the higher one
    return min(best, key=lambda span: (-(span.own_end or dt.date.max).toordinal(), span.rank()))


def not_yielding(spans: list[Span]) -> list[Span]:
    """A-44: who is in the category of p.20(4) is not in that of p.20(3), whatever the numbers say."""
    held = {span.category.slug for span in spans if span.category is not None and span.basis in ACTIVE}
    return [
        span
        for span in spans
        if span.basis not in ACTIVE or span.category is None or span.category.yields_to not in held
    ]


_BASES = {basis: number for number, basis in enumerate(Basis)}


def _order(span: Span) -> int:
    return _BASES[span.basis]
