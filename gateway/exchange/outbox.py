"""The rows of what we send: one for each message of ours that expects an acknowledgement or an answer.

Every function works in the caller's transaction. Rows are locked in this order, in every transaction: exchange, due,
circuit, the journal last. State diagram: docs/reference/exchange.md.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import Connection, Integer, bindparam, not_, select, text, update

from gateway.database import UtcDateTime, as_records, insert_rows
from gateway.errors import StoreError
from gateway.exchange.tables import EXCHANGE
from gateway.model import Iin, Outcome
from gateway.prepared import Prepared
from gateway.statements import FixedStatement, is_among

#: of questions that nobody waits for; smaller goes first
DEFAULT_PRIORITY: Final = 100
#: of a question that a person waits for
URGENT: Final = 10


class State(StrEnum):
    #: its bytes are journalled; it is posted at `due_at`
    WAITING = "waiting"
    #: leased, and perhaps on the wire
    ASKED = "asked"
    #: asynchronous: the gateway has it, and its answer is waited for until `answer_due_at`
    ACKNOWLEDGED = "acknowledged"
    #: a usable answer, whatever it says
    ANSWERED = "answered"
    #: it may have arrived and nothing usable came back: reconciled at `due_at`, or by a person where that is empty
    UNKNOWN = "unknown"
    #: something came back that must not be used
    REFUSED = "refused"
    #: its attempts are used up, or it is too old to be sent without a person's word
    QUARANTINED = "quarantined"
    #: a person knows how it ended
    SETTLED = "settled"
    #: a person gave it up
    DROPPED = "dropped"


#: nothing is applied to a row of these any more
CLOSED: Final = frozenset({State.ANSWERED, State.REFUSED, State.SETTLED, State.DROPPED})
OPEN: Final = frozenset(State) - CLOSED


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a row. A row that was leased again meanwhile does not obey its earlier holder."""

    message_id: str
    holder: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NewExchange:
    """A message whose bytes have just been journalled."""

    message_id: str
    system: str
    service_id: str
    asked_at: dt.datetime
    request_journal_id: int
    subject: Iin | None = field(default=None, repr=False)
    channel: Literal["sync", "async"] = "sync"
    #: "" on the synchronous channel; REQUEST, UPDATE, NOTIFICATION, RESPONSE on the asynchronous one
    message_type: str = ""
    #: by what of the payload an answer is recognised when no id can (docs/decisions/0023)
    business_key: str = field(default="", repr=False)
    #: of the chain that it belongs to, when it is not the first of it
    correlation_id: str = ""
    priority: int = DEFAULT_PRIORITY


@dataclass(frozen=True, slots=True)
class Exchange:
    """One row."""

    message_id: str
    channel: str
    message_type: str
    system: str
    service_id: str
    subject: Iin | None = field(repr=False)
    business_key: str = field(repr=False)
    wire_message_id: str
    correlation_id: str
    session_id: str
    state: State
    outcome: Outcome
    #: why there is no usable answer; "" otherwise
    code: str
    priority: int
    attempts: int
    due_at: dt.datetime | None
    leased_until: dt.datetime | None
    lease_holder: str
    asked_at: dt.datetime
    acknowledged_at: dt.datetime | None
    answer_due_at: dt.datetime | None
    answered_at: dt.datetime | None
    request_journal_id: int
    reply_journal_id: int | None
    reason: str

    @property
    def lease(self) -> Lease:
        """The token of whoever works on the row as it was read."""
        return Lease(self.message_id, self.lease_holder, self.attempts)


