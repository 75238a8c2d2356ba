"""`gateway run`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import daemon, logs, settings
from gateway.cli.app import ConfigOption, app, load_settings
from gateway.cli.output import stderr

WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes that serve and work; instead of server.workers.")
]


@app.command("run", epilog="Example: gateway run --workers 2 -c config/gateway.toml")
def run(config: ConfigOption = None, workers: WorkersOption = None) -> None:
    """The daemon: SOAP endpoints, and workers that ask about people whose facts are due. SIGTERM drains."""
    loaded = load_settings(config)
    if workers is not None:
        loaded = settings.with_workers(loaded, workers)
    logs.configure(loaded.settings.log.level)
    stderr.print(f"loading keys, trust, systems and the law named in {loaded.file}")
    daemon.serve(loaded, on_listening=lambda url: stderr.print(f"listening on {url}{daemon.SYNC_PATH} · Ctrl-C drains"))
