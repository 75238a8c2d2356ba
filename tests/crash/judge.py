"""What became of every message of a case, from the database and from what the other side saw. Pure but for `observe`.

Nothing here believes the program: what arrived at the sandbox is compared byte for byte with the journal, what the
sandbox was told is safe must be there, and every row has to stand in a state that an operator can read.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, select

from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.journal.walking import one_moment
from gateway.exchange.tables import DUE, EXCHANGE, INBOX, JOURNAL
from gateway.registry.tables import FACT

Row = Mapping[str, Any]

#: states that nobody and nothing goes on with by itself
_ENDED: Final = frozenset({"answered", "refused", "settled", "dropped"})
#: inbox codes that belong to messages which were rightly applied to nothing
_NOT_APPLIED: Final = frozenset({"not_awaited", "notification", "update", "dropped"})


class Wrong(StrEnum):
    """What must never be found."""

    LOST = "lost"
    APPLIED_TWICE = "applied twice"
    OTHER_BYTES = "different bytes"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Wanted:
    """What a case set going: each of these must be found again in the end."""

    #: (IIN, system) that a register was to be asked about
    wishes: Sequence[tuple[str, str]] = field(default=(), repr=False)
    #: ids of synchronous requests of a client of ours
    requests: Sequence[str] = ()
    #: correlation ids of REQUESTs of others to a service of ours
    asked_of_us: Sequence[str] = ()
    #: the sandbox was told to lose a message for good: an acknowledged question may wait for it
    answers_may_be_missing: bool = False


@dataclass(frozen=True)
class Observed:
    """Everything that there is to see after a case."""

    exchange: Sequence[Row]
    inbox: Sequence[Row]
    due: Sequence[Row]
    journal: Sequence[Row]
    fact: Sequence[Row] = field(repr=False)
    #: where the chain breaks; "" when it holds
    broken: str
    #: what came to the sandbox: gateway.sandbox.received.Received.as_dict
    received: Sequence[Row] = ()
    #: what the sandbox had for us: gateway.sandbox.mailbox.Parcel.as_dict
    deliveries: Sequence[Row] = ()
    #: what our client was answered, by its message id
    answers: Mapping[str, Sequence[bytes]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Judgement:
    """How a case ended. `waits` : something waits for the operator, or for an answer that was lost on order."""

    waits: bool
    found: Sequence[tuple[Wrong, str]] = ()

    @property
    def is_clean(self) -> bool:
        return not self.found


def observe(
    engine: Engine,
    *,
    received: Sequence[Row] = (),
    deliveries: Sequence[Row] = (),
    answers: Mapping[str, Sequence[bytes]] | None = None,
) -> Observed:
    """Read everything. Raises StoreError."""
    # of one moment: a question that is made between two reads would look like none at all
    with one_moment(engine) as connection:
        rows = {table.name: _rows(connection, table) for table in (EXCHANGE, INBOX, DUE, JOURNAL, FACT)}
    broken = verify_journal(engine).broken
    return Observed(
        **rows,
        broken="" if broken is None else f"row {broken.id}: {broken.what}: {broken.message}",
        received=received,
        deliveries=deliveries,
        answers=answers or {},
    )


def _rows(connection: Connection, table: Table) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def goes_on(seen: Observed, wanted: Wanted, now: dt.datetime) -> str:
    """What the program still has to do by itself; "" when that is nothing."""
    for row in seen.exchange:
        if row["state"] in ("waiting", "asked") or (row["state"] == "unknown" and row["due_at"] is not None):
            return f"exchange {row['message_id']} is {row['state']}"
        if row["state"] == "acknowledged" and not wanted.answers_may_be_missing:
            return f"exchange {row['message_id']} waits for its answer"
    for row in seen.inbox:
        if row["state"] in ("received", "working"):
            return f"inbox row {row['message_id']} is {row['state']} ({row['code']})"
    for row in seen.due:
        if row["message_id"] is None and (row["leased_until"] is not None or row["due_at"] <= now):
            return "a wish is due"
    asked = {(row["subject"], row["system"]) for row in seen.exchange}
    if any(
        (row["iin"], row["system"]) in wanted.wishes and (row["iin"], row["system"]) not in asked for row in seen.due
    ):
        return "a wish was not asked yet"  # put off, because no question could be made of it
    for row in seen.deliveries:
        if row["state"] == "ON_DELIVERY":
            return f"the sandbox still has {row['message_id']} for us"
    for request in wanted.requests:
        if not seen.answers.get(request):
            return f"the client has no answer to {request}"
    return ""


def judge(seen: Observed, wanted: Wanted) -> Judgement:
    """Every violation, in words, with the ids that lead to it."""
    found = [
        *((Wrong.LOST, text) for text in _lost(seen, wanted)),
        *((Wrong.APPLIED_TWICE, text) for text in _applied_twice(seen, wanted)),
        *((Wrong.OTHER_BYTES, text) for text in _other_bytes(seen)),
        *((Wrong.UNREADABLE, text) for text in _unreadable(seen, wanted)),
    ]
    waits = any(row["state"] not in _ENDED for row in seen.exchange)
    waits = waits or any(row["state"] == "quarantined" for row in seen.inbox)
    return Judgement(waits, tuple(found))


# ---------------------------------------------------------------- lost


def _lost(seen: Observed, wanted: Wanted) -> Iterator[str]:
    due = {(row["iin"], row["system"]): row for row in seen.due}
    for iin, system in wanted.wishes:
        # not shown: an IIN
        if (iin, system) not in due:
            yield f"a wish to ask {system} is gone"
        elif not any((row["subject"], row["system"]) == (iin, system) for row in seen.exchange):
            yield f"no question came of a wish to ask {system}"
    # a whole answer is applied, or none: what was answered with a record must have given facts
    told = {row["message_id"] for row in seen.fact}
    for row in seen.exchange:
        if row["state"] == "answered" and row["outcome"] == "found" and row["message_id"] not in told:
            yield f"exchange {row['message_id']} is answered and no fact came of it"
    posted = {row["body_sha256"] for row in seen.journal if row["direction"] == "out"}
    for message in seen.received:
        if message["message_sha256"] not in posted:
            yield f"the sandbox had a {message['operation']} that the journal does not know"
    inbox = {row["message_id"] for row in seen.inbox}
    for parcel in seen.deliveries:
        if parcel["state"] == "DELIVERED" and parcel["message_id"] not in inbox:
            yield f"message {parcel['message_id']} was acknowledged and is in no inbox"
    for request, answers in seen.answers.items():
        if answers and request not in inbox:
            yield f"request {request} was answered and is in no inbox"
    by_chain = Counter(row["correlation_id"] for row in seen.exchange if row["message_type"] == "RESPONSE")
    waiting = {row["correlation_id"] for row in seen.inbox if row["state"] == "quarantined"}
    for chain in wanted.asked_of_us:
        if not by_chain[chain] and chain not in waiting:
            yield f"nothing came of the REQUEST with the correlation id {chain}"
    journalled = {row["id"] for row in seen.journal}
    for row in (*seen.exchange, *seen.inbox):
        if row["request_journal_id"] not in journalled:
            yield f"the bytes of {row['message_id']} are not in the journal"


# ---------------------------------------------------------------- applied twice


def _applied_twice(seen: Observed, wanted: Wanted) -> Iterator[str]:
    for row in seen.fact:
        if row["version"] > 1:
            yield f"a fact of {row['system']} has version {row['version']} after one answer ({row['message_id']})"
    asked = Counter((row["subject"], row["system"]) for row in seen.exchange if row["state"] == "answered")
    for iin, system in wanted.wishes:
        if asked[iin, system] > 1:
            yield f"one wish to ask {system} was asked and answered {asked[iin, system]} times"
    accepted = Counter(
        row["message_id"]
        for row in seen.journal
        if row["kind"] == "verdict" and row["verdict"] == "accepted" and row["channel"] == "sync"
    )
    for message_id, times in accepted.items():
        if times > 1:
            yield f"{times} replies to {message_id} were accepted"
    open_to = {row["correlation_id"] for row in seen.exchange if row["message_type"] == "REQUEST"}
    applied = Counter(
        row["correlation_id"]
        for row in seen.inbox
        if row["state"] == "done" and row["code"] not in _NOT_APPLIED and row["correlation_id"] in open_to
    )
    for chain, times in applied.items():
        if times > 1:
            yield f"{times} messages were applied to the chain {chain}"
    responses = Counter(row["correlation_id"] for row in seen.exchange if row["message_type"] == "RESPONSE")
    arrived = Counter(
        row["correlation_id"]
        for row in seen.received
        if row["message_type"] == "RESPONSE" and row["end"] == "acknowledged"
    )
    for chain in wanted.asked_of_us:
        if max(responses[chain], arrived[chain]) > 1:
            yield f"the REQUEST with the correlation id {chain} has {responses[chain]} answers, {arrived[chain]} sent"
    entered = Counter((row["sender"], row["service_id"], row["message_id"]) for row in seen.inbox)
    for (_, _, message_id), times in entered.items():
        if times > 1:
            yield f"message {message_id} stands {times} times in the inbox"


# ---------------------------------------------------------------- different bytes


def _other_bytes(seen: Observed) -> Iterator[str]:
    by_id: dict[tuple[str, str, str], set[str]] = {}
    for message in seen.received:
        if message["message_id"] and str(message["operation"]).lower() == "sendmessage":
            key = (message["channel"], message["sender_id"], message["message_id"])
            by_id.setdefault(key, set()).add(message["message_sha256"])
    for (_, _, message_id), digests in by_id.items():
        if len(digests) > 1:
            yield f"{message_id} arrived with {len(digests)} different contents"
    for request, answers in seen.answers.items():
        if len(set(answers)) > 1:
            yield f"request {request} was answered in {len(set(answers))} different ways"
    # what was journalled as asked under one id, whether or not it arrived
    asked: dict[str, set[str]] = {}
    ours = {row["message_id"] for row in seen.exchange}
    for row in seen.journal:
        if row["direction"] == "out" and row["kind"] == "request" and row["message_id"] in ours:
            asked.setdefault(row["message_id"], set()).add(row["body_sha256"])
    for message_id, digests in asked.items():
        if len(digests) > 1:
            yield f"{message_id} is journalled with {len(digests)} different contents"


# ---------------------------------------------------------------- unreadable


def _unreadable(seen: Observed, wanted: Wanted) -> Iterator[str]:
    if seen.broken:
        yield f"the journal's chain is broken: {seen.broken}"
    # at the end of time nothing may be on its way
    still = goes_on(seen, wanted, dt.datetime.min.replace(tzinfo=dt.UTC))
    if still:
        yield f"it never came to an end: {still}"
    open_questions = {row["message_id"] for row in seen.exchange if row["state"] not in _ENDED}
    for row in seen.due:
        if row["message_id"] is not None and row["message_id"] not in open_questions:
            yield f"a wish to ask {row['system']} waits for {row['message_id']}, which is over"
    for row in seen.exchange:
        if row["state"] in ("unknown", "quarantined", "refused") and not row["code"]:
            yield f"exchange {row['message_id']} is {row['state']} and does not say why"
    for row in seen.inbox:
        if row["state"] == "quarantined" and not row["code"]:
            yield f"inbox row {row['message_id']} is quarantined and does not say why"
