"""One target under atheris (libFuzzer), where somebody has installed it.

`python -m tests.fuzz.with_atheris CRLs -runs=1000000`. It guides by branches instead of lines and is quicker; the
inputs, the changes and the judgement are those of tests.fuzz.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from gateway.errors import GatewayError
    from gateway.signing.gost import pkcs12
    from tests.fuzz.targets import MAX_ITERATIONS, NAMES, targets


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        raise SystemExit(f"name one of: {', '.join(NAMES)}; what follows is libFuzzer's, for example -runs=1000000")
    pkcs12.MAX_ITERATIONS = MAX_ITERATIONS
    target = targets()[sys.argv.pop(1)]

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except GatewayError:
            return

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(random, bytes(data), random.choice(target.seeds))[:max_size]

    with tempfile.TemporaryDirectory() as folder:
        for at, seed in enumerate(target.seeds):
            Path(folder, f"seed-{at}").write_bytes(seed)
        atheris.Setup([*sys.argv, folder, "-max_len=20000", "-rss_limit_mb=4096"], run, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
