"""The asynchronous channel in one process: put together from the settings; what fetches, and who works on the inbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine

from gateway import settings
from gateway.daemon.jobs import Action
from gateway.daemon.outbound import jitter, load_limits, new_holder
from gateway.exchange.asynchronous.fetching import Fetcher, Source
from gateway.exchange.asynchronous.participant import Participant, participant
from gateway.exchange.asynchronous.receiving import ReceiverPolicy
from gateway.exchange.asynchronous.working import InboxWorker
from gateway.exchange.inbox import ReplayWindow
from gateway.exchange.journal import JournalWriter
from gateway.exchange.question import AskPolicy
from gateway.exchange.quota import Quotas
from gateway.exchange.serve import Service, ServicePolicy
from gateway.exchange.transport import Transport
from gateway.exchange.verification import TrustPolicy
from gateway.exchange.workers import Worked, WorkerPool
from gateway.regulation.law import Law
from gateway.signing.keys import SigningKey
from gateway.systems.definition import Channel, Delivery, SystemDefinition
from gateway.xml import XmlBounds

if TYPE_CHECKING:
    from gateway.daemon.assembly import Gateway

#: answers fetched in one run of the job: the rest comes with the next run
_MAX_FETCHES: Final = 50
_WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class Fetched:
    """One service whose messages are fetched, and how often."""

    #: of its job
    name: str
    source: Source
    interval_s: int


def load_participant(
    loaded: settings.LoadedSettings,
    *,
    engine: Engine,
    transport: Transport,
    systems: Mapping[str, SystemDefinition],
    services: Mapping[str, Service[Any, Any]],
    key: Callable[[], SigningKey],
    trust: TrustPolicy,
    law: Law,
    policy: AskPolicy,
    policies: Mapping[str, ServicePolicy],
    window: ReplayWindow,
    quotas: Quotas,
    server_bounds: XmlBounds,
    journal: JournalWriter,
    clock: Callable[[], dt.datetime],
    new_message_id: Callable[[], str],
) -> Participant:
    """What talks to the asynchronous channel; without shep.async_url nobody's services are served there."""
    url = loaded.settings.shep.async_url
    return participant(
        engine=engine,
        transport=transport,
        systems=systems,
        services=services if url else {},
        key=key,
        trust=trust,
        law=law,
        policy=replace(policy, url=url),
        receiver_policy=ReceiverPolicy(policy.signer_bins, policy.key_info, server_bounds),
        clock=clock,
        new_message_id=new_message_id,
        journal=journal,
        policies=policies,
        window=window,
        quotas=quotas,
        limits=load_limits(loaded),
        holder=new_holder(),
        jitter=jitter,
    )


def fetched_services(
    loaded: settings.LoadedSettings, systems: Mapping[str, SystemDefinition], services: Mapping[str, object]
) -> tuple[Fetched, ...]:
    """Every service whose messages are fetched. The settings say more than system.toml."""
    options = loaded.settings
    if not options.shep.async_url:
        return ()
    return tuple(_fetched(options, systems, services))


def _fetched(
    options: settings.Settings, systems: Mapping[str, SystemDefinition], services: Mapping[str, object]
) -> Iterator[Fetched]:
    nothing = settings.SignerSettings()
    for slug, definition in systems.items():
        section = options.registers.get(slug, nothing)
        delivery = section.delivery or definition.delivery
        if definition.channel is Channel.ASYNC and delivery == Delivery.POLL.value:
            for number, service_id in enumerate(definition.service_ids):
                name = slug if not number else f"{slug}.{number + 1}"
                yield Fetched(name, Source(service_id, section.poll_amount), section.poll_interval_s)
    for service_id in services:
        ours = options.services.get(service_id, nothing)
        if ours.delivery == Delivery.POLL.value:
            yield Fetched(service_id.lower(), Source(service_id, ours.poll_amount), ours.poll_interval_s)


def fetch_actions(fetched: tuple[Fetched, ...], fetcher: Fetcher) -> Iterator[Action]:
    """One job for each service: run once in the whole fleet, whoever has it."""
    for one in fetched:
        yield Action(f"fetch.{one.name}", _fetching(fetcher, one.source), when=f"every {one.interval_s} s")


def _fetching(fetcher: Fetcher, source: Source) -> Callable[[dt.datetime, str], None]:
    def fetch(_: dt.datetime, __: str) -> None:
        for _round in range(_MAX_FETCHES):
            report = fetcher.fetch(source)
            # nothing new, or nothing confirmed: the next answer would be the same
            if not report.first or not report.notified:
                return

    return fetch


class _Turns:
    """An inbox worker as a WorkerPool has its workers."""

    def __init__(self, worker: InboxWorker) -> None:
        self._worker = worker

    def work_once(self) -> Worked:
        return Worked(self._worker.work_once())


def make_inbox_workers(gateway: Gateway, clock: Callable[[], dt.datetime]) -> WorkerPool:
    """The workers of this process' share of the inbox, not started yet. Call it in the process that runs them."""
    holder = new_holder()

    def make(number: int, _stop: Callable[[], bool]) -> _Turns:
        return _Turns(gateway.asynchronous.make_worker(f"{holder}:inbox-{number}"))

    section = gateway.loaded.settings.exchange
    # a look costs one read: what was pushed is worked on within a second
    interval_s = min(section.interval_s, 1.0)
    return WorkerPool(make, workers=_WORKERS if section.threads else 0, interval_s=interval_s, clock=clock)
