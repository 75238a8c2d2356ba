"""docs/threats.md promises nothing that no test holds: every row is whole and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threats.md"
HEADING = ["Threat", "Control", "Secure default", "Test"]


def tables() -> list[list[list[str]]]:
    """Every table of the page: rows of cells, the heading first."""
    found: list[list[list[str]]] = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        if not inside:
            found.append([])
            inside = True
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            found[-1].append(cells)
    return found


ROWS = [row for table in tables() if table[0] == HEADING for row in table[1:]]


def test_there_is_something_to_check() -> None:
    assert len(ROWS) > 50
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_threat_has_a_control_a_default_and_a_test_that_exists(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    named = re.findall(r"`([^`]+)::([^`]+)`", row[3])
    assert named, "the last cell names a test as `file::test`"
    for file, test in named:
        path = ROOT / file
        assert path.is_file(), file
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in functions, f"{file} has no {test}"
        assert test.startswith("test_")
        assert path.name.startswith("test_")


def test_what_is_not_built_names_where_it_will_be_and_no_test() -> None:
    (table,) = (table for table in tables() if table[0] == ["Threat", "Where it is to be built"])
    assert len(table) > 1
    for row in table[1:]:
        assert len(row) == 2
        assert "::" not in "".join(row)
        assert "issue" in row[1]
