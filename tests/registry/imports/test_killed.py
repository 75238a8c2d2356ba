"""An import that is killed at any moment and run again leaves what a clean one leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database import engine_for, upgrade
from tests.registry.imports.lists import contents, csv, pensioner, removed, take

#: runs an import that kills itself, hard, when the function named is called for the n-th time
_VICTIM = """
import os, signal, sys
from pathlib import Path
from gateway.database import engine_for
from gateway.registry.imports import {module}
from tests.registry.imports.lists import take

calls = 0
real = {module}.{function}

def die(*arguments, **named):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

{module}.{function} = die
if __name__ == "__main__":
    take(engine_for(sys.argv[1]), Path(sys.argv[2]), day=2, folder=Path(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("run", "take_copy"),
        ("run", "_examined"),
        ("run", "apply_rows"),
        ("applying", "_written"),
        ("applying", "touch_selected"),
        ("run", "_record"),
        ("run", "keep"),
    ],
)
def test_a_killed_import_leaves_nothing_and_ends_clean_when_it_is_run_again(
    database_url: str, tmp_path: Path, module: str, function: str
) -> None:
    engine = engine_for(database_url)
    upgrade(engine)
    second = _before_and_after(engine, tmp_path)
    before = contents(engine)
    _kill(database_url, tmp_path, second, module, function)
    assert contents(engine) == before
    result = take(engine, second, day=2, folder=tmp_path / "lists")
    assert (result.read, result.applied, result.unchanged, result.absent) == (41, 2, 38, 1)
    assert contents(engine) == _clean(tmp_path)
    assert _kept(tmp_path) == {"lock", "2.csv", "2.refused"}
    engine.dispose()


def test_an_import_that_is_killed_after_its_commit_is_done(database_url: str, tmp_path: Path) -> None:
    engine = engine_for(database_url)
    upgrade(engine)
    second = _before_and_after(engine, tmp_path)
    # the first time it clears what is there, the second time it is all done
    _kill(database_url, tmp_path, second, "run", "forget_others", call=2)
    assert contents(engine) == _clean(tmp_path)
    assert _kept(tmp_path) > {"1.csv", "2.csv", "work"}
    assert take(engine, second, day=3, folder=tmp_path / "lists").applied == 0
    assert _kept(tmp_path) == {"lock", "3.csv", "3.refused"}
    engine.dispose()


def _before_and_after(engine: Engine, tmp_path: Path) -> Path:
    """A first list taken in, and a second one beside it."""
    people = [pensioner(number) for number in range(40)]
    take(engine, csv(tmp_path / "1.csv", people), folder=tmp_path / "lists")
    people[3] = removed(people[3], "2026-03-02")
    return csv(tmp_path / "2.csv", [*people[1:], pensioner(50), pensioner(51, iin="1")])


def _kill(url: str, tmp_path: Path, file: Path, module: str, function: str, *, call: int = 1) -> None:
    victim = tmp_path / "victim.py"
    victim.write_text(_VICTIM.format(module=module, function=function, call=call))
    killed = subprocess.run(
        [sys.executable, str(victim), url, str(file), str(tmp_path / "lists")],
        cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


def _kept(tmp_path: Path) -> set[str]:
    return {file.name for file in (tmp_path / "lists" / "republican_categories").iterdir()}


def _clean(tmp_path: Path) -> object:
    """What the same two lists leave where nothing was killed."""
    engine: Engine = engine_for(f"sqlite:///{tmp_path / 'clean.sqlite'}")
    upgrade(engine)
    for day, name in ((1, "1.csv"), (2, "2.csv")):
        take(engine, tmp_path / name, day=day, folder=tmp_path / "clean-lists")
    found = contents(engine)
    engine.dispose()
    return found
