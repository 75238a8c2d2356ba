"""`gateway config check`."""

from __future__ import annotations

from rich.table import Table

from gateway import daemon, settings
from gateway.cli.app import ConfigOption, JsonOption, config_app, load_settings
from gateway.cli.output import console, print_json


@config_app.command("check", epilog="Example: gateway config check -c config/gateway.toml")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The effective configuration with its sources, secrets masked; refuses what cannot work."""
    loaded = load_settings(config)
    # both refuse what does not belong into this environment
    daemon.load_trust(loaded)
    daemon.load_keys(loaded)
    systems = daemon.load_systems(loaded)
    daemon.load_regulation(loaded)
    rows = settings.describe(loaded)
    if as_json:
        print_json(
            {
                "file": str(loaded.file),
                "systems": list(systems),
                "values": [{"key": key, "value": value, "source": source} for key, value, source in rows],
            }
        )
        return
    table = Table("key", "value", "source", title=str(loaded.file), title_justify="left")
    for key, value, source in rows:
        table.add_row(key, value, source)
    console.print(table)
    console.print(f"systems: {', '.join(systems)}")
    console.print("The configuration is whole. `gateway doctor` tries it.")
