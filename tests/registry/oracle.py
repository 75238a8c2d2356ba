"""A second reading of the decision table DT-1, for tests only: one day at a time, and nothing shared with the rules.

No runs of days, no cuts, no search for the next change: every question walks through all facts again. The numbers and
the recommended readings stand here as the specification has them, so that a mistake in the data shows too.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.registry.facts import CategoryRecord, ConsumerFacts, PayerType, TechnicalFailure
from gateway.regulation.law import Law

ORDER = (
    "republican_category",
    "local_category",
    "military_exempt",
    "payer",
    "payer_14_2_9",
    "provisional",
    "retention_state",
    "retention_payer",
    "failure_hold",
)
FOREVER = dt.date.max


@dataclass(frozen=True)
class Held:
    """One basis on one day."""

    basis: str
    category: str | None
    budget: str | None
    own_end: dt.date
    systems: frozenset[str]
    rank: tuple[int, int, int]


def months_later(day: dt.date, months: int) -> dt.date:
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def month(day: dt.date) -> int:
    return day.year * 12 + day.month - 1


def month_end(index: int) -> dt.date:
    year, number = index // 12, index % 12 + 1
    return dt.date(year, number, calendar.monthrange(year, number)[1])


class Oracle:
    """One person by what was known at the end of `known_at`."""

    def __init__(
        self,
        facts: ConsumerFacts,
        failures: Sequence[TechnicalFailure],
        known_at: dt.date,
        law: Law,
        residency: str | None = None,
    ) -> None:
        """`residency`: on whatever day, for the oracle's own use."""
        self.facts = facts
        self.known_at = known_at
        self.law = law
        self.failures = [one for one in failures if one.received_at <= known_at]
        self.temporary = residency in ("temp_foreigner", "temp_stateless")
        self._judged_as: dict[str, Oracle] = {}
        self._state_months: dict[int, bool] = {}
        self.records = [
            one
            for one in facts.records
            if residency is not None and one.received_at <= known_at and not self.left_out(one, residency)
        ]

    def left_out(self, record: CategoryRecord, residency: str) -> bool:
        if record.category == "penitentiary_inmate":
            return residency not in ("citizen", "kandas")
        return record.category == "pretrial_or_house_arrest" and residency.startswith("temp")

    def residency(self, day: dt.date) -> str:
        """The last word that holds from that day or an earlier one; a citizen where nobody said any."""
        last, since = "citizen", (dt.date.min, dt.date.min)
        for one in self.facts.residencies:
            begins = one.first_day or dt.date.min
            if one.received_at <= self.known_at and begins <= day and (begins, one.received_at) >= since:
                last, since = one.residency.value, (begins, one.received_at)
        return last

    def judged_as(self, day: dt.date) -> Oracle:
        """The whole life of one who always was what the person is on that day."""
        residency = self.residency(day)
        if residency not in self._judged_as:
            self._judged_as[residency] = Oracle(self.facts, self.failures, self.known_at, self.law, residency)
        return self._judged_as[residency]

    def answer(self, day: dt.date) -> tuple[bool, str, str | None, str | None]:
        """Insured, basis, category, budget."""
        found = highest(self.bases(day))
        if found is None:
            return False, "none", None, None
        return True, found.basis, found.category, found.budget

    def insured(self, day: dt.date) -> bool:
        return bool(self.bases(day))

    def bases(self, day: dt.date) -> list[Held]:
        if self.dead(day):
            return []
        return self.gated(day) + self.holds(day)

    def gated(self, day: dt.date) -> list[Held]:
        one = self.judged_as(day)
        if one.temporary and not self.on_treaty_list(day):
            return []
        return [*one.state(day), *one.military(day), *one.payer(day), *one.payer_14_2_9(day), *one.entries(day)]

    # ------------------------------------------------------------ line G

    def dead(self, day: dt.date) -> bool:
        told = [one.died_on for one in self.facts.deaths if one.received_at <= self.known_at]
        for record in self.facts.records:
            removal = self.removal(record)
            if record.received_at > self.known_at or removal is None or removal.reason != "death":
                continue
            if not self.left_out(record, self.residency(removal.date)):
                told.append(removal.date)
        return any(day >= one for one in told)

    def on_treaty_list(self, day: dt.date) -> bool:
        for one in self.facts.treaty:
            if one.received_at <= self.known_at and one.first_day <= day:
                off = one.first_day_off
                if off is None or one.off_received_at > self.known_at or day < off:  # type: ignore[operator]
                    return True
        return False

    # ------------------------------------------------------------ lines 1, 2, 7

    def removal(self, record: CategoryRecord):  # type: ignore[no-untyped-def]
        removal = record.removal
        return removal if removal is not None and removal.received_at <= self.known_at else None

    def stop_around(self, day: dt.date, budget: str) -> dt.date | None:
        """The first day of the stop that runs on `day`, overlapping and touching ones taken together."""
        runs = []
        for stop in self.facts.state_stops:
            if stop.budget.value == budget and stop.received_at <= self.known_at:
                seen = stop.resumed is not None and stop.resumed_received_at <= self.known_at  # type: ignore[operator]
                runs.append((stop.start, stop.resumed if seen else FOREVER))
        running = [start for start, end in runs if start <= day and end is not None and day < end]
        if not running:
            return None
        first = min(running)
        while True:
            earlier = [start for start, end in runs if start < first and end is not None and end >= first]
            if not earlier:
                return first
            first = min(earlier)

    def active(self, record: CategoryRecord, day: dt.date) -> bool:
        removal = self.removal(record)
        if day < record.assigned_date:
            return False
        return removal is None or day < max(removal.date, removal.received_at)

    def state(self, day: dt.date) -> list[Held]:
        held = []
        for record in self.records:
            category = self.law.category(record.category)
            if category.list.value not in ("republican", "local"):
                continue
            budget = category.list.value
            systems = frozenset(system for chain in category.chains for system in chain)
            rank = (0 if budget == "republican" else 1, category.priority or 0)

            def made(basis: str, end: dt.date, slug=category.slug, budget=budget, systems=systems, rank=rank) -> Held:  # type: ignore[no-untyped-def]
                return Held(basis, slug, budget, end, systems, (ORDER.index(basis), *rank))

            removal = self.removal(record)
            stop = self.stop_around(day, budget)
            if self.active(record, day):
                if stop is None:
                    held.append(made(f"{budget}_category", FOREVER))
                else:
                    end = months_later(max(stop, record.assigned_date), 3)
                    if day <= end:
                        held.append(made("retention_state", end))
            elif removal is not None and day >= max(removal.date, removal.received_at) and day >= record.assigned_date:
                running = self.stop_around(removal.date, budget)
                anchor = removal.date if running is None else max(running, record.assigned_date)
                end = months_later(anchor, 3)
                if day <= end:
                    held.append(made("retention_state", end))
        return held

    def paid_for(self, day: dt.date) -> bool:
        """A state-paid category, active and being paid for."""
        return any(one.basis.endswith("_category") for one in self.state(day))

    # ------------------------------------------------------------ line 3

    def military(self, day: dt.date) -> list[Held]:
        held = []
        for body in sorted({one.body for one in self.facts.military}):
            last = None
            for event in self.facts.military:
                if (
                    event.body == body
                    and event.date <= self.known_at
                    and event.date <= day
                    and (last is None or event.date >= last.date)
                ):
                    last = event
            if last is not None and last.person.value in ("listed", "added") and not last.reserve_combat_training:
                systems = frozenset({body, "fund_is"})
                held.append(Held("military_exempt", "military_law_enforcement", "exempt", FOREVER, systems, (2, 0, 0)))
        return held

    # ------------------------------------------------------------ lines 4, 5, 8

    def months_paid(self, by: dt.date, payer: PayerType) -> set[int]:
        return {
            one.period
            for one in self.facts.payments
            if one.payer_type is payer and one.received_at <= self.known_at and one.received_date <= by
        }

    def receipts(self, payer: PayerType) -> dict[dt.date, set[int]]:
        found: dict[dt.date, set[int]] = {}
        for one in self.facts.payments:
            if one.payer_type is payer and one.received_at <= self.known_at:
                found.setdefault(one.received_date, set()).add(one.period)
        return dict(sorted(found.items()))

    def state_month(self, index: int) -> bool:
        # remembered only because it is slow
        if index not in self._state_months:
            self._state_months[index] = self._state_month(index)
        return self._state_months[index]

    def _state_month(self, index: int) -> bool:
        if not self.records and not self.facts.military:
            return False
        day = dt.date(index // 12, index % 12 + 1, 1)
        while month(day) == index:
            if self.paid_for(day) or self.military(day):
                return True
            day += dt.timedelta(days=1)
        return False

    def full(self, received: dt.date, periods: set[int], paid: set[int]) -> bool:
        index = month(received)
        if not any(period >= index - 12 for period in periods):
            return False
        return all(one in paid or self.state_month(one) for one in range(index - 12, index))

    def kept(self, covered: int, paid: set[int]) -> int:
        sixty = all(one in paid for one in range(covered - 59, covered + 1))
        return covered + (6 if sixty and not self.paid_for(month_end(covered)) else 3)

    def payer(self, day: dt.date) -> list[Held]:
        systems = frozenset({"mem_corp", "fund_is"})
        held = []
        state: tuple[int, int] | None = None
        paid: set[int] = set()
        for received, periods in self.receipts(PayerType.GENERAL).items():
            if month(received) > month(day):
                break
            paid |= periods
            if self.full(received, periods, paid):
                covered = month(received) - 1
                while covered + 1 in paid:
                    covered += 1
                if month(received) <= month(day) <= max(month(received), covered):
                    held.append(Held("payer", None, "payer", month_end(self.kept(covered, paid)), systems, (3, 0, 0)))
                if received <= day:
                    state = covered, self.kept(covered, paid)
            elif received <= day and state is not None and month(received) <= state[1]:
                covered, end = state
                while covered + 1 in paid:
                    covered += 1
                if covered > state[0]:
                    state = covered, max(end, self.kept(covered, paid))
        if state is not None and month(day) <= state[1]:
            held.append(Held("retention_payer", None, "payer", month_end(state[1]), systems, (7, 0, 0)))
        return held

    def payer_14_2_9(self, day: dt.date) -> list[Held]:
        systems = frozenset({"mem_corp", "fund_is"})
        held = []
        for received, periods in self.receipts(PayerType.ART14_2_9).items():
            if received > day:
                break
            paid = self.months_paid(received, PayerType.ART14_2_9)
            covered = max(periods)
            while covered + 1 in paid:
                covered += 1
            covered = max(covered, month(received))
            if month(day) <= covered:
                held.append(Held("payer_14_2_9", None, "payer", month_end(covered + 3), systems, (4, 0, 0)))
            elif month(day) <= covered + 3:
                held.append(Held("retention_payer", None, "payer", month_end(covered + 3), systems, (7, 0, 0)))
        return held

    # ------------------------------------------------------------ line 6

    def entries(self, day: dt.date) -> list[Held]:
        held = []
        for entry in self.facts.provisional:
            if entry.received_at > self.known_at or not entry.applied <= day <= months_later(entry.applied, 1):
                continue
            category = self.law.category(entry.category)
            documents = category.documents
            if documents is None:
                continue
            if any(self.data(record, entry.applied, entry.category) for record in self.records):
                continue
            if entry.documents is not None and any(not group & entry.documents for group in documents.groups):
                continue
            place = {"republican": (0, "republican"), "local": (1, "local")}.get(category.list.value, (2, "exempt"))
            systems = frozenset(system for chain in category.chains for system in chain)
            rank = (5, place[0], category.priority or 0)
            end = months_later(entry.applied, 1)
            held.append(Held("provisional", entry.category, place[1], end, systems, rank))
        return held

    def data(self, record: CategoryRecord, applied: dt.date, wanted: str) -> bool:
        if wanted == "registered_unemployed":
            concerns = record.category == wanted
        else:
            concerns = self.law.category(record.category).list.value == "republican"
        if not concerns or record.received_at > applied or record.assigned_date > applied:
            return False
        removal = record.removal
        gone = removal is not None and removal.received_at <= applied and removal.date <= applied
        return not gone

    # ------------------------------------------------------------ line 9

    def holds(self, day: dt.date, before: dt.date | None = None) -> list[Held]:
        """Holds that run on `day`; `before`: of failures that began before that day."""
        held = []
        for failure in self.failures:
            fixed = failure.fixed
            if fixed is not None and failure.fix_received_at > self.known_at:  # type: ignore[operator]
                fixed = None
            if day < failure.start or (fixed is not None and day >= fixed):
                continue
            if (before is not None and failure.start >= before) or self.dead(failure.start):
                continue
            stood = self.gated(failure.start) + self.holds(failure.start, before=failure.start)
            if any(one.category == "maternity_childcare_leave" and one.basis in ORDER[:2] for one in stood):
                stood = [
                    one
                    for one in stood
                    if not (one.category == "child_under3_carer_unemployed" and one.basis in ORDER[:2])
                ]
            listed = (
                {"shzhk_is", "migration_is", "mem_corp", "fund_is"}
                if self.judged_as(failure.start).temporary
                else set()
            )
            matching = [one for one in stood if failure.system in one.systems or failure.system in listed]
            best = highest(matching)
            if best is not None:
                end = FOREVER if fixed is None else fixed - dt.timedelta(days=1)
                held.append(Held("failure_hold", best.category, best.budget, end, best.systems, best.rank))
        return held


def highest(held: Iterable[Held]) -> Held | None:
    """R-80, R-18, R-25."""
    found = list(held)
    for basis in ORDER:
        group = [one for one in found if one.basis == basis]
        if not group:
            continue
        if basis in ORDER[:2]:
            slugs = {one.category for one in group}
            if "maternity_childcare_leave" in slugs:
                group = [one for one in group if one.category != "child_under3_carer_unemployed"]
            return min(group, key=lambda one: one.rank)
        return min(group, key=lambda one: (-one.own_end.toordinal(), one.rank))
    return None