# ---------------------------------------------------------------- a row begins


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a row begins: taken at once by `holder` until `leased_until`, or waiting until `due_at`."""

    new: NewExchange
    due_at: dt.datetime | None = None
    holder: str = ""
    leased_until: dt.datetime | None = None


def record(
    connection: Connection,
    new: NewExchange,
    *,
    due_at: dt.datetime | None = None,
    holder: str = "",
    leased_until: dt.datetime | None = None,
) -> Exchange:
    """The row that is committed with its bytes before the post: waiting until `due_at`, or taken at once by `holder`.

    A message id used twice is an IntegrityError: ids are ours and random.
    """
    return record_all(connection, [Beginning(new, due_at, holder, leased_until)])[0]


def record_all(connection: Connection, beginnings: Sequence[Beginning]) -> tuple[Exchange, ...]:
    """`record` for several messages, in one statement."""
    rows = tuple(_begun(one) for one in beginnings)
    if rows:
        insert_rows(connection, EXCHANGE, [_values(row) for row in rows])
    return rows


def _begun(beginning: Beginning) -> Exchange:
    new = beginning.new
    taken = beginning.leased_until is not None
    return Exchange(
        message_id=new.message_id,
        channel=new.channel,
        message_type=new.message_type,
        system=new.system,
        service_id=new.service_id,
        subject=new.subject,
        business_key=new.business_key,
        wire_message_id="",
        correlation_id=new.correlation_id,
        session_id="",
        state=State.ASKED if taken else State.WAITING,
        outcome=Outcome.UNKNOWN,
        code="",
        priority=new.priority,
        attempts=1 if taken else 0,
        due_at=None if taken else beginning.due_at or new.asked_at,
        leased_until=beginning.leased_until,
        lease_holder=beginning.holder if taken else "",
        asked_at=new.asked_at,
        acknowledged_at=None,
        answer_due_at=None,
        answered_at=None,
        request_journal_id=new.request_journal_id,
        reply_journal_id=None,
        reason="",
    )


def _values(row: Exchange) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["subject"] = None if row.subject is None else row.subject.value
    return values


_COLUMNS: Final = tuple(EXCHANGE.columns.keys())


# ---------------------------------------------------------------- a row is worked on


def find_due(
    connection: Connection, now: dt.datetime, limit: int, *, without: Collection[str] = ()
) -> tuple[Exchange, ...]:
    """Rows that are due, the most urgent and longest due first, locked until the transaction ends.

    Rows that somebody else has locked are passed over, and those of the services `without`.
    """
    rows = _FIND_DUE.run(connection, now=now, most=limit, without=sorted(without))
    return tuple(_exchange(dict(zip(_COLUMNS, row, strict=True))) for row in rows)


_FIND_DUE: Final = FixedStatement(
    "exchange_find_due",
    lambda on_postgresql: (
        select(EXCHANGE)
        .where(
            EXCHANGE.c.due_at <= bindparam("now", type_=UtcDateTime()),
            not_(is_among(on_postgresql, EXCHANGE.c.service_id, "without")),
        )
        .order_by(EXCHANGE.c.priority, EXCHANGE.c.due_at, EXCHANGE.c.message_id)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True)
    ),
)


def find_expired(connection: Connection, now: dt.datetime, limit: int) -> tuple[Exchange, ...]:
    """Rows whose holder did not finish in time, and acknowledged ones whose answer did not come in time; locked."""
    return tuple(
        _exchange(row)
        for column in (EXCHANGE.c.leased_until, EXCHANGE.c.answer_due_at)
        for row in connection.execute(
            select(EXCHANGE).where(column <= now).order_by(column).limit(limit).with_for_update(skip_locked=True)
        ).mappings()
    )


def take(connection: Connection, row: Exchange, *, holder: str, leased_until: dt.datetime) -> Exchange:
    """Lease a row that `find_due` has locked: it is about to be posted. The row as it is then."""
    _change(
        connection,
        row.message_id,
        state=State.ASKED,
        attempts=row.attempts + 1,
        due_at=None,
        answer_due_at=None,
        lease_holder=holder,
        leased_until=leased_until,
    )
    return replace(
        row,
        state=State.ASKED,
        attempts=row.attempts + 1,
        due_at=None,
        answer_due_at=None,
        lease_holder=holder,
        leased_until=leased_until,
    )


def renew(connection: Connection, row: Exchange, *, leased_until: dt.datetime) -> bool:
    """Hold a leased row for longer. Whether it obeyed: not when the lease was lost."""
    return _change(connection, row.message_id, row.lease, leased_until=leased_until)


def wait(
    connection: Connection, message_id: str, *, due_at: dt.datetime, code: str, lease: Lease | None, attempts: int
) -> bool:
    """Surely not sent: the same bytes go at `due_at`. Whether the row obeyed."""
    return _change(
        connection, message_id, lease, state=State.WAITING, due_at=due_at, code=code[:64], attempts=attempts, **_FREE
    )


def doubt(
    connection: Connection,
    message_id: str,
    *,
    due_at: dt.datetime | None,
    code: str,
    lease: Lease | None,
    reply_journal_id: int | None = None,
) -> bool:
    """It may have arrived: reconciled at `due_at`, or by a person where that is None. Whether the row obeyed."""
    values: dict[str, Any] = {} if reply_journal_id is None else {"reply_journal_id": reply_journal_id}
    return _change(connection, message_id, lease, state=State.UNKNOWN, due_at=due_at, code=code[:64], **_FREE, **values)


def quarantine(connection: Connection, message_id: str, *, code: str, lease: Lease | None) -> bool:
    """Nothing more is done without a person's word. Whether the row obeyed."""
    return _change(connection, message_id, lease, state=State.QUARANTINED, due_at=None, code=code[:64], **_FREE)


