"""Pins the dependencies with hashes and without any index address: `make lock`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Made by `make lock`; every file is pinned by its hash, the index is the machine's own.\n"


def write(name: str, extras: tuple[str, ...], more: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--upgrade"]
    command += [f"--extra={extra}" for extra in extras]
    pinned = subprocess.run(
        [*command, "pyproject.toml", "-"], cwd=ROOT, input=more, text=True, check=True, capture_output=True
    )
    (ROOT / name).write_text(HEADER + pinned.stdout, encoding="utf-8")


if __name__ == "__main__":
    build = "hatchling\neditables\n"
    write("requirements.lock", (), build)
    write("requirements-dev.lock", ("test", "lint"), build + "uv\n")
