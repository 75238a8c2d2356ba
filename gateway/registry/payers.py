"""004 p.10, p.11: persons for whom deductions or contributions were paid, and how long the right is kept. Pure.

R-09 to R-12; DT-1 lines 4, 5, 8. Receipts are processed in the order in which the Fund received the money, all records
of one day together. A month is in P when it was paid for by then, and in S when the state or the exemption covered it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.model import Citation
from gateway.registry.days import ONE_DAY, add_months, first_day, last_day, month_of
from gateway.registry.facts import Month, PayerType, Payment
from gateway.registry.spans import ACTIVE, BUDGET_PAYER, Basis, DayLaw, Days, Span, Why, ids

P3: Final = Citation.parse("004 p.3")
P10_1: Final = Citation.parse("004 p.10 part 1")
P10_2: Final = Citation.parse("004 p.10 part 2")
P10_3: Final = Citation.parse("004 p.10 part 3")
P11: Final = Citation.parse("004 p.11")

READINGS_P10: Final = (
    "p10_twelve_months",
    "p10_credited_month",
    "p15_5_meaning",
    "state_and_exempt_months_count_for_twelve",
    "month_covered_by_state",
)
READINGS_RETENTION: Final = (
    "payer_cessation_anchor",
    "payer_retention_unit",
    "sixty_months",
    "sixty_months_excluded",
    "gap_resume",
)
READINGS_P11: Final = ("p11_retention_months", "p15_5_meaning")


def payer_spans(
    payments: Iterable[Payment],
    state_spans: Sequence[Span],
    *,
    known_at: dt.date,
    law: DayLaw,
    since: dt.date | None = None,
) -> list[Span]:
    """The spans of both kinds of payers. `state_spans` are those of state-paid and exempt persons, before any gate.

    `since`: spans that ended before it are not wanted and may be left out.
    """
    general, other = PaidMonths(), PaidMonths()
    shift = 0 if law.reads("p15_5_meaning") == "payment_period" else -1
    for payment in payments:
        if payment.received_at <= known_at:
            paid = general if payment.payer_type is PayerType.GENERAL else other
            paid.add(payment.period + shift, payment.received_date, payment.evidence)
    spans = _of_p10(general, Covered(state_spans, law), law, since) if general.latest else []
    if other.latest:
        spans.extend(_of_p11(other, law, since))
    return spans


class PaidMonths:
    """Which months were paid for by which day, and the receipts. Months as the reading of p.15(5) has them (A-03)."""

    __slots__ = ("_first_paid", "latest", "payments")

    def __init__(self) -> None:
        self.payments: list[tuple[Month, dt.date, str]] = []
        """Month, day of receipt, evidence."""
        self.latest: dict[dt.date, Month] = {}
        """The latest month that a day's receipts pay for."""
        self._first_paid: dict[Month, dt.date] = {}

    def add(self, month: Month, received: dt.date, evidence: str) -> None:
        self.payments.append((month, received, evidence))
        before = self._first_paid.get(month)
        if before is None or received < before:
            self._first_paid[month] = received
        if month > self.latest.get(received, 0):
            self.latest[received] = month

    def paid(self, month: Month, by: dt.date) -> bool:
        """Whether the month is in P after the receipts of `by`."""
        first = self._first_paid.get(month)
        return first is not None and first <= by

    def run_from(self, month: Month, by: dt.date) -> Month:
        """The last month of the unbroken paid run that goes on from `month`."""
        while self.paid(month + 1, by):
            month += 1
        return month

    def between(self, low: Month, high: Month, by: dt.date) -> list[tuple[Month, dt.date, str]]:
        """The payments for these months received by `by`, in the order of the months."""
        return sorted(one for one in self.payments if low <= one[0] <= high and one[1] <= by)


class Covered:
    """S: the months that the state paid for, or in which the person was exempt (A-13, A-41)."""

    def __init__(self, spans: Iterable[Span], law: DayLaw) -> None:
        self.spans = [span for span in spans if span.basis in ACTIVE or span.basis is Basis.MILITARY_EXEMPT]
        self._months = _months_of(self.spans, whole=law.reads("month_covered_by_state") == "whole_month")
        self._counts = bool(law.reads("state_and_exempt_months_count_for_twelve"))

    def month(self, month: Month) -> bool:
        return self._counts and any(low <= month <= high for low, high in self._months)

    def state_pays_on(self, day: dt.date) -> bool:
        return any(span.basis in ACTIVE and span.covers(day) for span in self.spans)


_FOREVER: Final = 12 * dt.MAXYEAR


def _months_of(spans: Iterable[Span], *, whole: bool) -> list[tuple[Month, Month]]:
    if not whole:
        return [(month_of(span.first), _FOREVER if span.last is None else month_of(span.last)) for span in spans]
    months: list[tuple[Month, Month]] = []
    for first, last in _joined(spans):
        low = month_of(first) if first.day == 1 else month_of(first) + 1
        high = _FOREVER if last is None else month_of(last + ONE_DAY) - 1
        months.append((low, high))
    return months


