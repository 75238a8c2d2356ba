"""`gateway run`."""

from __future__ import annotations

from gateway import daemon, logs
from gateway.cli.app import ConfigOption, app, load_settings
from gateway.cli.output import stderr


@app.command("run", epilog="Example: gateway run -c config/gateway.toml")
def run(config: ConfigOption = None) -> None:
    """The daemon: SOAP endpoints, and polling of people whose facts are due. SIGTERM drains."""
    loaded = load_settings(config)
    logs.configure(loaded.settings.log.level)
    stderr.print(f"loading keys, trust, systems and the law named in {loaded.file}")
    daemon.serve(loaded, on_listening=lambda url: stderr.print(f"listening on {url}{daemon.SYNC_PATH} · Ctrl-C drains"))
