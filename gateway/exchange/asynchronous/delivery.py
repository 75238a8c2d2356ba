"""What the gateway says about the delivery of a message of ours, put into its row. It never closes a row."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

from sqlalchemy import Connection, select

from gateway.exchange import outbox
from gateway.exchange.outbox import Exchange, State
from gateway.exchange.tables import EXCHANGE
from gateway.shep.async_messages import MessageState


class Fate(StrEnum):
    """What a state of the XSD says about our message."""

    #: the gateway has it, on its way or delivered: the answer is waited for
    ACKNOWLEDGED = "acknowledged"
    #: it will not reach anybody: the same bytes may go again
    NOT_SENT = "not_sent"


#: the code of a row whose message did not arrive
NOT_DELIVERED = "not_delivered"


def fate_of(state: MessageState) -> Fate:
    """Pure. ON_DELIVERY and DELIVERED: the gateway has it; NOT_DELIVERED and DELIVERY_STOPPED: it goes nowhere."""
    return Fate.ACKNOWLEDGED if state in (MessageState.ON_DELIVERY, MessageState.DELIVERED) else Fate.NOT_SENT


def find_sent(connection: Connection, message_id: str) -> Exchange | None:
    """The asynchronous message of ours that the gateway calls so, or that went under this id; locked."""
    if not message_id:
        return None
    for column in (EXCHANGE.c.wire_message_id, EXCHANGE.c.message_id):
        found = connection.execute(
            select(EXCHANGE.c.message_id).where(column == message_id, EXCHANGE.c.channel == "async").limit(1)
        ).scalar()
        if found is not None:
            return outbox.get(connection, found, lock=True)
    return None


def note_state(connection: Connection, row: Exchange, state: MessageState, *, at: dt.datetime) -> None:
    """A change of state that was pushed.

    It is a hint and no more: where the gateway has a message that we were not sure of, the row is acknowledged; where
    it gave up one that it had, the row becomes unknown and due, so that it is asked for its state (getMessageStatus)
    before anything is sent again. A closed row stays as it is.
    """
    if fate_of(state) is Fate.ACKNOWLEDGED:
        if row.state is State.UNKNOWN:
            outbox.acknowledge(
                connection,
                row.message_id,
                wire_message_id=row.wire_message_id or row.message_id,
                correlation_id=row.correlation_id,
                session_id=row.session_id,
                at=at,
                answer_due_at=row.answer_due_at,
            )
        return
    if row.state is State.ACKNOWLEDGED:
        outbox.doubt(connection, row.message_id, due_at=at, code=NOT_DELIVERED, lease=None)
