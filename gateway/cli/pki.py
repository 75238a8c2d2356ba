"""`gateway pki init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import daemon
from gateway.cli.app import ConfigOption, JsonOption, pki_app
from gateway.cli.output import console, print_json
from gateway.trust import throwaway_pki


@pki_app.command("init", epilog="Example: gateway pki init var/pki")
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    config: ConfigOption = None,  # noqa: ARG001 - every command takes it; this one needs nothing of it
    as_json: JsonOption = False,
) -> None:
    """Mint a throw-away PKI: anchors, our key, the simulated gateway's, and signers nobody should trust."""
    made = throwaway_pki.init(folder, now=daemon.now())
    if as_json:
        print_json({"folder": str(folder), "anchors": str(made.anchors), "key": str(made.key("gateway"))})
        return
    console.print(f"{made.anchors}  what to trust")
    console.print(f"{made.key('gateway')}  our key, its certificate beside it")
    console.print(
        "These keys are for tests and the sandbox only. Point [bold]signing.key_file[/bold] and "
        "[bold]trust.folder[/bold] at them; environment = 'live' refuses them."
    )
