"""Inbox rows that are to be worked on: leased, finished, put off, set aside. What the work is stands elsewhere.

A lease ends by itself, so a row whose worker died is somebody else's afterwards. Its token is holder and attempt:
a worker whose lease was taken over cannot finish anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy import Connection, select, update

from gateway.errors import StoreError
from gateway.exchange.inbox import InboxRow, InboxState, find_many
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.exchange.tables import INBOX

#: a row that failed so often waits for the operator; about a day and a half after it came
MAX_ATTEMPTS: Final = 10
_FIRST_DELAY_S: Final = 5.0
_FACTOR: Final = 4
_LONGEST_DELAY_S: Final = 21_600.0


def lease(
    connection: Connection, *, now: dt.datetime, limit: int, length: dt.timedelta, holder: str
) -> tuple[InboxRow, ...]:
    """Take up to `limit` rows that are due, for `length`; those whose lease ended are due too. Oldest first."""
    due = (
        select(INBOX.c.key)
        .where(INBOX.c.due_at <= now, INBOX.c.state.in_((InboxState.RECEIVED, InboxState.WORKING)))
        .order_by(INBOX.c.due_at, INBOX.c.key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = list(connection.execute(due).scalars())
    if not keys:
        return ()
    until = now + length
    connection.execute(
        update(INBOX)
        .where(INBOX.c.key.in_(keys))
        .values(
            state=InboxState.WORKING,
            attempts=INBOX.c.attempts + 1,
            leased_until=until,
            lease_holder=holder,
            # a lease that ends makes the row due: one index finds both
            due_at=until,
        )
    )
    rows = find_many(connection, keys)
    return tuple(rows[key] for key in keys)


def is_due(connection: Connection, now: dt.datetime) -> bool:
    """Whether there is anything to lease. Only reads: an idle worker costs nobody a lock."""
    states = INBOX.c.state.in_((InboxState.RECEIVED, InboxState.WORKING))
    return connection.execute(select(INBOX.c.key).where(INBOX.c.due_at <= now, states).limit(1)).first() is not None


def finish(connection: Connection, row: InboxRow, *, code: str = "") -> None:
    """The work is done; `code` says what it came to when that was not the usual. Raises StoreError (`lease_lost`)."""
    _let_go(connection, row, InboxState.DONE, code=code, due_at=None)


def answered_by(connection: Connection, row: InboxRow, journal_id: int) -> None:
    """Name the message that answers, in the transaction that finished the row."""
    connection.execute(update(INBOX).where(INBOX.c.key == row.key).values(reply_journal_id=journal_id))


def put_off(connection: Connection, row: InboxRow, *, now: dt.datetime, code: str) -> InboxState:
    """The attempt failed: the row is due again later, or after its last attempt waits for the operator.

    Raises StoreError (`lease_lost`).
    """
    due_at = retry_at(row.attempts, now=now)
    state = InboxState.QUARANTINED if due_at is None else InboxState.RECEIVED
    _let_go(connection, row, state, code=code, due_at=due_at)
    return state


def quarantine(connection: Connection, row: InboxRow, *, code: str) -> None:
    """Trying again would change nothing: the row waits for the operator. Raises StoreError (`lease_lost`)."""
    _let_go(connection, row, InboxState.QUARANTINED, code=code, due_at=None)


def retry_at(attempts: int, *, now: dt.datetime) -> dt.datetime | None:
    """When to try again after so many attempts; None: never. Pure."""
    if attempts >= MAX_ATTEMPTS:
        return None
    delay_s = _FIRST_DELAY_S * float(_FACTOR) ** (attempts - 1)
    return now + dt.timedelta(seconds=min(delay_s, _LONGEST_DELAY_S))


def waiting(connection: Connection, *, limit: int) -> Sequence[InboxRow]:
    """What is not done, for the operator: oldest first."""
    keys = list(
        connection.execute(
            select(INBOX.c.key)
            .where(INBOX.c.state != InboxState.DONE)
            .order_by(INBOX.c.received_at, INBOX.c.key)
            .limit(limit)
        ).scalars()
    )
    rows = find_many(connection, keys)
    return [rows[key] for key in keys]


Act = Literal["retry", "drop"]


def act(
    connection: Connection,
    journal: JournalWriter,
    what: Act,
    keys: Sequence[str],
    *,
    reason: str,
    by: str,
    now: dt.datetime,
) -> tuple[str, ...]:
    """A person's word about rows in quarantine: due again with all their attempts, or done. The keys of those that were
    in quarantine; each has a note in the journal."""
    query = select(INBOX).where(INBOX.c.key.in_(keys), INBOX.c.state == InboxState.QUARANTINED).with_for_update()
    rows = list(connection.execute(query.order_by(INBOX.c.key)).mappings())
    values = (
        {"state": InboxState.RECEIVED, "attempts": 0, "due_at": now}
        if what == "retry"
        else {"state": InboxState.DONE, "code": "dropped"}
    )
    changed = tuple(row["key"] for row in rows)
    connection.execute(update(INBOX).where(INBOX.c.key.in_(changed)).values(values))
    notes = [
        JournalEntry(
            at=now,
            direction=MessageDirection.IN,
            step=13,
            kind=EntryKind.NOTE,
            channel="async",
            service_id=row["service_id"],
            message_id=row["message_id"],
            correlation_id=row["correlation_id"],
            verdict=what,
            note=f"{by}: {reason} (was {row['code'] or row['state']})",
        )
        for row in rows
    ]
    journal.append_many(connection, notes)
    return changed


def _let_go(connection: Connection, row: InboxRow, state: InboxState, *, code: str, due_at: dt.datetime | None) -> None:
    changed = connection.execute(
        update(INBOX)
        .where(
            INBOX.c.key == row.key,
            INBOX.c.state == InboxState.WORKING,
            INBOX.c.lease_holder == row.lease_holder,
            INBOX.c.attempts == row.attempts,
        )
        .values(state=state, code=code[:64], due_at=due_at, leased_until=None, lease_holder="")
    )
    if changed.rowcount != 1:
        raise StoreError(
            "the lease of an inbox row ended and another worker has it; nothing was done twice", code="lease_lost"
        )
