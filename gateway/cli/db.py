"""`gateway db upgrade`."""

from __future__ import annotations

from gateway import database, settings
from gateway.cli.app import ConfigOption, JsonOption, db_app, load_settings
from gateway.cli.output import console, print_json


@db_app.command("upgrade", epilog="Example: gateway db upgrade -c config/gateway.toml")
def upgrade(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring the database to this program's schema. Safe to repeat."""
    loaded = load_settings(config)
    engine = database.engine_for(settings.database_url(loaded), password=settings.database_password(loaded))
    try:
        revision = database.upgrade(engine)
    finally:
        engine.dispose()
    if as_json:
        print_json({"revision": revision})
    else:
        console.print(f"The database is at revision {revision}.")
