"""`gateway exchange`: what an operator sees and does, and what of a person it shows."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade, writing
from gateway.exchange import outbox
from gateway.exchange.journal import Journal
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG
from tests.exchange.fleet import put_row
from tests.exchange.world import PERSON

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(
        CONFIG.format(database_url=f"sqlite:///{tmp_path / 'store.sqlite'}", sync_url="http://127.0.0.1:9/")
    )
    return file


@pytest.fixture
def engine(config: Path) -> Engine:
    engine = engine_for(f"sqlite:///{config.parent / 'store.sqlite'}")
    upgrade(engine)
    for message_id, age in (("old", 3 * HOUR), ("new", HOUR)):
        put_row(engine, message_id, subject=PERSON, asked_at=NOW - age, business_key="key of the person")
        with writing(engine) as connection:
            outbox.quarantine(connection, message_id, code="peer_unavailable", lease=None)
    put_row(engine, "waiting", asked_at=NOW, system="zags", service_id="Z")
    return engine


def listed(run: Run, config: Path, *options: str) -> list[str]:
    ran = run("exchange", "list", "-c", config, "--json", *options)
    assert PERSON.value not in ran.stdout
    return [json.loads(line)["message_id"] for line in ran.stdout.splitlines()]


def test_rows_are_listed_by_state_system_code_and_age(run: Run, config: Path, engine: Engine) -> None:
    assert listed(run, config) == ["old", "new", "waiting"]
    assert listed(run, config, "--state", "quarantined") == ["old", "new"]
    assert listed(run, config, "--older-than", "2h") == ["old"]
    assert listed(run, config, "--system", "zags") == listed(run, config, "--service", "Z") == ["waiting"]
    assert listed(run, config, "--code", "peer_unavailable", "--limit", "1") == ["old"]
    text = run("exchange", "list", "-c", config).stdout
    assert "a person must" in text
    assert PERSON.value not in text


def test_an_age_that_is_none_says_how_to_write_one(run: Run, config: Path, engine: Engine) -> None:
    ran = run("exchange", "list", "-c", config, "--older-than", "long ago")
    assert ran.code == 2
    assert "2h" in ran.stderr


def test_a_row_is_shown_with_its_journal_and_the_person_only_on_request(run: Run, config: Path, engine: Engine) -> None:
    shown = run("exchange", "show", "old", "-c", config, "--json").document
    assert (shown["state"], shown["code"]) == ("quarantined", "peer_unavailable")
    assert [entry["step"] for entry in shown["journal"]] == [8]
    assert PERSON.value not in repr(shown)
    assert "key of the person" not in repr(shown)
    assert run("exchange", "show", "old", "-c", config, "--json", "--person").document["subject"] == PERSON.value
    text = run("exchange", "show", "old", "-c", config).stdout
    assert "quarantined" in text
    assert PERSON.value not in text
    missing = run("exchange", "show", "nobody", "-c", config)
    assert (missing.code, "gateway exchange list" in missing.stderr) == (2, True)


def test_retry_shows_the_count_first_and_does_nothing_without_a_yes(
    run: Run, config: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    options = ("-c", config, "--state", "quarantined", "--reason", "the outage is over")
    refused = run("exchange", "retry", *options)
    assert refused.code == 1
    assert "retry: 2 rows" in refused.stderr
    assert listed(run, config, "--state", "quarantined") == ["old", "new"]
    done = run("exchange", "retry", *options, "--yes", "--json")
    assert done.document == {"act": "retry", "changed": ["new", "old"], "left": {}}
    assert listed(run, config, "--state", "waiting") == ["old", "new", "waiting"]
    assert [entry.kind for entry in Journal(engine).list_entries(message_id="old")] == ["note", "request"]


@pytest.mark.parametrize(("what", "state"), [("settle", "settled"), ("drop", "dropped")])
def test_rows_are_closed_by_their_ids_and_what_cannot_be_is_named(
    run: Run, config: Path, engine: Engine, what: str, state: str
) -> None:
    ran = run("exchange", what, "old", "nobody", "-c", config, "--reason", "asked by telephone", "--yes")
    assert ran.code == 1
    assert "left nobody: there is no such row" in ran.stdout
    assert f"{what}: 1 of 2" in ran.stdout
    assert listed(run, config, "--state", state) == ["old"]


def test_an_act_needs_a_reason_and_something_to_act_on(run: Run, config: Path, engine: Engine) -> None:
    assert run("exchange", "drop", "old", "-c", config, "--reason", f"about {PERSON.value}", "--yes").code == 2
    ran = run("exchange", "drop", "-c", config, "--reason", "why not", "--yes")
    assert (ran.code, "--state" in ran.stderr) == (2, True)
    assert listed(run, config) == ["old", "new", "waiting"]
