"""The rows of what we asked: one for each message that was, or was about to be, posted."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from gateway.errors import StoreError
from gateway.exchange.tables import EXCHANGE
from gateway.model import Iin, Outcome


class State(StrEnum):
    #: stored before the post; still so after a crash, when it may or may not have arrived
    ASKED = "asked"
    #: a usable answer, whatever it says
    ANSWERED = "answered"
    #: something came back that must not be used
    REFUSED = "refused"
    #: it may have arrived, and nothing usable came back: never sent again blindly
    UNKNOWN = "unknown"
    #: surely not sent: it may be asked again
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One row."""

    message_id: str
    system: str
    service_id: str
    subject: Iin = field(repr=False)
    state: State
    outcome: Outcome
    #: why there is no usable answer; "" otherwise
    code: str
    asked_at: dt.datetime
    answered_at: dt.datetime | None
    request_journal_id: int
    reply_journal_id: int | None


def record_asked(
    connection: Connection,
    *,
    message_id: str,
    system: str,
    service_id: str,
    subject: Iin,
    asked_at: dt.datetime,
    request_journal_id: int,
) -> None:
    """The row that is committed with the request's bytes before the post. A message id used twice is an
    IntegrityError: ids are ours and random."""
    connection.execute(
        insert(EXCHANGE).values(
            message_id=message_id,
            system=system,
            service_id=service_id,
            subject=subject.value,
            state=State.ASKED,
            outcome=Outcome.UNKNOWN,
            code="",
            asked_at=asked_at,
            request_journal_id=request_journal_id,
        )
    )


def settle(
    connection: Connection,
    message_id: str,
    *,
    state: State,
    outcome: Outcome,
    at: dt.datetime,
    code: str = "",
    reply_journal_id: int | None = None,
) -> None:
    """Close an asked row. Raises StoreError (`exchange_settled`) when it is not waiting: the same answer is never
    applied twice."""
    changed = connection.execute(
        update(EXCHANGE)
        .where(EXCHANGE.c.message_id == message_id, EXCHANGE.c.state == State.ASKED)
        .values(state=state, outcome=outcome, code=code[:64], answered_at=at, reply_journal_id=reply_journal_id)
    )
    if changed.rowcount != 1:
        raise StoreError(
            f"exchange {message_id} is not waiting for an answer; see `gateway journal list`", code="exchange_settled"
        )


def get(connection: Connection, message_id: str) -> Exchange | None:
    row = connection.execute(select(EXCHANGE).where(EXCHANGE.c.message_id == message_id)).mappings().first()
    if row is None:
        return None
    return Exchange(
        message_id=row["message_id"],
        system=row["system"],
        service_id=row["service_id"],
        subject=Iin(row["subject"]),
        state=State(row["state"]),
        outcome=Outcome(row["outcome"]),
        code=row["code"],
        asked_at=row["asked_at"],
        answered_at=row["answered_at"],
        request_journal_id=row["request_journal_id"],
        reply_journal_id=row["reply_journal_id"],
    )
