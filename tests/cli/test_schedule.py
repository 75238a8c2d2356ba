"""`gateway schedule list` and `run`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import Run
from tests.end_to_end.program import CONFIG


@pytest.fixture
def config(pki: ThrowawayPki, tmp_path: Path, run: Run) -> Path:
    file = tmp_path / "gateway.toml"
    text = CONFIG.format(database_url=f"sqlite:///{tmp_path / 'gateway.sqlite'}", sync_url="http://127.0.0.1:1/")
    jobs = '[schedule.jobs.in_1999]\nrun = "schedule.forget"\nwhen = "cron 0 6 * * 1-5"\non_holiday = "skip"\n'
    file.write_text(text.replace("pki/", f"{pki.directory}/") + jobs)
    assert run("db", "upgrade", "-c", file).code == 0
    return file


def test_list_shows_every_job_its_next_run_and_what_becomes_of_missed_ones(config: Path, run: Run) -> None:
    listed = run("schedule", "list", "-c", config, "--json")
    jobs = {document["job"]: document for document in map(json.loads, listed.stdout.splitlines())}
    assert {"in_1999", "journal_prune", "schedule_forget"} <= set(jobs)
    # 21 November 2026 is a Saturday
    following = dt.datetime.fromisoformat(jobs["in_1999"]["next"])
    assert following == dt.datetime(2026, 11, 23, 1, tzinfo=dt.UTC)
    assert (jobs["in_1999"]["missed"], jobs["in_1999"]["last"]) == ("run_once", None)
    shown = run("schedule", "list", "-c", config)
    assert "2026-11-23 06:00" in shown.stdout
    assert "never ran" in shown.stdout


def test_run_does_it_now_and_keeps_the_reason(config: Path, run: Run) -> None:
    done = run("schedule", "run", "schedule_forget", "--reason", "before the audit", "-c", config, "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    assert (done.code, document) == (0, {"job": "schedule_forget", "done": True, "code": ""})
    listed = run("schedule", "list", "-c", config, "--json").stdout.splitlines()
    last = next(one["last"] for one in map(json.loads, listed) if one["job"] == "schedule_forget")
    assert (last["origin"], last["state"], last["reason"]) == ("hand", "done", "before the audit")


def test_a_job_that_there_is_not_is_told_those_that_there_are(config: Path, run: Run) -> None:
    refused = run("schedule", "run", "nightly", "-c", config)
    assert refused.code == 2
    assert "schedule_forget" in refused.stderr
