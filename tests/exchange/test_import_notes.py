"""Records of a list that contradict each other are an incident: it stands in the journal with the import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.exchange.import_notes import RECORDS_CONTRADICT, noting
from gateway.exchange.journal import EntryKind, Journal, JournalRecord, JournalWriter
from tests.registry.imports.lists import at, codes, contents, csv, pensioner, person, removed, take

PEOPLE = [pensioner(1), pensioner(2), removed(pensioner(1), "2026-03-01")]


def notes(engine: Engine) -> list[JournalRecord]:
    return [one for one in Journal(engine).list_entries() if one.kind is EntryKind.NOTE]


def test_lines_that_contradict_each_other_are_noted_and_told(engine: Engine, tmp_path: Path) -> None:
    with capture_logs() as logs:
        result = take(engine, csv(tmp_path / "1.csv", PEOPLE), contradicted=noting(JournalWriter()))
    assert codes(result) == [(2, "repeated_record"), (4, "repeated_record")]
    (note,) = notes(engine)
    assert (note.verdict, note.at) == (RECORDS_CONTRADICT, at(1))
    assert note.note == "import 1 of republican_categories: 2 lines contradict each other: 2, 4"
    assert [(line["action"], line["lines"]) for line in logs if line["log_level"] == "error"] == [
        ("records_contradict", 2)
    ]
    assert person(1) not in repr((note, logs))


def test_each_import_that_still_says_so_is_noted_and_a_corrected_one_is_not(engine: Engine, tmp_path: Path) -> None:
    for day, people in enumerate((PEOPLE, PEOPLE, PEOPLE[1:], [*PEOPLE[1:], PEOPLE[1]]), 1):
        take(engine, csv(tmp_path / f"{day}.csv", people), day=day, contradicted=noting(JournalWriter()))
    assert [note.note[: len("import 1")] for note in reversed(notes(engine))] == ["import 1", "import 2"]


def test_what_else_is_refused_is_no_incident(engine: Engine, tmp_path: Path) -> None:
    wrong = [pensioner(1), pensioner(2, iin="123")]
    result = take(engine, csv(tmp_path / "1.csv", wrong), contradicted=noting(JournalWriter()))
    assert len(result.refused) == 1
    assert notes(engine) == []


def test_of_many_lines_the_first_are_named(store: Engine, tmp_path: Path) -> None:
    people = [pensioner(number) for number in range(15)]
    take(
        store,
        csv(tmp_path / "1.csv", [*people, *(removed(one, "2026-03-01") for one in people)]),
        contradicted=noting(JournalWriter()),
    )
    (note,) = notes(store)
    assert note.note.endswith(
        "30 lines contradict each other: " + ", ".join(str(line) for line in range(2, 22)) + ", …"
    )


def test_without_its_note_nothing_of_the_import_is_there(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = csv(tmp_path / "1.csv", PEOPLE)
    before = contents(engine)

    def fail(*_: Any) -> Any:
        raise RuntimeError("the journal cannot take it")

    with monkeypatch.context() as patched:
        patched.setattr(JournalWriter, "append_many", fail)
        with pytest.raises(RuntimeError):
            take(engine, file, contradicted=noting(JournalWriter()))
    assert contents(engine) == before
    result = take(engine, file, contradicted=noting(JournalWriter()))
    assert (result.import_id, result.applied, len(notes(engine))) == (1, 1, 1)
