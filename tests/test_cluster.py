"""A cluster of the tests' own is gone when whoever made it is, and however that ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster, NoPostgresql, Server, programs

PATIENCE_S = 60.0
_MAKER = """
import sys, time
from pathlib import Path
from tests.cluster import Cluster
with Cluster(Path(sys.argv[1])) as cluster:
    print(cluster.url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    try:
        programs()
    except NoPostgresql as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="gateway-cluster-") as name:
        Path(name).chmod(0o755)  # others than root run PostgreSQL in there
        yield Path(name) / "cluster"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_cluster_ends_with_its_maker_that_is_killed(folder: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", _MAKER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as maker:
        assert maker.stdout is not None
        server = Server(maker.stdout.readline().strip())
        server.execute("SELECT 1")
        maker.send_signal(how)
    deadline = time.monotonic() + PATIENCE_S
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    with pytest.raises(Exception, match="refused"):
        server.execute("SELECT 1")


def test_a_cluster_that_is_left_is_gone_at_once(folder: Path) -> None:
    with Cluster(folder) as cluster:
        cluster.stop()
        assert not cluster.runs()
        cluster.start()
        assert cluster.runs()
    assert not folder.exists()
    assert not cluster.runs()
