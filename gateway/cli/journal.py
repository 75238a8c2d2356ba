"""`gateway journal list|show|verify|export|prune`."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Engine

from gateway import daemon
from gateway.apart import mark_in
from gateway.cli.app import ConfigOption, JsonOption, journal_app, load_settings
from gateway.cli.files import read_bytes, write_bytes
from gateway.cli.output import NO, UNDECIDED, console, print_json, stderr, working
from gateway.cli.parsing import moment
from gateway.errors import ConfigurationError, OperatorError, PeerError
from gateway.exchange import retention
from gateway.exchange.journal import DEFAULT_LIMIT, Journal, MessageDirection
from gateway.exchange.journal.evidence_file import stored_message, write_evidence_file
from gateway.exchange.journal.exporting import export_lines
from gateway.exchange.journal.verifying import verify_journal
from gateway.settings import LoadedSettings
from gateway.signing.certificate import Certificate
from gateway.signing.wss import verify_envelope
from gateway.trust.crl import read_crls
from gateway.trust.path import build_path
from gateway.trust.store import TrustStore


@journal_app.command("list", epilog="Example: gateway journal list --system gbdfl --limit 20")
def list_entries(
    message_id: Annotated[str, typer.Option(help="A message id or correlation id.")] = "",
    system: Annotated[str, typer.Option(help="Slug of a register that we ask.")] = "",
    service: Annotated[str, typer.Option(help="A serviceId.")] = "",
    direction: Annotated[MessageDirection | None, typer.Option(help="in or out.")] = None,
    verdict: Annotated[
        str | None, typer.Option(help="accepted, signed, the code of a refusal, or the name of an act.")
    ] = None,
    before: Annotated[int | None, typer.Option(help="Continue before this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = DEFAULT_LIMIT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Messages and notes, newest first, without their bytes."""
    entries = _journal(config).list_entries(
        message_id=message_id,
        system=system,
        service_id=service,
        direction=direction,
        verdict=verdict,
        before_id=before,
        limit=limit,
    )
    if as_json:
        for entry in entries:
            print_json(entry.as_dict())
        return
    table = Table("id", "at", "", "service", "kind", box=None)
    table.add_column("message id", no_wrap=True)
    table.add_column("bytes")
    table.add_column("verdict", no_wrap=True)
    for entry in entries:
        arrow = "→" if entry.direction is MessageDirection.OUT else "←"
        table.add_row(
            str(entry.id),
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            arrow,
            escape(entry.system or entry.service_id),
            entry.kind,
            escape(entry.message_id),
            str(entry.body_bytes),
            escape(entry.verdict),
        )
    console.print(table)


