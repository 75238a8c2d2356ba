"""What is remembered of lines that were checked changes no verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registry.imports import checks
from gateway.registry.imports.checks import Checker, as_text, check
from gateway.registry.imports.feeds import Scope, feed_named
from tests.registry.imports.lists import LAW, person

FEED = feed_named("republican_categories", LAW)
NUMBERS = [
    person(1),
    person(2),
    f"{person(3)[:11]}{(int(person(3)[11]) + 1) % 10}",
    "",
    "12",
    "é",
    '"',
    f'"{person(1)}"',
]
RESTS = [
    "pension_recipient,2020-05-01,enbek_is,,,",
    "pension_recipient,2020-05-01,enbek_is,2026-01-01,enbek_is,left",
    'pension_recipient,2020-05-01,"a, b",,,',
    "pension_recipient,2020-05-01,back\\slash,,,",
    "pension_recipient,2020-05-01,enbek_is,2019-01-01,enbek_is,left",
    "nobody,2020-05-01,enbek_is,,,",
    "registered_unemployed,2020-05-01,enbek_is,,,",
    "pension_recipient,2020-05-01",
]


@pytest.mark.parametrize("most", [1, 100])
@given(lines=st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(RESTS)).map(",".join), max_size=30))
def test_every_line_gets_the_verdict_that_it_would_get_alone(most: int, lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_MOST_SEEN", most)
        checker = Checker(FEED, Scope.FULL, LAW)
        for line in lines:
            alone = check(line.encode(), FEED, Scope.FULL, LAW)
            assert checker.row(line.encode()) == (alone if isinstance(alone, tuple) else as_text(alone))


def test_a_line_that_is_no_text_is_refused() -> None:
    checker = Checker(FEED, Scope.FULL, LAW)
    good = f"{person(1)},{RESTS[0]}".encode()
    assert checker.row(good) == checker.row(good)
    assert isinstance(checker.row(b"\xff" + good[1:]), tuple)
