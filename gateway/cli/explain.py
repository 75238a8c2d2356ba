"""`gateway registry explain`."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, registry_app
from gateway.cli.explain_html import html_of
from gateway.cli.explain_view import Page, RuleView, page_of
from gateway.cli.explain_words import Language, label
from gateway.cli.parsing import day, moment
from gateway.cli.registry import as_document
from gateway.database import reading
from gateway.errors import ConfigurationError
from gateway.model import Iin
from gateway.registry.days import known_by_default
from gateway.registry.explanation import ExplainedRule, Explanation, Proof
from gateway.registry.proofs import explanation_of
from gateway.registry.tried import RuleResult, WouldChange


@registry_app.command("explain", epilog="Example: gateway registry explain 900101300017 --language kk --html why.html")
def explain(
    iin: Annotated[str, typer.Argument(metavar="IIN")],
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day asked about; by default today.")] = None,
    known_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="By what was known then; by default the end of that day, or now.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page for the printer; it names the person.")
    ] = None,
    language: Annotated[Language, typer.Option(help="Of everything but the words of the act.")] = Language.EN,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every rule tried, with its paragraph, the facts and the signed messages behind it, and what would change it."""
    person = Iin(iin)
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    now = daemon.now()
    as_of = day(on, key="--on") or law.local_day(now)
    known = moment(known_at, key="--known-at") or known_by_default(as_of, now, law.timezone)
    with reading(daemon.open_store(loaded)) as connection:
        explanation = explanation_of(connection, person, as_of=as_of, known_at=known, law=law)
    page = page_of(explanation, known_at=known, language=language, law=law)
    if html is not None:
        _write_private(html, html_of(page, person))
    if as_json:
        output.print_json(explanation_document(person, explanation, known))
    elif html is None:
        _show(page)
    else:
        output.console.print(f"{escape(page.verdict)} · {escape(str(html))}")
    if not explanation.standing.insured:
        sys.exit(output.NO if explanation.known else output.UNDECIDED)


def _write_private(file: Path, text: str) -> None:
    """It is about one person: nobody else on this machine may read it."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(text)
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", file=str(file)) from None


# ---------------------------------------------------------------- as text


def _show(page: Page) -> None:
    write = output.console.print
    colour = {True: "green", False: "red", None: "yellow"}[page.insured]
    write(f"[bold {colour}]{escape(page.verdict)}[/]")
    for name, value in page.summary:
        write(f"  {escape(name)}: {escape(value)}")
    write(f"  {_say(page, 'because')}: {escape(', '.join(page.because))}")
    write(f"\n[bold]{_say(page, 'changes')}[/]")
    _bullets(page.changes)
    write(f"\n[bold]{_say(page, 'rules')}[/]")
    words = {clause.cite: clause for clause in page.clauses}
    shown: set[str] = set()
    for rule in page.rules:
        _show_rule(page, rule)
        for cite in rule.cites:
            clause = words[cite]
            if cite in shown:
                write(f"    [cyan]{escape(cite)}[/] ({_say(page, 'above')})")
                continue
            shown.add(cite)
            write(f"    [cyan]{escape(cite)}[/] {escape(clause.kk)}")
            if clause.gloss:
                write(f"      [dim]{escape(clause.gloss)}[/]")
    left = [clause for clause in page.clauses if clause.cite not in shown]
    if left:
        write(f"\n[bold]{_say(page, 'clauses')}[/]")
        for clause in left:
            write(f"    [cyan]{escape(clause.cite)}[/] {escape(clause.kk)}")
            if clause.gloss:
                write(f"      [dim]{escape(clause.gloss)}[/]")
    if page.readings:
        write(f"\n[bold]{_say(page, 'readings')}[/]")
        _bullets(f"{one.name}: {one.value} ({one.ambiguity}) {one.why}" for one in page.readings)
    write(f"\n[dim]{escape(page.redaction)}[/]")
    if page.language is not Language.KK:
        write(f"[dim]{_say(page, 'gloss')}[/]")


def _show_rule(page: Page, rule: RuleView) -> None:
    write = output.console.print
    mark = "[bold green]▶[/]" if rule.reported else "[bold]•[/]" if rule.told else "[dim]·[/]"
    told = [escape(text) for text in (rule.outcome, rule.category, rule.days) if text]
    if rule.reported:
        told.append(f"[bold]{_say(page, 'reported')}[/]")
    write(f"{mark} [bold]{escape(rule.title)}[/] ({escape(rule.rule)}): {' · '.join(told)}")
    _bullets((*rule.facts, *rule.proofs), indent="    ")
    for change in rule.changes:
        write(f"    → {escape(change)}")


def _say(page: Page, name: str) -> str:
    return escape(label(name, page.language))


def _bullets(texts: Iterable[str], indent: str = "  ") -> None:
    for text in texts:
        output.console.print(f"{indent}- {escape(text)}")


# ---------------------------------------------------------------- as a document


def explanation_document(person: Iin, explanation: Explanation, known_at: dt.datetime) -> dict[str, Any]:
    """The result of `--json` (docs/reference/contract.md): that of `registry standing`, and why."""
    answer = explanation.standing
    return {
        **as_document(person, answer, known_at),
        "known": explanation.known,
        "next_change": _iso(answer.next_change),
        "redaction": explanation.edition.redaction,
        "rules": [_rule_document(rule) for rule in explanation.rules],
        "would_change": [
            {"rule": result.rule, "line": result.line, **_change_document(change)}
            for result, change in explanation.changes
        ],
        "proofs": {name: [_proof_document(one) for one in proofs] for name, proofs in explanation.proofs.items()},
        "clauses": {
            str(clause.citation): {"kk": clause.kk, "en": clause.en, "ru": clause.ru} for clause in explanation.clauses
        },
        "read_as": {
            reading.name: {"value": reading.value, "ambiguity": reading.ambiguity}
            for rule in explanation.rules
            for reading in rule.readings
        },
    }


def _rule_document(rule: ExplainedRule) -> dict[str, Any]:
    result: RuleResult = rule.result
    return {
        "line": result.line,
        "rule": result.rule,
        "outcome": str(result.outcome),
        "reason": result.reason or None,
        "reported": result.reported,
        "basis": None if result.basis is None else str(result.basis),
        "category": result.category,
        "budget": result.budget,
        "first": _iso(result.first),
        "last": _iso(result.last),
        "because": [str(citation) for citation in result.because],
        "readings": list(result.readings),
        "evidence": list(result.evidence),
        "facts": [
            {
                "what": str(fact.what),
                "day": fact.day.isoformat(),
                "source": fact.source or None,
                "category": fact.category,
                "detail": fact.detail or None,
                "evidence": fact.evidence,
            }
            for fact in rule.facts
        ],
        "would_change": [_change_document(change) for change in result.would_change],
    }


def _change_document(change: WouldChange) -> dict[str, Any]:
    return {"what": str(change.what), "on": _iso(change.on), "detail": list(change.detail)}


def _proof_document(proof: Proof) -> dict[str, Any]:
    return {
        "kind": str(proof.kind),
        "source": proof.source,
        "received_at": proof.received_at.isoformat(),
        "signer_subject": proof.signer_subject or None,
        "signer_serial": proof.signer_serial or None,
        "digest": proof.digest or None,
        "declared_by": proof.declared_by or None,
        "reason": proof.reason or None,
    }


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()
