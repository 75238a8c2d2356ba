"""Random sequences of wishes, answers, faults, duplicates, stalls, crashes, restarts and an operator's acts, against
what must hold: nothing is lost, nothing is applied twice, nothing is sent blindly or with other bytes.

That this search would find it if it did not hold is tested too: tests/exchange/mutations.py puts faults in on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.machines import AsyncMachine, Machine, SyncMachine, search
from tests.exchange.mutations import MUTATIONS, Mutation, laboratory, steps_until_found
from tests.exchange.world import Keys

#: the search finds each of these within a few sequences; `python -m tests.exchange.mutations` tries all of them
QUICKLY_FOUND = (
    "rows obey anybody",
    "what may not be repeated is",
    "a wish taken over is asked all the same",
    "an answer is applied, its row stays open",
    "async: what the gateway has is sent again",
    "async: an answer leaves its row open",
)

#: of each channel, of up to 35 steps each
SEQUENCES = 100


@pytest.fixture(scope="module", autouse=True)
def a_laboratory(keys: Keys, empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with laboratory(keys, empty_sqlite, tmp_path_factory.mktemp("model")):
        yield


@pytest.mark.parametrize("machine", [SyncMachine, AsyncMachine], ids=["sync", "async"])
def test_whatever_happens_nothing_is_lost_and_nothing_happens_twice(machine: type[Machine]) -> None:
    search(machine, sequences=SEQUENCES, shrink=True)


@pytest.mark.parametrize(
    "mutation", [one for one in MUTATIONS if one.name in QUICKLY_FOUND], ids=lambda mutation: mutation.name
)
def test_the_search_finds_a_fault_that_was_put_in_on_purpose(mutation: Mutation) -> None:
    assert steps_until_found(mutation, sequences=40) is not None
