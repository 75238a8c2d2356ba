"""What if the law were another: whom it moves, from where to where; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.errors import ConfigurationError
from gateway.registry import due
from gateway.registry import simulate as what_if
from gateway.registry.simulate import Example, Place, Simulation, changed_law, simulate
from gateway.regulation.law import Law
from gateway.regulation.reading import load_law
from tests.registry.imports.lists import LAW, at, contents, csv, pensioner, person, removed, take

FOLDER = Path(__file__).parents[2] / "config" / "regulation"
PENSIONERS, RETAINED, NONE = (
    Place("republican_category", "pension_recipient"),
    Place("retention_state", "pension_recipient"),
    Place("none"),
)


def run(engine: Engine, changed: Law, day: int = 1, **how: Any) -> Simulation:
    return simulate(engine, law=LAW, changed=changed, day=LAW.local_day(at(day)), known_at=at(day), **how)


def registry(engine: Engine, folder: Path, people: int = 4) -> None:
    """Half of them lost the category on 1 December: their three months end on 1 March."""
    records = [
        pensioner(number) if number % 2 else removed(pensioner(number), "2025-12-01") for number in range(people)
    ]
    take(engine, csv(folder / "1.csv", records))


def shorter(folder: Path, months: str = "2") -> Path:
    """The act 004 with another number of months of p.9."""
    import yaml

    act = yaml.safe_load((FOLDER / "004.yaml").read_text(encoding="utf-8"))
    act["editions"][0]["windows"]["state_retention_months"]["value"] = int(months)
    file = folder / "draft.yaml"
    file.write_text(yaml.safe_dump(act, allow_unicode=True), encoding="utf-8")
    return file


def test_a_shorter_window_moves_those_whom_it_held(engine: Engine, tmp_path: Path) -> None:
    registry(engine, tmp_path)
    before = contents(engine)
    found = run(engine, changed_law(FOLDER, LAW, edition=shorter(tmp_path)))
    assert (found.people, dict(found.moved)) == (4, {(RETAINED, NONE): 2})
    everybody = sorted(person(number) for number in range(4))
    assert found.examples[RETAINED, NONE] == [
        Example(case, iin) for case, iin in enumerate(everybody, 1) if iin in {person(0), person(2)}
    ]
    assert contents(engine) == before


def test_another_reading_may_only_move_the_end(engine: Engine, tmp_path: Path) -> None:
    registry(engine, tmp_path)
    found = run(engine, changed_law(FOLDER, LAW, readings={"state_retention_unit": "whole_calendar_months"}))
    assert (dict(found.moved), dict(found.ends_moved)) == ({}, {RETAINED: 2})
    # on the next day it is the difference between yes and no
    tomorrow = run(engine, changed_law(FOLDER, LAW, readings={"state_retention_unit": "whole_calendar_months"}), day=2)
    assert dict(tomorrow.moved) == {(NONE, RETAINED): 2}


def test_the_same_law_moves_nobody(engine: Engine, tmp_path: Path) -> None:
    registry(engine, tmp_path)
    assert run(engine, changed_law(FOLDER, LAW, readings={"register_answers_assign": "TRUE"})) == Simulation(4)


def test_an_edition_that_does_not_judge_the_day_is_told(engine: Engine, tmp_path: Path) -> None:
    registry(engine, tmp_path, people=1)
    file = shorter(tmp_path)
    first = LAW.editions[0].in_force_from.isoformat()
    text = file.read_text(encoding="utf-8").replace(f"in_force_from: {first}", "in_force_from: 2027-01-01")
    text = text.replace(f"in_force_from: '{first}'", "in_force_from: '2027-01-01'")
    file.write_text(text, encoding="utf-8")
    found = run(engine, changed_law(FOLDER, LAW, edition=file))
    assert dict(found.moved) == {(RETAINED, Place("edition_not_in_force")): 1}


def test_a_sample_is_the_same_for_the_same_seed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "_PAGE", 3)
    registry(engine, tmp_path, people=12)
    changed = changed_law(FOLDER, LAW, edition=shorter(tmp_path))
    drawn = [run(engine, changed, sample=5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert {one.people for one in drawn} == {5}
    assert what_if._drawn(engine, 5, 1) != what_if._drawn(engine, 5, 2)
    assert run(engine, changed, sample=50).people == 12


def test_two_processes_count_as_one_does(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_BATCH", 3)
    registry(engine, tmp_path, people=12)
    changed = changed_law(FOLDER, LAW, edition=shorter(tmp_path))
    told: list[int] = []
    together = run(engine, changed, processes=2, progress=told.append)
    assert together == run(engine, changed, processes=1)
    assert told[-1] == 12
    assert len(told) == 4
    # the first cases, however many people move
    assert len(together.examples[RETAINED, NONE]) == 3


@pytest.mark.parametrize(
    ("readings", "complaint"),
    [({"nothing": "1"}, "no such reading"), ({"failure_scope": "nobody"}, "not built; built are")],
)
def test_a_reading_that_is_not_built_is_refused(readings: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        changed_law(FOLDER, LAW, readings=readings)


def test_a_draft_is_compared_with_the_law_of_one_s_own_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    readings = (FOLDER / "readings.yaml").read_text(encoding="utf-8")
    ours = readings.replace("value: date_to_date_clipped", "value: whole_calendar_months")
    (own / "readings.yaml").write_text(ours, encoding="utf-8")
    changed = changed_law(FOLDER, load_law(FOLDER, own), own=own, edition=shorter(tmp_path))
    assert changed.editions[0].windows["state_retention_months"].value == 2
    assert changed.readings["state_retention_unit"].value == "whole_calendar_months"


def test_a_file_that_is_no_act_of_ours_is_refused(tmp_path: Path) -> None:
    for text in ("act: '999'\n", "- 1\n"):
        (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match="act that is loaded"):
            changed_law(FOLDER, LAW, edition=tmp_path / "x.yaml")
