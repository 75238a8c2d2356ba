"""`gateway storage upload|download|import|confirm|info|prove`: files in the gateway's temporary storage, by hand."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from gateway import daemon, settings
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, storage_app
from gateway.cli.registry_lists import import_document, show_import, take_in
from gateway.daemon.storage import load_storage, prove_file
from gateway.errors import ConfigurationError, MalformedMessage, OperatorError, SignatureRefused
from gateway.exchange.temporary_storage import DownloadedFile, StoredFile, TemporaryStorage
from gateway.shep.temporary_storage import FileInfo

_LONGEST_REFERENCE: Final = 200

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The storage's identifier of the file.")]


@storage_app.command("upload", epilog="Example: gateway storage upload list.csv --name list.csv --mime text/csv")
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of any size up to storage.max_file_bytes.")],
    reference: Annotated[
        str, typer.Option(help="A name of yours for this file; by default its digest.", show_default=False)
    ] = "",
    name: Annotated[str, typer.Option(help="The name that the storage tells whoever fetches it.")] = "",
    mime: Annotated[str, typer.Option(help="Its kind, for example text/csv.")] = "",
    needs_confirmation: Annotated[
        bool, typer.Option("--needs-confirmation", help="Whoever fetches it is asked to confirm.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a file and tell its identifier. The same file under the same reference is stored once.

    After exit 3 nobody knows whether it arrived: the same command sends the same bytes again.
    """
    if len(reference) > _LONGEST_REFERENCE:
        raise ConfigurationError(f"has at most {_LONGEST_REFERENCE} characters", key="--reference")
    with daemon.assemble(load_settings(config)) as gateway, output.working(f"storing {file.name}"):
        stored = _storage(gateway).upload(
            reference or _by_content(file), file, name=name, mime=mime, needs_confirmation=needs_confirmation
        )
    _show(_stored(stored), as_json)


@storage_app.command("download", epilog="Example: gateway storage download file-1 -o list.csv --confirm")
def download(
    file_identifier: IdArgument,
    target: Annotated[Path, typer.Option("-o", "--output", help="Where it goes; nothing is overwritten.")],
    sha256: Annotated[str, typer.Option(help="Digest that it must have; another file is refused.")] = "",
    confirm_it: Annotated[
        bool, typer.Option("--confirm", help="Tell the storage that it arrived, once it is on the disk.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a file. It is under its name only when all of it came and was signed by the gateway."""
    if target.exists():
        raise ConfigurationError("is there already; name another file", key=str(target))
    with daemon.assemble(load_settings(config)) as gateway, output.working(f"fetching {file_identifier}"):
        storage = _storage(gateway)
        came = storage.download(file_identifier, target, sha256=sha256.lower())
        if confirm_it:
            storage.confirm(file_identifier)
    _show(_downloaded(file_identifier, came, target) | {"confirmed": confirm_it}, as_json)


@storage_app.command(
    "import", epilog="Example: gateway storage import file-1 --sha256 9f86… --feed republican_categories --full"
)
def import_(
    file_identifier: IdArgument,
    sha256: Annotated[str, typer.Option(help="Digest of the list, as its sender said it; another file is refused.")],
    feed: Annotated[
        str | None, typer.Option(metavar="FEED", help="What list it is; by default what its columns tell.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full/--changes", help="Whether it names everything there is, or what changed.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a list, take it into the registry as `gateway registry import` does, and confirm it after the commit.

    Killed in between, the same command does it again: the records are unchanged then, and the file is confirmed.
    """
    loaded = load_settings(config)
    folder = settings.lists_folder(loaded)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with daemon.assemble(loaded) as gateway, tempfile.TemporaryDirectory(dir=folder, prefix="fetched-") as fetched:
        storage, file = _storage(gateway), Path(fetched) / "list"
        with output.working(f"fetching {file_identifier}"):
            storage.download(file_identifier, file, sha256=sha256.lower())
        result = take_in(loaded, file, feed, full=full, evidence=f"storage {file_identifier}")
        storage.confirm(file_identifier)
    document = {"file_identifier": file_identifier, "confirmed": True, **import_document(result)}
    show_import(result, document if as_json else None)
    if result.refused:
        sys.exit(output.NO)


@storage_app.command("confirm", epilog="Example: gateway storage confirm file-1")
def confirm(file_identifier: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell the storage that a file arrived. Twice does no more than once."""
    with daemon.assemble(load_settings(config)) as gateway:
        _storage(gateway).confirm(file_identifier)
    _show({"file_identifier": file_identifier, "confirmed": True}, as_json)


@storage_app.command("info", epilog="Example: gateway storage info file-1 --json")
def info(file_identifier: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What the storage knows of a file."""
    with daemon.assemble(load_settings(config)) as gateway:
        known = _storage(gateway).info(file_identifier)
    _show({"file_identifier": file_identifier, **_known(known)}, as_json)


@storage_app.command("prove", epilog="Example: gateway storage prove 1204 list.csv")
def prove(
    entry_id: Annotated[int, typer.Argument(metavar="ENTRY", help="Number of the message in the journal.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that it carried.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is this the file that was signed? The journal has a large message without its file: the two are put together.

    Exit 1: it is another file, or the signature does not hold. Who signed is not judged again.
    """
    loaded = load_settings(config)
    code = message = signer = ""
    try:
        with output.working("digesting the file"):
            signer = prove_file(loaded, entry_id, file)
    except (SignatureRefused, MalformedMessage) as error:
        code, message = error.code, error.message
    document = {"entry": entry_id, "valid": not code, "code": code, "message": message, "signer_serial": signer}
    if as_json:
        output.print_json(document)
    elif code:
        output.console.print(f"[red]no[/red] ({code}): {escape(message)}")
    else:
        output.console.print(f"[green]yes[/green]: signed with the certificate of serial number {signer}")
    if code:
        sys.exit(output.NO)


def _storage(gateway: daemon.Gateway) -> TemporaryStorage:
    return load_storage(gateway, clock=daemon.now, new_message_id=daemon.new_message_id)


def _by_content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}", code="file_unreadable") from None


def _stored(stored: StoredFile) -> dict[str, Any]:
    return {
        "reference": stored.reference,
        "file_identifier": stored.file_identifier,
        "state": str(stored.state),
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "expires_at": None if stored.expires_at is None else stored.expires_at.isoformat(),
        "message_id": stored.message_id,
    }


def _downloaded(file_identifier: str, came: DownloadedFile, target: Path) -> dict[str, Any]:
    return {
        "file_identifier": file_identifier,
        "file": str(target),
        "sha256": came.sha256,
        "size_bytes": came.size_bytes,
        "name": "" if came.info is None else came.info.name,
    }


def _known(known: FileInfo) -> dict[str, Any]:
    moments = {
        "uploaded_at": known.uploaded_at,
        "expires_at": known.expires_at,
        "confirmed_at": known.confirmed_at,
        "deleted_at": known.deleted_at,
    }
    return {
        "name": known.name,
        "mime": known.mime,
        "size_bytes": known.size_bytes,
        "needs_confirmation": known.needs_confirmation,
        "confirmed": known.confirmed,
        "deleted": known.deleted,
        **{key: None if moment is None else moment.isoformat() for key, moment in moments.items()},
    }


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(document)
        return
    for key, value in document.items():
        output.console.print(f"{key:18} {escape('–' if value is None else str(value))}")
