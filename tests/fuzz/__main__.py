"""`python -m tests.fuzz`: a long run over every target, with a table at its end. Exit 1 when anything crashed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from gateway.signing.gost import pkcs12
from tests.fuzz.engine import HEADING, Result, fuzz
from tests.fuzz.targets import MAX_ITERATIONS, targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--executions", type=int, default=200_000, help="over all targets together")
    parser.add_argument("--seed", type=int, default=1, help="another number, another run")
    parser.add_argument("--target", action="append", help="only this one (may stand several times)")
    parser.add_argument("--crashes", type=Path, default=Path(".fuzz"), help="where inputs that crash are saved")
    chosen = parser.parse_args()
    pkcs12.MAX_ITERATIONS = MAX_ITERATIONS
    every = targets()
    names = chosen.target or list(every)
    each = chosen.executions // len(names)
    results: list[Result] = []
    for name in names:
        begun = time.monotonic()

        def progress(result: Result, begun: float = begun) -> None:
            rate = result.executions / (time.monotonic() - begun)
            told = f"{result.target}: {result.executions:,} of {each:,} ({rate:,.0f}/s, {len(result.crashes)} crashes)"
            print(f"\r{told:<79}", end="", flush=True)

        result = fuzz(every[name], each, seed=chosen.seed, progress=progress)
        print("\r" + " " * 79 + "\r", end="")
        for crash in result.crashes:
            folder = chosen.crashes / name.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / crash.file_name).write_bytes(crash.data)
            print(f"CRASH {name}: {crash.kind} at {crash.place}: {folder / crash.file_name}")
        results.append(result)
        print(f"{name}: {result.executions:,} executions in {time.monotonic() - begun:,.0f} s")
    print(f"\n{HEADING}")
    for result in results:
        print(result.as_row())
    total = sum(result.executions for result in results)
    crashes = sum(len(result.crashes) for result in results)
    print(f"\n{total:,} executions, seed {chosen.seed}, {crashes} crashes")
    return int(crashes > 0)


if __name__ == "__main__":
    sys.exit(main())
