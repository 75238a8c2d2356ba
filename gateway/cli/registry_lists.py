"""`gateway registry import`, `due` and `history`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway import daemon, database, settings
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, registry_app
from gateway.cli.parsing import day
from gateway.cli.progress import bars
from gateway.database import reading
from gateway.errors import ConfigurationError, EditionNotInForce
from gateway.exchange.import_notes import noting
from gateway.model import Iin
from gateway.registry import cached
from gateway.registry.cached import CachedStanding
from gateway.registry.days import known_by_default
from gateway.registry.due import recompute_due
from gateway.registry.imports.feeds import Scope, feed_named
from gateway.registry.imports.run import ImportResult, import_file
from gateway.registry.imports.telling import feed_of_file
from gateway.registry.standing import Standing
from gateway.registry.store import standing_of
from gateway.regulation.law import Law

_SHOWN_REFUSALS: Final = 20


@registry_app.command(
    "import", epilog="Example: gateway registry import republican.csv --feed republican_categories --full"
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, NDJSON or XML; see docs/reference/imports.md.")],
    feed: Annotated[
        str | None, typer.Option(metavar="FEED", help="What list it is; by default what its columns tell.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full/--changes", help="Whether it names everything there is, or what changed.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a list in: categories, payments, military submissions, treaty lists. All of it or nothing."""
    if not file.is_file():
        raise ConfigurationError("there is no file of this name", key=str(file))
    result = take_in(load_settings(config), file, feed, full=full)
    show_import(result, import_document(result) if as_json else None)
    if result.refused:
        sys.exit(output.NO)


def take_in(
    loaded: settings.LoadedSettings, file: Path, feed: str | None, *, full: bool, evidence: str | None = None
) -> ImportResult:
    """Import a file now. `feed` None: what its columns tell. `evidence` and errors as `import_file`."""
    law = daemon.load_regulation(loaded)
    engine = daemon.open_store(loaded)
    database.check_revision(engine)
    with bars() as progress:
        return import_file(
            engine,
            file,
            feed_of_file(file, law) if feed is None else feed_named(feed, law),
            Scope.FULL if full else Scope.CHANGES,
            law=law,
            received_at=daemon.now(),
            folder=settings.lists_folder(loaded),
            evidence=evidence,
            processes=loaded.settings.registry.processes,
            progress=progress,
            contradicted=noting(daemon.load_writer(loaded)),
        )


def import_document(result: ImportResult) -> dict[str, Any]:
    """What an import tells with --json (docs/reference/contract.md)."""
    return {
        "read": result.read,
        "applied": result.applied,
        "unchanged": result.unchanged,
        "refused": [{"line": one.line, "code": one.code, "message": one.message} for one in result.refused],
        "absent": result.absent,
        "import": result.import_id,
    }


def show_import(result: ImportResult, document: dict[str, Any] | None) -> None:
    """The document as JSON; None: in words."""
    if document is not None:
        output.print_json(document)
    else:
        write = output.console.print
        write(
            f"import {result.import_id}: {result.read} read · {result.applied} applied · {result.unchanged} unchanged"
            f" · {len({one.line for one in result.refused})} refused · {result.absent} no longer named"
        )
        for one in result.refused[:_SHOWN_REFUSALS]:
            write(f"  line {one.line}: [red]{one.code}[/red] {one.message}")
        if len(result.refused) > _SHOWN_REFUSALS:
            write(f"  … and {len(result.refused) - _SHOWN_REFUSALS} more: --json lists all, and table refused_line")
        write("run `gateway registry due` to compute the standing of the people concerned")


@registry_app.command("due", epilog="Example: gateway registry due --on 2026-03-01")
def due(
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day to compute for; by default today.")] = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="All people, not only those who are due: after a change of the law.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute again whose standing changes by that day, and of whom something was heard."""
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    engine = daemon.open_store(loaded)
    database.check_revision(engine)
    now = daemon.now()
    as_of = day(on, key="--on") or law.local_day(now)
    with bars() as progress:
        done = recompute_due(
            engine,
            day=as_of,
            known_at=known_by_default(as_of, now, law.timezone),
            law=law,
            everybody=everybody,
            processes=loaded.settings.registry.processes,
            progress=lambda people: progress("people", people, 0),
        )
    if as_json:
        output.print_json({"day": as_of.isoformat(), "people": done.people, "changed": done.changed})
    else:
        output.console.print(f"{as_of}: {done.people} people computed · {done.changed} answers are new")


@registry_app.command("history", epilog="Example: gateway registry history 900101300017 --on 2026-03-01")
def history(
    iin: Annotated[str, typer.Argument(metavar="IIN")],
    on: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only the answer that held on that day.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was said of a person, when, and whether the same would be said now of the same day."""
    person = Iin(iin)
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    now = daemon.now()
    wanted = day(on, key="--on")
    with reading(daemon.open_store(loaded)) as connection:
        answers = cached.history_of_answers(connection, person)
        if wanted is not None:
            said = cached.said_on(answers, wanted)
            answers = () if said is None else (said,)
        documents = []
        for one in answers:
            as_of = wanted or one.as_of
            try:
                again = standing_of(connection, person, as_of=as_of, known_at=now, law=law)
            except EditionNotInForce:
                again = None
            documents.append(_said(one, as_of.isoformat(), again, law))
    if as_json:
        output.print_json({"iin": person.value, "known_at": now.isoformat(), "answers": documents})
    else:
        for document in documents:
            word = "[green]insured[/green]" if document["insured"] else "[red]not insured[/red]"
            same = "would be said again" if document["would_say_again"] else "[yellow]would not be said now[/yellow]"
            until = document["valid_until"] or "open"
            output.console.print(
                f"{document['as_of']}: {word} · {document['basis']} · until {until} · "
                f"said {document['said_at']} · {same}"
            )
    if not documents:
        if not as_json:
            output.console.print("nothing was said of this person; run `gateway registry due` after an import")
        sys.exit(output.UNDECIDED)


def _said(said: CachedStanding, as_of: str, again: Standing | None, law: Law) -> dict[str, Any]:
    now = (
        None
        if again is None
        else {
            "insured": again.insured,
            "basis": again.basis.value,
            "category": again.category,
            "budget": again.budget,
            "valid_until": again.valid_until.isoformat() if again.valid_until else None,
        }
    )
    then = {
        "insured": said.insured,
        "basis": said.basis,
        "category": said.category,
        "budget": said.budget,
        "valid_until": said.valid_until.isoformat() if said.valid_until else None,
    }
    return {
        "as_of": as_of,
        "said_at": said.known_at.isoformat(),
        **then,
        "same_law": said.law == cached.law_digest(law),
        "now": now,
        "would_say_again": then == now,
    }
