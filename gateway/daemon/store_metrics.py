"""Metrics read from the database and from what is loaded: queues, circuits, quotas, journal, jobs, certificates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, func, select, text

from gateway.daemon.assembly import Gateway
from gateway.daemon.metrics import gauge, gauges
from gateway.database import reading
from gateway.exchange import schedule_runs
from gateway.exchange.schedule_runs import RunState
from gateway.exchange.tables import CIRCUIT, DUE, EXCHANGE, INBOX, JOURNAL_HEAD, QUOTA, SCHEDULE_RUN
from gateway.registry.freshness import feed_ages
from gateway.settings import Settings

#: rows of ours that somebody still has to do something about; closed ones are the journal's
_OPEN_EXCHANGE = ("waiting", "asked", "acknowledged", "unknown", "quarantined")
_OPEN_INBOX = ("received", "working", "quarantined")
_OTHER = "other"
_PERIODS = {"minute": dt.timedelta(minutes=1), "day": dt.timedelta(days=1)}


def reader(gateway: Gateway) -> Callable[[dt.datetime], Iterator[Metric]]:
    """What StoreMetrics reads with."""

    def read(at: dt.datetime) -> Iterator[Metric]:
        with reading(gateway.engine) as connection:
            yield from _queues(connection, gateway, at)
            yield from _circuits(connection, gateway, at)
            yield _quotas(connection, gateway, at)
            yield from _journal(connection)
            yield from _jobs(connection, gateway)
            yield from _feeds(connection, gateway, at)
        yield _certificates(gateway)

    return read


def _queues(connection: Connection, gateway: Gateway, at: dt.datetime) -> Iterator[Metric]:
    asked = {service for system in gateway.systems.values() for service in system.service_ids}
    served = {*asked, *gateway.loaded.settings.services}
    for name, what, table, states, since, known in (
        ("outbox", "Messages of ours", EXCHANGE, _OPEN_EXCHANGE, EXCHANGE.c.asked_at, asked),
        ("inbox", "Messages to us", INBOX, _OPEN_INBOX, INBOX.c.received_at, served),
    ):
        rows = connection.execute(
            select(table.c.service_id, table.c.state, func.count().label("messages"), func.min(since).label("since"))
            .where(table.c.state.in_(states))
            .group_by(table.c.service_id, table.c.state)
        ).all()
        depth: dict[tuple[str, str], float] = {}
        age_s: dict[tuple[str, str], float] = {}
        for service_id, state, messages, oldest in rows:
            key = (service_id if service_id in known else _OTHER, state)
            depth[key] = depth.get(key, 0) + messages
            age_s[key] = max(age_s.get(key, 0.0), (at - oldest).total_seconds())
        yield gauges(f"gateway_{name}_messages", f"{what} that are not closed", _by("service", "state", depth))
        yield gauges(
            f"gateway_{name}_oldest_age_seconds",
            f"{what}: age of the oldest that is not closed",
            _by("service", "state", age_s),
        )
    due = connection.execute(
        select(DUE.c.system, func.count(), func.min(DUE.c.due_at))
        .where(DUE.c.due_at <= at, DUE.c.message_id.is_(None))
        .group_by(DUE.c.system)
    ).all()
    yield gauges("gateway_due_people", "People due to be asked about", (({"system": row[0]}, row[1]) for row in due))
    yield gauges(
        "gateway_due_oldest_age_seconds",
        "How long the longest due person has been due",
        (({"system": row[0]}, (at - row[2]).total_seconds()) for row in due),
    )


def _feeds(connection: Connection, gateway: Gateway, at: dt.datetime) -> Iterator[Metric]:
    """R-04: overdue is told here, and is never a failure of p.13 by itself."""
    ages = feed_ages(connection, at, gateway.law)
    yield gauges(
        "gateway_feed_age_seconds",
        "Since the last list of a feed",
        (({"feed": one.feed}, one.age_s) for one in ages if one.age_s is not None),
    )
    yield gauges(
        "gateway_feed_overdue",
        "1: the frequency of the Rules is exceeded",
        (({"feed": one.feed}, float(one.overdue)) for one in ages),
    )


def _by(first: str, second: str, numbers: dict[tuple[str, str], float]) -> Iterator[tuple[dict[str, str], float]]:
    for (one, two), number in sorted(numbers.items()):
        yield {first: one, second: two}, number


def _circuits(connection: Connection, gateway: Gateway, at: dt.datetime) -> Iterator[Metric]:
    known = {service for system in gateway.systems.values() for service in system.service_ids}
    rows = connection.execute(select(CIRCUIT.c.service_id, CIRCUIT.c.open_until)).all()
    states = [
        (service, 0 if open_until is None else 1 if open_until <= at else 2)
        for service, open_until in rows
        if service in known
    ]
    yield gauges(
        "gateway_circuit_state",
        "0 closed, 1 half-open (one message tries), 2 open (nothing is sent)",
        (({"service": service}, state) for service, state in states),
    )


def _quotas(connection: Connection, gateway: Gateway, at: dt.datetime) -> Metric:
    known = _configured_senders(gateway.loaded.settings)
    most: dict[tuple[str, str], float] = {}
    recent = select(QUOTA).where(QUOTA.c.starts_at > at - _PERIODS["day"], QUOTA.c.starts_at <= at)
    for row in connection.execute(recent).mappings():
        if row["starts_at"] + _PERIODS[row["period"]] > at:
            key = (row["sender"] if row["sender"] in known else _OTHER, row["period"])
            most[key] = max(most.get(key, 0), row["count"])
    return gauges(
        "gateway_quota_used_requests",
        "Requests of a sender in the running minute or day; other: of those that the configuration does not name, the "
        "one with the most",
        _by("sender", "period", most),
    )


def _configured_senders(settings: Settings) -> set[str]:
    """Every senderId that the operator wrote down: no message can add to them."""
    known = set(settings.quota.senders)
    for service in settings.services.values():
        known.update(service.senders, service.senders_reusing_ids, service.may_send)
    return known


def _journal(connection: Connection) -> Iterator[Metric]:
    head = connection.execute(select(func.max(JOURNAL_HEAD.c.last_id))).scalar_one() or 0
    yield gauge("gateway_journal_last_entry", "Number of the journal's last entry", head)
    if connection.dialect.name == "postgresql":
        name, size = "gateway_database_size_bytes", text("SELECT pg_database_size(current_database())")
    else:
        name = "gateway_database_size_bytes"
        size = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    yield gauge(name, "Size of the database, the journal included", connection.execute(size).scalar_one())


def _jobs(connection: Connection, gateway: Gateway) -> Iterator[Metric]:
    successes, runs = schedule_runs.last_successes(connection), schedule_runs.last_runs(connection)
    jobs = gateway.schedule.jobs
    yield gauges(
        "gateway_schedule_last_success_timestamp_seconds",
        "When a job was last done",
        (({"job": job}, at.timestamp()) for job, at in sorted(successes.items()) if job in jobs),
    )
    yield gauges(
        "gateway_schedule_last_run_failed",
        "1 when the last run of a job failed",
        (({"job": job}, run.state is RunState.FAILED) for job, run in sorted(runs.items()) if job in jobs),
    )
    waiting = connection.execute(
        select(SCHEDULE_RUN.c.job, func.count())
        .where(SCHEDULE_RUN.c.state.in_((RunState.WAITING, RunState.RUNNING)))
        .group_by(SCHEDULE_RUN.c.job)
    ).all()
    yield gauges(
        "gateway_schedule_open_runs",
        "Runs of a job that wait or are in hand",
        (({"job": job}, count) for job, count in waiting if job in jobs),
    )


def _certificates(gateway: Gateway) -> Metric:
    material = gateway.trust.store.material
    parts = (
        *(("own", one) for one in gateway.keys.certificates),
        *(("anchor", one) for one in material.anchors),
        *(("intermediate", one) for one in material.intermediates),
        *(("peer", one) for one in material.peers),
    )
    # a subject may be a person: a certificate is known by the beginning of its digest, as `gateway pki check` shows it
    return gauges(
        "gateway_certificate_not_after_timestamp_seconds",
        "When a certificate that is configured ends",
        (({"part": part, "sha256": one.sha256[:16]}, one.not_after.timestamp()) for part, one in parts),
    )
