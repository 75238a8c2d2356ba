"""The entry point of the console script: registers every group of commands, and turns errors into exit codes."""

from __future__ import annotations

import sys

from gateway import logs
from gateway.cli import (  # noqa: F401 - importing a module of commands registers them
    cases,
    config,
    daemon,
    db,
    demo,
    doctor,
    exchange,
    explain,
    inbox,
    journal,
    keys,
    pki,
    pki_check,
    query,
    read,
    registry,
    registry_lists,
    registry_operations,
    sandbox,
    schedule,
    signatures,
    storage,
)
from gateway.cli.app import app
from gateway.cli.output import exit_code_of, show_error
from gateway.errors import GatewayError


def main() -> None:
    """Entry point of the console script. Exit codes: 0 yes · 1 no · 2 wrong use or configuration · 3 undecided."""
    # a command speaks for itself; the daemon and the sandbox set their own level
    logs.configure("warning")
    try:
        app(prog_name="gateway")
    except GatewayError as error:
        show_error(error, as_json="--json" in sys.argv)
        sys.exit(exit_code_of(error))
