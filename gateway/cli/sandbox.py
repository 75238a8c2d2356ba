"""`gateway sandbox`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import daemon, logs
from gateway.cli.app import ConfigOption, app, load_settings
from gateway.cli.output import stderr
from gateway.errors import ConfigurationError
from gateway.sandbox.dispatch import DEFAULT_POLICY, AsyncPolicy
from gateway.sandbox.faults import load_fault_script
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.participants import check_address
from gateway.sandbox.server import ASYNC_PATH, DEFAULT_PEOPLE, DEFAULT_SEED, SYNC_PATH, make_simulator, serve

_LONGEST_INTERVAL_S = 86_400


@app.command("sandbox", epilog="Example: gateway sandbox --people 1000 --seed 1")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    people: Annotated[int, typer.Option(min=1, help="How many people are invented.")] = DEFAULT_PEOPLE,
    seed: Annotated[int, typer.Option(help="The same seed, the same people.")] = DEFAULT_SEED,
    misbehave: Annotated[
        list[Misbehaviour] | None, typer.Option(help="The next reply goes wrong in this way; may be repeated.")
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Fault script, TOML: docs/reference/sandbox.md.")
    ] = None,
    push_to: Annotated[
        str, typer.Option(help="Where asynchronous messages are pushed to; without it they wait for getMessages.")
    ] = "",
    answer_after: Annotated[
        float, typer.Option(min=0, help="Seconds between a REQUEST of the asynchronous channel and its answer.")
    ] = DEFAULT_POLICY.answer_after_s,
    push_intervals: Annotated[
        str, typer.Option(help="Seconds between attempts to push; after the last the delivery is stopped.")
    ] = ",".join(f"{one:g}" for one in DEFAULT_POLICY.push_intervals_s),
    config: ConfigOption = None,
) -> None:
    """A simulated gateway (ЭҮШ) with every built system behind it; it verifies and signs for real."""
    loaded = load_settings(config)
    logs.configure(loaded.settings.log.level)
    check_address(push_to)
    ordered = [Order(kind) for kind in misbehave or ()]
    simulator = make_simulator(
        people=people,
        seed=seed,
        pki_dir=_pki(loaded.settings.trust.folder),
        systems_paths=loaded.settings.systems.paths,
        misbehaviours=ordered,
        push_to=push_to,
        async_policy=AsyncPolicy(answer_after_s=answer_after, push_intervals_s=_intervals(push_intervals)),
    )
    if faults is not None:
        script = load_fault_script(faults, sorted(simulator.systems))
        simulator.orders.replace([*ordered, *script.faults], seed=script.seed)
    serve(
        host,
        port,
        simulator,
        now=daemon.now,
        on_listening=lambda url: stderr.print(
            f"sandbox on {url}{SYNC_PATH} and {ASYNC_PATH} · people {people} · seed {seed}"
            f" · {url}/ names some · Ctrl-C ends it"
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


def _intervals(text: str) -> tuple[float, ...]:
    try:
        intervals = tuple(float(one) for one in text.split(",") if one.strip())
    except ValueError:
        intervals = (-1.0,)
    if not all(0 <= one <= _LONGEST_INTERVAL_S for one in intervals):
        raise ConfigurationError("write seconds with commas between them, such as 1,2,5", key="--push-intervals")
    return intervals
