"""Whether a system's folder is whole: its files, and its recorded questions and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.errors import SystemFolderError

SAMPLE_FILES: Final = ("query.toml", "request.xml", "response.xml", "facts.json")


def require_file(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise SystemFolderError(
            f"the folder of the system {folder.name} is not whole: {name} is missing from {folder}; "
            "docs/how-to/add-a-system.md lists what belongs there"
        )
    return file


def check_samples(folder: Path) -> None:
    cases = sample_cases(folder)
    if not cases:
        require_file(folder, "samples/<case>/query.toml")
    for case in cases:
        for name in SAMPLE_FILES:
            require_file(folder, f"samples/{case.name}/{name}")


def sample_cases(folder: Path) -> tuple[Path, ...]:
    """The folders of recorded questions and answers, one per case."""
    samples = folder / "samples"
    if not samples.is_dir():
        return ()
    return tuple(sorted(case for case in samples.iterdir() if case.is_dir() and not case.name.startswith((".", "_"))))
