"""`gateway inbox`: what an operator sees of messages that came, and does about them."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade, writing
from gateway.exchange import inbox, inbox_work
from gateway.exchange.inbox import Arrived, InboxState
from gateway.exchange.journal import Journal
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(
        CONFIG.format(database_url=f"sqlite:///{tmp_path / 'store.sqlite'}", sync_url="http://127.0.0.1:9/")
    )
    return file


@pytest.fixture
def engine(config: Path) -> Engine:
    """One message in quarantine, one that waits."""
    engine = engine_for(f"sqlite:///{config.parent / 'store.sqlite'}")
    upgrade(engine)
    arrivals = [
        Arrived("shep", "SERVICE", name, "d" * 64, NOW, "push", 1, state=InboxState.RECEIVED, due_at=at)
        for name, at in (("poison", NOW), ("later", NOW + dt.timedelta(hours=1)))
    ]
    with writing(engine) as connection:
        inbox.register_many(connection, arrivals)
        (row,) = inbox_work.lease(connection, now=NOW, limit=5, length=dt.timedelta(minutes=1), holder="w")
        inbox_work.quarantine(connection, row, code="unknown_code")
    return engine


def rows(run: Run, config: Path) -> dict[str, dict[str, object]]:
    ran = run("inbox", "list", "-c", config, "--json")
    return {row["message_id"]: row for row in map(json.loads, ran.stdout.splitlines())}


def test_what_is_not_done_is_listed_with_the_reason(run: Run, config: Path, engine: Engine) -> None:
    listed = rows(run, config)
    assert [listed[name]["state"] for name in ("poison", "later")] == ["quarantined", "received"]
    assert (listed["poison"]["code"], listed["poison"]["journal_id"]) == ("unknown_code", 1)
    assert "unknown_code" in run("inbox", "list", "-c", config).stdout


def test_a_message_is_worked_on_again_with_all_its_attempts(run: Run, config: Path, engine: Engine) -> None:
    key = rows(run, config)["poison"]["key"]
    ran = run("inbox", "retry", key, "-c", config, "--reason", "the mapper was mended", "--yes", "--json")
    assert ran.document == {"act": "retry", "changed": [key]}
    row = rows(run, config)["poison"]
    assert (row["state"], row["attempts"], row["due_at"]) == ("received", 0, NOW.isoformat())
    (note,) = Journal(engine).list_entries(message_id="poison")
    assert note.verdict == "retry"
    assert "the mapper was mended (was unknown_code)" in note.note


def test_a_message_is_given_up_and_stays_known(run: Run, config: Path, engine: Engine) -> None:
    key = rows(run, config)["poison"]["key"]
    assert "drop: 1 of 1" in run("inbox", "drop", key, "-c", config, "--reason", "by letter", "--yes").stdout
    assert list(rows(run, config)) == ["later"]


def test_what_is_not_in_quarantine_is_left_alone(run: Run, config: Path, engine: Engine) -> None:
    key = rows(run, config)["later"]["key"]
    assert run("inbox", "drop", key, "-c", config, "--reason", "impatience", "--yes").code == 1
    assert list(rows(run, config)) == ["poison", "later"]


def test_nothing_happens_without_a_reason_or_a_yes(
    run: Run, config: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    key = rows(run, config)["poison"]["key"]
    assert run("inbox", "retry", key, "-c", config, "--reason", " ", "--yes").code == 2
    assert run("inbox", "retry", key, "-c", config, "--reason", "why not").code != 0
    assert rows(run, config)["poison"]["state"] == "quarantined"
