"""`gateway journal list|show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway import daemon
from gateway.cli.app import ConfigOption, JsonOption, journal_app, load_settings
from gateway.cli.output import console, print_json
from gateway.errors import OperatorError
from gateway.exchange.journal import DEFAULT_LIMIT, Journal, MessageDirection


@journal_app.command("list", epilog="Example: gateway journal list --system gbdfl --limit 20")
def list_entries(
    message_id: Annotated[str, typer.Option(help="A message id or correlation id.")] = "",
    system: Annotated[str, typer.Option(help="Slug of a register that we ask.")] = "",
    service: Annotated[str, typer.Option(help="A serviceId.")] = "",
    direction: Annotated[MessageDirection | None, typer.Option(help="in or out.")] = None,
    verdict: Annotated[str | None, typer.Option(help="accepted, signed, or the code of a refusal.")] = None,
    before: Annotated[int | None, typer.Option(help="Continue before this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = DEFAULT_LIMIT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Messages, newest first, without their bytes."""
    entries = _journal(config).list_entries(
        message_id=message_id,
        system=system,
        service_id=service,
        direction=direction,
        verdict=verdict,
        before_id=before,
        limit=limit,
    )
    if as_json:
        for entry in entries:
            print_json(entry.as_dict())
        return
    table = Table("id", "at", "", "service", "kind", box=None)
    table.add_column("message id", no_wrap=True)
    table.add_column("bytes")
    table.add_column("verdict", no_wrap=True)
    for entry in entries:
        arrow = "→" if entry.direction is MessageDirection.OUT else "←"
        table.add_row(
            str(entry.id),
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            arrow,
            escape(entry.system or entry.service_id),
            entry.kind,
            escape(entry.message_id),
            str(entry.body_bytes),
            escape(entry.verdict),
        )
    console.print(table)


@journal_app.command("show", epilog="Example: gateway journal show 12 --body > reply.xml")
def show(
    entry_id: Annotated[int, typer.Argument(metavar="ID")],
    body: Annotated[bool, typer.Option("--body", help="Write the exact bytes to stdout, and nothing else.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One message: who signed it, what was decided about it, and with --body its exact bytes."""
    entry = _journal(config).get(entry_id)
    if entry is None:
        raise OperatorError(f"the journal has no entry {entry_id}; see `gateway journal list`", code="no_such_entry")
    if body:
        if entry.body is None:
            raise OperatorError(f"the bytes of entry {entry_id} were not kept ({entry.note})", code="not_kept")
        sys.stdout.buffer.write(entry.body)
        return
    if as_json:
        print_json(entry.as_dict())
        return
    for key, value in entry.as_dict().items():
        shown = " · ".join(str(part) for part in value.values() if part) if isinstance(value, dict) else str(value)
        console.print(f"{key:16} {escape(shown)}")


def _journal(config: ConfigOption) -> Journal:
    return Journal(daemon.open_store(load_settings(config)))
