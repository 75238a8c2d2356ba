"""What arrived under an evidence id: which register answered, which list was taken in, who signed, when it came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, Table, select, union

from gateway.model import Iin
from gateway.registry.explanation import Explanation, Proof, ProofKind, explain
from gateway.registry.people import country_at, facts_about, heard_of
from gateway.registry.tables import (
    CATEGORY_RECORD,
    FACT,
    IMPORT,
    MILITARY_EVENT,
    PAYMENT,
    PROVISIONAL_ENTRY,
    STATE_STOP,
    TECHNICAL_FAILURE,
    TREATY_INTERVAL,
)
from gateway.regulation.law import Law

#: rows that name the list which brought them
_FROM_LISTS: Final = (CATEGORY_RECORD, PAYMENT, MILITARY_EVENT, TREATY_INTERVAL)


def explanation_of(connection: Connection, iin: Iin, *, as_of: dt.date, known_at: dt.datetime, law: Law) -> Explanation:
    """The standing of one person on a day, explained by all that was known at a moment. Raises EditionNotInForce."""
    country = country_at(connection, known_at, law)
    ((_, facts),) = facts_about(connection, [iin.value], country, law)
    explanation = explain(
        facts,
        as_of=as_of,
        known_at=law.local_day(known_at),
        law=law,
        failures=country.failures,
        known=heard_of(connection, iin, known_at),
    )
    return replace(explanation, proofs=proofs_of(connection, iin, explanation.evidence, known_at))


def proofs_of(
    connection: Connection, iin: Iin, evidence: Collection[str], known_at: dt.datetime
) -> Mapping[str, Sequence[Proof]]:
    """What had arrived by `known_at` under each of these ids about this person, the earliest first.

    Two files may have one name: both are told, with their digests, if both brought something about the person.
    """
    found: dict[str, list[Proof]] = {}
    for proof in (
        *_answers(connection, iin, evidence, known_at),
        *_lists(connection, iin, evidence, known_at),
        *_applications(connection, iin, evidence, known_at),
        *_declarations(connection, evidence, known_at),
    ):
        known = found.setdefault(proof.id, [])
        if proof not in known:
            known.append(proof)
    return {name: sorted(proofs, key=lambda one: one.received_at) for name, proofs in found.items()}


def _answers(connection: Connection, iin: Iin, evidence: Collection[str], known_at: dt.datetime) -> list[Proof]:
    query = select(FACT.c.message_id, FACT.c.system, FACT.c.received_at, FACT.c.signer_subject, FACT.c.signer_serial)
    query = query.where(FACT.c.iin == iin.value, FACT.c.message_id.in_(evidence), FACT.c.received_at <= known_at)
    return [
        Proof(row.message_id, ProofKind.ANSWER, row.system, row.received_at, row.signer_subject, row.signer_serial)
        for row in connection.execute(query.distinct())
    ]


def _lists(connection: Connection, iin: Iin, evidence: Collection[str], known_at: dt.datetime) -> list[Proof]:
    about = union(*(select(table.c.import_id).where(table.c.iin == iin.value) for table in _FROM_LISTS)).subquery()
    query = select(IMPORT.c.id, IMPORT.c.evidence, IMPORT.c.feed, IMPORT.c.received_at, IMPORT.c.digest)
    query = query.where(IMPORT.c.evidence.in_(evidence), IMPORT.c.received_at <= known_at)
    rows = connection.execute(query).all()
    named = set(connection.execute(select(about.c.import_id)).scalars())
    # a submission that only repeats what is known brings no row, and is still what the record rests on
    brought = {row.evidence for row in rows if row.id in named}
    return [
        Proof(row.evidence, ProofKind.LIST, row.feed, row.received_at, digest=row.digest)
        for row in rows
        if row.id in named or row.evidence not in brought
    ]


def _applications(connection: Connection, iin: Iin, evidence: Collection[str], known_at: dt.datetime) -> list[Proof]:
    entry = PROVISIONAL_ENTRY.c
    query = select(entry.evidence, entry.category, entry.received_at).where(
        entry.iin == iin.value, entry.evidence.in_(evidence), entry.received_at <= known_at
    )
    return [
        Proof(row.evidence, ProofKind.APPLICATION, row.category, row.received_at) for row in connection.execute(query)
    ]


def _declarations(connection: Connection, evidence: Collection[str], known_at: dt.datetime) -> list[Proof]:
    proofs: list[Proof] = []
    tables: tuple[tuple[Table, str], ...] = ((STATE_STOP, "budget"), (TECHNICAL_FAILURE, "system"))
    for table, source in tables:
        query = select(
            table.c.evidence, table.c[source].label("source"), table.c.received_at, table.c.declared_by, table.c.reason
        ).where(table.c.evidence.in_(evidence), table.c.received_at <= known_at)
        proofs += [
            Proof(
                row.evidence,
                ProofKind.DECLARATION,
                row.source,
                row.received_at,
                declared_by=row.declared_by or "",
                reason=row.reason or "",
            )
            for row in connection.execute(query)
        ]
    return proofs
