"""`gateway sandbox`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import daemon, logs
from gateway.cli.app import ConfigOption, app, load_settings
from gateway.cli.output import stderr
from gateway.errors import ConfigurationError
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.server import DEFAULT_PEOPLE, DEFAULT_SEED, SYNC_PATH, make_simulator, serve


@app.command("sandbox", epilog="Example: gateway sandbox --people 1000 --seed 1")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    people: Annotated[int, typer.Option(min=1, help="How many people are invented.")] = DEFAULT_PEOPLE,
    seed: Annotated[int, typer.Option(help="The same seed, the same people.")] = DEFAULT_SEED,
    misbehave: Annotated[
        list[Misbehaviour] | None, typer.Option(help="The next reply goes wrong in this way; may be repeated.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """A simulated gateway (ЭҮШ) with every built system behind it; it verifies and signs for real."""
    loaded = load_settings(config)
    logs.configure(loaded.settings.log.level)
    simulator = make_simulator(
        people=people,
        seed=seed,
        pki_dir=_pki(loaded.settings.trust.folder),
        systems_paths=loaded.settings.systems.paths,
        misbehaviours=[Order(kind) for kind in misbehave or ()],
    )
    serve(
        host,
        port,
        simulator,
        now=daemon.now,
        on_listening=lambda url: stderr.print(
            f"sandbox on {url}{SYNC_PATH} · people {people} · seed {seed} · {url}/ names some · Ctrl-C ends it"
        ),
    )


def _pki(anchors: Path) -> Path:
    """The sandbox's keys lie beside the anchors that `gateway pki init` made."""
    if not (anchors.parent / "keys" / "shep.pem").is_file():
        raise ConfigurationError(
            f"{anchors.parent} has no keys for the sandbox; make them with `gateway pki init {anchors.parent}`",
            key="trust.folder",
        )
    return anchors.parent
