"""getMessageStatus: what became of a message of ours, for the reconciliation of an unknown outcome."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine

from gateway.database import writing
from gateway.errors import PeerError
from gateway.exchange.calls import Caller, fault_of
from gateway.shep import async_channel
from gateway.shep.async_messages import MessageState, MessageStatusQuery
from gateway.shep.messages import ErrorInfo
from gateway.telemetry import Flow, step

_FLOW: Final[Flow] = "out.async"


class StatusReader:
    """Asks for the state of one message. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        gateway: Caller,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._clock = clock
        self._new_message_id = new_message_id

    def state_of(self, message_id: str, *, system: str, service_id: str) -> MessageState:
        """The state of the message that the gateway knows under this id.

        Raises as Caller.call, and PeerFault, which is also what an id that the gateway does not know comes to:
        whether it never had the message is then not proved.
        """
        query = MessageStatusQuery(message_id, self._clock(), self._gateway.policy.sender)
        called = self._gateway.call(
            async_channel.build_get_message_status(query),
            flow=_FLOW,
            system=system,
            service_id=service_id,
            trusted_as=system or service_id,
            # not the message's: its replies are its acknowledgements
            message_id=self._new_message_id(),
            note=f"getMessageStatus of {message_id}",
        )
        try:
            with step(12, _FLOW):
                content = async_channel.read_get_message_status_reply(called.message.body)
                if isinstance(content, ErrorInfo):
                    raise fault_of(content)
                self._gateway.check_made_now(called, content.response_date)
        except PeerError as error:
            self._gateway.refuse(called.entry, called.entry_id, called.evidence, error)
            raise
        with step(13, _FLOW), writing(self._engine) as connection:
            self._gateway.accept(connection, called, note=f"state {content.state}")
        return content.state
