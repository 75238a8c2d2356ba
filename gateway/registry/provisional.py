"""004 p.21, p.57: entry for one month on documents, while the Fund's system has no data. Pure.

R-20, R-27; DT-1 line 6.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY, add_months
from gateway.registry.facts import CategoryRecord, ProvisionalEntry
from gateway.registry.spans import Basis, DayLaw, Span, Why, unique
from gateway.regulation.law import Category, CategoryList

P21: Final = Citation.parse("004 p.21")
P57: Final = Citation.parse("004 p.57")

NO_DOCUMENT_DEFINED: Final = "no_document_defined"
DATA_PRESENT: Final = "data_present"
DOCUMENTS_INCOMPLETE: Final = "documents_incomplete"


@dataclass(frozen=True, slots=True)
class ProvisionalDecision:
    """Accepted with both days, or refused with the reason. `because` in both cases."""

    accepted: bool
    first: dt.date | None
    last: dt.date | None
    reason: str | None
    because: tuple[Citation, ...]
    readings: tuple[str, ...] = ()


def decide(
    category: Category,
    applied: dt.date,
    documents: Collection[str] | None,
    active: Collection[str],
    *,
    law: DayLaw,
    applied_before: bool = False,
) -> ProvisionalDecision:
    """R-20, R-27. `active`: the categories that the Fund's system showed as active on `applied`; `documents` None: they
    were found complete when taken in; `applied_before`: an entry was given before (for one reading of A-19).
    """
    clause = deciding_clause(category)
    if category.documents is None:
        return ProvisionalDecision(False, None, None, NO_DOCUMENT_DEFINED, (clause,))
    because = unique(clause, category.documents.item)
    if any(counts_as_data(category, law.category(slug)) for slug in active):
        return ProvisionalDecision(False, None, None, DATA_PRESENT, because)
    if documents is not None and not category.documents.complete(documents):
        return ProvisionalDecision(False, None, None, DOCUMENTS_INCOMPLETE, because)
    if applied_before and not law.reads("provisional_repeat_allowed"):
        return ProvisionalDecision(False, None, None, "applied_before", because, ("provisional_repeat_allowed",))
    return ProvisionalDecision(True, applied, last_day_of(applied, law), None, because, ("provisional_end",))


def deciding_clause(category: Category) -> Citation:
    return P57 if category.list is CategoryList.LOCAL else P21


def last_day_of(applied: dt.date, law: DayLaw) -> dt.date:
    """A-20: the corresponding date of the next month."""
    end = add_months(applied, law.number("provisional_months"))
    return end - ONE_DAY if law.reads("provisional_end") == "day_before" else end


def counts_as_data(wanted: Category, held: Category) -> bool:
    """A-22: by p.21 the data on any category of p.20; by p.57 those on the category applied for."""
    if wanted.list is CategoryList.LOCAL:
        return held.slug == wanted.slug
    return held.list is CategoryList.REPUBLICAN


def provisional_spans(
    entries: Sequence[ProvisionalEntry], records: Iterable[CategoryRecord], *, known_at: dt.date, law: DayLaw
) -> list[Span]:
    """The accepted entries. `records` are those that count (gateway.registry.state_paid.counted)."""
    spans: list[Span] = []
    known = tuple(records)
    for entry in sorted((one for one in entries if one.received_at <= known_at), key=lambda one: one.applied):
        category = law.category(entry.category)
        decision = decide(
            category,
            entry.applied,
            entry.documents,
            data_on(known, entry.applied),
            law=law,
            applied_before=bool(spans),
        )
        if decision.accepted and decision.first is not None and decision.last is not None:
            spans.append(
                Span(
                    decision.first,
                    decision.last,
                    Basis.PROVISIONAL,
                    category,
                    category.budget,
                    decision.last,
                    category.systems,
                    partial(_why, entry, decision),
                )
            )
    return spans


def data_on(records: Iterable[CategoryRecord], day: dt.date) -> tuple[str, ...]:
    """The categories of which the Fund's system, as it stood on `day`, showed an active record (A-22)."""
    return tuple(
        record.category
        for record in records
        if record.received_at <= day
        and record.assigned_date <= day
        # a removal that had not arrived by then was not there
        and (record.removal is None or day < max(record.removal.date, record.removal.received_at))
    )


def _why(entry: ProvisionalEntry, decision: ProvisionalDecision, _day: dt.date) -> Why:
    return Why(decision.because, (entry.evidence,), decision.readings)
