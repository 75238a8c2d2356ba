"""`gateway keys inspect` and `gateway keys convert`."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from gateway import daemon
from gateway.cli import output, passwords
from gateway.cli.app import JsonOption, keys_app
from gateway.cli.files import read_bytes
from gateway.errors import ConfigurationError, GatewayError, KeyMaterialError, MalformedMessage
from gateway.signing import containers
from gateway.signing.certificate import Certificate
from gateway.signing.containers import OpenedFile, Protection

LEAST_PASSWORD_CHARACTERS: Final = 12

PasswordOption = Annotated[
    str | None, typer.Option(help="Variable that holds the file's password; without it a terminal is asked.")
]


@keys_app.command("inspect", epilog="Example: gateway keys inspect GOST512.p12 --password-env KEY_PASSWORD")
def inspect(
    file: Annotated[Path, typer.Argument(help="PKCS#12, PKCS#8, PEM, or a certificate.")],
    password_env: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whose key it is, in which role, until when, and how well the file protects it. Shows no key."""
    data = read_bytes(file)
    protection, opened = _open(file, data, password_env)
    now = daemon.now()
    if as_json:
        output.print_json(_document(file, protection, opened, now))
        return
    _show(file, protection, opened, now)


@keys_app.command(
    "convert",
    epilog="Example: gateway keys convert GOST512.p12 -o gateway.pem --password-env OLD --new-password-env NEW",
)
def convert(
    file: Annotated[Path, typer.Argument(help="PKCS#12, PKCS#8 or PEM with a private key.")],
    result: Annotated[Path, typer.Option("-o", "--output", help="A new file; nothing is overwritten.")],
    password_env: PasswordOption = None,
    new_password_env: Annotated[
        str | None, typer.Option(help="Variable that holds the new file's password; without it a terminal is asked.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A strongly encrypted copy of a key file (PEM; AES-256, PBKDF2 with 600,000 rounds). Shows no key."""
    if result.exists():
        raise _exists(result)
    protection, opened = _open(file, read_bytes(file), password_env)
    if opened.pkcs8_der is None:
        raise KeyMaterialError(f"{file}: holds no private key: there is nothing to protect", code="key_file")
    if opened.certificates and opened.certificate is None:
        raise KeyMaterialError(
            f"{file}: none of its certificates belongs to its key: ask whoever made the file",
            code="certificate_missing",
        )
    password = passwords.new(
        new_password_env,
        key="--new-password-env",
        prompt=f"New password for {result}",
        least_characters=LEAST_PASSWORD_CHARACTERS,
    )
    data = containers.as_pem(containers.protect(opened.pkcs8_der, password), opened.certificates)
    if containers.open_file(data, password) != opened:
        raise KeyMaterialError("the new file would not hold what the old one holds; it was not written")
    _write_secret(result, data)
    written = containers.protection_of(data)
    report = {
        "file": str(result),
        "key_family": _family(opened),
        "before": _protection_document(protection),
        "after": _protection_document(written),
    }
    if as_json:
        output.print_json(report)
        return
    output.console.print(
        f"{escape(str(result))}: {', '.join(written.schemes if written else ())}, readable by its owner only"
    )
    output.console.print("Try it (`gateway keys inspect`), keep a copy in a safe place, then destroy the old file.")


def _open(file: Path, data: bytes, password_env: str | None) -> tuple[Protection | None, OpenedFile]:
    try:
        protection = containers.protection_of(data)
        try:
            return protection, containers.open_file(data, None)
        except KeyMaterialError as error:
            if error.code != "key_password":
                raise
        password = passwords.of_file(password_env, key="--password-env", prompt=f"Password of {file}")
        return protection, containers.open_file(data, password)
    except (KeyMaterialError, MalformedMessage) as error:
        raise KeyMaterialError(f"{file}: {error.message}", code=error.code) from None


def _write_secret(file: Path, data: bytes) -> None:
    try:
        # created with its mode: never readable by others, not even for a moment
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", file=str(file)) from None


def _exists(file: Path) -> GatewayError:
    return ConfigurationError("is there already; name a new file, nothing is overwritten", file=str(file))


def _family(opened: OpenedFile) -> str:
    return opened.certificate.key_family if opened.certificate else "unknown"


# ---------------------------------------------------------------- what is shown


def _document(file: Path, protection: Protection | None, opened: OpenedFile, now: dt.datetime) -> dict[str, Any]:
    certificate = opened.certificate
    return {
        "file": str(file),
        "private_key": opened.pkcs8_der is not None,
        "protection": _protection_document(protection),
        "certificate": None if certificate is None else certificate_document(certificate, now),
    }


def _protection_document(protection: Protection | None) -> dict[str, Any] | None:
    if protection is None:
        return None
    return {
        "kind": protection.kind,
        "schemes": list(protection.schemes),
        "weak": protection.is_weak,
        "weaknesses": list(protection.weaknesses),
    }


def certificate_document(certificate: Certificate, now: dt.datetime) -> dict[str, Any]:
    """A certificate for `--json`."""
    return {
        "subject": certificate.label,
        "issuer": certificate.issuer,
        "serial": str(certificate.serial),
        "iin": certificate.iin,
        "bin": certificate.bin,
        "roles": list(certificate.roles),
        "key_family": certificate.key_family,
        "key_usage": sorted(certificate.key_usage or ()),
        "policies": list(certificate.policies),
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "days_left": (certificate.not_after - now).days,
        "sha256": certificate.sha256,
    }


def show_certificate(certificate: Certificate, now: dt.datetime) -> None:
    """A certificate for a person to read."""
    show = output.console.print
    show(f"  subject     {escape(certificate.label)}")
    show(f"  issuer      {escape(certificate.issuer)}")
    if certificate.iin:
        show(f"  IIN         {certificate.iin}")
    if certificate.bin:
        show(f"  BIN         {certificate.bin}")
    show(f"  roles       {', '.join(certificate.roles) or '–'}")
    usage = ", ".join(sorted(certificate.key_usage or ())) or "nothing stated"
    show(f"  key         {certificate.key_family}, for {usage}")
    days = (certificate.not_after - now).days
    state = f"{days} days left"
    if now > certificate.not_after:
        state = "[red]ended[/red]"
    elif now < certificate.not_before:
        state = "[red]not valid yet[/red]"
    show(f"  valid       {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}, {state}")
    show(f"  serial      {certificate.serial}")
    show(f"  SHA-256     {certificate.sha256}")


def _show(file: Path, protection: Protection | None, opened: OpenedFile, now: dt.datetime) -> None:
    what = "a private key" if opened.pkcs8_der is not None else "a certificate, no private key"
    output.console.print(f"{escape(str(file))}: {what}")
    certificate = opened.certificate
    if certificate is not None:
        show_certificate(certificate, now)
    elif opened.certificates:
        output.console.print("  [red]none of its certificates belongs to its key[/red]")
    else:
        output.console.print("  no certificate in it")
    if protection is None:
        return
    output.console.print(f"  protection  {protection.kind}: {'; '.join(protection.schemes)}")
    for weakness in protection.weaknesses:
        output.console.print(f"  [yellow]weak[/yellow]        {escape(weakness)}")
    if protection.is_weak:
        output.console.print("  Make a strongly encrypted copy: `gateway keys convert FILE -o OUT`.")
