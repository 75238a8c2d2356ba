"""`gateway registry feeds`, `lists`, `failure`, `stop`, `provisional`, `forget`, `simulate`: what operators do."""

from __future__ import annotations

import datetime as dt
import getpass
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import daemon, database, resources, settings
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, registry_app
from gateway.cli.parsing import day
from gateway.cli.progress import bars
from gateway.database import reading, writing
from gateway.errors import ConfigurationError
from gateway.exchange.import_notes import noting
from gateway.model import Iin
from gateway.registry import simulate as what_if
from gateway.registry.applications import apply_for_entry
from gateway.registry.days import known_by_default
from gateway.registry.forgetting import forget as erase
from gateway.registry.freshness import feed_ages, warn_of_overdue
from gateway.registry.imports.parts import ListState, apply_complete, incoming_lists, late_lists, warn_of_late
from gateway.registry.incidents import Incident, close_failure, declare_failure, incidents
from gateway.registry.stops import DeclaredStop, close_stop, declare_stop, declared_stops

failure_app = typer.Typer(help="Technical failures of 004 p.13, declared by people.", no_args_is_help=True)
registry_app.add_typer(failure_app, name="failure")
stop_app = typer.Typer(help="Stops of the state's contributions (004 p.9 part 2).", no_args_is_help=True)
registry_app.add_typer(stop_app, name="stop")

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; by default who is logged in.")]