def acknowledge(
    connection: Connection,
    message_id: str,
    *,
    wire_message_id: str,
    correlation_id: str,
    session_id: str,
    at: dt.datetime,
    answer_due_at: dt.datetime | None,
    lease: Lease | None = None,
) -> bool:
    """The gateway has it. Whether the row obeyed: not when it is closed or, with a lease, when that was lost.

    Without `answer_due_at` the answer is waited for without end.
    """
    return _change(
        connection,
        message_id,
        lease,
        state=State.ACKNOWLEDGED,
        code="",
        due_at=None,
        wire_message_id=wire_message_id[:256],
        correlation_id=correlation_id[:256],
        session_id=session_id[:256],
        acknowledged_at=at,
        **{**_FREE, "answer_due_at": answer_due_at},
    )


@dataclass(frozen=True, slots=True)
class Closing:
    """How a row ends."""

    message_id: str
    state: State
    outcome: Outcome
    at: dt.datetime
    code: str = ""
    reply_journal_id: int | None = None
    reason: str = ""
    #: with it only the lease's holder can close the row; without it any open row is closed
    lease: Lease | None = None


def settle(
    connection: Connection,
    message_id: str,
    *,
    state: State,
    outcome: Outcome,
    at: dt.datetime,
    code: str = "",
    reply_journal_id: int | None = None,
    reason: str = "",
    lease: Lease | None = None,
) -> None:
    """Close a row: answered, refused, settled or dropped. The same answer is never applied twice.

    With a lease only its holder can close it; without one (an answer that was pushed, a person's word) any open row is
    closed. Raises StoreError (`exchange_settled`) when the row does not obey: apply nothing then.
    """
    settle_all(connection, [Closing(message_id, state, outcome, at, code, reply_journal_id, reason, lease)])


def settle_all(connection: Connection, closings: Sequence[Closing]) -> None:
    """`settle` for several rows. Raises StoreError (`exchange_settled`) when one of them does not obey."""
    values = [_closing(one) for one in closings]
    if connection.dialect.name == "postgresql":
        changed = len(_CLOSE_RECORDS.run(connection, as_records(values)))
    else:
        changed = sum(connection.execute(_CLOSE, one).rowcount for one in values)
    if changed != len(closings):
        which = closings[0].message_id if len(closings) == 1 else "MESSAGE_ID"
        raise StoreError(
            f"exchange {which} is not waiting for this answer; see `gateway exchange show {which}`",
            code="exchange_settled",
        )


def _closing(closing: Closing) -> dict[str, Any]:
    lease = closing.lease
    return {
        "this_message_id": closing.message_id,
        "new_state": closing.state,
        "new_outcome": closing.outcome,
        "new_code": closing.code[:64],
        "new_answered_at": closing.at,
        "new_reply_journal_id": closing.reply_journal_id,
        "new_reason": closing.reason[:500],
        "this_holder": None if lease is None else lease.holder,
        "this_attempt": None if lease is None else lease.attempt,
    }


def send_again(connection: Connection, row: Exchange, *, due_at: dt.datetime, reason: str) -> None:
    """A person's word: the same bytes go once more, with all attempts before them. `row` is locked by the caller."""
    connection.execute(
        update(EXCHANGE)
        .where(EXCHANGE.c.message_id == row.message_id)
        .values(
            state=State.WAITING,
            attempts=0,
            due_at=due_at,
            code="",
            answered_at=None,
            reply_journal_id=None,
            reason=reason[:500],
            **_FREE,
        )
    )


_FREE: Final = {"leased_until": None, "lease_holder": "", "answer_due_at": None}


def _change(connection: Connection, message_id: str, lease: Lease | None = None, **values: Any) -> bool:
    given: dict[str, Any] = {"this_message_id": message_id}
    if lease is not None:
        given |= {"this_holder": lease.holder, "this_attempt": lease.attempt}
    # the columns among the parameters are what is set
    return connection.execute(_CHANGE_OPEN if lease is None else _CHANGE_LEASED, {**given, **values}).rowcount == 1


