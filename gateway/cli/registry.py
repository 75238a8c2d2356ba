"""`gateway registry standing`."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, registry_app
from gateway.cli.parsing import day, moment
from gateway.database import reading
from gateway.model import Iin
from gateway.registry.days import known_by_default
from gateway.registry.people import heard_of as anything_heard_of
from gateway.registry.standing import Standing
from gateway.registry.store import standing_of


@registry_app.command("standing", epilog="Example: gateway registry standing 900101300017 --on 2026-03-01")
def standing(
    iin: Annotated[str, typer.Argument(metavar="IIN")],
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day asked about; by default today.")] = None,
    known_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="By what was known then; by default the end of that day, or now.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Insured or not on a day, on what basis, until when, and why."""
    person = Iin(iin)
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    now = daemon.now()
    as_of = day(on, key="--on") or law.local_day(now)
    known = moment(known_at, key="--known-at") or known_by_default(as_of, now, law.timezone)
    with reading(daemon.open_store(loaded)) as connection:
        answer = standing_of(connection, person, as_of=as_of, known_at=known, law=law)
        heard_of = anything_heard_of(connection, person, known)
    document = as_document(person, answer, known)
    if as_json:
        output.print_json(document)
    else:
        _show(answer, heard_of=heard_of)
    if not answer.insured:
        # a person of whom nothing is known is not a person who is known to have no right
        sys.exit(output.NO if heard_of else output.UNDECIDED)


def as_document(person: Iin, answer: Standing, known_at: dt.datetime) -> dict[str, Any]:
    """The result of `gateway registry standing --json` (docs/reference/contract.md)."""
    return {
        "iin": person.value,
        "as_of": answer.as_of.isoformat(),
        "known_at": known_at.isoformat(),
        "insured": answer.insured,
        "basis": str(answer.basis),
        "category": answer.category,
        "budget": answer.budget,
        "valid_until": answer.valid_until.isoformat() if answer.valid_until else None,
        "because": [str(citation) for citation in answer.because],
        "evidence": list(answer.evidence),
        "readings": list(answer.readings),
    }


def _show(answer: Standing, *, heard_of: bool) -> None:
    write = output.console.print
    if not heard_of:
        write("[yellow]not known[/yellow]: no register was asked, and no list names the person; see `gateway query`")
        return
    word = "[green]insured[/green]" if answer.insured else "[red]not insured[/red]"
    write(f"{word} on {answer.as_of} · basis {answer.basis}")
    if answer.insured:
        until = answer.valid_until.isoformat() if answer.valid_until else "open"
        write(f"  category {answer.category} · budget {answer.budget} · until {until}")
    write(f"  because  {escape('; '.join(str(citation) for citation in answer.because))}")
    write(f"  evidence {escape(', '.join(answer.evidence) or 'none')}")
    if answer.readings:
        write(f"  readings {escape(', '.join(answer.readings))}")
