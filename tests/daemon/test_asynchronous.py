"""Which services are fetched, how often, and that one run of the job takes what there is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.daemon.asynchronous import fetch_actions, fetched_services
from gateway.exchange.asynchronous.fetching import FetchReport, Source
from gateway.settings import ServiceSettings, SignerSettings
from tests.exchange.asynchronous.world import SERVICE, SYSTEM, async_folder
from tests.exchange.world import NOW


def loaded(url: str = "http://shep.example/bip-async/", **changes: Any) -> Any:
    options = {"registers": {}, "services": {}, **changes}
    return SimpleNamespace(settings=SimpleNamespace(shep=SimpleNamespace(async_url=url), **options))


def test_a_register_is_fetched_when_its_folder_says_poll(tmp_path: Path) -> None:
    systems = async_folder(tmp_path, delivery="poll")
    (one,) = fetched_services(loaded(), systems, {})
    assert (one.name, one.source, one.interval_s) == (SYSTEM, Source(SERVICE, 20), 60)


@pytest.mark.parametrize(("folder", "setting", "count"), [("push", "poll", 1), ("poll", "push", 0), ("push", "", 0)])
def test_the_configuration_says_more_than_the_folder(tmp_path: Path, folder: str, setting: Any, count: int) -> None:
    systems = async_folder(tmp_path, delivery=folder)
    registers = {SYSTEM: SignerSettings(delivery=setting, poll_interval_s=30, poll_amount=5)}
    found = fetched_services(loaded(registers=registers), systems, {})
    assert [(one.source.amount, one.interval_s) for one in found] == [(5, 30)] * count


def test_a_service_of_ours_is_fetched_when_the_configuration_says_so() -> None:
    services = {"OURS": ServiceSettings(delivery="poll")}
    assert [one.name for one in fetched_services(loaded(services=services), {}, {"OURS": None, "OTHER": None})] == [
        "ours"
    ]


def test_without_an_address_nothing_is_fetched(tmp_path: Path) -> None:
    assert fetched_services(loaded(url=""), async_folder(tmp_path, delivery="poll"), {}) == ()


@pytest.mark.parametrize(
    ("reports", "calls"),
    [
        ([FetchReport(2, 2, notified=2), FetchReport(1, 1, notified=1), FetchReport()], 3),
        ([FetchReport(2, 2, notified=0)], 1),
        ([FetchReport(2, 0, 2, notified=2)], 1),
    ],
)
def test_a_run_goes_on_while_there_is_something_new(tmp_path: Path, reports: list[FetchReport], calls: int) -> None:
    left = list(reports)
    fetcher: Any = SimpleNamespace(fetch=lambda _: left.pop(0))
    (action,) = fetch_actions(fetched_services(loaded(), async_folder(tmp_path, delivery="poll"), {}), fetcher)
    action.work(NOW, "")
    assert (action.name, action.when, len(reports) - len(left)) == (f"fetch.{SYSTEM}", "every 60 s", calls)
