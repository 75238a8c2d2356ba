"""The participant's side put together from its ports."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from gateway.exchange.asynchronous.admitting import Door
from gateway.exchange.asynchronous.answers import AnswerDesk
from gateway.exchange.asynchronous.fetching import Fetcher
from gateway.exchange.asynchronous.receiving import Receiver, ReceiverPolicy
from gateway.exchange.asynchronous.road import AsyncRoad
from gateway.exchange.asynchronous.serving import ServiceDesk
from gateway.exchange.asynchronous.status import StatusReader
from gateway.exchange.asynchronous.working import InboxWorker
from gateway.exchange.calls import Caller
from gateway.exchange.inbox import ReplayWindow
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.limits import DEFAULT_LIMITS, ExchangeLimits
from gateway.exchange.question import AskPolicy
from gateway.exchange.quota import UNLIMITED, Quotas
from gateway.exchange.serve import DEFAULT_WINDOW, Service, ServicePolicy
from gateway.exchange.transport import Transport
from gateway.exchange.verification import TrustPolicy
from gateway.regulation.law import Law
from gateway.signing.keys import SigningKey
from gateway.systems.definition import SystemDefinition


@dataclass(frozen=True, slots=True)
class Participant:
    """Everything that talks to the gateway's asynchronous channel."""

    road: AsyncRoad
    receiver: Receiver
    fetcher: Fetcher
    status: StatusReader
    #: holder → a worker of its own
    make_worker: Callable[[str], InboxWorker]


def participant(
    *,
    engine: Engine,
    transport: Transport,
    systems: Mapping[str, SystemDefinition],
    services: Mapping[str, Service[Any, Any]],
    key: Callable[[], SigningKey],
    trust: TrustPolicy,
    law: Law,
    policy: AskPolicy,
    receiver_policy: ReceiverPolicy,
    clock: Callable[[], dt.datetime],
    new_message_id: Callable[[], str],
    journal: JournalWriter,
    policies: Mapping[str, ServicePolicy] | None = None,
    window: ReplayWindow = DEFAULT_WINDOW,
    quotas: Quotas = UNLIMITED,
    limits: ExchangeLimits = DEFAULT_LIMITS,
    holder: str = "one message",
    jitter: Callable[[], float] = lambda: 1.0,
) -> Participant:
    """`policy.url` is the address of IAsyncChannel; "" : nothing is sent or fetched, pushes are taken all the same."""
    door = Door(services=frozenset(services), systems=systems, window=window, policies=policies or {})
    calls = Caller(
        engine=engine, journal=journal, transport=transport, key=key, trust=trust, policy=policy, clock=clock
    )
    status = StatusReader(engine=engine, gateway=calls, clock=clock, new_message_id=new_message_id)
    road = AsyncRoad(
        engine=engine,
        transport=transport,
        systems=systems,
        key=key,
        trust=trust,
        policy=policy,
        status=status,
        clock=clock,
        new_message_id=new_message_id,
        journal=journal,
        limits=limits,
        holder=holder,
        jitter=jitter,
    )
    receiver = Receiver(
        engine=engine,
        journal=journal,
        door=door,
        key=key,
        trust=trust,
        policy=receiver_policy,
        new_session_id=new_message_id,
        quotas=quotas,
    )
    fetcher = Fetcher(engine=engine, gateway=calls, door=door, clock=clock, new_message_id=new_message_id)
    answers = AnswerDesk(engine=engine, key=key, trust=trust, policy=policy, law=law, clock=clock)
    desk = ServiceDesk(
        engine=engine,
        services=services,
        road=road,
        key=key,
        policy=policy,
        clock=clock,
        new_message_id=new_message_id,
    )

    def make_worker(holder: str) -> InboxWorker:
        return InboxWorker(
            engine=engine,
            journal=Journal(engine, journal.seal),
            door=door,
            certificates=trust.store,
            bounds=receiver_policy.bounds,
            answers=answers,
            services=desk,
            clock=clock,
            holder=holder,
        )

    return Participant(road, receiver, fetcher, status, make_worker)
