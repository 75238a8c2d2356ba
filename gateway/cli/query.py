"""`gateway query`: one signed exchange, now."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.markup import escape

from gateway import daemon, settings
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.database import reading
from gateway.exchange import outbox
from gateway.exchange.outbox import State
from gateway.exchange.results import AskResult
from gateway.model import Consent, Iin, Outcome, Rejection
from gateway.registry.store import history_of

_LOOK_EVERY_S: Final = 0.2


@app.command("query", epilog="Example: gateway query gbdfl --iin 900101300017 --fact person")
def query(
    system: Annotated[str, typer.Argument(help="Slug or alias of a register, for example gbdfl.")],
    iin: Annotated[str, typer.Option(help="About whom.")],
    fact: Annotated[list[str] | None, typer.Option(help="Kinds of fact wanted; by default all.")] = None,
    consent_token_env: Annotated[
        str | None, typer.Option(help="Variable with the consent token (КДП); chooses the service that takes one.")
    ] = None,
    consent_key_env: Annotated[str | None, typer.Option(help="Variable with the consent's public key.")] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the answer of an asynchronous register.", min=0, max=86_400)
    ] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one register about one person; the answer goes into the registry."""
    person = Iin(iin)
    consent = _consent(consent_token_env, consent_key_env)
    loaded = load_settings(config)
    with output.working(f"asking {system}"), daemon.assemble(loaded) as gateway:
        result = gateway.asker.ask(system, person, facts=tuple(fact or ()), consent=consent)
        if wait and result.state in outbox.OPEN:
            result = _awaited(gateway, result, wait)
    if as_json:
        output.print_json(result.as_dict())
    else:
        show(result)
    if result.outcome is Outcome.UNKNOWN:
        sys.exit(output.UNDECIDED)
    if result.outcome is not Outcome.FOUND:
        sys.exit(output.NO)


def show(result: AskResult) -> None:
    """What came back, for a person to read."""
    output.console.print(f"{result.system}: [bold]{result.outcome}[/bold] · message {result.message_id}")
    if result.state is State.ACKNOWLEDGED:
        output.console.print("  acknowledged: the gateway has the question, and its answer is pushed or fetched later")
        output.console.print(f"  see it with: gateway exchange show {result.message_id}")
    elif result.error is not None:
        output.console.print(f"  no usable answer: ({result.error.code}) {escape(result.error.message)}")
    elif result.outcome is Outcome.UNKNOWN:
        output.console.print("  the register keeps no records from before it began: its silence proves nothing")
    if result.rejection is not None:
        output.console.print(f"  rejected by the register: {escape(result.rejection.code)}")
    for fact in result.facts:
        period = f"{fact.valid_from or '…'} – {fact.valid_to or 'open'}"
        attributes = ", ".join(f"{key}={value}" for key, value in fact.attributes.items() if value not in (None, ""))
        output.console.print(f"  {fact.kind} ({period}) {escape(attributes)}")
    if result.signer is not None and result.revocation is not None:
        output.console.print(f"  signed by {escape(result.signer.subject)} · revocation {result.revocation.status}")


def _awaited(gateway: daemon.Gateway, result: AskResult, wait_s: float) -> AskResult:
    """The same question once its row is closed, or as it stands when the time is over. The running daemon receives or
    fetches the answer; this only looks at the row."""
    deadline_s = time.monotonic() + wait_s
    while True:
        with reading(gateway.engine) as connection:
            row = outbox.get(connection, result.message_id)
            if row is not None and row.state not in outbox.OPEN and row.answered_at is not None:
                history = () if row.subject is None else history_of(connection, row.subject, daemon.now())
                facts = tuple(
                    one.fact for one in history if one.provenance.message_id == row.message_id and one.present
                )
                rejection = Rejection(row.code, "") if row.outcome is Outcome.REJECTED else None
                return replace(
                    result,
                    state=row.state,
                    outcome=row.outcome,
                    finished_at=row.answered_at,
                    facts=facts,
                    rejection=rejection,
                    reply_journal_id=row.reply_journal_id,
                    error=None if row.state is State.ANSWERED else result.error,
                )
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return result
        time.sleep(min(_LOOK_EVERY_S, left_s))


def _consent(token_variable: str | None, key_variable: str | None) -> Consent | None:
    if token_variable is None and key_variable is None:
        return None
    token = settings.required_variable(token_variable, key="--consent-token-env")
    public_key = settings.required_variable(key_variable, key="--consent-key-env")
    return Consent(token, public_key)
