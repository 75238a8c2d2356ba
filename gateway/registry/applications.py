"""Applications for provisional entry (004 p.21, p.57): decided by the rules, and an accepted one kept as a fact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from sqlalchemy import Connection, insert

from gateway.errors import ConfigurationError
from gateway.model import Iin
from gateway.registry.people import country_at, facts_about
from gateway.registry.provisional import ProvisionalDecision, data_on, decide
from gateway.registry.residency import resident_on, residents
from gateway.registry.spans import DayLaw
from gateway.registry.state_paid import counted
from gateway.registry.tables import PROVISIONAL_ENTRY
from gateway.registry.touched import touch
from gateway.regulation.law import Law


def apply_for_entry(
    connection: Connection,
    iin: Iin,
    category: str,
    applied: dt.date,
    *,
    documents: Collection[str] | None,
    evidence: str,
    at: dt.datetime,
    law: Law,
) -> ProvisionalDecision:
    """Decide an application of the day `applied` by what is known at `at`, in the caller's transaction.

    `documents`: codes of those presented; None: whoever took it in found them complete. An application that is there
    already is decided as it was and written once. Raises ConfigurationError and EditionNotInForce.
    """
    if category not in law.categories:
        raise ConfigurationError(
            f"there is no category of this name; there are: {', '.join(law.categories)}", key="--category"
        )
    if applied > law.local_day(at):
        raise ConfigurationError("an application is decided on the day it is made, not before", key="--applied")
    known = frozenset() if documents is None else documents_of(law)
    strange = sorted(set(documents or ()) - known)
    if strange:
        raise ConfigurationError(
            f"these are no documents of p.21: {', '.join(strange)}; there are: {', '.join(sorted(known))}",
            key="--document",
        )
    day_law = DayLaw.on(law, applied)
    ((_, facts),) = facts_about(connection, [iin.value], country_at(connection, at, law), law)
    resident = resident_on(residents(facts.residencies, law.local_day(at)), applied)
    records = counted(facts.records, residency=resident.residency, known_at=law.local_day(at), law=day_law)
    others = [one for one in facts.provisional if (one.category, one.applied) != (category, applied)]
    decision = decide(
        day_law.category(category),
        applied,
        None if documents is None else frozenset(documents),
        data_on(records, applied),
        law=day_law,
        applied_before=any(one.applied <= applied for one in others),
    )
    if decision.accepted and len(others) == len(facts.provisional):
        row = {
            "iin": iin.value,
            "category": category,
            "applied": applied,
            "documents": None if documents is None else " ".join(sorted(documents)),
            "evidence": evidence,
            "received_at": at,
        }
        connection.execute(insert(PROVISIONAL_ENTRY), row)
        touch(connection, [iin.value], at)
    return decision


def documents_of(law: Law) -> frozenset[str]:
    """The codes of all documents that the Rules name for provisional entry."""
    groups = [group for one in law.categories.values() if one.documents for group in one.documents.groups]
    return frozenset().union(*groups)
