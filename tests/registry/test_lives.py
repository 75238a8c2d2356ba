"""The rules and the oracle agree over invented lives; `python -m tests.registry.lives` asks about many more."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from gateway.registry.cases import facts_of
from tests.registry.law_cases import with_window
from tests.registry.lives import disagreement, life, questions


@pytest.mark.parametrize("hundred", range(4))
def test_both_evaluators_agree_on_invented_lives(hundred: int) -> None:
    for number in range(100 * hundred, 100 * hundred + 100):
        rng = random.Random(number)
        person = life(rng)
        as_of, known_at = questions(rng)
        assert disagreement(person, as_of, known_at) is None, f"life {number}"


CHILD = {"category": "children", "assigned": "2020-01-01", "removed": "2026-02-01"}
YEAR = {"periods": "2025-02..2026-02", "received": "2026-03-05"}


@pytest.mark.parametrize(
    ("window", "facts", "as_of"),
    [
        ("state_retention_months", {"categories": [CHILD]}, "2026-03-01"),
        ("payer_retention_months", {"payments": [YEAR]}, "2026-04-01"),
    ],
)
def test_the_comparison_notices_a_wrong_number(window: str, facts: dict[str, object], as_of: str) -> None:
    law = with_window(window, 2)
    on = dt.date.fromisoformat(as_of)
    assert disagreement(facts_of(facts), on, on) is None
    assert disagreement(facts_of(facts), on, on, law) is not None
