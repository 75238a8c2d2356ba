"""`gateway inbox list|retry|drop`: asynchronous messages that came and are not done, and a person's word about them."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, inbox_app, load_settings
from gateway.cli.output import console, print_json
from gateway.daemon.journalling import load_writer
from gateway.database import reading, writing
from gateway.exchange import inbox_work, operator
from gateway.exchange.inbox import InboxRow

KeysArgument = Annotated[list[str], typer.Argument(help="Keys, as `gateway inbox list --json` shows them.")]
ReasonOption = Annotated[str, typer.Option(help="Why: journalled, so it names no person.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@inbox_app.command("list", epilog="Example: gateway inbox list")
def list_rows(
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is not done, the oldest first."""
    engine = daemon.open_store(load_settings(config))
    with reading(engine) as connection:
        rows = inbox_work.waiting(connection, limit=limit)
    if as_json:
        for row in rows:
            print_json(_as_dict(row))
        return
    table = Table("came", "state", "service", "why", "tries", "journal", "key", box=None)
    for row in rows:
        table.add_row(
            f"{row.received_at:%Y-%m-%d %H:%M:%S}",
            row.state,
            escape(row.service_id),
            escape(row.code),
            str(row.attempts),
            str(row.request_journal_id),
            row.key,
        )
    console.print(table)


@inbox_app.command("retry", epilog='Example: gateway inbox retry 3b1f… --reason "the mapper knows the code now"')
def retry(
    keys: KeysArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Work on messages again, with all their attempts before them."""
    _act("retry", keys, reason, yes, config, as_json)


@inbox_app.command("drop", epilog='Example: gateway inbox drop 3b1f… --reason "settled by letter"')
def drop(
    keys: KeysArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give messages up. They stay in the journal, and their repetitions stay duplicates."""
    _act("drop", keys, reason, yes, config, as_json)


def _act(what: inbox_work.Act, keys: list[str], reason: str, yes: bool, config: Any, as_json: bool) -> None:
    reason = operator.check_reason(reason)
    loaded = load_settings(config)
    engine, journal = daemon.open_store(loaded), load_writer(loaded)
    if not yes:
        # on stderr: --json has stdout for itself
        output.stderr.print(f"{what}: {len(keys)} message{'' if len(keys) == 1 else 's'}")
        typer.confirm("Go on?", abort=True, err=True)
    with writing(engine) as connection:
        changed = inbox_work.act(connection, journal, what, keys, reason=reason, by=getpass.getuser(), now=daemon.now())
    if as_json:
        print_json({"act": what, "changed": list(changed)})
    else:
        console.print(f"{what}: {len(changed)} of {len(keys)}")
    if len(changed) < len(keys):
        raise typer.Exit(output.NO)


def _as_dict(row: InboxRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "state": str(row.state),
        "code": row.code,
        "sender": row.sender,
        "service_id": row.service_id,
        "message_id": row.message_id,
        "correlation_id": row.correlation_id,
        "flow": row.flow,
        "received_at": row.received_at.isoformat(),
        "attempts": row.attempts,
        "due_at": None if row.due_at is None else row.due_at.isoformat(),
        "journal_id": row.request_journal_id,
    }
