"""`gateway registry import`, `due`, `history` and what `standing` says of people on lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.registry.imports.lists import csv, pensioner, person, removed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of which only the database is used."""
    file = tmp_path / "gateway.toml"
    shipped = Path(__file__).parents[2] / "config" / "gateway.toml"
    file.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    return file


def test_a_list_is_taken_in_computed_and_remembered(run: Run, config: Path, tmp_path: Path) -> None:
    assert run("db", "upgrade", "-c", config).code == 0
    file = csv(tmp_path / "list.csv", [pensioner(1), pensioner(2, iin="12")])
    result = run("registry", "import", file, "--full", "-c", config, "--json")
    assert result.code == 1
    assert result.document == {
        "read": 2,
        "applied": 1,
        "unchanged": 0,
        "refused": [
            {
                "line": 3,
                "code": "iin_invalid",
                "message": "the IIN is not one (twelve digits with a date and a control digit)",
            }
        ],
        "absent": 0,
        "import": 1,
    }
    assert run("registry", "due", "-c", config, "--json").document == {
        "day": "2026-11-21",
        "people": 1,
        "changed": 1,
    }
    standing = run("registry", "standing", person(1), "-c", config, "--json")
    assert (standing.code, standing.document["evidence"]) == (0, ["list.csv"])
    history = run("registry", "history", person(1), "-c", config, "--json").document
    (said,) = history["answers"]
    assert (said["insured"], said["would_say_again"], said["same_law"]) == (True, True, True)
    assert run("registry", "history", person(1), "--on", "2026-11-20", "-c", config).code == 3
    assert run("registry", "history", person(9), "-c", config, "--json").document["answers"] == []


def test_a_list_that_contradicts_itself_is_noted_in_the_journal(run: Run, config: Path, tmp_path: Path) -> None:
    run("db", "upgrade", "-c", config)
    file = csv(tmp_path / "list.csv", [pensioner(1), removed(pensioner(1), "2026-03-01"), pensioner(2)])
    assert run("registry", "import", file, "-c", config).code == 1
    note = run("journal", "list", "--verdict", "records_contradict", "-c", config, "--json").document
    assert note["note"] == "import 1 of republican_categories: 2 lines contradict each other: 2, 3"


def test_people_read_the_same_in_words(run: Run, config: Path, tmp_path: Path) -> None:
    run("db", "upgrade", "-c", config)
    good = csv(tmp_path / "good.csv", [pensioner(1)])
    taken = run("registry", "import", good, "-c", config)
    assert taken.code == 0
    assert "1 read · 1 applied · 0 unchanged · 0 refused · 0 no longer named" in taken.stdout
    assert "1 people computed · 1 answers are new" in run("registry", "due", "-c", config).stdout
    assert "would be said again" in run("registry", "history", person(1), "-c", config).stdout
    dead = csv(tmp_path / "dead.csv", [removed(pensioner(1), "2026-11-01", "death")])
    run("registry", "import", dead, "-c", config)
    assert "would not be said now" in run("registry", "history", person(1), "-c", config).stdout
    wrong = csv(tmp_path / "wrong.csv", [pensioner(number, iin="1") for number in range(30)])
    refused = run("registry", "import", wrong, "--feed", "republican_categories", "-c", config)
    assert refused.code == 1
    assert "iin_invalid" in refused.stdout
    assert "and 10 more" in refused.stdout
    assert "nothing was said" in run("registry", "history", person(7), "-c", config).stdout


def test_a_file_that_is_not_there_is_named(run: Run, config: Path) -> None:
    run("db", "upgrade", "-c", config)
    nothing = run("registry", "import", "nowhere.csv", "-c", config)
    assert nothing.code == 2
    assert "nowhere.csv" in nothing.stderr
