from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run
from tests.registry.imports.lists import person
from tests.registry.law_cases import OWN_CASES, ROOT

LAW_CASES = sorted((ROOT / "tests" / "law").glob("*.yaml"))


def test_the_project_s_own_cases_pass(run: Run) -> None:
    ran = run("cases", *LAW_CASES, "--json")
    assert (ran.code, ran.document) == (0, {"total": len(OWN_CASES), "passed": len(OWN_CASES), "failed": []})
    assert f"{len(OWN_CASES)} of {len(OWN_CASES)} cases pass" in run("cases", *LAW_CASES).stdout


def test_cases_are_judged_by_the_law_of_one_s_own_folder(run: Run, tmp_path: Path) -> None:
    shipped = (ROOT / "config" / "gateway.toml").read_text(encoding="utf-8")
    config, law = tmp_path / "gateway.toml", tmp_path / "law"
    config.write_text(shipped + '\n[registry]\nlaw_folder = "law"\n', encoding="utf-8")
    law.mkdir()
    act = yaml.safe_load((ROOT / "config" / "regulation" / "004.yaml").read_text(encoding="utf-8"))
    act["editions"][0]["windows"]["state_retention_months"]["value"] = 4
    (law / "004.yaml").write_text(yaml.safe_dump(act, allow_unicode=True), encoding="utf-8")
    case = tmp_path / "retention.yaml"
    case.write_text(
        "scenarios:\n- {id: four months, kind: status, as_of: '2026-07-30', known_at: '2026-07-30',\n"
        "  facts: {categories: [{category: children, assigned: '2026-02-10', removed: '2026-03-31'}]},\n"
        "  expect: {insured: true, basis: retention_state, category: children, budget: republican,"
        " valid_until: '2026-07-31'}}\n",
        encoding="utf-8",
    )
    assert run("cases", case, "-c", config, "--json").document["failed"] == []
    assert run("cases", case, "--json").document["passed"] == 0


@pytest.mark.parametrize(
    "command",
    [
        ("cases", "x.yaml"),
        ("registry", "standing", person(1)),
        ("registry", "explain", person(1)),
        ("registry", "history", person(1)),
        ("registry", "due"),
        ("registry", "feeds"),
        ("registry", "simulate", "--reading", "state_retention_unit=whole_calendar_months"),
        ("registry", "failure", "declare", "mod", "--from", "2026-03-01", "--reason", "letter 1"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_judges_by_another_law_when_the_own_one_is_not_there(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = tmp_path / "gateway.toml"
    shipped = (ROOT / "config" / "gateway.toml").read_text(encoding="utf-8")
    config.write_text(shipped + '\n[registry]\nlaw_folder = "law"\n', encoding="utf-8")
    ran = run(*command, "-c", config, "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "configuration")
    assert "key registry.law_folder: there is no such folder" in ran.document["error"]["message"]


def test_a_case_that_fails_is_named_with_both_answers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "scenarios:\n- {id: wrong, kind: iin, input: {iin: '1'}, expect: {valid: true}}\n", encoding="utf-8"
    )
    ran = run("cases", path, "--json")
    assert ran.code == 1
    assert ran.document == {
        "total": 1,
        "passed": 0,
        "failed": [{"id": "wrong", "expected": {"valid": True}, "got": {"valid": False}}],
    }
    assert "failed wrong" in run("cases", path).stdout


def test_what_is_no_file_of_cases_is_a_mistake_of_the_caller(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    for text, words in (
        ("cases: []\n", "the key `scenarios`"),
        ("scenarios:\n- {id: x, kind: horoscope}\n", "the kind 'horoscope' is not known"),
    ):
        path.write_text(text, encoding="utf-8")
        ran = run("cases", path, "--json")
        assert (ran.code, ran.document["error"]["code"]) == (2, "configuration")
        assert words in ran.document["error"]["message"]