def _joined(spans: Iterable[Span]) -> list[Days]:
    joined: list[Days] = []
    for span in sorted(spans, key=lambda one: one.first):
        if joined and (joined[-1][1] is None or span.first <= joined[-1][1] + ONE_DAY):
            first, last = joined.pop()
            joined.append((first, None if last is None or span.last is None else max(last, span.last)))
        else:
            joined.append((span.first, span.last))
    return joined


# ---------------------------------------------------------------- p.10


@dataclass(slots=True)
class _Right:
    """The right of a payer as it stands while the receipts go by."""

    receipt: dt.date
    """The last receipt that gave or prolonged it."""
    covered: Month
    """c, the last covered month."""
    kept_from: dt.date
    kept_until: dt.date
    long: bool


def _of_p10(paid: PaidMonths, covered: Covered, law: DayLaw, since: dt.date | None) -> list[Span]:
    spans: list[Span] = []
    right: _Right | None = None
    receipts = sorted(paid.latest)
    for received in receipts[_first_that_matters(receipts, paid, covered, law, since) :]:
        if full(paid, covered, received, law):
            if right is not None:
                # replaced: from this receipt on the new end holds, be it the earlier one
                spans.extend(_kept(right, min(right.kept_until, received - ONE_DAY), paid, covered, law))
            covered_to = _covered_to(paid, covered, received, law)
            months, until = _kept_until(covered_to, received, paid, covered, law)
            first, last = _credited(covered_to, received, paid, law)
            why = partial(_why_full, received, covered_to, paid, covered, law)
            spans.append(Span(first, last, Basis.PAYER, None, BUDGET_PAYER, until, law.law.payment_systems, why))
            right = _Right(received, covered_to, last + ONE_DAY, until, months)
        elif right is not None and received <= right.kept_until:
            _prolong(right, received, paid, covered, law)
    if right is not None:
        spans.extend(_kept(right, right.kept_until, paid, covered, law))
    return spans


def _first_that_matters(
    receipts: Sequence[dt.date], paid: PaidMonths, covered: Covered, law: DayLaw, since: dt.date | None
) -> int:
    """A receipt with the full twelve months replaces all that was before it, so the last one before `since` begins."""
    if since is not None:
        newest = month_of(since)
        for index in range(len(receipts) - 1, -1, -1):
            received = receipts[index]
            if month_of(received) <= newest and full(paid, covered, received, law):
                return index
    return 0


def full(paid: PaidMonths, covered: Covered, received: dt.date, law: DayLaw) -> bool:
    """Full(r): each of the twelve months before the receipt is in P or S, and it pays for one of them or later."""
    month = month_of(received)
    lookback = month - law.number("payer_lookback_months")
    if paid.latest[received] < lookback:
        return False
    reading = law.reads("p10_twelve_months")
    if reading == "full12":
        return all(paid.paid(one, received) or covered.month(one) for one in range(month - 1, lookback - 1, -1))
    return reading == "per_month" or any(
        paid.paid(one, received) or covered.month(one) for one in range(lookback, month)
    )


def missing_months(
    payments: Iterable[Payment], spans: Sequence[Span], day: dt.date, *, known_at: dt.date, law: DayLaw
) -> tuple[Month, ...]:
    """The months of the twelve before the day's month that neither a payment nor the state covers."""
    shift = 0 if law.reads("p15_5_meaning") == "payment_period" else -1
    paid = {
        one.period + shift for one in payments if one.received_at <= known_at and one.payer_type is PayerType.GENERAL
    }
    covered, month = Covered(spans, law), month_of(day)
    months = range(month - law.number("payer_lookback_months"), month)
    return tuple(one for one in months if not (one in paid or covered.month(one)))


def _covered_to(paid: PaidMonths, covered: Covered, received: dt.date, law: DayLaw) -> Month:
    """c of Full(r)."""
    month = month_of(received)
    reading = law.reads("p10_twelve_months")
    last = month - 1
    if reading == "per_month":
        last = paid.latest[received]
    elif reading == "any":
        last = max(
            one
            for one in range(month - law.number("payer_lookback_months"), month)
            if paid.paid(one, received) or covered.month(one)
        )
    return paid.run_from(last, received)


def _credited(covered_to: Month, received: dt.date, paid: PaidMonths, law: DayLaw) -> tuple[dt.date, dt.date]:
    """A-02: the first and the last day of the right of a payer."""
    month = month_of(received)
    first = month
    reading = law.reads("p10_credited_month")
    if reading == "month_paid_for":
        first = min(month, paid.latest[received])
    elif reading == "every_paid_month":
        first = min(month, covered_to + 1)
        while paid.paid(first - 1, received):
            first -= 1
    return first_day(first), last_day(max(month, covered_to))


