"""`gateway cases`: the law's cases, judged one by one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway import daemon, resources
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.errors import ConfigurationError
from gateway.registry.cases import CaseResult, UnreadableCase, run_case
from gateway.regulation.nodes import Node, read_yaml
from gateway.regulation.services import load_services


@app.command("cases", epilog="Example: gateway cases tests/law/state_paid.yaml")
def cases(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of cases, as in tests/law.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge cases of the law: facts and a day against the expected answer. Exit 1 when one fails."""
    loaded = load_settings(config)
    law = daemon.load_regulation(loaded)
    services = load_services(resources.path("config/regulation"), loaded.settings.registry.law_folder)
    results: list[CaseResult] = []
    for path in files:
        scenarios = Node(path.name, "", read_yaml(path)).children().get("scenarios")
        if scenarios is None:
            raise ConfigurationError("a file of cases has the key `scenarios`", file=str(path))
        for item in scenarios.items():
            try:
                results.append(run_case(item.raw_fields(), law=law, services=services))
            except UnreadableCase as error:
                raise ConfigurationError(str(error), file=str(path)) from error
    document = as_document(results)
    if as_json:
        output.print_json(document)
    else:
        _show(document)
    if document["failed"]:
        sys.exit(output.NO)


def as_document(results: list[CaseResult]) -> dict[str, Any]:
    """The result of `gateway cases --json` (docs/reference/contract.md)."""
    failed = [
        {"id": result.id, "expected": result.expected, "got": result.got} for result in results if not result.passed
    ]
    return {"total": len(results), "passed": len(results) - len(failed), "failed": failed}


def _show(document: dict[str, Any]) -> None:
    write = output.console.print
    for failure in document["failed"]:
        write(f"[red]failed[/red] {escape(failure['id'])}")
        write(f"  expected {escape(str(failure['expected']))}")
        write(f"  got      {escape(str(failure['got']))}")
    write(f"{document['passed']} of {document['total']} cases pass")
