"""004 p.13: in a technical failure the status is preserved until the system is put right. Pure. R-14; DT-1 line 9.

It preserves and never creates, and it does not stop the clock of a retention. An incident is declared by a person; a
feed that is overdue is none.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY
from gateway.registry.facts import TechnicalFailure
from gateway.registry.priority import highest, not_yielding
from gateway.registry.spans import Basis, DayLaw, Span, Why, ids, unique

P13: Final = Citation.parse("004 p.13")


def seen_failures(
    failures: Iterable[TechnicalFailure], known_at: dt.date
) -> list[tuple[TechnicalFailure, dt.date | None]]:
    """The declared failures in order, each with its last day; an unseen fix is as if it did not exist."""
    seen = []
    for failure in sorted(failures, key=lambda one: (one.start, one.system)):
        if failure.received_at > known_at:
            continue
        last = None
        if failure.fixed is not None and (failure.fix_received_at or failure.fixed) <= known_at:
            last = failure.fixed - ONE_DAY
        if last is None or failure.start <= last:
            seen.append((failure, last))
    return seen


def holds(
    failures: Sequence[tuple[TechnicalFailure, dt.date | None]],
    spans: Sequence[Span],
    *,
    list_systems: Callable[[dt.date], frozenset[str]],
    law: DayLaw,
) -> list[Span]:
    """The holds over the bases that the person has (after the gate). `list_systems` gives those of the treaty list for
    a day on which the person is a temporarily staying foreigner, and none for other days."""
    made: list[Span] = []
    everybody = law.reads("failure_scope") == "everyone"
    for failure, last in failures:
        covering = [span for span in (*spans, *made) if span.covers(failure.start)]
        # a person of p.20(4) is not in p.20(3), so the latter is no basis of its own beside the former
        matching = [
            span
            for span in not_yielding(covering)
            if everybody or failure.system in span.systems or failure.system in list_systems(failure.start)
        ]
        preserved = highest(matching)
        if preserved is not None:
            made.append(
                Span(
                    failure.start,
                    last,
                    Basis.FAILURE_HOLD,
                    preserved.category,
                    preserved.budget,
                    last,
                    preserved.systems,
                    partial(_why, failure, last, preserved),
                    preserved.preserved or preserved,
                )
            )
    return made


def _why(failure: TechnicalFailure, last: dt.date | None, preserved: Span, _day: dt.date) -> Why:
    inner = preserved.why(failure.start)
    fixed = (failure.fix_evidence,) if last is not None else ()
    return Why(
        unique(P13, *inner.because),
        ids((failure.evidence, *fixed, *inner.evidence)),
        ("failure_scope", *inner.readings),
    )