@journal_app.command("show", epilog="Example: gateway journal show 12 --body > reply.xml")
def show(
    entry_id: Annotated[int, typer.Argument(metavar="ID")],
    body: Annotated[bool, typer.Option("--body", help="Write the exact bytes to stdout, and nothing else.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One message: who signed it, what was decided about it, and with --body its exact bytes."""
    entry = _journal(config).get(entry_id)
    if entry is None:
        raise OperatorError(f"the journal has no entry {entry_id}; see `gateway journal list`", code="no_such_entry")
    if body:
        if entry.body is None:
            raise OperatorError(
                f"the bytes of entry {entry_id} are not kept (any more) ({entry.note})", code="not_kept"
            )
        sys.stdout.buffer.write(entry.body)
        return
    if as_json:
        print_json(entry.as_dict())
        return
    for key, value in entry.as_dict().items():
        shown = " · ".join(str(part) for part in value.values() if part) if isinstance(value, dict) else str(value)
        console.print(f"{key:16} {escape(shown)}")


@journal_app.command("verify", epilog="Example: gateway journal verify --json")
def verify(
    signatures: Annotated[
        bool, typer.Option("--signatures/--no-signatures", help="Check every signature and time stamp as well.")
    ] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is the journal what was once written? Every hash, every body, every time stamp and every signature.

    Exit 1 names the first place where it is not; exit 3: certificates to check signatures with are not at hand.
    """
    loaded, engine = _store(config)
    check_signature, check_stamp = None, None
    if signatures:
        store = TrustStore.load(loaded.settings.trust.folder)
        bounds = daemon.xml_bounds(loaded, _largest(loaded))
        check_signature = daemon.signature_check(store, _own_certificates(loaded), bounds)
        check_stamp = daemon.token_check(store, daemon.now)
    with working("verifying the journal"):
        report = verify_journal(
            engine, daemon.load_seal(loaded), check_signature=check_signature, check_stamp=check_stamp
        )
    broken = report.broken
    if as_json:
        print_json(report.as_dict())
    elif broken is not None:
        where = "" if broken.id is None else f" at row {broken.id}"
        console.print(f"[red]broken[/red]{where} ({broken.what}): {escape(broken.message)}")
    else:
        console.print(
            f"[green]holds[/green]: rows {report.before_id + 1} to {report.last_id}, {report.bodies} bodies "
            f"({report.bodies_removed} removed by retention), {report.signatures} signatures, "
            f"{report.stamps} time stamps"
        )
        if report.files_apart:
            console.print(
                f"{report.files_apart} signatures are over a file that is not in the journal and hold but for its"
                " digest: `gateway storage prove` takes the file"
            )
        console.print(f"head {report.head_sha256}")
        if report.undecided:
            console.print(f"[yellow]{report.undecided} could not be checked[/yellow]: certificates are not at hand")
    if broken is not None:
        sys.exit(NO)
    if report.undecided:
        sys.exit(UNDECIDED)


@journal_app.command("export", epilog="Example: gateway journal export 12 -o evidence.json")
def export(
    entry_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="One message with all that proves it, for `gateway verify`.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where it goes; by default stdout.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole chain as JSON Lines.")] = False,
    first: Annotated[int | None, typer.Option("--from", help="The chain from this row on.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="The chain up to this row.")] = None,
    bodies: Annotated[bool, typer.Option("--bodies/--no-bodies", help="With the exact bytes.")] = True,
    config: ConfigOption = None,
) -> None:
    """One message as evidence, or the chain for tools/verify_journal.py. The file is as sensitive as the journal."""
    chain = everything or first is not None or last is not None
    if chain == (entry_id is not None):
        raise ConfigurationError("name one entry, or the chain with --all or --from and --to", key="export")
    loaded, engine = _store(config)
    seal = daemon.load_seal(loaded)
    if entry_id is not None:
        message = stored_message(engine, entry_id, seal)
        if mark_in(message.body) is not None:
            stderr.print(
                f"[yellow]note[/yellow] the journal has this message without its file: `gateway verify` cannot find its"
                f" digest right, `gateway storage prove {entry_id} FILE` can"
            )
        certificates = _path_of(loaded, message.body, message.at)
        data = write_evidence_file(message, certificates, _lists_of(loaded, certificates))
        if output is None:
            sys.stdout.buffer.write(data)
        else:
            write_bytes(output, data)
        return
    lines = export_lines(engine, seal, first_id=first, last_id=last, with_bodies=bodies)
    if output is None:
        sys.stdout.buffer.writelines(lines)
        return
    try:
        with output.open("wb") as file:
            file.writelines(lines)
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", file=str(output)) from None


@journal_app.command("prune", epilog="Example: gateway journal prune --older-than 1095 --dry-run")
def prune(
    before: Annotated[
        str | None, typer.Option(help="Bodies before this moment, ISO 8601 with zone.", show_default=False)
    ] = None,
    older_than: Annotated[
        int | None, typer.Option(min=1, help="Bodies older than so many days.", show_default=False)
    ] = None,
    service: Annotated[str, typer.Option(help="Only of this serviceId or register.")] = "",
    rows: Annotated[
        bool, typer.Option("--rows", help="Whole rows too, from the beginning of the chain; not with --service.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Give all empty space back; nothing is journalled meanwhile.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take away what need not be kept; without --before and --older-than by the section [journal].

    What an open exchange or a fact of the registry still rests on stays. The chain says what went, and holds.
    """
    loaded, engine = _store(config)
    now = daemon.now()
    policy = _policy(loaded, now, moment(before, key="--before"), older_than, service, rows=rows)
    size_before = retention.stored_bytes(engine)
    with working("pruning the journal"):
        pruned = retention.prune(engine, daemon.load_writer(loaded), policy, at=now, dry_run=dry_run)
        if not dry_run:
            retention.free_space(engine, compact=compact)
    report = {**pruned.as_dict(), "stored_bytes_before": size_before, "stored_bytes": retention.stored_bytes(engine)}
    if as_json:
        print_json(report)
        return
    word = "would go" if dry_run else "are gone"
    console.print(f"{pruned.bodies} bodies ({pruned.body_bytes} bytes on the wire) and {pruned.rows} rows {word}")
    if pruned.needed:
        console.print(f"{pruned.needed} bodies of that age are still needed and stay")
    if pruned.cut_stopped_at is not None:
        console.print(f"the cut ends before row {pruned.cut_stopped_at}, which is still needed")
    console.print(f"the journal takes {report['stored_bytes']} bytes; it took {size_before}")


def _policy(
    loaded: LoadedSettings,
    now: dt.datetime,
    before: dt.datetime | None,
    older_than: int | None,
    service: str,
    *,
    rows: bool,
) -> retention.RetentionPolicy:
    if before is None and older_than is None:
        if service or rows:
            raise ConfigurationError("say how old with --before or --older-than", key="prune")
        return daemon.retention_policy(loaded, now)
    if (before is not None and older_than is not None) or (service and rows):
        raise ConfigurationError("use --before or --older-than, and --rows without --service", key="prune")
    limit = before if before is not None else now - dt.timedelta(days=older_than or 0)
    return retention.RetentionPolicy(
        bodies_before=None if service else limit,
        bodies_before_of={service: limit} if service else {},
        rows_before=limit if rows else None,
        keep_evidence_of_facts=loaded.settings.journal.keep_evidence_of_facts,
    )


def _store(config: ConfigOption) -> tuple[LoadedSettings, Engine]:
    loaded = load_settings(config)
    return loaded, daemon.open_store(loaded)


def _journal(config: ConfigOption) -> Journal:
    loaded, engine = _store(config)
    return daemon.open_journal(loaded, engine)


def _largest(loaded: LoadedSettings) -> int:
    return max(loaded.settings.server.max_request_bytes, loaded.settings.shep.max_reply_bytes)


def _own_certificates(loaded: LoadedSettings) -> tuple[Certificate, ...]:
    """Ours, where the key can be read here; an auditor's machine need not have it."""
    try:
        return (daemon.load_keys(loaded)().certificate,)
    except OperatorError:
        return ()


def _path_of(loaded: LoadedSettings, body: bytes, at: dt.datetime) -> tuple[Certificate, ...]:
    """The signer's certificate and those above it but the anchor, as far as they are at hand."""
    store = TrustStore.load(loaded.settings.trust.folder)
    material = store.material
    known = TrustStore.of(
        (*material.anchors, *material.intermediates, *material.peers, *_own_certificates(loaded)), material.crls
    )
    try:
        signer = verify_envelope(
            body, certificates=known, bounds=daemon.xml_bounds(loaded, _largest(loaded))
        ).certificate
    except PeerError:
        return ()  # it was not signed, or nobody could tell by whom: the bytes are the evidence
    try:
        return build_path(signer, known.material, at=at).certificates[:-1]
    except PeerError:
        return (signer,)


def _lists_of(loaded: LoadedSettings, certificates: tuple[Certificate, ...]) -> tuple[bytes, ...]:
    """The lists in the trust folder that speak of these certificates."""
    issuers = {certificate.issuer_key for certificate in certificates}
    found = []
    for file in sorted(loaded.settings.trust.folder.glob("*.crl")):
        data = read_bytes(file)
        try:
            if any(crl.issuer_key in issuers for crl in read_crls(data)):
                found.append(data)
        except PeerError:
            continue  # the trust store tells that it cannot be read
    return tuple(found)