#: made once: making a statement costs more than running it
_THIS: Final = update(EXCHANGE).where(EXCHANGE.c.message_id == bindparam("this_message_id"))
_CHANGE_OPEN: Final = _THIS.where(EXCHANGE.c.state.in_(OPEN))
_CHANGE_LEASED: Final = _THIS.where(
    EXCHANGE.c.state == State.ASKED,
    EXCHANGE.c.lease_holder == bindparam("this_holder"),
    EXCHANGE.c.attempts == bindparam("this_attempt"),
)
_OBEYS: Final = f"""
    exchange.message_id = {{this}}this_message_id
    AND exchange.state IN ({", ".join(f"'{state}'" for state in sorted(OPEN))})
    AND ({{this}}this_attempt IS NULL OR (
        exchange.state = '{State.ASKED}'
        AND exchange.lease_holder = {{this}}this_holder AND exchange.attempts = {{this}}this_attempt
    ))
"""
_CLOSED: Final = """
UPDATE exchange SET state = {this}new_state, outcome = {this}new_outcome, code = {this}new_code, due_at = NULL,
    answered_at = {this}new_answered_at, reply_journal_id = {this}new_reply_journal_id, reason = {this}new_reason,
    leased_until = NULL, lease_holder = '', answer_due_at = NULL
"""
_CLOSE: Final = text(f"{_CLOSED} WHERE {_OBEYS}".format(this=":")).bindparams(
    bindparam("new_answered_at", type_=UtcDateTime())
)
_CLOSE_RECORDS: Final = Prepared(
    "exchange_close",
    _CLOSED.format(this="closing.")
    + """
FROM jsonb_to_recordset($1::jsonb) AS closing(
    this_message_id text, new_state text, new_outcome text, new_code text, new_answered_at timestamptz,
    new_reply_journal_id bigint, new_reason text, this_holder text, this_attempt integer
)
WHERE """
    + _OBEYS.format(this="closing.")
    + " RETURNING 1",
)


# ---------------------------------------------------------------- finding rows


def get(connection: Connection, message_id: str, *, lock: bool = False) -> Exchange | None:
    """One row by our id; `lock` keeps everybody else from changing it until the transaction ends."""
    query = select(EXCHANGE).where(EXCHANGE.c.message_id == message_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _exchange(row)


def find_by_correlation(connection: Connection, correlation_id: str) -> Exchange | None:
    """The message that began a chain: by the gateway's word for it, or by our own id where ids are ours.

    None for an empty or unknown id. Of several the open one, then the newest.
    """
    if not correlation_id:
        return None
    named = (EXCHANGE.c.correlation_id == correlation_id, EXCHANGE.c.message_id == correlation_id)
    found = [
        _exchange(row)
        for condition in named
        for row in connection.execute(select(EXCHANGE).where(condition, EXCHANGE.c.channel == "async")).mappings()
    ]
    return max(found, key=lambda row: (row.state in OPEN, row.asked_at), default=None)


def find_waiting_by_business_key(connection: Connection, system: str, business_key: str) -> Exchange | None:
    """The open message of which only the payload can tell that an answer belongs to it; the oldest of several."""
    if not business_key:
        return None
    row = (
        connection.execute(
            select(EXCHANGE)
            .where(
                EXCHANGE.c.system == system,
                EXCHANGE.c.business_key == business_key,
                EXCHANGE.c.business_key != "",
                EXCHANGE.c.state.in_(OPEN),
            )
            .order_by(EXCHANGE.c.asked_at, EXCHANGE.c.message_id)
            .limit(1)
        )
        .mappings()
        .first()
    )
    return None if row is None else _exchange(row)


def find(
    connection: Connection,
    *,
    states: Sequence[State] = (),
    system: str = "",
    service_id: str = "",
    code: str = "",
    asked_before: dt.datetime | None = None,
    limit: int | None = None,
    lock: bool = False,
) -> tuple[Exchange, ...]:
    """Rows for the operator, the oldest first. Empty filters let everything through."""
    query = select(EXCHANGE).order_by(EXCHANGE.c.asked_at, EXCHANGE.c.message_id)
    if states:
        query = query.where(EXCHANGE.c.state.in_(states))
    for column, value in ((EXCHANGE.c.system, system), (EXCHANGE.c.service_id, service_id), (EXCHANGE.c.code, code)):
        if value:
            query = query.where(column == value)
    if asked_before is not None:
        query = query.where(EXCHANGE.c.asked_at < asked_before)
    if limit is not None:
        query = query.limit(limit)
    if lock:
        query = query.with_for_update()
    return tuple(_exchange(row) for row in connection.execute(query).mappings())


def _exchange(row: Mapping[Any, Any]) -> Exchange:
    values = dict(row)
    subject = values["subject"]
    values["subject"] = None if subject is None else Iin(subject)
    values["state"] = State(values["state"])
    values["outcome"] = Outcome(values["outcome"])
    return Exchange(**values)
