"""`gateway exchange list|show|retry|settle|drop`: what we sent, and a person's word about it."""

from __future__ import annotations

import datetime as dt
import getpass
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Engine

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, exchange_app, load_settings
from gateway.cli.output import console, print_json
from gateway.daemon.journalling import load_writer
from gateway.database import reading
from gateway.errors import ConfigurationError, OperatorError
from gateway.exchange import operator, outbox
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.operator import Act
from gateway.exchange.outbox import Exchange, State

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

StateOption = Annotated[list[State] | None, typer.Option("--state", help="Only these; may be repeated.")]
SystemOption = Annotated[str, typer.Option(help="Slug of a register.")]
ServiceOption = Annotated[str, typer.Option(help="A serviceId.")]
CodeOption = Annotated[str, typer.Option(help="Why there is no answer, for example peer_unavailable.")]
AgeOption = Annotated[str, typer.Option("--older-than", help="Made longer ago than 90s, 15m, 2h or 3d.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Message ids; or choose by the options.")]
ReasonOption = Annotated[str, typer.Option(help="Why: journalled, so it names no person.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@exchange_app.command("list", epilog="Example: gateway exchange list --state quarantined --older-than 2h")
def list_rows(
    state: StateOption = None,
    system: SystemOption = "",
    service: ServiceOption = "",
    code: CodeOption = "",
    older_than: AgeOption = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rows that are not closed (or those in the states asked for), the oldest first."""
    engine, _ = _store(config)
    rows = _find(engine, state or sorted(outbox.OPEN), system, service, code, older_than, limit)
    if as_json:
        for row in rows:
            print_json(operator.as_dict(row))
        return
    table = Table("asked", "state", "system", "code", "tries", "due", box=None)
    table.add_column("message id", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.asked_at:%Y-%m-%d %H:%M:%S}",
            row.state,
            escape(row.system or row.service_id),
            escape(row.code),
            str(row.attempts),
            "a person must" if row.due_at is None and row.state in _FOR_PEOPLE else _shown(row.due_at),
            escape(row.message_id),
        )
    console.print(table)
    console.print(f"{len(rows)} rows" + (f", the first {limit}" if len(rows) == limit else ""))


@exchange_app.command("show", epilog="Example: gateway exchange show 5f0c… --person")
def show(
    message_id: Annotated[str, typer.Argument(help="Our message id.")],
    person: Annotated[bool, typer.Option("--person", help="Also whom it is about.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One row with its ids, attempts and journal entries: all that is needed to decide about it."""
    engine, journal = _store(config)
    with reading(engine) as connection:
        row = outbox.get(connection, message_id)
    if row is None:
        raise OperatorError(f"there is no exchange {message_id}; see `gateway exchange list`", code="unknown_exchange")
    entries = Journal(engine, journal.seal).list_entries(message_id=message_id)
    document = operator.as_dict(row, with_person=person)
    if as_json:
        print_json({**document, "journal": [entry.as_dict() for entry in entries]})
        return
    for name, value in document.items():
        if value not in (None, ""):
            console.print(f"{name}: {escape(str(value))}")
    table = Table("journal", "at", "", "kind", "verdict", "note", box=None)
    for entry in reversed(entries):
        table.add_row(
            str(entry.id),
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            entry.direction,
            entry.kind,
            escape(entry.verdict),
            escape(entry.note),
        )
    console.print(table)


@exchange_app.command("retry", epilog='Example: gateway exchange retry --state quarantined --reason "outage is over"')
def retry(
    reason: ReasonOption,
    message_ids: IdsArgument = None,
    state: StateOption = None,
    system: SystemOption = "",
    service: ServiceOption = "",
    code: CodeOption = "",
    older_than: AgeOption = "",
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the same bytes again under the same id. What may have arrived may then arrive twice."""
    _act(Act.RETRY, reason, message_ids, state, (system, service, code, older_than), yes, config, as_json)


@exchange_app.command("settle", epilog='Example: gateway exchange settle 5f0c… --reason "confirmed by telephone"')
def settle(
    reason: ReasonOption,
    message_ids: IdsArgument = None,
    state: StateOption = None,
    system: SystemOption = "",
    service: ServiceOption = "",
    code: CodeOption = "",
    older_than: AgeOption = "",
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close rows of which it is known elsewhere how they ended. Nothing is applied to the registry."""
    _act(Act.SETTLE, reason, message_ids, state, (system, service, code, older_than), yes, config, as_json)


@exchange_app.command("drop", epilog='Example: gateway exchange drop 5f0c… --reason "asked anew since"')
def drop(
    reason: ReasonOption,
    message_ids: IdsArgument = None,
    state: StateOption = None,
    system: SystemOption = "",
    service: ServiceOption = "",
    code: CodeOption = "",
    older_than: AgeOption = "",
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give rows up. They stay in the journal and in the list of dropped rows."""
    _act(Act.DROP, reason, message_ids, state, (system, service, code, older_than), yes, config, as_json)


_FOR_PEOPLE: Final = frozenset({State.UNKNOWN, State.QUARANTINED})


def _act(
    what: Act,
    reason: str,
    message_ids: Sequence[str] | None,
    state: Sequence[State] | None,
    filters: tuple[str, str, str, str],
    yes: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    operator.check_reason(reason)
    engine, journal = _store(config)
    chosen = list(message_ids or ())
    if not chosen:
        if not state and not any(filters):
            raise ConfigurationError("name message ids, or choose rows with --state and its neighbours", key="rows")
        states = set(state or ()) or operator.POSSIBLE_FROM[what]
        chosen = [row.message_id for row in _find(engine, sorted(states), *filters, None)]
    if not yes:
        # on stderr: --json has stdout for itself
        output.stderr.print(f"{what}: {len(chosen)} row{'' if len(chosen) == 1 else 's'}")
        typer.confirm("Go on?", abort=True, err=True)
    done = operator.act(engine, journal, what, chosen, reason=reason, by=getpass.getuser(), now=daemon.now())
    if as_json:
        print_json({"act": str(what), "changed": list(done.changed), "left": dict(done.left)})
    else:
        console.print(f"{what}: {len(done.changed)} of {len(chosen)}")
        for message_id, why in done.left.items():
            console.print(f"  left {escape(message_id)}: {escape(why)}")
    if done.left:
        raise typer.Exit(output.NO)


def _find(
    engine: Engine,
    states: Sequence[State],
    system: str,
    service: str,
    code: str,
    older_than: str,
    limit: int | None,
) -> tuple[Exchange, ...]:
    with reading(engine) as connection:
        return outbox.find(
            connection,
            states=states,
            system=system,
            service_id=service,
            code=code,
            asked_before=None if not older_than else daemon.now() - _duration(older_than),
            limit=limit,
        )


def _duration(text: str) -> dt.timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ConfigurationError("write an age as 90s, 15m, 2h or 3d", key="--older-than")
    return dt.timedelta(seconds=int(found[1]) * _UNITS_S[found[2]])


def _shown(at: dt.datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _store(config: Path | None) -> tuple[Engine, JournalWriter]:
    loaded = load_settings(config)
    engine = daemon.open_store(loaded)
    return engine, load_writer(loaded)
