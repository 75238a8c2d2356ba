"""Who may send lists is a matter of the configuration, and without a word in it nobody may."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway import settings
from gateway.daemon.actions import load_actions
from gateway.daemon.assembly import load_intake
from gateway.database import writing
from gateway.errors import ConfigurationError
from gateway.exchange.journal import Journal, JournalWriter
from gateway.fund import intake
from gateway.model import Provenance
from gateway.registry.imports.parts import take_part
from gateway.settings import ServiceSettings
from gateway.xml import DEFAULT_BOUNDS
from tests.exchange.world import NOW, law
from tests.fund.test_intake import part, read
from tests.registry.imports.lists import pensioner, removed


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


def test_the_daemon_applies_a_list_whose_parts_are_all_there_and_notes_what_contradicts_itself_in_it(
    engine: Engine, tmp_path: Path
) -> None:
    people = [pensioner(1), removed(pensioner(1), "2026-03-01")]
    lines = [f"{one['iin']},pension_recipient,2020-05-01,enbek_is" for one in people]
    whole = f"{lines[0]},,,\n{lines[1]},2026-03-01,enbek_is,left\n".encode()
    said: Any = read({"listPart": part(people, digest=hashlib.sha256(whole).hexdigest())})
    with writing(engine) as connection:
        take_part(connection, said, Provenance("m1", "memcorp", "CN=X", "0f", NOW))
    shipped = settings.load(Path(__file__).parents[2] / "config" / "gateway.toml", {})
    here = replace(shipped, file=tmp_path / "gateway.toml")
    actions = {one.name: one for one in load_actions(here, engine, JournalWriter(), None, law())}
    for _ in range(2):
        actions["registry.lists"].work(NOW, "")
    (note,) = Journal(engine).list_entries()
    assert (note.kind, note.verdict, note.at) == ("note", "records_contradict", NOW)
