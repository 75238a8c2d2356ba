from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run
from tests.registry.law_cases import OWN_CASES, ROOT

LAW_CASES = sorted((ROOT / "tests" / "law").glob("*.yaml"))


def test_the_project_s_own_cases_pass(run: Run) -> None:
    ran = run("cases", *LAW_CASES, "--json")
    assert (ran.code, ran.document) == (0, {"total": len(OWN_CASES), "passed": len(OWN_CASES), "failed": []})
    assert f"{len(OWN_CASES)} of {len(OWN_CASES)} cases pass" in run("cases", *LAW_CASES).stdout


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
