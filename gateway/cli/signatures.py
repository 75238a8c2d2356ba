"""`gateway sign` and `gateway verify`."""

from __future__ import annotations

import datetime as dt
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway import daemon, settings, xml
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.cli.files import read_bytes, write_bytes
from gateway.cli.parsing import moment
from gateway.cli.verdicts import sentence_for
from gateway.errors import MalformedMessage
from gateway.exchange.journal import evidence_file
from gateway.shep import envelope
from gateway.signing import enveloped, keys, national, wss
from gateway.signing.gost.backend import choose_backend
from gateway.signing.key_info import KeyInfoForm
from gateway.trust import verification
from gateway.trust.evidence import RevocationEvidence
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationMode


class Profile(StrEnum):
    WSS = "wss"
    ENVELOPED = "enveloped"


class GostPreference(StrEnum):
    """The words of gateway.signing.gost.backend."""

    AUTO = "auto"
    ENGINE = "engine"
    OWN = "own"


@app.command("sign", epilog="Example: gateway sign request.xml --profile wss --key mine.p12 -o signed.xml")
def sign(
    file: Annotated[Path, typer.Argument(help="A SOAP envelope (wss) or a document (enveloped).")],
    profile: Annotated[Profile, typer.Option(help="WS-Security over the Body, or an enveloped business signature.")],
    result: Annotated[Path, typer.Option("-o", "--output", help="Where the signed document goes.")],
    key: Annotated[
        Path | None, typer.Option(help="PEM, PKCS#8 or PKCS#12; by default the configured key.", show_default=False)
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Where the key file carries none.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Variable that holds the key's password.")] = None,
    key_info: Annotated[KeyInfoForm, typer.Option(help="How the certificate travels (wss).")] = (
        KeyInfoForm.KEY_IDENTIFIER
    ),
    gost_backend: Annotated[GostPreference, typer.Option(help="What signs with national keys.")] = GostPreference.AUTO,
    allow_variable_time: Annotated[
        bool, typer.Option("--allow-variable-time", help="Our own code may sign with national keys: for tests.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a document."""
    if key is None:
        signing_key: keys.SigningKey = daemon.load_keys(load_settings(config))()
    else:
        national.use_backend(choose_backend(gost_backend, allow_variable_time=allow_variable_time))
        signing_key = keys.load_signing_key(key, _password(password_env), certificate)
    root = xml.parse(read_bytes(file))
    if profile is Profile.WSS:
        _, body = envelope.split(root)
        signed = wss.sign_body(body, signing_key, form=key_info)
    else:
        signed = enveloped.sign_enveloped(root, signing_key)
    write_bytes(result, signed)
    report = {"file": str(result), "algorithm": signing_key.algorithm.name, "bytes": len(signed)}
    if as_json:
        output.print_json(report)
    else:
        output.console.print(f"{result}: {report['bytes']} bytes, signed with {report['algorithm']}")


@app.command("verify", epilog="Example: gateway verify reply.xml --trust var/pki/anchors --explain")
def verify(
    files: Annotated[
        list[Path], typer.Argument(help="Signed documents or evidence files of the journal; several give JSON Lines.")
    ],
    trust: Annotated[Path, typer.Option(help="Folder of certificates and CRLs; self-signed ones are anchors.")],
    revocation: Annotated[
        RevocationMode, typer.Option(help="What unknown revocation does: refuse it, show it, or do not look.")
    ] = RevocationMode.REQUIRE,
    at: Annotated[
        str | None,
        typer.Option(
            help="Moment of validation, ISO 8601 with zone; by default now, of an evidence file when the message came.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Every step with what it compared; the verdict in Kazakh and Russian.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is the signature true, is the signer trusted, and is the certificate not revoked?"""
    when = moment(at, key="--at")
    store = TrustStore.load(trust)
    loaded = load_settings(config)
    bounds = daemon.xml_bounds(loaded, loaded.settings.server.max_request_bytes)
    verdicts: list[bool | None] = []
    for file in files:
        report = _judge(read_bytes(file), store, when, revocation, bounds)
        verdicts.append(report.valid)
        if as_json:
            document = report.as_dict(explain=explain)
            if explain:
                document["verdict"] = sentence_for(report.code, report.step).as_dict()
            output.print_json({"file": str(file), **document} if len(files) > 1 else document)
        else:
            _show(file, report, explain=explain)
    if any(valid is False for valid in verdicts):
        sys.exit(output.NO)
    if any(valid is None for valid in verdicts):
        sys.exit(output.UNDECIDED)


def _judge(
    data: bytes, store: TrustStore, at: dt.datetime | None, revocation: RevocationMode, bounds: xml.XmlBounds
) -> verification.VerificationReport:
    """A signed document, or an evidence file of the journal: that is judged at its own moment, by what it brings."""
    if not evidence_file.is_evidence_file(data):
        return verification.verify_document(data, store, at=at or daemon.now(), revocation=revocation, bounds=bounds)
    try:
        brought = evidence_file.read_evidence_file(data)
    except MalformedMessage as error:
        return verification.refused_unread(error)
    material = store.material
    # what the file brings may lead to an anchor of the trust folder and is never one itself
    certificates = (one for one in brought.certificates if not one.is_self_issued)
    own = (*material.anchors, *material.intermediates, *material.peers)
    widened = TrustStore.of((*own, *certificates), (*material.crls, *brought.crls), material.rules)
    evidence = RevocationEvidence(ocsp=brought.ocsp)
    return verification.verify_document(
        brought.body,
        widened,
        at=at or brought.at,
        revocation=revocation,
        bounds=bounds,
        evidence=lambda _certificate: evidence,
    )


def _show(file: Path, report: verification.VerificationReport, *, explain: bool) -> None:
    word = {True: "[green]valid[/green]", False: "[red]not valid[/red]", None: "[yellow]undecided[/yellow]"}[
        report.valid
    ]
    output.console.print(f"{escape(str(file))}: {word} ({report.code}) {escape(report.message)}")
    if explain:
        for language, sentence in sentence_for(report.code, report.step).as_dict().items():
            output.console.print(f"  {language} {escape(sentence)}")
    document = report.as_dict(explain=True)
    if report.signer is not None:
        output.console.print(f"  signed: {document['signed']} · {document['algorithm']}")
        output.console.print(
            f"  signer: {escape(document['signer']['subject'])} · serial {document['signer']['serial']}"
        )
        revocation = document["revocation"]
        output.console.print(f"  revocation: {revocation['status']} · {revocation['source'] or 'no evidence'}")
    if explain:
        for step in document["steps"]:
            mark = "[green]ok[/green]" if step["ok"] else "[red]no[/red]"
            output.console.print(f"  {mark} {step['name']}: {escape(str(step['compared']))}")


def _password(variable: str | None) -> bytes | None:
    return None if variable is None else settings.required_variable(variable, key="--password-env").encode()
