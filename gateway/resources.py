"""Where the data that travels with the program lies: in the wheel beside the code, in a checkout one level up."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent


def path(relative: str) -> Path:
    """Absolute path of a shipped file or folder, for example `path("wsdl/shep")`.

    Raises FileNotFoundError: the installation is damaged.
    """
    found = _ROOT / relative
    if not found.exists():
        raise FileNotFoundError(f"{relative} is missing from the installation; install shep-gateway again")
    return found


def mappers_path() -> Path:
    """The folder with the systems that ship with the program."""
    beside = _PACKAGE.parent / "mappers"
    if not beside.is_dir():
        raise FileNotFoundError("the package `mappers` is missing; install shep-gateway again")
    return beside
