"""`gateway db upgrade`, `backup`, `restore` and `move`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from gateway import backup as copying
from gateway import daemon, database, settings
from gateway.cli.app import ConfigOption, JsonOption, db_app, load_settings
from gateway.cli.output import console, print_json
from gateway.cli.progress import bars
from gateway.errors import ConfigurationError

VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Read everything back and compare, before anything is kept.")
]


@db_app.command("upgrade", epilog="Example: gateway db upgrade -c config/gateway.toml")
def upgrade(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring the database to this program's schema. Safe to repeat."""
    with _configured(config) as engine:
        revision = database.upgrade(engine)
    if as_json:
        print_json({"revision": revision})
    else:
        console.print(f"The database is at revision {revision}.")


@db_app.command("backup", epilog="Example: gateway db backup /backup/2026-03-01.zip")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; it will hold personal data.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole database into one file, as it is at one moment; the daemon may run meanwhile."""
    with _configured(config) as engine, bars() as progress:
        contents = copying.backup(engine, file, at=daemon.now(), progress=progress)
    _tell(contents, f"written to {file}", as_json)


@db_app.command("restore", epilog="Example: gateway db restore /backup/2026-03-01.zip --verify")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    verify: VerifyOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the configured database, which must be empty, from a file of `gateway db backup`. All of it or nothing."""
    with _configured(config) as engine, bars() as progress:
        contents = copying.restore(engine, file, verify=verify, progress=progress)
    _tell(contents, "restored and read back" if verify else "restored", as_json)


@db_app.command("move", epilog="Example: gateway db move --to postgresql://gateway@db/gateway --verify")
def move(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="An empty database; no password in it.")],
    to_password_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="Variable of the environment that holds its password.")
    ] = None,
    verify: VerifyOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy everything into another database, of either kind. Stop the daemon first: it would go on in the old one."""
    password = None if to_password_env is None else settings.required_variable(to_password_env, key="--to-password-env")
    target = database.engine_for(to, password=password)
    try:
        with _configured(config) as engine, bars() as progress:
            if engine.url == target.url:
                raise ConfigurationError("this is the configured database itself", key="--to")
            contents = copying.move(engine, target, verify=verify, progress=progress)
    finally:
        target.dispose()
    _tell(contents, "moved; set database.url to the new place", as_json)


@contextmanager
def _configured(config: Path | None) -> Iterator[Engine]:
    engine = daemon.open_store(load_settings(config))
    try:
        yield engine
    finally:
        engine.dispose()


def _tell(contents: copying.Contents, what: str, as_json: bool) -> None:
    if as_json:
        tables: list[dict[str, Any]] = [
            {"name": name, "rows": one.rows, "digest": one.digest} for name, one in contents.items()
        ]
        print_json({"tables": tables})
    else:
        console.print(f"{len(contents)} tables, {sum(one.rows for one in contents.values())} rows: {what}")
