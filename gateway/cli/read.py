"""`gateway read`: a recorded answer through a system's mapper, for integrators with a real capture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.cli.files import read_bytes
from gateway.errors import PeerFault
from gateway.model import Answer
from gateway.shep import envelope, names, sync_channel
from gateway.shep.messages import ErrorInfo
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.names import DS
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_system
from gateway.xml import parse


@app.command("read", epilog="Example: gateway read gbdfl answer.xml")
def read(
    system: Annotated[str, typer.Argument(help="Slug or alias of a register.")],
    file: Annotated[Path, typer.Argument(help="A SOAP answer, or the payload alone; signed or not.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What our mapper reads from a recorded answer. It verifies nothing: use `gateway verify` for that."""
    definition = find_system(daemon.load_systems(load_settings(config)), system)
    answer, signed = read_recorded(read_bytes(file), definition)
    if as_json:
        output.print_json({"outcome": str(answer.outcome), "facts": _facts(answer), "signed": signed})
        return
    output.console.print(f"{definition.slug}: {answer.outcome} · {'carries a signature' if signed else 'not signed'}")
    for fact in _facts(answer):
        output.console.print(f"  {fact['kind']} {fact['valid_from'] or '…'} – {fact['valid_to'] or 'open'}")
        for key, value in fact["attributes"].items():
            output.console.print(f"    {key:24} {escape(str(value))}")


def read_recorded(data: bytes, definition: SystemDefinition) -> tuple[Answer, bool]:
    """The mapper's answer, and whether the document carries a signature. Raises MalformedMessage, MappingError."""
    root = parse(data)
    signed = next(root.iter(f"{{{DS}}}Signature"), None) is not None
    if root.tag != names.ENVELOPE:
        return definition.mapper.read_response(root), signed
    _, body = envelope.split(root)
    content = sync_channel.read_reply(body)
    if isinstance(content, ErrorInfo):
        raise PeerFault(
            content.code, f"the recorded answer is a fault: {content.code} {content.message}", signed=signed
        )
    if content.data is None:
        raise PeerFault(content.info.status.code, "the recorded answer carries no data", signed=signed)
    payload = decode(content.data, PayloadCodec(definition.codec), root_name=definition.root_response)
    return definition.mapper.read_response(payload), signed


def _facts(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "kind": fact.kind,
            "subject": fact.subject.value,
            "key": fact.key,
            "valid_from": fact.valid_from.isoformat() if fact.valid_from else None,
            "valid_to": fact.valid_to.isoformat() if fact.valid_to else None,
            "attributes": dict(fact.attributes),
        }
        for fact in answer.facts
    ]