@registry_app.command("feeds", epilog="Example: gateway registry feeds")
def feeds(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """When each list last came, and which should have come again (R-04). Exit 1 when one is overdue."""
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    now = daemon.now()
    with reading(daemon.open_store(loaded)) as connection:
        ages = feed_ages(connection, now, law)
    warn_of_overdue(ages)
    if as_json:
        output.print_json(
            {
                "at": now.isoformat(),
                "feeds": [
                    {
                        "feed": age.feed,
                        "frequency": age.frequency.value,
                        "cites": [str(cite) for cite in age.cites],
                        "last_received": None if age.last_received is None else age.last_received.isoformat(),
                        "overdue": age.overdue,
                    }
                    for age in ages
                ],
            }
        )
    else:
        for age in ages:
            last = (
                "never" if age.last_received is None else f"{age.last_received.astimezone(law.timezone):%Y-%m-%d %H:%M}"
            )
            state = "[red]overdue[/red]" if age.overdue else "not connected" if age.last_received is None else "in time"
            output.console.print(f"{age.feed}: {state} · last {last} · {age.frequency.value}")
    if any(age.overdue for age in ages):
        sys.exit(output.NO)


@registry_app.command("lists", epilog="Example: gateway registry lists --apply")
def lists(
    apply: Annotated[bool, typer.Option("--apply", help="Apply those of which all parts are there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists that came as signed messages in parts. Exit 1 when parts are missing too long, or a list was refused."""
    loaded = load_settings(config)
    engine = daemon.open_store(loaded)
    now = daemon.now()
    went_wrong = False
    if apply:
        database.check_revision(engine)
        with bars() as progress:
            outcomes = apply_complete(
                engine,
                law=daemon.load_regulation(loaded),
                at=now,
                folder=settings.lists_folder(loaded),
                processes=loaded.settings.registry.processes,
                progress=progress,
                contradicted=noting(daemon.load_writer(loaded)),
            )
        went_wrong = any(
            one.state is not ListState.APPLIED or (one.result is not None and one.result.refused) for one in outcomes
        )
    with reading(engine) as connection:
        found = incoming_lists(connection)
    late = late_lists(found, now, dt.timedelta(hours=loaded.settings.registry.list_late_hours))
    warn_of_late(late)
    if as_json:
        output.print_json(
            {
                "lists": [
                    {
                        "sender": one.sender,
                        "list": one.list_id,
                        "feed": one.feed,
                        "scope": one.scope,
                        "made_on": one.made_on.isoformat(),
                        "state": one.state.value,
                        "received": one.received,
                        "of": one.of,
                        "missing": list(one.missing),
                        "first_at": one.first_at.isoformat(),
                        "late": one in late,
                        "import": one.import_id,
                        "problem": one.problem,
                    }
                    for one in found
                ]
            }
        )
    else:
        for one in found:
            note = f" · [red]{one.problem}[/red]" if one.problem else ""
            note += f" · [red]late[/red], missing {', '.join(map(str, one.missing))}" if one in late else ""
            imported = "" if one.import_id is None else f" · import {one.import_id}"
            output.console.print(
                f"{one.feed} {one.scope} of {one.made_on}: {one.state.value} · {one.received} of {one.of} parts"
                f"{imported} · {one.list_id}{note}"
            )
    if late or went_wrong:
        sys.exit(output.NO)


# ---------------------------------------------------------------- failures of p.13


@failure_app.command(
    "declare",
    epilog='Example: gateway registry failure declare mem_corp --from 2026-03-01 --reason "outage, letter 12"',
)
def declare(
    system: Annotated[str, typer.Argument(metavar="SYSTEM")],
    start: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day of the failure.")],
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare that a system failed: whom its data carry keeps the status until it is put right (004 p.13)."""
    loaded = load_settings(config)
    with writing(daemon.open_store(loaded)) as connection:
        made = declare_failure(
            connection,
            system,
            _day(start, "--from"),
            reason=reason,
            by=_who(by),
            at=daemon.now(),
            law=daemon.load_regulation(loaded),
        )
    _tell_incidents([made], as_json)


@failure_app.command(
    "close",
    epilog='Example: gateway registry failure close mem_corp@2026-03-01 --fixed 2026-03-04 --reason "letter 15"',
)
def close(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `failure list` shows it.")],
    fixed: Annotated[str, typer.Option("--fixed", metavar="DAY", help="The first day without the failure.")],
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a declared failure was put right."""
    loaded = load_settings(config)
    with writing(daemon.open_store(loaded)) as connection:
        closed = close_failure(
            connection,
            name,
            _day(fixed, "--fixed"),
            reason=reason,
            by=_who(by),
            at=daemon.now(),
            law=daemon.load_regulation(loaded),
        )
    _tell_incidents([closed], as_json)


@failure_app.command("list", epilog="Example: gateway registry failure list")
def list_failures(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every declared failure: who declared and closed it, and why."""
    with reading(daemon.open_store(load_settings(config))) as connection:
        found = incidents(connection)
    _tell_incidents(found, as_json)


def _tell_incidents(found: Sequence[Incident], as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                "failures": [
                    {
                        "id": one.name,
                        "system": one.system,
                        "from": one.start.isoformat(),
                        "fixed": None if one.fixed is None else one.fixed.isoformat(),
                        "declared": {
                            "at": one.declared_at.isoformat(),
                            "by": one.declared_by,
                            "reason": one.reason,
                            "evidence": one.evidence,
                        },
                        "closed": None
                        if one.closed_at is None
                        else {"at": one.closed_at.isoformat(), "by": one.closed_by, "reason": one.closed_because},
                    }
                    for one in found
                ]
            }
        )
        return
    for one in found:
        until = "open" if one.fixed is None else f"fixed {one.fixed}, {one.closed_by}: {one.closed_because}"
        output.console.print(f"{one.name} · {one.declared_by}: {one.reason} · {until}", markup=False)
    if found:
        output.console.print("run `gateway registry due` after a change, for the people concerned")


# ---------------------------------------------------------------- stops of p.9 part 2

EvidenceOption = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The message or document that says so; by default the declaration itself."),
]


@stop_app.command(
    "declare",
    epilog='Example: gateway registry stop declare republican --from 2026-11-10 --reason "nothing came, letter 7"',
)
def declare_a_stop(
    budget: Annotated[str, typer.Argument(metavar="BUDGET", help="republican (Law 26(1)) or local (Law 26-1(1)).")],
    start: Annotated[str, typer.Option("--from", metavar="DAY", help="The day on which payment ceased.")],
    reason: ReasonOption,
    evidence: EvidenceOption = None,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare that the state does not pay: three months on, all for whom that budget pays lose the right."""
    loaded = load_settings(config)
    with writing(daemon.open_store(loaded)) as connection:
        made = declare_stop(
            connection,
            budget,
            _day(start, "--from"),
            reason=reason,
            by=_who(by),
            at=daemon.now(),
            law=daemon.load_regulation(loaded),
            evidence=evidence,
        )
    _tell_stops([made], as_json)


@stop_app.command(
    "close",
    epilog='Example: gateway registry stop close republican@2026-11-10 --resumed 2026-12-01 --reason "letter 9"',
)
def close_a_stop(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `stop list` shows it.")],
    resumed: Annotated[
        str, typer.Option("--resumed", metavar="DAY", help="First day paid again; the first day of a mistaken stop.")
    ],
    reason: ReasonOption,
    evidence: EvidenceOption = None,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that the state pays again."""
    loaded = load_settings(config)
    with writing(daemon.open_store(loaded)) as connection:
        closed = close_stop(
            connection,
            name,
            _day(resumed, "--resumed"),
            reason=reason,
            by=_who(by),
            at=daemon.now(),
            law=daemon.load_regulation(loaded),
            evidence=evidence,
        )
    _tell_stops([closed], as_json)


@stop_app.command("list", epilog="Example: gateway registry stop list")
def list_stops(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every declared stop: who declared and closed it, and why."""
    with reading(daemon.open_store(load_settings(config))) as connection:
        found = declared_stops(connection)
    _tell_stops(found, as_json)


def _tell_stops(found: Sequence[DeclaredStop], as_json: bool) -> None:
    if as_json:
        output.print_json({"stops": [_stop_document(one) for one in found]})
        return
    for one in found:
        until = "open"
        if one.resumed is not None:
            paid = "withdrawn" if one.resumed == one.start else f"paid again {one.resumed}"
            until = f"{paid}, {one.closed_by}: {one.closed_because}"
        output.console.print(f"{one.name} · {one.declared_by}: {one.reason} · {until}", markup=False)
    if found:
        output.console.print("run `gateway registry due` after a change, for the people concerned")


def _stop_document(stop: DeclaredStop) -> dict[str, Any]:
    closed = None
    if stop.closed_at is not None:
        closed = {
            "at": stop.closed_at.isoformat(),
            "by": stop.closed_by,
            "reason": stop.closed_because,
            "evidence": stop.closed_evidence,
        }
    return {
        "id": stop.name,
        "budget": stop.budget.value,
        "from": stop.start.isoformat(),
        "resumed": None if stop.resumed is None else stop.resumed.isoformat(),
        "declared": {
            "at": stop.declared_at.isoformat(),
            "by": stop.declared_by,
            "reason": stop.reason,
            "evidence": stop.evidence,
        },
        "closed": closed,
    }


# ---------------------------------------------------------------- one person


@registry_app.command(
    "provisional",
    epilog="Example: gateway registry provisional 900101300017 --category fulltime_student --applied 2026-03-01 "
    "--document study_certificate --reference 17-04",
)
def provisional(
    iin: Annotated[str, typer.Argument(metavar="IIN")],
    category: Annotated[str, typer.Option(metavar="CATEGORY")],
    applied: Annotated[str, typer.Option(metavar="DAY", help="The day of the application.")],
    reference: Annotated[
        str, typer.Option(metavar="TEXT", help="Number of the application: the evidence. Nothing about the person.")
    ],
    document: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="A document that was presented; once for each.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide an application for provisional entry (004 p.21, p.57). Exit 1 when it is refused."""
    person = Iin(iin)
    if not reference.strip() or len(reference) > 200 or person.value in reference:
        raise ConfigurationError("name the application by its number, without the IIN", key="--reference")
    loaded = load_settings(config)
    with writing(daemon.open_store(loaded)) as connection:
        decision = apply_for_entry(
            connection,
            person,
            category,
            _day(applied, "--applied"),
            documents=frozenset(document or ()),
            evidence=f"application {reference}",
            at=daemon.now(),
            law=daemon.load_regulation(loaded),
        )
    because = [str(citation) for citation in decision.because]
    if as_json:
        output.print_json(
            {
                "accepted": decision.accepted,
                "first": None if decision.first is None else decision.first.isoformat(),
                "last": None if decision.last is None else decision.last.isoformat(),
                "reason": decision.reason,
                "because": because,
                "readings": list(decision.readings),
            }
        )
    elif decision.accepted:
        output.console.print(f"[green]accepted[/green]: {decision.first} to {decision.last} · {'; '.join(because)}")
    else:
        output.console.print(f"[red]refused[/red]: {decision.reason} · {'; '.join(because)}")
    if not decision.accepted:
        sys.exit(output.NO)


@registry_app.command("forget", epilog='Example: gateway registry forget 900101300017 --reason "request 44, 2031"')
def forget(
    iin: Annotated[str, typer.Argument(metavar="IIN")],
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what is known about a person, where nothing rests on it. Exit 1 when there is a ground to keep it."""
    person = Iin(iin)
    loaded = load_settings(config)
    keep_days = loaded.settings.registry.keep_facts_days
    if keep_days is None:
        raise ConfigurationError(
            "how long facts are kept is the Fund's decision and is not set; nothing is erased without it",
            file=str(loaded.file),
            key="registry.keep_facts_days",
        )
    with writing(daemon.open_store(loaded)) as connection:
        done = erase(
            connection,
            person,
            reason=reason,
            by=_who(by),
            at=daemon.now(),
            keep_days=keep_days,
            salt=secrets.token_hex(32),
            law=daemon.load_regulation(loaded),
        )
    if as_json:
        output.print_json({"forgotten": done.number, "rows": done.rows, "digest": done.digest})
    else:
        output.console.print(f"forgotten {done.number}: {done.rows} rows erased")


# ---------------------------------------------------------------- what if


@registry_app.command("simulate", epilog="Example: gateway registry simulate --reading p11_retention_months=0")
def simulate(
    reading_: Annotated[
        list[str] | None, typer.Option("--reading", metavar="NAME=VALUE", help="Read a place otherwise.")
    ] = None,
    edition: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An act as it might become, in place of the loaded one.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only so many people, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which people are drawn.")] = 0,
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day to judge; by default today.")] = None,
    show_people: Annotated[bool, typer.Option("--show-people", help="Examples with their IIN.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count whom another reading or another edition would move, from where to where. Nothing is written."""
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    readings = dict(_reading(text) for text in reading_ or ())
    if not readings and edition is None:
        raise ConfigurationError("say what is to be different", key="--reading or --edition")
    changed = what_if.changed_law(
        resources.path("config/regulation"),
        law,
        own=loaded.settings.registry.law_folder,
        readings=readings,
        edition=edition,
    )
    now = daemon.now()
    as_of = day(on, key="--on") or law.local_day(now)
    with bars() as progress:
        found = what_if.simulate(
            daemon.open_store(loaded),
            law=law,
            changed=changed,
            day=as_of,
            known_at=known_by_default(as_of, now, law.timezone),
            sample=sample,
            seed=seed,
            processes=loaded.settings.registry.processes,
            progress=lambda people: progress("people", people, 0),
        )
    if as_json:
        output.print_json(_as_document(found, as_of, show_people=show_people))
        return
    write = output.console.print
    write(f"{as_of}: {found.people} people · {sum(found.moved.values())} would stand elsewhere")
    for (here, there), count in found.moved.most_common():
        shown = ", ".join(_example(one, show_people=show_people) for one in found.examples[here, there])
        write(f"  {count}: {_place(here)} → {_place(there)} · {shown}")
    for place, count in found.ends_moved.most_common():
        write(f"  {count}: {_place(place)}, until another day")


def _as_document(found: what_if.Simulation, as_of: dt.date, *, show_people: bool) -> dict[str, Any]:
    return {
        "day": as_of.isoformat(),
        "people": found.people,
        "moved": [
            {
                "from": _place(here),
                "to": _place(there),
                "people": count,
                "examples": [
                    {"case": one.case, **({"iin": one.iin} if show_people else {})}
                    for one in found.examples[here, there]
                ],
            }
            for (here, there), count in found.moved.most_common()
        ],
        "ends_moved": [{"at": _place(place), "people": count} for place, count in found.ends_moved.most_common()],
    }


def _place(place: what_if.Place) -> str:
    return f"{place.basis}:{place.category}" if place.category else place.basis


def _example(one: what_if.Example, *, show_people: bool) -> str:
    return f"case {one.case} {one.iin}" if show_people else f"case {one.case}"


def _reading(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError("write it as NAME=VALUE", key="--reading")
    return name, value


# ---------------------------------------------------------------- what is typed


def _day(text: str, key: str) -> dt.date:
    found = day(text, key=key)
    if found is None:  # pragma: no cover - a required option is there
        raise ConfigurationError("a day is missing", key=key)
    return found


def _who(by: str | None) -> str:
    return by or getpass.getuser()
