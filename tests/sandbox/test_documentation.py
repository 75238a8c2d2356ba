"""What the pages about the sandbox say is true: people, addresses, kinds, codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.model import Iin
from gateway.sandbox.faults import parse_fault_script
from gateway.sandbox.misbehaviour import KEYS, Misbehaviour, points_of
from gateway.sandbox.population import Population
from tests.sandbox.test_every_misbehaviour import EXPECTED

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIAL = DOCS / "tutorial" / "first-day.md"
HOW_TO = DOCS / "how-to" / "test-against-the-sandbox.md"
REFERENCE = DOCS / "reference" / "sandbox.md"


def test_the_people_of_the_tutorial_are_those_of_the_sandbox_it_starts() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    assert "--people 1000 --seed 1" in text
    shown = {exhibit.iin: exhibit.what for exhibit in Population(1000, 1).showcase()}
    table = dict(re.findall(r"^\| (\d{12}) \| (.+?) \|$", text, re.MULTILINE))
    assert table
    assert {number: shown[Iin(number)] for number in table} == table
    assert {Iin(number) for number in re.findall(r"\b\d{12}\b", text)} <= set(shown)


def test_every_misbehaviour_is_explained_with_the_code_that_it_meets() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .+ \| `(\w+)`.*\|$", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {kind.value: code for kind, (_, code) in EXPECTED.items()}


def test_every_kind_of_fault_and_every_key_is_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| .+\|$", text, re.MULTILINE))
    assert rows == {kind.value: ", ".join(points_of(kind)) for kind in Misbehaviour}
    assert set(re.findall(r"^\| `(\w+)` \| [A-Z\d]", text, re.MULTILINE)) == set(KEYS)


def test_the_fault_script_of_the_reference_is_one() -> None:
    (script,) = re.findall(r"```toml\n(.+?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(parse_fault_script(script.encode(), ["gbdfl", "zags"]).faults) > 3


@pytest.mark.parametrize("page", [TUTORIAL, HOW_TO, REFERENCE], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target
