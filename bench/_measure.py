"""Measuring one thing against another on a noisy machine: interleaved rounds, median per call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def median_us(
    work: Mapping[str, Callable[[], object]], *, rounds: int = 25, seconds_per_round: float = 0.02
) -> dict[str, float]:
    """Median microseconds of CPU per call of each piece of work.

    Every round runs each piece in turn, so that a slow moment of the machine falls on all of them.
    """
    calls = {}
    for name, run in work.items():
        run()  # caches are warm, as they are in a running daemon
        start = time.perf_counter()
        run()
        calls[name] = max(1, int(seconds_per_round / max(time.perf_counter() - start, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            start = time.process_time()
            for _ in range(calls[name]):
                run()
            samples[name].append((time.process_time() - start) / calls[name] * 1e6)
    return {name: statistics.median(values) for name, values in samples.items()}
