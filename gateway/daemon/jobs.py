"""Which jobs this program has, and what each of them does: the configuration, system.toml, and those built in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway import resources, settings
from gateway.errors import ConfigurationError, SystemFolderError
from gateway.jobs import Job, JobError, make_job
from gateway.systems.definition import SystemDefinition
from gateway.working_days import WorkingCalendar, load_working_calendar


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the program can be told to do by name, with the moment and the job's system ("" for none).

    What it raises as GatewayError is the run's outcome. It is run once for each run of a job unless its process dies
    on the way: then it is run again, so it must stand being begun twice.
    """

    name: str
    work: Callable[[dt.datetime, str], None]
    #: only jobs of a system can run it; the others, only jobs of none
    of_a_system: bool = False
    #: the job that comes with the program; "": none does
    when: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The jobs by name, and what they do."""

    jobs: Mapping[str, Job]
    actions: Mapping[str, Action]
    calendar: WorkingCalendar


#: what the keys of a job in the configuration are called when one is left out
_UNSET: Final = ""


def load_schedule(
    loaded: settings.LoadedSettings, systems: Mapping[str, SystemDefinition], actions: Iterable[Action]
) -> Schedule:
    """Every job, checked. Raises ConfigurationError or SystemFolderError naming file and key."""
    by_name = {action.name: action for action in actions}
    calendar = load_working_calendar(resources.path("config/calendar"))
    jobs: dict[str, Job] = {}
    written = dict(loaded.settings.schedule.jobs)
    for action in by_name.values():
        if action.when:
            name = action.name.replace(".", "_")
            values: dict[str, Any] = {"run": action.name, "when": action.when}
            jobs[name] = _job(name, {**values, **_written(written.pop(name, None))}, loaded, by_name)
    for name, section in written.items():
        jobs[name] = _job(name, _written(section), loaded, by_name)
    for system in systems.values():
        for job in system.jobs:
            _check_action(job, by_name, f"{system.slug}/system.toml", of_a_system=True)
            jobs[job.name] = job
    return Schedule({name: job.on(calendar) for name, job in sorted(jobs.items())}, by_name, calendar)


def _written(section: settings.JobSettings | None) -> dict[str, Any]:
    if section is None:
        return {}
    return {key: value for key, value in section.model_dump(exclude_unset=True).items() if value != _UNSET}


def _job(name: str, values: Mapping[str, Any], loaded: settings.LoadedSettings, actions: Mapping[str, Action]) -> Job:
    try:
        job = make_job(name, values)
    except JobError as error:
        raise ConfigurationError(str(error), file=str(loaded.file), key=f"schedule.jobs.{name}.{error.key}") from None
    _check_action(job, actions, str(loaded.file), of_a_system=False)
    return job


def _check_action(job: Job, actions: Mapping[str, Action], file: str, *, of_a_system: bool) -> None:
    usable = sorted(name for name, action in actions.items() if action.of_a_system == of_a_system)
    if job.action in usable:
        return
    why = f"{job.action!r} cannot be run here; write one of: {', '.join(usable) or 'nothing is configured to be run'}"
    if of_a_system:
        raise SystemFolderError(f"{file}, key schedule.jobs.{job.name.partition('.')[2]}.run: {why}")
    raise ConfigurationError(why, file=file, key=f"schedule.jobs.{job.name}.run")
