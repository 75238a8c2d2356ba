"""What the page says: steps by number, the store as it is, and no label that somebody outside could fill."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.daemon.metrics import Metrics, StoreMetrics, gauge
from gateway.errors import GatewayError, PeerUnavailable, StoreError
from gateway.telemetry import step

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
NOTHING = StoreMetrics(lambda at: iter(()), lambda: NOW)


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    metrics = Metrics()
    monkeypatch.setattr("gateway.telemetry._duration_listeners", [metrics])
    return metrics


def test_steps_are_counted_and_timed_by_flow_and_number(metrics: Metrics) -> None:
    for _ in range(3):
        with step(8, "in.sync"), step(9, "in.sync"):
            pass
    found = samples(metrics.exposition(NOTHING))
    for number in ("8", "9"):
        assert found["gateway_step_duration_seconds_count", (("flow", "in.sync"), ("step", number))] == 3
    outer, inner = (
        found["gateway_step_duration_seconds_sum", (("flow", "in.sync"), ("step", number))] for number in ("8", "9")
    )
    assert outer >= inner >= 0


def test_a_step_that_fails_is_counted_by_the_code_of_its_error(metrics: Metrics) -> None:
    for error in (PeerUnavailable("gone"), PeerUnavailable("gone"), ValueError("ЖАСЫРЫН")):
        with pytest.raises(type(error)), step(9, "out.sync"):
            raise error
    page = metrics.exposition(NOTHING)
    found = samples(page)
    labels = (("code", "peer_unavailable"), ("flow", "out.sync"), ("step", "9"))
    assert found["gateway_step_errors_total", labels] == 2
    assert found["gateway_step_errors_total", (("code", "internal"), *labels[1:])] == 1
    assert "ЖАСЫРЫН" not in page.decode()


@pytest.mark.parametrize("code", ["850101300550", "Not A Code", "sc" * 40, "scse001\n"])
def test_a_code_that_may_be_anybodys_text_is_other(metrics: Metrics, code: str) -> None:
    with pytest.raises(GatewayError), step(9, "out.sync"):
        raise GatewayError("no", code=code)
    labels = (("code", "other"), ("flow", "out.sync"), ("step", "9"))
    assert samples(metrics.exposition(NOTHING))["gateway_step_errors_total", labels] == 1


def test_codes_do_not_grow_without_end(metrics: Metrics) -> None:
    for number in range(300):
        code = "c" + "".join(chr(ord("a") + int(digit)) for digit in str(number))
        with pytest.raises(GatewayError), step(9, "out.sync"):
            raise GatewayError("no", code=code)
    found = samples(metrics.exposition(NOTHING))
    codes = {dict(labels)["code"] for name, labels in found if name == "gateway_step_errors_total"}
    assert len(codes) == 201
    assert found["gateway_step_errors_total", (("code", "other"), ("flow", "out.sync"), ("step", "9"))] == 100


def test_a_database_that_cannot_be_read_is_said_and_the_steps_are_still_there(metrics: Metrics) -> None:
    def broken(_: dt.datetime) -> Iterator[object]:
        yield gauge("gateway_half", "half a page", 1)
        raise StoreError("gone")

    with step(8, "in.sync"):
        pass
    found = samples(metrics.exposition(StoreMetrics(broken, lambda: NOW)))
    assert found["gateway_database_up", ()] == 0
    assert ("gateway_half", ()) not in found
    assert found["gateway_step_duration_seconds_count", (("flow", "in.sync"), ("step", "8"))] == 1


_WORKER = """
import sys
from pathlib import Path
from gateway import telemetry
from gateway.daemon.metrics import Metrics, StoreMetrics
import datetime as dt
metrics = Metrics(Path(sys.argv[1]))
telemetry.listen_to_durations(metrics)
for _ in range(int(sys.argv[2])):
    with telemetry.step(8, "in.sync"):
        pass
page = metrics.exposition(StoreMetrics(lambda at: iter(()), lambda: dt.datetime.now(dt.UTC)))
sys.stdout.buffer.write(page)
"""


def test_whichever_worker_is_asked_answers_for_all_also_for_those_that_ended(tmp_path: Path) -> None:
    pages = [
        subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path), str(count)], capture_output=True, check=True)
        for count in (3, 4)
    ]
    found = samples(pages[-1].stdout)
    assert found["gateway_step_duration_seconds_count", (("flow", "in.sync"), ("step", "8"))] == 7
