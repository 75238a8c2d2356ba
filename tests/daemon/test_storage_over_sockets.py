"""A large file to the sandbox and back, by the commands, over real sockets: memory does not grow with the file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import daemon
from gateway.database import engine_for, upgrade
from gateway.sandbox.server import RunningSandbox, make_simulator, running_sandbox
from gateway.trust import throwaway_pki
from tests.end_to_end.program import CONFIG, environment

MEGABYTE = 1_000_000

#: one command after the other in one process, and what each added to the largest memory that the process ever had
_MEASURED = """
import json, resource, sys
from gateway.cli.main import main
def run(*words):
    sys.argv = ["gateway", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small, large, copy, config = sys.argv[1:]
peaks = [run("storage", "upload", small, "--reference", "warm-up", "-c", config, "--json"),
         run("storage", "download", "file-1", "-o", copy + ".small", "--confirm", "-c", config, "--json"),
         run("storage", "upload", large, "--reference", "large", "-c", config, "--json"),
         run("storage", "download", "file-2", "-o", copy, "--confirm", "-c", config, "--json")]
print(json.dumps(peaks))
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningSandbox, Path]]:
    pki = throwaway_pki.init(tmp_path_factory.mktemp("pki") / "pki", now=daemon.now())
    simulator = make_simulator(people=1, seed=1, pki_dir=pki.directory)
    with running_sandbox(simulator, now=daemon.now) as running:
        yield running, pki.directory
    simulator.storage.clear()


def test_two_hundred_megabytes_need_no_more_memory_than_two(
    sandbox: tuple[RunningSandbox, Path], tmp_path: Path
) -> None:
    running, pki = sandbox
    config = tmp_path / "gateway.toml"
    database = f"sqlite:///{tmp_path / 'store.sqlite'}"
    section = '[storage]\nsender_id = "sandbox-storage"\n'
    config.write_text(CONFIG.format(database_url=database, sync_url=running.sync_url) + section)
    (tmp_path / "pki").symlink_to(pki)
    upgrade(engine_for(database))
    block = os.urandom(MEGABYTE)
    small, large, copy = tmp_path / "small", tmp_path / "large", tmp_path / "copy"
    small.write_bytes(block * 2)
    with large.open("wb") as stream:
        for _ in range(200):
            stream.write(block)
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, (small, large, copy, config))],
        env=environment({"GATEWAY_STORAGE__PASSWORD": "sandbox-storage-password"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    *told, peaks = [json.loads(line) for line in ran.stdout.splitlines()]
    with large.open("rb") as sent, copy.open("rb") as came:
        assert hashlib.file_digest(sent, "sha256").digest() == hashlib.file_digest(came, "sha256").digest()
    assert [one["size_bytes"] for one in told] == [2 * MEGABYTE, 2 * MEGABYTE, 200 * MEGABYTE, 200 * MEGABYTE]
    for file in (large, copy):
        file.unlink()  # the folders of several runs are kept
    before, after = peaks[1], peaks[3]
    print(f"peak {before / MEGABYTE:.0f} MB with 2 MB, {after / MEGABYTE:.0f} MB with 200 MB")
    assert after - before < 10 * MEGABYTE
