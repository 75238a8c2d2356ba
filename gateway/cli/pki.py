"""`gateway pki init` and `gateway pki trust`."""

from __future__ import annotations

import datetime as dt
import hmac
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from asn1crypto import pem
from rich.markup import escape

from gateway import daemon, resources
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, pki_app
from gateway.cli.files import read_bytes
from gateway.cli.keys import certificate_document, show_certificate
from gateway.errors import ConfigurationError, KeyMaterialError, MalformedMessage, TrustRefused
from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustMaterial, read_directory, sort_out
from gateway.trust.throwaway.keys import Family

AUTHORITIES: Final = "certs/authorities.toml"
_SHA256_DIGITS: Final = 64


class Families(StrEnum):
    RSA = "rsa"
    GOST = "gost"
    BOTH = "both"


@pki_app.command("init", epilog="Example: gateway pki init var/pki")
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    family: Annotated[Families, typer.Option(help="Kind of keys; files with GOST keys have -gost in their names.")] = (
        Families.BOTH
    ),
    address: Annotated[
        str | None,
        typer.Option(
            help="Where the sandbox will listen, as http://127.0.0.1:8081: certificates then name its OCSP, time "
            "stamps and CRLs. Without it they name places that do not exist.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,  # noqa: ARG001 - every command takes it; this one needs nothing of it
    as_json: JsonOption = False,
) -> None:
    """Mint a throw-away PKI: anchors, our key, the simulated gateway's, and signers nobody should trust."""
    if address is not None and not re.fullmatch(r"https?://[^\s/]+/?", address):
        raise ConfigurationError("write an address as http://127.0.0.1:8081", key="--address")
    families = tuple(Family) if family is Families.BOTH else (Family(family.value),)
    made = throwaway_pki.init(folder, now=daemon.now(), families=families, address=address)
    ours = made.key("gateway", families[0])
    if as_json:
        output.print_json({"folder": str(folder), "anchors": str(made.anchors), "key": str(ours)})
        return
    output.console.print(f"{made.anchors}  what to trust")
    for one in families:
        output.console.print(f"{made.key('gateway', one)}  our {one.upper()} key, its certificate beside it")
    output.console.print(
        "These keys are for tests and the sandbox only. Point [bold]signing.key_file[/bold] and "
        "[bold]trust.folder[/bold] at them; environment = 'live' refuses them."
    )


# ---------------------------------------------------------------- trust


@dataclass(frozen=True, slots=True)
class _Known:
    """What certs/authorities.toml says of a certificate with this name."""

    id: str
    environment: str
    compare_with: str
    #: None when no digits are listed
    prefix_agrees: bool | None


@pki_app.command("trust", epilog="Example: gateway pki trust root.cer --into var/trust --fingerprint 'AF:77:72:5F:…'")
def trust(
    file: Annotated[Path, typer.Argument(help="One certificate, PEM or DER.")],
    into: Annotated[Path, typer.Option(help="The trust folder (trust.folder).")],
    fingerprint: Annotated[
        str | None,
        typer.Option(help="SHA-256 as its owner publishes it, not as this command shows it.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a certificate and its SHA-256, and trust it once you typed the fingerprint that its owner publishes."""
    now = daemon.now()
    certificate = _one_certificate(file)
    material = read_directory(into) if into.is_dir() else sort_out(())
    becomes = _becomes(certificate)
    known = _authority(certificate)
    if not as_json:
        output.console.print(f"{escape(str(file))}: becomes {becomes}")
        show_certificate(certificate, now)
        _show_known(known)
    _refuse(certificate, known, material, file)
    if certificate in material.anchors | material.intermediates | material.peers:
        _report(certificate, becomes, known, None, now, as_json=as_json)
        return
    typed = fingerprint if fingerprint is not None else _ask(known)
    if not hmac.compare_digest(_digits(typed), certificate.sha256):
        raise _not_trusted(
            "fingerprint_mismatch",
            f"the fingerprint that you typed is not that of {file}: nothing was written. Fetch the certificate again, "
            "and read the fingerprint at its owner once more; do not copy it from what this command shows",
        )
    target = into / f"{known.id if known else 'certificate'}-{certificate.sha256[:16]}.pem"
    _write(target, certificate)
    _report(certificate, becomes, known, target, now, as_json=as_json)


def _not_trusted(code: str, message: str) -> TrustRefused:
    """The answer is no: exit 1, nothing was written."""
    return TrustRefused(code, message, step="anchor")


def _one_certificate(file: Path) -> Certificate:
    try:
        found = read_certificates(read_bytes(file))
    except MalformedMessage as error:
        raise KeyMaterialError(f"{file}: {error.message}", code=error.code) from None
    if len(found) != 1:
        raise KeyMaterialError(f"{file}: holds {len(found)} certificates; give one at a time", code="one_certificate")
    return found[0]


def _becomes(certificate: Certificate) -> str:
    """What a trust folder makes of it. Raises TrustRefused for an anchor whose own signature does not hold."""
    alone = sort_out((certificate,))
    if certificate in alone.anchors:
        return "a trust anchor"
    if certificate.is_self_issued and certificate.is_ca:
        reason = "; ".join(alone.problems) or "it is not signed by its own key"
        raise _not_trusted("bad_anchor", f"it calls itself a root and is none: {reason}")
    return "an intermediate authority" if certificate.is_ca else "a known peer"


def _authority(certificate: Certificate) -> _Known | None:
    """By name first, since a false certificate has the name and not the digits; by digits where no name is listed."""
    entries: list[dict[str, Any]] = tomllib.loads(resources.path(AUTHORITIES).read_text("utf-8"))["authority"]
    for entry in entries:
        prefix = entry.get("sha256_prefix")
        agrees = None if prefix is None else certificate.sha256.startswith(prefix)
        if entry.get("name") == certificate.common_name or ("name" not in entry and agrees):
            return _Known(entry["id"], entry["environment"], entry["compare_with"], agrees)
    return None


def _show_known(known: _Known | None) -> None:
    if known is None:
        output.console.print("  listed      no: ask its owner for the SHA-256, by another way than you got the file")
        return
    digits = {
        True: "its first digits agree",
        False: "[red]its first digits do NOT agree[/red]",
        None: "no digits listed",
    }
    output.console.print(f"  listed      as {known.id} ({known.environment}); {digits[known.prefix_agrees]}")
    output.console.print(f"  compare     with {known.compare_with}")


def _refuse(certificate: Certificate, known: _Known | None, material: TrustMaterial, file: Path) -> None:
    """What no fingerprint can put right. Raises TrustRefused."""
    if known is not None and known.prefix_agrees is False:
        raise _not_trusted(
            "not_the_listed_certificate",
            f"{file} has the name of {known.id} and not its fingerprint: another certificate, perhaps a false one",
        )
    is_test = daemon.is_test_authority(certificate.issuer)
    for anchor in material.anchors:
        if daemon.is_test_authority(anchor.subject) != is_test:
            raise _not_trusted(
                "mixed_anchors",
                f"the folder trusts {anchor.label}, and {file} is of "
                f"{'a test' if is_test else 'a real'} hierarchy: keep the two in different folders",
            )


def _ask(known: _Known | None) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError("give the fingerprint that its owner publishes", key="--fingerprint")
    where = known.compare_with if known else "the SHA-256 that its owner publishes"
    return str(typer.prompt(f"Type {where}", err=True))


def _digits(typed: str) -> str:
    """Without colons and spaces. Raises ConfigurationError for what is no SHA-256."""
    digits = re.sub(r"[\s:.-]", "", typed).lower()
    if not re.fullmatch(rf"[0-9a-f]{{{_SHA256_DIGITS}}}", digits):
        raise ConfigurationError(
            f"a SHA-256 has {_SHA256_DIGITS} hexadecimal digits, this has {len(digits)} characters "
            "(40 would be SHA-1, which does not count): nothing was written",
            key="--fingerprint",
        )
    return digits


def _write(target: Path, certificate: Certificate) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # whole or not at all: a running daemon may be looking
        unfinished = target.with_suffix(".part")
        unfinished.write_bytes(pem.armor("CERTIFICATE", certificate.der))
        os.replace(unfinished, target)
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", file=str(target), key="--into") from None


def _report(
    certificate: Certificate,
    becomes: str,
    known: _Known | None,
    target: Path | None,
    now: dt.datetime,
    *,
    as_json: bool,
) -> None:
    if as_json:
        output.print_json(
            {
                "trusted": True,
                "written": None if target is None else str(target),
                "becomes": becomes,
                "listed_as": None if known is None else known.id,
                "certificate": certificate_document(certificate, now),
            }
        )
    elif target is None:
        output.console.print("It is in the folder already; nothing was written.")
    else:
        output.console.print(f"[green]trusted[/green]: {escape(str(target))}; put its current CRL beside it")
