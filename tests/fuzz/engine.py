"""A small coverage-guided fuzzer: what reaches a new line of the program is kept and mutated further.

It needs nothing but Python, counts executions and not seconds, and draws from one seed: the same run everywhere.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import gateway
from gateway.errors import GatewayError

_PROGRAM = str(Path(gateway.__file__).parent)
_CO_FUNCTION = 0x0003  # CO_OPTIMIZED | CO_NEWLOCALS: bodies of functions, not of modules and classes


@dataclass(frozen=True)
class Target:
    """One reader and what it is fed with."""

    name: str
    #: reads; raises GatewayError for what it refuses. Anything else is a crash, WrongAnswer too
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    #: (random, data, another input of the corpus) → a changed copy
    mutate: Callable[[Random, bytes, bytes], bytes]
    #: modules whose lines are counted, by their dotted names
    modules: Sequence[str]


class WrongAnswer(AssertionError):
    """The reader accepted what it must not, or handed on something else than it checked."""


@dataclass(frozen=True)
class Crash:
    data: bytes
    kind: str
    place: str

    @property
    def file_name(self) -> str:
        return f"{self.kind}-{hashlib.sha256(self.data).hexdigest()[:16]}.bin"


@dataclass
class Result:
    target: str
    executions: int = 0
    accepted: int = 0
    refused: int = 0
    corpus: int = 0
    covered_lines: int = 0
    lines: int = 0
    crashes: list[Crash] = field(default_factory=list)

    def as_row(self) -> str:
        percent = 100 * self.covered_lines / self.lines if self.lines else 0.0
        return (
            f"{self.target:<22}{self.executions:>11,}{self.accepted:>10,}{self.refused:>10,}{self.corpus:>8,}"
            f"{self.covered_lines:>8,} of {self.lines:>5,} ({percent:4.1f} %){len(self.crashes):>9}"
        )


_COLUMNS = (("executions", 11), ("accepted", 10), ("refused", 10), ("corpus", 8), ("lines covered", 25), ("crashes", 9))
HEADING = f"{'target':<22}" + "".join(f"{text:>{width}}" for text, width in _COLUMNS)


class Coverage:
    """Lines of the program that were reached, in functions."""

    def __init__(self) -> None:
        self.reached: dict[str, set[int]] = {}
        self._left: dict[types.CodeType, set[int]] = {}
        self.new = 0

    def run(self, function: Callable[[bytes], None], data: bytes) -> None:
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            function(data)
        finally:
            sys.settrace(before)

    def _call(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            inside = code.co_filename.startswith(_PROGRAM)
            left = self._left[code] = set(_lines_of(code)) if inside else set()
        return self._line if left else None  # once every line was seen a function costs nothing more

    def _line(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        code, line = frame.f_code, frame.f_lineno
        left = self._left[code]
        if line in left:
            left.discard(line)
            self.new += 1
            self.reached.setdefault(code.co_filename, set()).add(line)
        return self._line

    def covered(self, modules: Sequence[str]) -> tuple[int, int]:
        """Lines reached and lines there are, in the functions of these modules."""
        reached = total = 0
        for name in modules:
            file = Path(_PROGRAM).parent.joinpath(*name.split(".")).with_suffix(".py")
            lines = set(_function_lines(compile(file.read_bytes(), str(file), "exec")))
            total += len(lines)
            reached += len(lines & self.reached.get(str(file), set()))
        return reached, total


def _lines_of(code: types.CodeType) -> Iterator[int]:
    return (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)


def _function_lines(code: types.CodeType) -> Iterator[int]:
    if code.co_flags & _CO_FUNCTION == _CO_FUNCTION:
        yield from _lines_of(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _function_lines(constant)


def attempt(run: Callable[[bytes], None], data: bytes) -> Crash | bool:
    """True: accepted; False: refused as the program refuses; a Crash for everything else."""
    try:
        run(data)
    except GatewayError:
        return False
    except Exception as error:
        trace = error.__traceback__
        place = ""
        while trace is not None:
            place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        return Crash(data, type(error).__name__, place)
    return True


def _forget() -> None:
    """Empty the program's caches: what an earlier run left there would hide lines from this one."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and str(one.__module__).startswith("gateway."):
            one.cache_clear()


def fuzz(
    target: Target, executions: int, *, seed: int = 1, progress: Callable[[Result], None] = lambda result: None
) -> Result:
    """Run a target so many times. Crashes of one kind at one place are kept once."""
    _forget()
    random = Random(f"{seed} {target.name}")
    coverage, result = Coverage(), Result(target.name)
    corpus: list[bytes] = []
    known: set[tuple[str, str]] = set()

    def execute(data: bytes) -> None:
        before = coverage.new
        outcome = attempt(lambda given: coverage.run(target.run, given), data)
        result.executions += 1
        if isinstance(outcome, Crash):
            if (outcome.kind, outcome.place) not in known:
                known.add((outcome.kind, outcome.place))
                result.crashes.append(outcome)
        elif outcome:
            result.accepted += 1
        else:
            result.refused += 1
        if coverage.new > before:
            corpus.append(data)

    for data in target.seeds:
        execute(data)
    corpus[:] = list(target.seeds) + [data for data in corpus if data not in target.seeds]
    while result.executions < executions:
        # the newest inputs and the seeds are the most fruitful
        chosen = corpus[-random.randint(1, min(8, len(corpus)))] if random.random() < 0.4 else random.choice(corpus)
        execute(target.mutate(random, chosen, random.choice(corpus)))
        if result.executions % 1_000 == 0:
            progress(result)
    result.corpus = len(corpus)
    result.covered_lines, result.lines = coverage.covered(target.modules)
    return result
