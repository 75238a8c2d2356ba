"""The typer application and the options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from gateway import __version__, resources, settings

app = typer.Typer(
    name="gateway",
    help="The open gateway between a public fund and the state's registers over SHEP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
registry_app = typer.Typer(help="The consumer registry.", no_args_is_help=True)
journal_app = typer.Typer(help="Every message in and out, with its exact bytes.", no_args_is_help=True)
pki_app = typer.Typer(help="Certificates: ours, the gateway's, the authorities'.", no_args_is_help=True)
keys_app = typer.Typer(help="Key files: what is in them, and how well they are protected.", no_args_is_help=True)
inbox_app = typer.Typer(help="Asynchronous messages that came and are not done.", no_args_is_help=True)
exchange_app = typer.Typer(help="What we sent, and what became of it.", no_args_is_help=True)
schedule_app = typer.Typer(help="What runs by the clock, each job once in the whole fleet.", no_args_is_help=True)
storage_app = typer.Typer(help="Files in the gateway's temporary storage.", no_args_is_help=True)
db_app = typer.Typer(help="The database.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration.", no_args_is_help=True)
for _name, _group in (
    ("registry", registry_app),
    ("journal", journal_app),
    ("pki", pki_app),
    ("keys", keys_app),
    ("exchange", exchange_app),
    ("inbox", inbox_app),
    ("schedule", schedule_app),
    ("storage", storage_app),
    ("db", db_app),
    ("config", config_app),
):
    app.add_typer(_group, name=_name)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        help="Configuration file; by default ./config/gateway.toml, then the one that came with the program.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; logs go to stderr.")]

DEFAULT_CONFIG: Final = Path("config/gateway.toml")


def load_settings(config: Path | None) -> settings.LoadedSettings:
    """Settings of `--config`, of ./config/gateway.toml, or the packaged ones. Raises ConfigurationError."""
    if config is not None:
        return settings.load(config)
    if DEFAULT_CONFIG.exists():
        return settings.load(DEFAULT_CONFIG)
    return settings.load(resources.path("config/gateway.toml"))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shep-gateway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    pass
