"""What the page reads from the database, on both stores; and that nobody outside can add a time series to it."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from gateway.daemon.jobs import Schedule
from gateway.daemon.metrics import Metrics, StoreMetrics
from gateway.daemon.store_metrics import reader
from gateway.database import writing
from gateway.exchange import due, schedule_runs
from gateway.exchange.tables import CIRCUIT, EXCHANGE, INBOX, QUOTA
from gateway.jobs import make_job
from gateway.settings import QuotaLimits, QuotaSettings, ServiceSettings
from gateway.working_days import WorkingCalendar
from tests.exchange.world import NOW, PERSON, Keys, law, systems, trust
from tests.test_metrics import samples

MINUTE = dt.timedelta(minutes=1)
SERVICE = systems()["gbdfl"].service_ids[0]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    from gateway.trust import throwaway_pki

    return Keys(throwaway_pki.init(tmp_path_factory.mktemp("metrics") / "pki", now=NOW))


def gateway(engine: Engine, keys: Keys) -> Any:
    job = make_job("nightly", {"run": "an.action", "when": "daily 05:00"})
    services = {
        "OURS": ServiceSettings(senders=("clinic",), senders_reusing_ids=("pharmacy",)),
        "LISTS": ServiceSettings(may_send={"mod": ("military_mod",)}),
    }
    quota = QuotaSettings(per_minute=10, senders={"fund": QuotaLimits(per_day=5)})
    return SimpleNamespace(
        engine=engine,
        systems=systems(),
        loaded=SimpleNamespace(settings=SimpleNamespace(services=services, quota=quota)),
        schedule=Schedule({job.name: job}, {}, WorkingCalendar()),
        keys=SimpleNamespace(certificates=(keys["gateway"].certificate,)),
        trust=trust(keys.pki),
        law=law(),
    )


def exchange(message_id: str, **values: Any) -> dict[str, Any]:
    row = {
        "message_id": message_id,
        "channel": "sync",
        "system": "gbdfl",
        "service_id": SERVICE,
        "state": "waiting",
        "outcome": "unknown",
        "priority": 50,
        "attempts": 0,
        "due_at": NOW,
        "asked_at": NOW,
        "request_journal_id": 1,
    }
    texts = ("message_type", "business_key", "wire_message_id", "correlation_id", "session_id", "code", "lease_holder")
    return {**dict.fromkeys((*texts, "reason"), ""), **row, **values}


def arrival(key: str, **values: Any) -> dict[str, Any]:
    row = {
        "key": key,
        "sender": "s",
        "service_id": "OURS",
        "message_id": key,
        "body_sha256": "",
        "received_at": NOW,
        "flow": "push",
        "request_journal_id": 1,
        "state": "received",
        "attempts": 0,
    }
    return {**dict.fromkeys(("lease_holder", "correlation_id", "wire_message_id", "code"), ""), **row, **values}


def test_the_page_says_what_waits_how_old_it_is_and_what_stands_still(engine: Engine, keys: Keys) -> None:
    at = NOW + 10 * MINUTE
    with writing(engine) as connection:
        rows = [exchange("1"), exchange("2", asked_at=NOW + MINUTE), exchange("3", state="quarantined", due_at=None)]
        connection.execute(insert(EXCHANGE), rows)
        connection.execute(insert(EXCHANGE), exchange("4", state="answered", due_at=None))
        connection.execute(insert(EXCHANGE), exchange("5", service_id=PERSON.value))
        connection.execute(insert(INBOX), [arrival("a"), arrival("b", service_id=PERSON.value)])
        connection.execute(insert(INBOX), arrival("c", state="done"))
        due.want(connection, PERSON, "gbdfl", at=NOW)
        circuits = (
            {"service_id": SERVICE, "failures": 5, "openings": 1, "open_until": at + MINUTE},
            {"service_id": PERSON.value, "failures": 0, "openings": 0, "open_until": None},
        )
        connection.execute(insert(CIRCUIT), circuits)
        counted = [("clinic", "minute", 10, 7), ("clinic", "minute", 9, 99), (PERSON.value, "day", 0, 3)]
        connection.execute(
            insert(QUOTA),
            [
                {"sender": sender, "period": period, "starts_at": NOW + minute * MINUTE, "count": count}
                for sender, period, minute, count in counted
            ],
        )
        lease = schedule_runs.order_by_hand(connection, "nightly", now=NOW, holder="h", reason="")
        assert lease is not None
        schedule_runs.finish(connection, lease, now=NOW + MINUTE)
        schedule_runs.order_by_hand(connection, "nightly", now=NOW + 2 * MINUTE, holder="h", reason="")
    page = Metrics().exposition(StoreMetrics(reader(gateway(engine, keys)), lambda: at))
    found = {(name, *(value for _, value in labels)): value for (name, labels), value in samples(page).items()}
    assert found["gateway_database_up",] == 1
    assert found["gateway_outbox_messages", SERVICE, "waiting"] == 2
    assert found["gateway_outbox_oldest_age_seconds", SERVICE, "waiting"] == 600
    assert found["gateway_outbox_messages", SERVICE, "quarantined"] == 1
    assert ("gateway_outbox_messages", SERVICE, "answered") not in found
    assert found["gateway_outbox_messages", "other", "waiting"] == 1
    assert found["gateway_inbox_messages", "OURS", "received"] == 1
    assert found["gateway_inbox_messages", "other", "received"] == 1
    assert found["gateway_due_people", "gbdfl"] == 1
    assert found["gateway_due_oldest_age_seconds", "gbdfl"] == 600
    assert found["gateway_circuit_state", SERVICE] == 2
    assert found["gateway_quota_used_requests", "minute", "clinic"] == 7
    assert found["gateway_quota_used_requests", "day", "other"] == 3
    assert found["gateway_journal_last_entry",] == 0
    assert found["gateway_database_size_bytes",] > 0
    assert found["gateway_schedule_last_success_timestamp_seconds", "nightly"] == (NOW + MINUTE).timestamp()
    assert found["gateway_schedule_last_run_failed", "nightly"] == 0
    assert found["gateway_schedule_open_runs", "nightly"] == 1
    ends = [value for labels, value in found.items() if labels[0] == "gateway_certificate_not_after_timestamp_seconds"]
    assert keys["gateway"].certificate.not_after.timestamp() in ends
    assert PERSON.value not in page.decode()


def test_quotas_are_told_of_the_senders_that_the_configuration_names_and_of_nobody_else(
    engine: Engine, keys: Keys
) -> None:
    named = {"clinic": 1, "pharmacy": 2, "mod": 3, "fund": 4}
    strangers = {f"stranger-{number}": 10 + number for number in range(50)}
    with writing(engine) as connection:
        connection.execute(
            insert(QUOTA),
            [
                {"sender": sender, "period": "minute", "starts_at": NOW, "count": count}
                for sender, count in {**named, **strangers}.items()
            ],
        )
    page = Metrics().exposition(StoreMetrics(reader(gateway(engine, keys)), lambda: NOW))
    told = {
        dict(labels)["sender"]: value
        for (name, labels), value in samples(page).items()
        if name == "gateway_quota_used_requests"
    }
    assert told == {**named, "other": 59}
