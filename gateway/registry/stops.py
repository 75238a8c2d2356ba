"""Stops of the state's contributions (004 p.9 part 2) as the Fund declares and closes them. R-08.

The transaction belongs to the caller. A stop is of one budget and of everybody for whom that budget pays: article 26(1)
of the Law is the republican one, 26-1(1) the local one, and no fact says which district's budget pays for whom. It is
named by its budget and its first day; it is a fact with both times, closing it is a later version of the same fact, and
nothing is changed or taken away. Nothing here is derived from a feed that did not come (docs/decisions/0046, 0067).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from gateway.errors import ConfigurationError
from gateway.registry.tables import CATEGORY_RECORD, FACT, MAX_TEXT_CHARACTERS, STATE_STOP
from gateway.registry.touched import touch_selected
from gateway.regulation.law import CategoryList, Law

#: article 26(1) and article 26-1(1) of the Law
BUDGETS: Final = (CategoryList.REPUBLICAN, CategoryList.LOCAL)
_MAX_EVIDENCE_CHARACTERS: Final = 256


@dataclass(frozen=True, slots=True)
class DeclaredStop:
    """A declared stop: who said so and why, and the same of its end."""

    budget: CategoryList
    start: dt.date
    """The day of cessation."""
    declared_at: dt.datetime
    declared_by: str
    reason: str
    evidence: str
    resumed: dt.date | None = None
    """First day paid again; the first day itself: there was no stop."""
    closed_at: dt.datetime | None = None
    closed_by: str = ""
    closed_because: str = ""
    closed_evidence: str = ""

    @property
    def name(self) -> str:
        """What it is called on a command line: `republican@2026-03-01`."""
        return f"{self.budget}@{self.start.isoformat()}"

    def runs_on(self, day: dt.date) -> bool:
        return self.start <= day and (self.resumed is None or day < self.resumed)


def declare_stop(
    connection: Connection,
    budget: str,
    start: dt.date,
    *,
    reason: str,
    by: str,
    at: dt.datetime,
    law: Law,
    evidence: str | None = None,
) -> DeclaredStop:
    """Declare that nothing was paid from `budget` since `start`. Touches everybody for whom it pays.

    `evidence`: the id of the message or document that says so; without one the declaration is its own. Raises
    ConfigurationError when there is no such budget, the day is still to come, or a stop of it runs on that day already.
    """
    _said(reason, by, evidence)
    if budget not in BUDGETS:
        raise ConfigurationError(f"there is no such budget; there are: {', '.join(BUDGETS)}", key=budget)
    if start > law.local_day(at):
        raise ConfigurationError("a stop is declared when it is there, not before", key="--from")
    for stop in declared_stops(connection):
        # one of the same day that was closed has its name already
        if stop.budget == budget and (stop.start == start or stop.runs_on(start)):
            raise ConfigurationError(f"{stop.name} is declared already; see `gateway registry stop list`", key="--from")
    made = DeclaredStop(CategoryList(budget), start, at, by, reason, "")
    made = replace(made, evidence=evidence or f"stop {made.name}")
    _write(connection, made, version=1, resumed=None, reason=reason, by=by, at=at, evidence=made.evidence)
    _touch(connection, made.budget, at, law)
    return made


def close_stop(
    connection: Connection,
    name: str,
    resumed: dt.date,
    *,
    reason: str,
    by: str,
    at: dt.datetime,
    law: Law,
    evidence: str | None = None,
) -> DeclaredStop:
    """Say that the state pays again: `resumed` is the first day paid for. Touches as declaring does.

    `resumed` may be the first day of the stop, which then never was: that is how a mistaken one is withdrawn. Raises
    ConfigurationError when no open stop has this name, or the day cannot be.
    """
    _said(reason, by, evidence)
    found = next((one for one in declared_stops(connection) if one.name == name), None)
    if found is None or found.resumed is not None:
        raise ConfigurationError("no open stop has this id; see `gateway registry stop list`", key=name)
    if not found.start <= resumed <= law.local_day(at):
        raise ConfigurationError("the day lies before the stop or has not come yet", key="--resumed")
    said = evidence or f"end of stop {name}"
    _write(connection, found, version=2, resumed=resumed, reason=reason, by=by, at=at, evidence=said)
    _touch(connection, found.budget, at, law)
    return next(one for one in declared_stops(connection) if one.name == name)


def declared_stops(connection: Connection) -> tuple[DeclaredStop, ...]:
    """Every declared stop, the first one first."""
    query = select(STATE_STOP).order_by(STATE_STOP.c.start, STATE_STOP.c.budget, STATE_STOP.c.version)
    found: dict[tuple[str, dt.date], DeclaredStop] = {}
    for row in connection.execute(query):
        key = (row.budget, row.start)
        by, reason = row.declared_by or "", row.reason or ""
        if key not in found:
            found[key] = DeclaredStop(
                CategoryList(row.budget), row.start, row.received_at, by, reason, row.evidence, row.resumed
            )
        else:
            found[key] = replace(
                found[key],
                resumed=row.resumed,
                closed_at=row.received_at,
                closed_by=by,
                closed_because=reason,
                closed_evidence=row.evidence,
            )
    return tuple(found.values())


def _said(reason: str, by: str, evidence: str | None) -> None:
    if not reason.strip() or len(reason) > MAX_TEXT_CHARACTERS:
        raise ConfigurationError(f"say why, in at most {MAX_TEXT_CHARACTERS} characters", key="--reason")
    if not by.strip():
        raise ConfigurationError("say who decided it", key="--by")
    if evidence is not None and not 0 < len(evidence.strip()) <= _MAX_EVIDENCE_CHARACTERS:
        raise ConfigurationError(f"name it in at most {_MAX_EVIDENCE_CHARACTERS} characters", key="--evidence")


def _write(connection: Connection, stop: DeclaredStop, *, version: int, at: dt.datetime, by: str, **said: Any) -> None:
    row = {"budget": stop.budget.value, "start": stop.start, "version": version, "received_at": at, **said}
    connection.execute(insert(STATE_STOP), {**row, "declared_by": by[:256]})


def _touch(connection: Connection, budget: CategoryList, at: dt.datetime, law: Law) -> None:
    """Everybody who ever had a category of this budget: months of it also count among a payer's twelve (R-09)."""
    categories = [slug for slug, category in law.categories.items() if category.list is budget]
    records = select(CATEGORY_RECORD.c.iin).where(CATEGORY_RECORD.c.category.in_(categories))
    touch_selected(connection, records.distinct(), at)
    if budget is CategoryList.REPUBLICAN:
        # the registers' answers assign categories of this budget until the lists arrive
        touch_selected(connection, select(FACT.c.iin).distinct(), at)
