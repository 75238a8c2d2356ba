"""What a job is: an action that the program knows by name, and when it is run. Pure.

Jobs stand in the configuration (`[schedule.jobs.NAME]`), in system.toml (the same), and come with the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from gateway.recurrence import OnHoliday, Recurrence, parse_recurrence
from gateway.working_days import WorkingCalendar

_DEFAULT_MAX_AGE_S: Final = 7 * 86_400
_WEEKENDS_ONLY: Final = WorkingCalendar()
_Choice = TypeVar("_Choice", bound=StrEnum)


class Missed(StrEnum):
    """What becomes of runs whose moment went by while no process was there to run them."""

    #: one run for all of them
    RUN_ONCE = "run_once"
    #: each of them, the oldest first
    RUN_ALL = "run_all"
    #: none of them; the next one that is on time
    SKIP = "skip"


class JobError(ValueError):
    """A key of a job is wrong; whoever read the file says which file."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, and when."""

    name: str
    #: name of an action that the program knows
    action: str
    #: as it was written; `recurrence` is what it means
    when: str
    recurrence: Recurrence
    on_holiday: OnHoliday = OnHoliday.RUN
    missed: Missed = Missed.RUN_ONCE
    #: what was missed longer ago than this is skipped whatever `missed` says
    missed_max_age_s: int = _DEFAULT_MAX_AGE_S
    #: slug of the system that it is about; "" for a job of the whole program
    system: str = ""

    def on(self, calendar: WorkingCalendar) -> Job:
        """The same job by that calendar."""
        return replace(self, recurrence=parse_recurrence(self.when, on_holiday=self.on_holiday, calendar=calendar))


def make_job(name: str, values: Mapping[str, object], *, system: str = "") -> Job:
    """A job from the keys of docs/reference/schedules.md, by weekends alone until `Job.on` gives it a calendar.

    Raises JobError that names the key.
    """
    texts = {"run": "", "when": "", "on_holiday": OnHoliday.RUN.value, "missed": Missed.RUN_ONCE.value}
    for key, default in texts.items():
        value = values.get(key, default)
        if not isinstance(value, str) or not value:
            raise JobError(key, "is a text that has to be there")
        texts[key] = value
    max_age_s = values.get("missed_max_age_s", _DEFAULT_MAX_AGE_S)
    if not isinstance(max_age_s, int) or isinstance(max_age_s, bool) or max_age_s < 0:
        raise JobError("missed_max_age_s", "is a whole number of seconds, 0 or more")
    for key in values:
        if key not in texts and key != "missed_max_age_s":
            raise JobError(key, "is not a key of a job; see docs/reference/schedules.md")
    on_holiday = _one_of(OnHoliday, "on_holiday", texts)
    missed = _one_of(Missed, "missed", texts)
    try:
        recurrence = parse_recurrence(texts["when"], on_holiday=on_holiday, calendar=_WEEKENDS_ONLY)
    except ValueError as error:
        raise JobError("when", str(error)) from None
    return Job(name, texts["run"], texts["when"], recurrence, on_holiday, missed, max_age_s, system)


def _one_of(of: type[_Choice], key: str, texts: Mapping[str, str]) -> _Choice:
    try:
        return of(texts[key])
    except ValueError:
        raise JobError(key, f"is one of {', '.join(of)}") from None
