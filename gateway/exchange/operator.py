"""What a person may do about a row: send it again, say how it ended, give it up.

Each act has a reason, and is journalled in the transaction that does it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine

from gateway.database import writing
from gateway.errors import ConfigurationError
from gateway.exchange import due, outbox
from gateway.exchange.ending import release_wish
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection
from gateway.exchange.outbox import Exchange, State
from gateway.model import Outcome

_PERSON: Final = re.compile(r"[0-9]{12}")
_MAX_REASON_CHARS: Final = 400


class Act(StrEnum):
    #: the same bytes under the same id, as soon as a worker is free
    RETRY = "retry"
    #: how it ended is known from elsewhere
    SETTLE = "settle"
    #: nobody waits for it any more
    DROP = "drop"


#: the states from which an act is possible. What is on the wire is left to whoever has it: its lease ends soon
POSSIBLE_FROM: Final[Mapping[Act, frozenset[State]]] = {
    Act.RETRY: frozenset({State.WAITING, State.UNKNOWN, State.QUARANTINED, State.REFUSED, State.DROPPED}),
    Act.SETTLE: frozenset({State.WAITING, State.ACKNOWLEDGED, State.UNKNOWN, State.QUARANTINED}),
    Act.DROP: frozenset({State.WAITING, State.ACKNOWLEDGED, State.UNKNOWN, State.QUARANTINED}),
}


@dataclass(frozen=True, slots=True)
class Done:
    """What an act came to: message ids, and for those left alone why."""

    changed: tuple[str, ...]
    left: Mapping[str, str]


def check_reason(reason: str) -> str:
    """A reason that may be kept for years. Raises ConfigurationError (key --reason)."""
    reason = " ".join(reason.split())
    if not reason:
        raise ConfigurationError("say why; it is journalled", key="--reason")
    if len(reason) > _MAX_REASON_CHARS:
        raise ConfigurationError(f"say it in at most {_MAX_REASON_CHARS} characters", key="--reason")
    if _PERSON.search(reason):
        raise ConfigurationError("a reason names no person: leave the IIN out", key="--reason")
    return reason


def act(
    engine: Engine,
    journal: JournalWriter,
    what: Act,
    message_ids: Sequence[str],
    *,
    reason: str,
    by: str,
    now: dt.datetime,
) -> Done:
    """Do it to these rows, in one transaction, each with a note in the journal. Rows that do not allow it are left.

    Raises ConfigurationError for a reason that cannot be kept, StoreError.
    """
    reason = check_reason(reason)
    changed: list[Exchange] = []
    left: dict[str, str] = {}
    with writing(engine) as connection:
        for message_id in sorted(set(message_ids)):
            row = outbox.get(connection, message_id, lock=True)
            why = _why_not(connection, what, row)
            if row is None or why:
                left[message_id] = why
                continue
            if what is Act.RETRY:
                outbox.send_again(connection, row, due_at=now, reason=reason)
                if row.subject is not None:
                    due.claim(connection, row.subject, row.system, message_id)
            else:
                state = State.SETTLED if what is Act.SETTLE else State.DROPPED
                outbox.settle(
                    connection,
                    message_id,
                    state=state,
                    outcome=Outcome.UNKNOWN,
                    code=row.code,
                    at=now,
                    reply_journal_id=row.reply_journal_id,
                    reason=reason,
                )
                release_wish(connection, row, now)
            changed.append(row)
        journal.append_many(connection, [_note(what, row, reason=reason, by=by, now=now) for row in changed])
    return Done(tuple(row.message_id for row in changed), left)


def _why_not(connection: Connection, what: Act, row: Exchange | None) -> str:
    if row is None:
        return "there is no such row"
    if row.state not in POSSIBLE_FROM[what]:
        if row.state is State.ASKED:
            return "a worker has it; wait for the end of its lease"
        return f"it is {row.state}"
    if what is Act.RETRY and row.subject is not None:
        other = due.question_of(connection, row.subject, row.system)
        if other not in (None, row.message_id):
            return f"the person is being asked about under another id, {other}"
    return ""


def _note(what: Act, row: Exchange, *, reason: str, by: str, now: dt.datetime) -> JournalEntry:
    return JournalEntry(
        at=now,
        direction=MessageDirection.OUT,
        step=13,
        kind=EntryKind.NOTE,
        channel=row.channel,
        system=row.system,
        service_id=row.service_id,
        message_id=row.message_id,
        correlation_id=row.correlation_id,
        verdict=what,
        note=f"{by}: {reason} (was {row.state})",
    )


def as_dict(row: Exchange, *, with_person: bool = False) -> dict[str, Any]:
    """A row for `--json`. Whom it is about, and what of the payload names it, only on request."""
    document: dict[str, Any] = {
        "message_id": row.message_id,
        "channel": row.channel,
        "message_type": row.message_type,
        "system": row.system,
        "service_id": row.service_id,
        "state": str(row.state),
        "outcome": str(row.outcome),
        "code": row.code,
        "priority": row.priority,
        "attempts": row.attempts,
        "due_at": _moment(row.due_at),
        "leased_until": _moment(row.leased_until),
        "lease_holder": row.lease_holder,
        "asked_at": _moment(row.asked_at),
        "acknowledged_at": _moment(row.acknowledged_at),
        "answer_due_at": _moment(row.answer_due_at),
        "answered_at": _moment(row.answered_at),
        "wire_message_id": row.wire_message_id,
        "correlation_id": row.correlation_id,
        "session_id": row.session_id,
        "request_journal_id": row.request_journal_id,
        "reply_journal_id": row.reply_journal_id,
        "reason": row.reason,
        "next": what_next(row),
    }
    if with_person:
        document["subject"] = None if row.subject is None else row.subject.value
        document["business_key"] = row.business_key
    return document


def what_next(row: Exchange) -> str:
    """Who goes on with the row, in a sentence."""
    if row.state in outbox.CLOSED:
        return "nothing: it is closed"
    if row.state is State.ASKED:
        return "a worker has it; when its lease ends it is recovered"
    if row.state is State.QUARANTINED:
        return "a person must: gateway exchange retry, settle or drop"
    if row.state is State.ACKNOWLEDGED:
        return "its answer is waited for"
    if row.due_at is None:
        return "a person must, unless its answer still comes: gateway exchange settle, drop or retry"
    return "the same bytes are sent" if row.state is State.WAITING else "what became of it is found out"


def _moment(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat()
