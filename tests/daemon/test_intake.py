"""Who may send lists is a matter of the configuration, and without a word in it nobody may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.daemon.assembly import load_intake
from gateway.errors import ConfigurationError
from gateway.fund import intake
from gateway.settings import ServiceSettings
from gateway.xml import DEFAULT_BOUNDS
from tests.exchange.world import law


def loaded(services: Mapping[str, ServiceSettings]) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(services=services), file=Path("gateway.toml"))


def test_lists_are_not_taken_in_until_somebody_may_send_them() -> None:
    for services in ({}, {intake.SERVICE_ID: ServiceSettings(senders=("memcorp",))}):
        assert load_intake(loaded(services), law(), bounds=DEFAULT_BOUNDS) == {}


def test_the_service_is_there_for_whom_the_configuration_names() -> None:
    services = {intake.SERVICE_ID: ServiceSettings(may_send={"memcorp": ("payments", "failures")})}
    assert list(load_intake(loaded(services), law(), bounds=DEFAULT_BOUNDS)) == [intake.SERVICE_ID]


def test_a_feed_that_does_not_exist_is_named_with_its_key() -> None:
    services = {intake.SERVICE_ID: ServiceSettings(may_send={"memcorp": ("payment",)})}
    with pytest.raises(ConfigurationError, match=r"may_send\.memcorp.*payment") as wrong:
        load_intake(loaded(services), law(), bounds=DEFAULT_BOUNDS)
    assert wrong.value.key == "services.FUND_LIST_INTAKE.may_send.memcorp"
