"""What came to us, each message once: the same again is a duplicate, another text under the same id an incident.

A sender, a service and a message id name one message. Its row is kept at least as long as a message of that age is
taken (`ReplayWindow`), so nothing can come back after its row is gone. Only what was accepted has a row: a request
that got a fault changed nothing, and may be sent again under its id.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Literal

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError

from gateway.database import as_records
from gateway.errors import RequestRefused
from gateway.exchange.tables import INBOX
from gateway.prepared import Call, Prepared, text_array
from gateway.shep.faults import FaultCode

#: how a message reached us: asked synchronously, pushed to us, fetched by us
InboxFlow = Literal["sync", "push", "poll"]

#: the value of the Body's own Id, which every signer makes anew; in canonical XML no value holds a bare "
_OWN_ID: Final = re.compile(rb' (?:[^\s=">:]+:)?Id="[^"]*"')


class InboxState(StrEnum):
    #: safe in the database, not worked on yet
    RECEIVED = "received"
    #: leased
    WORKING = "working"
    #: worked on; a synchronous request is done at once
    DONE = "done"
    #: its attempts are used up: waits for the operator
    QUARANTINED = "quarantined"


class Arrival(StrEnum):
    """What a message is to the inbox."""

    FIRST = "first"
    #: the same message again
    DUPLICATE = "duplicate"
    #: the same id, and it says something else
    CLASH = "clash"


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """How old, and how far ahead of our clock, the date of a message may be."""

    max_age: dt.timedelta
    #: 65 minutes let through a clock of Kazakhstan that was not moved on 2024-03-01
    max_skew: dt.timedelta

    def check(self, message_date: dt.datetime, *, at: dt.datetime) -> None:
        """Raises ReplayRefused (`too_old`, `from_the_future`)."""
        if message_date < at - self.max_age - self.max_skew:
            raise ReplayRefused("too_old", f"messageDate is older than {_in_hours(self.max_age)}; send a new message")
        if message_date > at + self.max_skew:
            raise ReplayRefused("from_the_future", "messageDate lies in the future; set the clock of the sender")


class ReplayRefused(RequestRefused):
    """A message whose date, or whose id, says that it must not be acted upon. `verdict` names it for the journal."""

    def __init__(self, verdict: str, message: str) -> None:
        super().__init__(message, code=FaultCode.MESSAGE_FORMAT)
        self.verdict = verdict


def clash() -> ReplayRefused:
    """The incident: the id was used before for a message that said something else."""
    return ReplayRefused("id_reused", "messageId was used before for another message; give every message its own")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One accepted message, to be registered."""

    sender: str
    service_id: str
    message_id: str
    #: `body_digest` of what was signed
    body_sha256: str
    received_at: dt.datetime
    flow: InboxFlow
    request_journal_id: int
    reply_journal_id: int | None = None
    state: InboxState = InboxState.DONE
    #: when it is to be worked on; None for what is done
    due_at: dt.datetime | None = None
    correlation_id: str = ""
    #: the gateway's own id, where it is not `message_id`
    wire_message_id: str = ""
    #: the sender is known to use an id again for another message: then the same text makes the duplicate
    by_body: bool = False

    @property
    def key(self) -> str:
        """The key of its row."""
        return inbox_key(
            self.sender, self.service_id, self.message_id, body_sha256=self.body_sha256 if self.by_body else ""
        )


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One row as it stands."""

    key: str
    sender: str
    service_id: str
    message_id: str
    body_sha256: str
    received_at: dt.datetime
    flow: str
    request_journal_id: int
    reply_journal_id: int | None
    state: InboxState
    attempts: int
    due_at: dt.datetime | None
    leased_until: dt.datetime | None
    lease_holder: str
    correlation_id: str
    wire_message_id: str
    code: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of one arrival."""

    arrival: Arrival
    _key: str
    #: a row as it was found, or what a new one was made of
    _of: InboxRow | Arrived = field(repr=False)

    @property
    def row(self) -> InboxRow:
        """Its own for FIRST, otherwise the earlier message's."""
        # made for who asks: nearly nobody does
        return _new_row(self._key, self._of) if isinstance(self._of, Arrived) else self._of


@lru_cache(maxsize=1_000)
def inbox_key(sender: str, service_id: str, message_id: str, *, body_sha256: str = "") -> str:
    """The key of a message: fixed in size whatever a sender writes into its ids. Pure."""
    parts = [part.encode() for part in (sender, service_id, message_id, body_sha256)]
    return hashlib.sha256(b"".join([len(part).to_bytes(8, "big") + part for part in parts])).hexdigest()


def body_digest(canonical: bytes) -> str:
    """SHA-256 of a canonical Body (`VerifiedMessage.canonical`) without its own Id: the same message signed once more
    has another Id and is the same message. Pure."""
    # in canonical XML only markup begins with "<", so the second one ends the Body's own tag
    end = canonical.index(b"<", 1)
    own_tag = _OWN_ID.sub(b"", canonical[:end])
    digest = hashlib.sha256(own_tag)
    digest.update(canonical[end:])
    return digest.hexdigest()


def judge(row: InboxRow | Arrived, body_sha256: str) -> Arrival:
    """What a message is whose key already has a row. Pure."""
    return Arrival.DUPLICATE if row.body_sha256 == body_sha256 else Arrival.CLASH


