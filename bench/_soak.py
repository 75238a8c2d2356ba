"""`make soak`: load for 20 minutes; memory must not grow and answers must not become slower.

Goals: the gateway's memory in the last quarter at most 1.05 × that of the second; p99 in the last quarter at most 1.5 ×
that of the second. The load is signed beforehand; memory is the proportional set size of all its processes.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

from bench._served import Served, served
from bench.serving import CONNECTIONS, MAX_EXPECTED_PER_S, WORKERS

MEMORY_GOAL = 1.05
P99_GOAL = 1.5
#: the load, as a share of what a short run reaches
SHARE = 0.6
#: and no more than this: the signed load and the journal of 20 minutes have to fit on the disk (4 GB at 400 a second)
MOST_PER_S = 400.0
_PROBE_S = 4.0
_SAMPLE_EVERY_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1_200.0)
    seconds = parser.parse_args().seconds
    with served(workers=WORKERS) as gateway:
        file = gateway.folder / "requests"
        gateway.sign_requests(int(_PROBE_S * MAX_EXPECTED_PER_S), file)
        probe = gateway.load(file, connections=CONNECTIONS, seconds=_PROBE_S)
        rate = min(MOST_PER_S, SHARE * probe["answers"] / probe["seconds"])
        gateway.sign_requests(int(rate * seconds) + 10 * CONNECTIONS, file)
        print(f"soak: {rate:.0f} requests a second for {seconds:.0f} s, {WORKERS} processes", flush=True)
        samples: list[tuple[float, int]] = []
        ended = threading.Event()
        sampler = threading.Thread(target=_sample, args=(gateway, samples, ended))
        sampler.start()
        measured = gateway.load(file, connections=CONNECTIONS, seconds=seconds, rate=rate)
        ended.set()
        sampler.join()
    quarters = [[], [], [], []]  # type: list[list[int]]
    for at_s, held in samples:
        quarters[min(3, int(4 * at_s / seconds))].append(held)
    held_mb = [statistics.fmean(quarter) / 1e6 for quarter in quarters]
    p99_ms = measured["p99_ms_by_quarter"]
    print(f"  answers {measured['answers']}, refused {measured['refused']}")
    print("  memory by quarter: " + ", ".join(f"{held:.1f} MB" for held in held_mb))
    print("  p99 by quarter: " + ", ".join(f"{took:.1f} ms" for took in p99_ms))
    memory, drift = held_mb[3] / held_mb[1], p99_ms[3] / p99_ms[1]
    met = memory <= MEMORY_GOAL and drift <= P99_GOAL and not measured["refused"]
    print(f"  memory, last quarter to second: {memory:.3f} × (goal ≤ {MEMORY_GOAL})")
    print(f"  p99, last quarter to second: {drift:.2f} × (goal ≤ {P99_GOAL})")
    print(f"  {'met' if met else 'NOT MET'}")
    return 0 if met else 1


def _sample(gateway: Served, samples: list[tuple[float, int]], ended: threading.Event) -> None:
    start_s = time.perf_counter()
    while not ended.wait(_SAMPLE_EVERY_S):
        samples.append((time.perf_counter() - start_s, gateway.memory_bytes()))


if __name__ == "__main__":
    raise SystemExit(main())