def _prolong(right: _Right, received: dt.date, paid: PaidMonths, covered: Covered, law: DayLaw) -> None:
    """R-10: a receipt that only goes on with the run moves the end, and never to an earlier day (A-12)."""
    covered_to = paid.run_from(right.covered, received)
    if law.reads("gap_resume") == "any_payment_restarts":
        covered_to = max(covered_to, paid.latest[received])
    if covered_to == right.covered:
        return
    long, until = _kept_until(covered_to, received, paid, covered, law)
    right.covered, right.receipt = covered_to, received
    if until > right.kept_until:
        right.kept_until, right.long = until, long


def _kept_until(
    covered_to: Month, received: dt.date, paid: PaidMonths, covered: Covered, law: DayLaw
) -> tuple[bool, dt.date]:
    """R-10, R-11: whether the six months apply, and the last day of the right."""
    long = _sixty(covered_to, received, paid, covered, law)
    months = law.number("payer_long_retention_months" if long else "payer_retention_months")
    from_receipt = law.reads("payer_cessation_anchor") == "last_receipt_date"
    if law.reads("payer_retention_unit") == "date_to_date_clipped":
        return long, add_months(received if from_receipt else last_day(covered_to), months)
    return long, last_day((month_of(received) if from_receipt else covered_to) + months)


def _sixty(covered_to: Month, received: dt.date, paid: PaidMonths, covered: Covered, law: DayLaw) -> bool:
    """R-11: sixty months paid by payers without a break, and no state-paid category when the payment ceases."""
    state_counts = law.reads("sixty_months") == "state_months_count"
    needed = law.number("payer_continuous_months_for_long_retention")
    for month in range(covered_to, covered_to - needed, -1):
        if not paid.paid(month, received) and not (state_counts and covered.month(month)):
            return False
    return law.reads("sixty_months_excluded") == "nobody" or not covered.state_pays_on(last_day(covered_to))


def _kept(right: _Right, last: dt.date, paid: PaidMonths, covered: Covered, law: DayLaw) -> Iterable[Span]:
    if right.kept_from <= last:
        why = partial(_why_kept, right.receipt, right.covered, right.long, paid, covered, law)
        yield Span(
            right.kept_from,
            last,
            Basis.RETENTION_PAYER,
            None,
            BUDGET_PAYER,
            right.kept_until,
            law.law.payment_systems,
            why,
        )


# ---------------------------------------------------------------- p.11


def _of_p11(paid: PaidMonths, law: DayLaw, since: dt.date | None) -> Iterable[Span]:
    """R-12: from the day of payment; no first of the month, no twelve months. Kept by Law 5(2) (A-14)."""
    kept_months = int(law.reads("p11_retention_months"))
    for received in sorted(paid.latest):
        covered_to = max(month_of(received), paid.run_from(paid.latest[received], received))
        if since is not None and covered_to + kept_months < month_of(since):
            continue
        last, until = last_day(covered_to), last_day(covered_to + kept_months)
        why: Callable[[dt.date], Why] = partial(_why_p11, received, covered_to, paid)
        systems = law.law.payment_systems
        yield Span(received, last, Basis.PAYER_14_2_9, None, BUDGET_PAYER, until, systems, why)
        if kept_months:
            yield Span(last + ONE_DAY, until, Basis.RETENTION_PAYER, None, BUDGET_PAYER, until, systems, why)


# ---------------------------------------------------------------- why


def _why_full(
    received: dt.date, covered_to: Month, paid: PaidMonths, covered: Covered, law: DayLaw, _day: dt.date
) -> Why:
    lookback = month_of(received) - law.number("payer_lookback_months")
    evidence = _evidence(lookback, covered_to, received, paid, covered)
    return Why((P10_1, P3), evidence, READINGS_P10)


def _why_kept(
    received: dt.date, covered_to: Month, long: bool, paid: PaidMonths, covered: Covered, law: DayLaw, _day: dt.date
) -> Why:
    months = law.number("payer_continuous_months_for_long_retention" if long else "payer_lookback_months")
    evidence = _evidence(covered_to - months + 1, covered_to, received, paid, covered)
    because = (P10_3, P10_2, P10_1, P3) if long else (P10_2, P10_1, P3)
    return Why(because, evidence, READINGS_P10 + READINGS_RETENTION)


def _why_p11(received: dt.date, covered_to: Month, paid: PaidMonths, day: dt.date) -> Why:
    run = paid.between(paid.latest[received], covered_to, received)
    readings = READINGS_P11 if month_of(day) > covered_to else ("p15_5_meaning",)
    return Why((P11, P3), ids(evidence for _, _, evidence in run), readings)


def _evidence(low: Month, high: Month, received: dt.date, paid: PaidMonths, covered: Covered) -> tuple[str, ...]:
    """The records that covered the months: payments in the order of the months, then what the state or a body told."""
    payments = paid.between(low, high, received)
    told: list[str] = []
    unpaid = frozenset(range(low, high + 1)).difference(month for month, _, _ in payments)
    if unpaid:
        for span in covered.spans:
            first, last = month_of(span.first), _FOREVER if span.last is None else month_of(span.last)
            if any(first <= month <= last for month in unpaid):
                told += span.why(span.first).evidence
    return ids([evidence for _, _, evidence in payments] + told)
