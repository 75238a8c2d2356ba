"""Mistakes in the law's files: each complaint names the file and the key."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import ConfigurationError
from gateway.regulation.law import Law
from gateway.regulation.reading import build_law, load_law
from gateway.regulation.services import load_services

FOLDER = Path(__file__).parents[2] / "config" / "regulation"
DOCUMENTS = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.yaml")}

Change = Callable[[dict[str, Any]], object]


def edition(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = documents["004.yaml"]["editions"][0]
    return found


def category(documents: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = documents["categories.yaml"]["categories"][number]
    return found


def reading(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = documents["readings.yaml"]["readings"]["late_removal"]
    return found


def another_act(documents: dict[str, Any], **changes: object) -> None:
    act = copy.deepcopy(documents["004.yaml"])
    act["act"] = "009"
    for clause in act["editions"][0]["clauses"]:
        clause["id"] = clause["id"].replace("004", "009")
    act["editions"][0]["sources"] = {}
    for window in act["editions"][0]["windows"].values():
        if "cite" in window:
            window["cite"] = window["cite"].replace("004", "009")
    documents["009.yaml"] = act | changes


MISTAKES: list[tuple[str, Change, str, str, str]] = [
    ("no act", lambda d: d.pop("004.yaml"), "config/regulation", "", "no act in force is there"),
    (
        "an unknown key",
        lambda d: d["004.yaml"].update(extra=1),
        "004.yaml",
        "extra",
        "known are act, clauses, editions",
    ),
    ("an act that is not law", lambda d: d["003.yaml"].update(standing="old"), "003.yaml", "standing", "old"),
    ("no editions", lambda d: d["004.yaml"].update(editions=[]), "004.yaml", "editions", "at least one"),
    (
        "editions of an act that judges no day",
        lambda d: d["003.yaml"].update(editions=[]),
        "003.yaml",
        "editions",
        "known are act, clauses, held, standing, title",
    ),
    ("a missing key", lambda d: d["004.yaml"].pop("title"), "004.yaml", "title", "missing"),
    ("another number", lambda d: d["004.yaml"].update(act="005"), "004.yaml", "act", "005.yaml"),
    ("no time zone", lambda d: d["004.yaml"].update(timezone="Asia/Nowhere"), "004.yaml", "timezone", "Nowhere"),
    ("a folder as time zone", lambda d: d["004.yaml"].update(timezone="../etc"), "004.yaml", "timezone", ""),
    ("two time zones", lambda d: another_act(d, timezone="UTC"), "004.yaml, 009.yaml", "timezone", "same time zone"),
    ("an empty file", lambda d: d.update({"004.yaml": None}), "004.yaml", "", "keys and values"),
    ("a text for a list", lambda d: d["004.yaml"].update(editions="x"), "004.yaml", "editions", "a list"),
    (
        "two editions of one day",
        lambda d: d["004.yaml"]["editions"].append(edition(d)),
        "",
        "in_force_from",
        "two editions of act 004 judge 2026-01-01",
    ),
    (
        "a day that is a text",
        lambda d: edition(d).update(in_force_from="soon"),
        "004.yaml",
        "editions[0].in_force_from",
        "YYYY-MM-DD",
    ),
    (
        "a clause twice",
        lambda d: edition(d)["clauses"].insert(0, edition(d)["clauses"][1]),
        "004.yaml",
        "editions[0].clauses[2]",
        "stands twice",
    ),
    (
        "a clause of another act",
        lambda d: edition(d)["clauses"][0].update(id="003 p.4"),
        "004.yaml",
        "editions[0].clauses[0].id",
        "begins with 004",
    ),
    (
        "no citation",
        lambda d: edition(d)["clauses"][0].update(id="paragraph 3"),
        "004.yaml",
        "editions[0].clauses[0].id",
        "not a citation",
    ),
    (
        "no words",
        lambda d: edition(d)["clauses"][0].update(kk=" "),
        "004.yaml",
        "editions[0].clauses[0].kk",
        "a text is expected",
    ),
    (
        "extraction of other words",
        lambda d: edition(d)["clauses"][7]["extraction"][0].update(kk="басқа"),
        "004.yaml",
        "editions[0].clauses[7].extraction[0].kk",
        "do not stand in the clause",
    ),
    (
        "an unknown window",
        lambda d: edition(d)["windows"].update(weeks={"value": 2}),
        "004.yaml",
        "editions[0].windows.weeks",
        "not known",
    ),
    (
        "a window that is missing",
        lambda d: edition(d)["windows"].pop("child_age_years"),
        "004.yaml",
        "editions[0].windows.child_age_years",
        "missing",
    ),
    (
        "a window that is not a number",
        lambda d: edition(d)["windows"]["child_age_years"].update(value=True),
        "004.yaml",
        "editions[0].windows.child_age_years.value",
        "whole number",
    ),
    (
        "a negative window",
        lambda d: edition(d)["windows"]["child_age_years"].update(value=-1),
        "004.yaml",
        "editions[0].windows.child_age_years.value",
        "not negative",
    ),
    (
        "a quoted window without cite",
        lambda d: edition(d)["windows"]["child_age_years"].update(standing="quoted"),
        "004.yaml",
        "editions[0].windows.child_age_years",
        "needs its cite",
    ),
    (
        "a standing that does not exist",
        lambda d: edition(d)["windows"]["child_age_years"].update(standing="guessed"),
        "004.yaml",
        "editions[0].windows.child_age_years.standing",
        "guessed",
    ),
    (
        "a source of a clause that is not there",
        lambda d: edition(d)["sources"].update(gbdfl="004 p.7(9)"),
        "004.yaml",
        "editions[0].sources.gbdfl",
        "no loaded act has the clause 004 p.7(9)",
    ),
    (
        "no categories",
        lambda d: d.pop("categories.yaml"),
        "categories.yaml",
        "",
        "keys and values",
    ),
    (
        "a category twice",
        lambda d: d["categories.yaml"]["categories"].append(category(d)),
        "categories.yaml",
        "categories[19]",
        "R01 children stands twice",
    ),
    (
        "a list that does not exist",
        lambda d: category(d).update(list="city"),
        "categories.yaml",
        "categories[0].list",
        "city",
    ),
    (
        "a paid category without priority",
        lambda d: category(d).update(priority=None),
        "categories.yaml",
        "categories[0].priority",
        "have a priority",
    ),
    (
        "a priority where none is",
        lambda d: category(d, 17).update(priority=1),
        "categories.yaml",
        "categories[17].priority",
        "write null",
    ),
    (
        "a category that yields to nobody known",
        lambda d: category(d, 2).update(yields_to="nobody"),
        "categories.yaml",
        "",
        "which is not a category",
    ),
    (
        "a category without cite",
        lambda d: category(d).update(cites=[]),
        "categories.yaml",
        "categories[0].cites",
        "at least one",
    ),
    (
        "a category citing a clause that is not there",
        lambda d: category(d).update(cites=["004 p.99"]),
        "categories.yaml",
        "categories[0].cites[0]",
        "no loaded act",
    ),
    (
        "a residency that does not exist",
        lambda d: category(d, 7).update(excluded_residency=["martian"]),
        "categories.yaml",
        "categories[7].excluded_residency[0]",
        "martian",
    ),
    (
        "a reading that is not built",
        lambda d: reading(d).update(value="anchor_moved"),
        "readings.yaml",
        "readings.late_removal.value",
        "built are effective_on_arrival_anchor_unchanged, retroactive",
    ),
    (
        "a reading with another name",
        lambda d: d["readings.yaml"]["readings"].update(late_arrival=reading(d)),
        "readings.yaml",
        "readings.late_arrival",
        "not known",
    ),
]


@pytest.mark.parametrize(
    ("change", "file", "key", "complaint"), [pytest.param(*mistake[1:], id=mistake[0]) for mistake in MISTAKES]
)
def test_a_mistake_is_named_with_its_place(change: Change, file: str, key: str, complaint: str) -> None:
    documents = copy.deepcopy(DOCUMENTS)
    change(documents)
    with pytest.raises(ConfigurationError) as refused:
        build_law(documents)
    assert (refused.value.file, refused.value.key) == (file, key)
    assert complaint in str(refused.value)


def test_two_acts_are_read_side_by_side() -> None:
    documents = copy.deepcopy(DOCUMENTS)
    another_act(documents)
    law = build_law(documents)
    assert [one.act for one in law.editions] == ["004", "009"]
    assert law.clause("009 p.3").en == law.clause("004 p.3").en


def test_the_editions_of_one_act_follow_each_other() -> None:
    documents = copy.deepcopy(DOCUMENTS)
    later = copy.deepcopy(edition(documents))
    edition(documents)["in_force_to"] = later["in_force_from"] = later["in_force_from"].replace(year=2027)
    documents["004.yaml"]["editions"].insert(0, later)
    assert [one.in_force_from.year for one in build_law(documents).editions] == [2026, 2027]


# ---------------------------------------------------------------- files


def copied(folder: Path) -> Path:
    for name in DOCUMENTS:
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    return folder


@pytest.mark.parametrize("name", ["categories.yaml", "readings.yaml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (copied(tmp_path) / name).unlink()
    with pytest.raises(ConfigurationError, match="is missing") as refused:
        load_law(tmp_path)
    assert refused.value.file == str(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"act: [", "is not YAML"),
        (b"act: \xff", "cannot be read"),
        (b"act: '004'\nact: '005'\n", "the key act stands twice"),
        (b"act: !!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (copied(tmp_path) / "004.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        load_law(tmp_path)
    assert refused.value.file == str(tmp_path / "004.yaml")


# ---------------------------------------------------------------- a folder of one's own


def with_months(number: int) -> str:
    """The act 004 with another number of months of p.9."""
    act = copy.deepcopy(DOCUMENTS["004.yaml"])
    act["editions"][0]["windows"]["state_retention_months"]["value"] = number
    return yaml.safe_dump(act, allow_unicode=True)


def months_of(law: Law) -> int:
    return law.editions[0].windows["state_retention_months"].value


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def test_a_file_of_one_s_own_stands_in_the_place_of_the_shipped_one(own: Path) -> None:
    (own / "004.yaml").write_text(with_months(5), encoding="utf-8")
    shipped, ours = load_law(FOLDER), load_law(FOLDER, own)
    assert (months_of(shipped), months_of(ours)) == (3, 5)
    assert (ours.readings, ours.feeds, ours.acts.keys()) == (shipped.readings, shipped.feeds, shipped.acts.keys())


def test_an_act_of_one_s_own_stands_beside_the_shipped_ones(own: Path) -> None:
    act = "{act: '009', title: t, standing: assumed, held: h, clauses: [{id: 009 p.1, kk: a, en: b, ru: c}]}"
    (own / "009.yaml").write_text(act, encoding="utf-8")
    ours = load_law(FOLDER, own)
    assert ours.clause("009 p.1").kk == "a"
    assert ours.editions == load_law(FOLDER).editions


def test_services_of_one_s_own_stand_in_the_place_of_the_shipped_ones(own: Path) -> None:
    services = copy.deepcopy(DOCUMENTS["services.yaml"])
    services["participation"]["service_minutes"]["value"] = 7
    (own / "services.yaml").write_text(yaml.safe_dump(services, allow_unicode=True), encoding="utf-8")
    assert load_services(FOLDER, own).participation.service_minutes == 7
    assert load_services(FOLDER).participation.service_minutes != 7


def test_a_mistake_in_a_file_of_one_s_own_is_named_by_its_whole_path(own: Path) -> None:
    (own / "004.yaml").write_text("act: '004'\n", encoding="utf-8")
    (own / "services.yaml").write_text("participation: {}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load_law(FOLDER, own)
    assert refused.value.file == str(own / "004.yaml")
    with pytest.raises(ConfigurationError) as refused:
        load_services(FOLDER, own)
    assert refused.value.file == str(own / "services.yaml")


@pytest.mark.parametrize(
    ("there", "complaint"),
    [(None, "no such folder; make it"), ("", "put the act there"), ("004.yml", "rename the file")],
)
def test_a_folder_in_which_nothing_would_be_read_is_refused(own: Path, there: str | None, complaint: str) -> None:
    if there is None:
        own.rmdir()
    elif there:
        (own / there).write_text(with_months(5), encoding="utf-8")
        (own / "009.yaml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        load_law(FOLDER, own)
    assert (Path(refused.value.file).is_relative_to(own), refused.value.key) == (True, "registry.law_folder")
