"""Answers of before residency was told are not served on: whom it may concern is computed again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, insert, select

from gateway import database
from gateway.database import engine_for, reading, upgrade, writing
from gateway.registry.tables import FACT, STANDING_TOUCHED, TREATY_INTERVAL
from tests.registry.imports.lists import at, person


@pytest.fixture
def before(database_url: str) -> Iterator[Engine]:
    """A database of the revision before."""
    engine = engine_for(database_url)
    configuration = Config()
    configuration.set_main_option("script_location", str(database._MIGRATIONS))
    with writing(engine) as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0008")
    yield engine
    engine.dispose()


def answered(number: int, code: str | None, version: int = 1, kind: str = "person") -> dict[str, object]:
    signed = {"message_id": "m", "signer_subject": "CN=Register", "signer_serial": "0a", "received_at": at(1)}
    told = {"kind": kind, "key": kind, "version": version, "present": True, "valid_from": None, "valid_to": None}
    return {"iin": person(number), "system": "gbdfl", **told, "attributes": {"citizenship_code": code}, **signed}


def test_foreigners_and_who_was_on_the_treaty_list_are_marked_and_no_citizen_is(before: Engine) -> None:
    listed = {"first_day": dt.date(2026, 2, 1), "version": 1, "import_id": 1, "received_at": at(1)}
    with writing(before) as connection:
        connection.execute(
            insert(FACT),
            [answered(1, "398"), answered(2, "643"), answered(3, None), answered(4, "643", kind="address")],
        )
        connection.execute(insert(TREATY_INTERVAL), [{"iin": person(number), **listed} for number in (2, 5, 6)])
        connection.execute(insert(STANDING_TOUCHED), [{"iin": person(6), "touched_at": at(1)}])
    upgrade(before)
    with reading(before) as connection:
        marks = {row.iin: row.touched_at for row in connection.execute(select(STANDING_TOUCHED))}
    assert set(marks) == {person(number) for number in (2, 5, 6)}
    assert marks[person(6)] == at(1)
