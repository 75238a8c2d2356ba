"""Which jobs there are: those built in, those of the configuration, those of the systems."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway import settings
from gateway.daemon.jobs import Action, Schedule, load_schedule
from gateway.errors import ConfigurationError, SystemFolderError
from gateway.jobs import Missed, make_job
from gateway.systems.definition import SystemDefinition
from tests.exchange.world import systems
from tests.test_settings import MINIMAL


def nothing(at: dt.datetime, system: str) -> None:
    pass


ACTIONS = (
    Action("journal.stamp", nothing, when="every 300 s"),
    Action("reports.write", nothing),
    Action("people.ask_again", nothing, of_a_system=True),
)


def load(
    folder: Path,
    text: str = "",
    found: Mapping[str, SystemDefinition] | None = None,
) -> Schedule:
    file = folder / "gateway.toml"
    file.write_text(MINIMAL + text)
    return load_schedule(settings.load(file, {}), found or {}, ACTIONS)


def with_job(**values: object) -> Mapping[str, SystemDefinition]:
    job = make_job("gbdfl.monthly", {"run": "people.ask_again", "when": "monthly 5 03:15", **values}, system="gbdfl")
    return {"gbdfl": dataclasses.replace(systems()["gbdfl"], jobs=(job,))}


def test_a_job_that_is_built_in_runs_without_a_word_and_is_changed_key_by_key(tmp_path: Path) -> None:
    assert load(tmp_path).jobs["journal_stamp"].when == "every 300 s"
    changed = load(tmp_path, '[schedule.jobs.journal_stamp]\nwhen = "daily 06:00"\n').jobs["journal_stamp"]
    assert (changed.when, changed.action) == ("daily 06:00", "journal.stamp")
    assert (
        load(tmp_path, '[schedule.jobs.journal_stamp]\nmissed = "skip"\n').jobs["journal_stamp"].missed is Missed.SKIP
    )


def test_a_job_of_ones_own_is_one_table(tmp_path: Path) -> None:
    text = '[schedule.jobs.weekly]\nrun = "reports.write"\nwhen = "cron 0 8 * * 1"\non_holiday = "next_working_day"\n'
    weekly = load(tmp_path, text).jobs["weekly"]
    new_year = dt.datetime(2026, 3, 20, tzinfo=dt.UTC)
    following = weekly.recurrence.next_after(new_year)
    # Monday 23 March 2026 is Nauryz, and two more days make up for its weekend
    assert following == dt.datetime(2026, 3, 26, 3, tzinfo=dt.UTC)


def test_a_system_brings_its_jobs(tmp_path: Path) -> None:
    job = load(tmp_path, found=with_job()).jobs["gbdfl.monthly"]
    assert (job.system, job.action) == ("gbdfl", "people.ask_again")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[schedule.jobs.x]\nrun = "reports.write"\n', "schedule.jobs.x.when"),
        ('[schedule.jobs.x]\nwhen = "never"\n', "schedule.jobs.x.run"),
        ('[schedule.jobs.x]\nrun = "reports.wrote"\nwhen = "never"\n', "schedule.jobs.x.run"),
        ('[schedule.jobs.x]\nrun = "people.ask_again"\nwhen = "never"\n', "schedule.jobs.x.run"),
        ('[schedule.jobs.x]\nrun = "reports.write"\nwhen = "hourly"\n', "schedule.jobs.x.when"),
        ('[schedule.jobs.x]\nrun = "reports.write"\nwhen = "never"\nmissed = "all"\n', "schedule.jobs.x.missed"),
    ],
)
def test_a_wrong_job_is_named_by_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, text)
    assert (refused.value.file, refused.value.key) == (str(tmp_path / "gateway.toml"), key)


def test_a_system_cannot_run_what_is_of_the_whole_program(tmp_path: Path) -> None:
    with pytest.raises(SystemFolderError, match=r"gbdfl/system\.toml, key schedule\.jobs\.monthly\.run"):
        load(tmp_path, found=with_job(run="reports.write"))
