"""`gateway schedule list|run`."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, schedule_app
from gateway.database import reading
from gateway.exchange.schedule_runs import Run, last_runs, last_successes
from gateway.jobs import Job
from gateway.recurrence import CIVIL_TIME, OnHoliday


@schedule_app.command("list", epilog="Example: gateway schedule list")
def list_jobs(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every job: when it runs next, how it went last, what becomes of missed runs."""
    with daemon.assemble(load_settings(config)) as gateway:
        now, schedule = daemon.now(), gateway.schedule
        with reading(gateway.engine) as connection:
            runs, successes = last_runs(connection), last_successes(connection)
    documents = [as_document(job, runs.get(job.name), successes.get(job.name), now) for job in schedule.jobs.values()]
    unknown_years = {now.year, (now + dt.timedelta(days=31)).year} - schedule.calendar.years
    if unknown_years and any(job.on_holiday is not OnHoliday.RUN for job in schedule.jobs.values()):
        years = ", ".join(str(year) for year in sorted(unknown_years))
        output.stderr.print(f"[yellow]note[/yellow] the calendar knows no holidays of {years}, only weekends")
    if as_json:
        for document in documents:
            output.print_json(document)
        return
    table = Table("job", "runs", "when", "next", "last", "outcome", "missed runs", box=None)
    for document in documents:
        last = document["last"] or {}
        table.add_row(
            escape(document["job"]),
            escape(document["run"]),
            escape(document["when"]),
            _civil(document["next"]),
            _civil(last.get("started_at")),
            " ".join(part for part in (last.get("state", "never ran"), last.get("code", "")) if part),
            document["missed"],
        )
    output.console.print(table)


@schedule_app.command("run", epilog='Example: gateway schedule run journal_stamp --reason "before the audit"')
def run_job(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A name that `gateway schedule list` shows.")],
    reason: Annotated[str, typer.Option(help="Why by hand; kept with the run.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a job now, whatever its schedule says. The run is recorded; the next one comes when it would have come."""
    with daemon.assemble(load_settings(config)) as gateway, output.working(f"running {job}"):
        code = daemon.JobRunner(gateway.engine, gateway.schedule, daemon.now).run_by_hand(job, reason=reason)
    if as_json:
        output.print_json({"job": job, "done": not code, "code": code})
    else:
        output.console.print(f"{escape(job)}: [red]failed[/red] ({code})" if code else f"{escape(job)}: done")
    if code:
        sys.exit(output.NO)


def as_document(job: Job, last: Run | None, success: dt.datetime | None, now: dt.datetime) -> dict[str, Any]:
    """One job of `gateway schedule list --json` (docs/reference/contract.md)."""
    following = job.recurrence.next_after(now)
    return {
        "job": job.name,
        "run": job.action,
        "system": job.system,
        "when": job.when,
        "on_holiday": job.on_holiday.value,
        "missed": job.missed.value,
        "missed_max_age_s": job.missed_max_age_s,
        "next": following.isoformat() if following else None,
        "last_success": success.isoformat() if success else None,
        "last": None
        if last is None
        else {
            "scheduled_at": last.scheduled_at.isoformat(),
            "origin": last.origin.value,
            "state": last.state.value,
            "code": last.code,
            "stands_for": last.stands_for,
            "attempts": last.attempts,
            "started_at": last.started_at.isoformat() if last.started_at else None,
            "finished_at": last.finished_at.isoformat() if last.finished_at else None,
            "reason": last.reason,
        },
    }


def _civil(moment: str | None) -> str:
    if not moment:
        return "–"
    return f"{dt.datetime.fromisoformat(moment).astimezone(CIVIL_TIME):%Y-%m-%d %H:%M}"
