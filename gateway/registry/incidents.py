"""Failures of p.13 as somebody declares and closes them: facts about the country, with both times. R-14.

The transaction belongs to the caller. A failure is named by its system and its first day; closing it is a later
version of the same fact, and nothing is changed or taken away.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, insert, select

from gateway.errors import ConfigurationError
from gateway.registry.imports.feeds import MILITARY_BODIES
from gateway.registry.tables import (
    CATEGORY_RECORD,
    FACT,
    MAX_TEXT_CHARACTERS,
    MILITARY_EVENT,
    PAYMENT,
    PROVISIONAL_ENTRY,
    TECHNICAL_FAILURE,
    TREATY_INTERVAL,
)
from gateway.registry.touched import touch_selected
from gateway.regulation.law import CategoryList, Law

_FUND: Final = "fund_is"


@dataclass(frozen=True, slots=True)
class Incident:
    """A declared failure: who said so and why, and the same of its end."""

    system: str
    start: dt.date
    fixed: dt.date | None
    declared_at: dt.datetime
    declared_by: str
    reason: str
    evidence: str
    closed_at: dt.datetime | None = None
    closed_by: str = ""
    closed_because: str = ""

    @property
    def name(self) -> str:
        """What it is called on a command line: `mem_corp@2026-03-01`."""
        return f"{self.system}@{self.start.isoformat()}"


def systems_of(law: Law) -> frozenset[str]:
    """Every system through which data come: only these can fail in the sense of p.13."""
    systems = law.payment_systems | {_FUND}
    for category in law.categories.values():
        systems |= category.systems
    return systems


def declare_failure(
    connection: Connection,
    system: str,
    start: dt.date,
    *,
    reason: str,
    by: str,
    at: dt.datetime,
    law: Law,
    evidence: str | None = None,
) -> Incident:
    """Declare that `system` failed on `start`. Touches whose standing may rest on it.

    `evidence`: the id of the message that says so; without one the incident is its own. Raises ConfigurationError when
    there is no such system, the day is still to come, or it was declared before.
    """
    _said(reason, by)
    known = systems_of(law)
    if system not in known:
        raise ConfigurationError(f"there is no system of this name; there are: {', '.join(sorted(known))}", key=system)
    if start > law.local_day(at):
        raise ConfigurationError("a failure is declared when it is there, not before", key="--from")
    if any(one.system == system and one.start == start for one in incidents(connection)):
        raise ConfigurationError("this failure is declared already; see `gateway registry failure list`", key=system)
    made = Incident(system, start, None, at, by, reason, evidence or f"failure {system}@{start.isoformat()}")
    _write(connection, made, version=1, fixed=None, reason=reason, by=by, at=at, evidence=made.evidence)
    _touch(connection, system, at, law)
    return made


def close_failure(
    connection: Connection,
    name: str,
    fixed: dt.date,
    *,
    reason: str,
    by: str,
    at: dt.datetime,
    law: Law,
    evidence: str | None = None,
) -> Incident:
    """Say that a declared failure was put right: `fixed` is the first day without it. Touches as declaring does.

    Raises ConfigurationError when no open failure has this name, or the day cannot be.
    """
    _said(reason, by)
    found = next((one for one in incidents(connection) if one.name == name), None)
    if found is None or found.fixed is not None:
        raise ConfigurationError("no open failure has this id; see `gateway registry failure list`", key=name)
    if not found.start <= fixed <= law.local_day(at):
        raise ConfigurationError("the day lies before the failure or has not come yet", key="--fixed")
    said = evidence or f"end of failure {name}"
    _write(connection, found, version=2, fixed=fixed, reason=reason, by=by, at=at, evidence=said)
    _touch(connection, found.system, at, law)
    return next(one for one in incidents(connection) if one.name == name)


def incidents(connection: Connection) -> tuple[Incident, ...]:
    """Every declared failure, the first one first."""
    query = select(TECHNICAL_FAILURE).order_by(
        TECHNICAL_FAILURE.c.start, TECHNICAL_FAILURE.c.system, TECHNICAL_FAILURE.c.version
    )
    found: dict[tuple[str, dt.date], Incident] = {}
    for row in connection.execute(query):
        key = (row.system, row.start)
        by = row.declared_by or ""
        if key not in found:
            found[key] = Incident(row.system, row.start, row.fixed, row.received_at, by, row.reason, row.evidence)
        else:
            first = found[key]
            found[key] = Incident(
                first.system,
                first.start,
                row.fixed,
                first.declared_at,
                first.declared_by,
                first.reason,
                first.evidence,
                row.received_at,
                by,
                row.reason,
            )
    return tuple(found.values())


def _said(reason: str, by: str) -> None:
    if not reason.strip() or len(reason) > MAX_TEXT_CHARACTERS:
        raise ConfigurationError(f"say why, in at most {MAX_TEXT_CHARACTERS} characters", key="--reason")
    if not by.strip():
        raise ConfigurationError("say who decided it", key="--by")


def _write(connection: Connection, incident: Incident, *, version: int, at: dt.datetime, by: str, **said: Any) -> None:
    connection.execute(
        insert(TECHNICAL_FAILURE),
        {
            "system": incident.system,
            "start": incident.start,
            "version": version,
            "received_at": at,
            "declared_by": by[:256],
            **said,
        },
    )


# ---------------------------------------------------------------- whom it concerns


def _touch(connection: Connection, system: str, at: dt.datetime, law: Law) -> None:
    """Everybody of whom something is known that came through the system; by one reading it is everybody at all."""
    everybody = any(law.reading_on("failure_scope", edition.in_force_from) == "everyone" for edition in law.editions)
    categories = [slug for slug, category in law.categories.items() if everybody or system in category.systems]
    chosen: list[Select[Any]] = [
        _people(table, table.c.category.in_(categories)) for table in (CATEGORY_RECORD, PROVISIONAL_ENTRY)
    ]
    if any(law.category(slug).list is CategoryList.REPUBLICAN for slug in categories):
        # the registers' answers assign categories until the lists arrive
        chosen.append(_people(FACT))
    if everybody or system in law.payment_systems:
        chosen.append(_people(PAYMENT))
    if everybody or system == _FUND:
        chosen.append(_people(MILITARY_EVENT))
    elif system in MILITARY_BODIES:
        chosen.append(_people(MILITARY_EVENT, MILITARY_EVENT.c.body == system))
    if any(law.category(slug).list is CategoryList.TREATY for slug in categories):
        chosen.append(_people(TREATY_INTERVAL))
    for people in chosen:
        touch_selected(connection, people, at)


def _people(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    return select(table.c.iin).where(*conditions).distinct()
