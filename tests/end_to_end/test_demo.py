"""The demo tells its story, and README shows what it tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.end_to_end.program import Run, gateway

README = Path(__file__).resolve().parents[2] / "README.md"
_BLOCK = re.compile(r"<!-- demo -->\n```\n(.*?)```\n<!-- /demo -->", re.DOTALL)


def masked(text: str) -> str:
    """Message ids, times, ports and serial numbers are different each time; nothing else is."""
    text = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "<id>", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:<port>", text)
    text = re.sub(r"\d{2}:\d{2}:\d{2}", "<time>", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture(scope="module")
def told() -> Run:
    return gateway("demo", "--once")


def test_the_demo_ends_well_and_says_nothing_on_stderr(told: Run) -> None:
    assert (told.code, told.stderr) == (0, "")


def test_readme_shows_what_the_demo_prints(told: Run) -> None:
    shown = _BLOCK.search(README.read_text(encoding="utf-8"))
    assert shown is not None
    assert masked(shown[1]) == masked(told.stdout)


def test_the_story_holds_what_was_promised(told: Run) -> None:
    text = masked(told.stdout)
    for system in ("gbdfl", "zags", "cbdi", "eguardianship"):
        assert len(re.findall(rf"^  {system} +(found|not_found) .*<id>$", text, re.MULTILINE)) >= 3
    assert "REFUSED" in text
    assert "not_the_body" in text
    assert "verified by signxml" in text
    assert "004 p." in text
    assert "rests on the signed message <id>" in text
