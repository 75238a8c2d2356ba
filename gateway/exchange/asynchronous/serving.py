"""A REQUEST to a service of ours: decided like a synchronous one, and answered by a RESPONSE through the outbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from sqlalchemy import Engine

from gateway.database import reading, writing
from gateway.exchange import inbox_work
from gateway.exchange.asynchronous.message import prepare
from gateway.exchange.asynchronous.reopening import Reopened
from gateway.exchange.asynchronous.road import AsyncRoad
from gateway.exchange.inbox import InboxRow
from gateway.exchange.question import AskPolicy
from gateway.exchange.refusals import shown_id
from gateway.exchange.serve import Service
from gateway.shep.async_messages import AsyncMessageInfo, MessageType
from gateway.shep.messages import RequestInfo, SyncRequest
from gateway.signing.keys import SigningKey
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()


class ServiceDesk:
    """Works on what is asked of us. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        services: Mapping[str, Service[Any, Any]],
        road: AsyncRoad,
        key: Callable[[], SigningKey],
        policy: AskPolicy,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._services = services
        self._road = road
        self._key = key
        self._policy = policy
        self._clock = clock
        self._new_message_id = new_message_id

    def serve(self, row: InboxRow, opened: Reopened, flow: Flow) -> None:
        """Steps 12, then 3 to 8 of the answer, for a leased inbox row; a worker of the outbox posts it.

        The channel has no fault for an answer: what a service refuses is for the operator. Raises RequestRefused,
        MalformedMessage and InvalidIdentifier from the service, OperatorError, StoreError; then nothing was changed.
        """
        message, service = opened.message, self._services[row.service_id]
        info = message.info
        request = SyncRequest(
            RequestInfo(
                message_id=info.message_id,
                service_id=info.service_id,
                message_date=info.message_date,
                sender=info.sender,
                correlation_id=info.correlation_id,
                route_id=info.route_id,
                properties=info.properties,
                session_id=info.session_id,
            ),
            message.data,
        )
        with step(12, flow):
            question = service.read(request, at=row.received_at)
            with reading(self._engine) as connection:
                (found,) = service.load(connection, (question,))
        with step(3, flow):
            answer = service.answer(question, found)
        response = prepare(
            AsyncMessageInfo(
                service_id=info.service_id,
                message_type=MessageType.RESPONSE,
                message_date=self._clock(),
                sender=self._policy.sender,
                correlation_id=info.correlation_id or info.message_id,
                route_id=info.route_id,
            ),
            answer.element,
            answer.codec,
            message_id=self._new_message_id(),
            system="",
            key=self._key(),
            policy=self._policy,
            flow=flow,
        )
        with step(8, flow), writing(self._engine) as connection:
            # first of all the fence: a worker whose lease was lost answers nothing
            inbox_work.finish(connection, row, code=answer.status.code)
            recorded = self._road.record(connection, response)
            inbox_work.answered_by(connection, row, recorded.request_journal_id)
        _LOG.info(
            "exchange",
            action="served",
            message_id=shown_id(info.message_id),
            code=answer.status.code,
            response=response.message_id,
        )
