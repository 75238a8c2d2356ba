"""A bounded run of every target: so many executions, the same ones everywhere. `make fuzz` runs far more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import MalformedMessage
from gateway.signing.gost import pkcs12
from tests.fuzz.engine import Crash, Target, attempt, fuzz
from tests.fuzz.mutations import of_bytes, read_der, write_der
from tests.fuzz.targets import MAX_ITERATIONS, NAMES, targets

EXECUTIONS = int(os.environ.get("FUZZ_EXECUTIONS", "2000"))


@pytest.mark.parametrize("name", NAMES)
def test_no_input_is_answered_by_anything_but_a_refusal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs12, "MAX_ITERATIONS", MAX_ITERATIONS)
    result = fuzz(targets()[name], EXECUTIONS)
    for crash in result.crashes:
        (tmp_path / crash.file_name).write_bytes(crash.data)
    assert not result.crashes, f"{[(one.kind, one.place) for one in result.crashes]}: the inputs are in {tmp_path}"
    assert result.executions == EXECUTIONS
    assert result.accepted > 0  # the seeds at least are genuine
    assert result.refused > EXECUTIONS // 2
    assert result.corpus > len(targets()[name].seeds)


@pytest.mark.parametrize("name", NAMES)
def test_every_genuine_input_is_accepted(name: str) -> None:
    target = targets()[name]
    assert [attempt(target.run, seed) for seed in target.seeds] == [True] * len(target.seeds)


def test_a_run_is_the_same_every_time() -> None:
    first, second = (fuzz(targets()["issuer names"], 300) for _ in range(2))
    assert (first.accepted, first.refused, first.corpus) == (second.accepted, second.refused, second.corpus)


def test_what_is_no_refusal_is_a_crash_and_is_told_once() -> None:
    def reader(data: bytes) -> None:
        if b"b" in data:
            raise KeyError("a failure nobody meant")
        raise MalformedMessage("no")

    target = Target("crashing", reader, [b"b", b"ab", b"a"], of_bytes, ())
    (crash,) = fuzz(target, 50).crashes
    assert (crash.data, crash.kind) == (b"b", "KeyError")
    assert crash.place.startswith("test_fuzz.py:")
    assert isinstance(attempt(reader, b"b"), Crash)
    assert attempt(reader, b"a") is False


def test_lines_of_the_program_guide_it() -> None:
    result = fuzz(targets()["envelopes"], 300)
    assert 0 < result.covered_lines <= result.lines


@pytest.mark.parametrize(
    ("name", "writer", "otherwise"),
    [
        ("async messages", "gateway.shep.async_channel.id_leaf", lambda name, text: f"<{name}>{text}x</{name}>"),
        ("stored files", "gateway.shep.temporary_storage.id_leaf", lambda name, text: f"<{name}>{text}x</{name}>"),
        ("Fund lists", "gateway.fund.intake.line_of", lambda values: ",".join(values).encode()),
    ],
)
def test_what_is_written_otherwise_than_it_was_read_is_a_wrong_answer(
    name: str, writer: str, otherwise: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = targets()[name]
    monkeypatch.setattr(writer, otherwise)
    outcomes = [attempt(target.run, seed) for seed in target.seeds]
    assert {one.kind for one in outcomes if isinstance(one, Crash)} == {"WrongAnswer"}


@pytest.mark.parametrize("name", ["certificates", "CRLs", "containers"])
def test_a_structure_that_is_taken_apart_is_put_together_again(name: str) -> None:
    for seed in targets()[name].seeds:
        elements = read_der(seed)
        if elements is not None and not seed.startswith(b"-----"):
            assert write_der(elements) == seed
