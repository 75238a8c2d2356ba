"""How commands speak: text for people, JSON for programs, exit codes for both."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from gateway.errors import GatewayError, InvalidIdentifier, OperatorError, Undecided

YES: Final = 0
NO: Final = 1
WRONG_USE: Final = 2
UNDECIDED: Final = 3

#: a pipe has no width: nothing is cut there
_PIPE_COLUMNS: Final = 250
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def exit_code_of(error: GatewayError) -> int:
    """2 when a person here must act, 3 when nobody knows, 1 when the answer is no."""
    if isinstance(error, OperatorError | InvalidIdentifier):
        return WRONG_USE
    if isinstance(error, Undecided):
        return UNDECIDED
    return NO


def show_error(error: GatewayError, *, as_json: bool) -> None:
    """The error on stderr; with `--json` also as a document on stdout."""
    stderr.print(f"[red]error[/red] ({error.code}) {escape(error.message)}")
    if as_json:
        print_json({"error": {"code": error.code, "message": error.message}})


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document (or one line of JSON Lines) on stdout; Kazakh letters as they are."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr while something takes time; nothing where stderr is not a terminal."""
    if not stderr.is_terminal:
        yield
        return
    with stderr.status(what):
        yield
