"""`gateway pki check`."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, load_settings, pki_app
from gateway.trust.lifetimes import Finding, survey


@pki_app.command("check", epilog="Example: gateway pki check -c config/gateway.toml")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Lifetime and revocation of every configured certificate; warns 30, 14 and 7 days before anything ends.

    Exit 0 when all are good (warned of or not), 1 when one is not, 3 when a revocation status is not known.
    """
    loaded = load_settings(config)
    now = daemon.now()
    keys, trust = daemon.load_keys(loaded), daemon.load_trust(loaded)
    findings = survey(keys.certificates, trust.store.material, at=now, mode=trust.revocation)
    problems = (*keys.problems, *trust.store.material.problems)
    verdicts = [finding.good for finding in findings]
    good = False if False in verdicts else None if None in verdicts else True
    if as_json:
        output.print_json(
            {
                "good": good,
                "checked_at": now.isoformat(),
                "certificates": [_document(finding, now) for finding in findings],
                "problems": list(problems),
            }
        )
    else:
        for finding in findings:
            _show(finding, now)
        for problem in problems:
            output.console.print(f"[yellow]note[/yellow] {escape(problem)}")
    if good is not True:
        sys.exit(output.NO if good is False else output.UNDECIDED)


def _document(finding: Finding, now: dt.datetime) -> dict[str, Any]:
    revocation = finding.revocation
    return {
        "part": finding.part.value,
        "label": finding.label,
        "serial": None if finding.certificate is None else str(finding.certificate.serial),
        "sha256": None if finding.certificate is None else finding.certificate.sha256,
        "key_family": None if finding.certificate is None else finding.certificate.key_family,
        "not_before": finding.not_before.isoformat(),
        "not_after": finding.not_after.isoformat(),
        "days_left": finding.days_left(now),
        "good": finding.good,
        "code": finding.code,
        "message": finding.message,
        "revocation": None
        if revocation is None
        else {
            "status": revocation.status.value,
            "source": revocation.source,
            "as_of": None if revocation.as_of is None else revocation.as_of.isoformat(),
        },
    }


def _show(finding: Finding, now: dt.datetime) -> None:
    colour = {True: "green", False: "red", None: "yellow"}[finding.good]
    if finding.good and finding.code != "ok":
        colour = "yellow"
    left = f"until {finding.not_after:%Y-%m-%d} ({finding.days_left(now)} days)"
    revocation = "" if finding.revocation is None else f" · revocation {finding.revocation.status}"
    output.console.print(
        f"[{colour}]{finding.code:15}[/{colour}] {finding.part:12} {escape(finding.label)} · {left}{revocation}"
    )
    if finding.message:
        output.console.print(f"{'':15} {'':12} {escape(finding.message)}")