def find_many(connection: Connection, keys: Sequence[str]) -> Mapping[str, InboxRow]:
    """The rows that are there, by key."""
    if not keys:
        return {}
    if connection.dialect.name == "postgresql":
        # the served hot path: nearly always nothing is found, and the statement is all that costs
        rows: Iterable[Sequence[Any]] = _FIND.run(connection, text_array(keys))
    else:
        rows = connection.execute(select(INBOX).where(INBOX.c.key.in_(keys)))
    found = (_row(dict(zip(_COLUMNS, row, strict=True))) for row in rows)
    return {row.key: row for row in found}


def register_many(connection: Connection, arrivals: Sequence[Arrived]) -> tuple[Registered, ...]:
    """Write a row for every message that has none; tell for each what it is, in the order given.

    Call it after the journal's append, whose numbers the rows carry. Whoever comes second with a key waits here for
    the transaction of the first one. In one call the first arrival with a key is the FIRST.
    """
    values: dict[str, Arrived] = {}
    keys = [arrived.key for arrived in arrivals]
    for key, arrived in zip(keys, arrivals, strict=True):
        values.setdefault(key, arrived)
    if not values:
        return ()
    # one order for all, so that two groups never wait for each other crosswise
    rows = [_values(key, values[key]) for key in sorted(values)]
    if connection.dialect.name == "postgresql":
        # one parameter and one plan, however many rows
        found: Iterable[Sequence[Any]] = _REGISTER.run(connection, as_records(rows))
    else:
        found = connection.execute(insert(INBOX).on_conflict_do_nothing().returning(INBOX.c.key), rows)
    written = {key for (key,) in found}
    earlier = find_many(connection, sorted(values.keys() - written))
    registered = []
    for key, arrived in zip(keys, arrivals, strict=True):
        if key in written:
            written.remove(key)
            registered.append(Registered(Arrival.FIRST, key, arrived))
            continue
        row = earlier[key] if key in earlier else values[key]
        registered.append(Registered(judge(row, arrived.body_sha256), key, row))
    return tuple(registered)


def registering(arrivals: Sequence[Arrived]) -> Call:
    """For PostgreSQL: the call that writes a row for each message, none of which may have one: see `is_taken`."""
    rows = [_values(arrived.key, arrived) for arrived in arrivals]
    # the same order as above
    return _REGISTER_NEW, (as_records(sorted(rows, key=itemgetter("key"))),)


def is_taken(error: IntegrityError) -> bool:
    """Whether `registering` failed because a message has a row already."""
    return isinstance(error.orig, UniqueViolation) and error.orig.diag.table_name == INBOX.name


def forget(connection: Connection, *, before: dt.datetime, limit: int) -> int:
    """Remove up to `limit` rows that are done and came before a moment; how many went.

    `before` must lie further back than the replay window reaches.
    """
    old = (
        select(INBOX.c.key)
        .where(INBOX.c.received_at < before, INBOX.c.state == InboxState.DONE)
        .order_by(INBOX.c.received_at)
        .limit(limit)
        # whoever removes them at the same time is left alone
        .with_for_update(skip_locked=True)
    )
    return connection.execute(delete(INBOX).where(INBOX.c.key.in_(old))).rowcount


_COLUMNS: Final = tuple(column.name for column in INBOX.columns)
_NAMES: Final = ", ".join(_COLUMNS)
#: each key is looked up in the index: a plan made while the table was small would read all of it, as long as it is kept
_FIND: Final = Prepared(
    "inbox_find",
    f"SELECT {_NAMES} FROM unnest($1::text[]) AS asked (wanted) "  # noqa: S608 - made of column names
    "CROSS JOIN LATERAL (SELECT * FROM inbox WHERE inbox.key = asked.wanted OFFSET 0) AS found",
)
_REGISTER: Final = Prepared(
    "inbox_register",
    f"INSERT INTO inbox ({_NAMES}) "  # noqa: S608 - made of column names
    f"SELECT {_NAMES} FROM jsonb_populate_recordset(NULL::inbox, $1::jsonb) ON CONFLICT DO NOTHING RETURNING key",
)
_REGISTER_NEW: Final = Prepared(
    "inbox_register_new",
    f"INSERT INTO inbox ({_NAMES}) "  # noqa: S608 - made of column names
    f"SELECT {_NAMES} FROM jsonb_populate_recordset(NULL::inbox, $1::jsonb)",
)


def _in_hours(span: dt.timedelta) -> str:
    return f"{span / dt.timedelta(hours=1):g} h"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _values(key: str, arrived: Arrived) -> dict[str, Any]:
    return {
        "key": key,
        # for people: what is too long for its column is told apart by the key
        "sender": _cut(arrived.sender, 256),
        "service_id": _cut(arrived.service_id, 256),
        "message_id": _cut(arrived.message_id, 256),
        "body_sha256": arrived.body_sha256,
        "received_at": arrived.received_at,
        "flow": arrived.flow,
        "request_journal_id": arrived.request_journal_id,
        "reply_journal_id": arrived.reply_journal_id,
        "state": arrived.state,
        "attempts": 0,
        "due_at": arrived.due_at,
        "leased_until": None,
        "lease_holder": "",
        "correlation_id": _cut(arrived.correlation_id, 256),
        "wire_message_id": _cut(arrived.wire_message_id, 256),
        "code": "",
    }


def _new_row(key: str, arrived: Arrived) -> InboxRow:
    return InboxRow(**_values(key, arrived))


def _row(row: Mapping[str, Any]) -> InboxRow:
    return InboxRow(**{**row, "state": InboxState(row["state"])})
