"""Passwords for a command: from a variable of the environment, or typed without being shown."""

from __future__ import annotations

import sys

import typer

from gateway import settings
from gateway.errors import ConfigurationError


def of_file(variable: str | None, *, key: str, prompt: str) -> bytes | None:
    """The password of an existing file; None when no variable is named and nobody is there to ask."""
    if variable is not None:
        return settings.required_variable(variable, key=key).encode()
    if not sys.stdin.isatty():
        return None
    return str(typer.prompt(prompt, hide_input=True, err=True)).encode()


def new(variable: str | None, *, key: str, prompt: str, least_characters: int) -> bytes:
    """A password for a new file. Raises ConfigurationError when there is none or it is short."""
    if variable is not None:
        text = settings.required_variable(variable, key=key)
    elif sys.stdin.isatty():
        text = typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise ConfigurationError("name a variable of the environment that holds the new password", key=key)
    if len(text) < least_characters:
        raise ConfigurationError(
            f"the new password has {len(text)} characters, at least {least_characters} are needed", key=key
        )
    return text.encode()
