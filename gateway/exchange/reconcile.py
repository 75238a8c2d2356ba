"""Rows that nobody works on any more, because a process died or an answer did not come: found, and made due again.

What became of such a message is unknown, and it is never simply sent again: whoever takes the row reads a reply that
was stored and not judged, or asks by id, or repeats the same bytes where that has no second effect; what none of this
settles waits for the operator.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import Engine

from gateway.database import writing
from gateway.exchange import outbox
from gateway.exchange.outbox import Exchange, State

#: rows looked at in one transaction
_AT_ONCE: Final = 100
_LOG: Final = structlog.get_logger()

#: codes of rows that are found here
LEASE_ENDED: Final = "lease_ended"
ANSWER_OVERDUE: Final = "answer_overdue"


def recover(engine: Engine, now: dt.datetime, *, can_ask: Callable[[Exchange], bool]) -> int:
    """Free the rows whose lease, or whose time for an answer, is over at `now`; how many they were.

    A reply may lie in the journal, so a row whose lease ended is due at once. An acknowledged one is due when the
    gateway `can_ask` be asked about it, and otherwise waits for its answer or for a person. Raises StoreError.
    """
    with writing(engine) as connection:
        rows = outbox.find_expired(connection, now, _AT_ONCE)
        for row in rows:
            if row.state is State.ASKED:
                outbox.doubt(connection, row.message_id, due_at=now, code=LEASE_ENDED, lease=row.lease)
            else:
                due_at = now if can_ask(row) else None
                outbox.doubt(connection, row.message_id, due_at=due_at, code=ANSWER_OVERDUE, lease=None)
    for row in rows:
        _LOG.warning("exchange", action="recovered", message_id=row.message_id, system=row.system, found=str(row.state))
    return len(rows)
