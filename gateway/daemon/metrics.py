"""What /metrics says: steps as they are taken, and the state of the store as it is when somebody looks.

Steps are heard from gateway.telemetry, the one place that tells of them. Everything else is read from the database at
the moment of the scrape, so that every process of the fleet says the same and none has to remember. No label is of a
person, and every label has few values: what comes from outside is "other" unless the configuration names it.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from bisect import bisect_left
from collections import Counter as Counting
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.errors import GatewayError
from gateway.telemetry import Flow

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: where prometheus_client looks for the files that the workers of one machine share
_SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: codes of our own, and those of the channel (SHEP.md 1.8); anything else may be anybody's text
_CODE: Final = re.compile(r"[a-z][a-z_]{0,48}|SC[A-Z]{1,3}[0-9]{3}")
_MOST_CODES: Final = 200
#: steps that wait to be put into the histogram; only a process that is not asked to flush gets there
_MOST_WAITING: Final = 20_000


class Metrics:
    """Counts steps: listens to the durations of gateway.telemetry. One for each process."""

    def __init__(self, shared_folder: Path | None = None) -> None:
        """`shared_folder`: an empty folder that all workers of this daemon share; None: there is one process."""
        self._shared = shared_folder
        if shared_folder is not None:
            os.environ[_SHARED] = str(shared_folder)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "gateway_step_duration_seconds",
            "Time that a numbered step of a message, or of a group of them, took",
            ("flow", "step"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._errors = Counter(
            "gateway_step_errors_total", "Steps that failed", ("flow", "step", "code"), registry=self._registry
        )
        #: flow, step and seconds of steps that are not in the histogram yet; any thread appends
        self._taken: deque[tuple[Flow, int, float]] = deque()
        self._codes: set[str] = set()

    def took(self, number: int, flow: Flow, seconds: float, error: BaseException | None) -> None:
        """See gateway.telemetry.DurationListener."""
        self._taken.append((flow, number, seconds))
        if error is not None:
            self._errors.labels(flow, str(number), self._code_of(error)).inc()
        if len(self._taken) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Put what was taken since the last time into the histogram: one write for many steps, since each write goes
        to the file that the workers share. The process calls it ten times a second, and before it ends."""
        seconds: dict[tuple[Flow, int], list[float]] = {}
        while self._taken:
            try:
                flow, number, took = self._taken.popleft()
            except IndexError:  # another thread was quicker
                break
            seconds.setdefault((flow, number), []).append(took)
        for (flow, number), taken in seconds.items():
            histogram = self._seconds.labels(flow, str(number))
            # what `observe` does for one value, with the library's own cells
            for place, count in Counting(bisect_left(_BUCKETS_S, took) for took in taken).items():
                histogram._buckets[place].inc(count)
            histogram._sum.inc(sum(taken))

    def _code_of(self, error: BaseException) -> str:
        code = error.code if isinstance(error, GatewayError) else "internal"
        if code in self._codes:
            return code
        if not _CODE.fullmatch(code) or len(self._codes) >= _MOST_CODES:
            return "other"
        self._codes.add(code)
        return code

    def exposition(self, store: Collector) -> bytes:
        """The page: steps of every worker, and what `store` reads now."""
        self.flush()
        steps = CollectorRegistry()
        if self._shared is not None:
            multiprocess.MultiProcessCollector(steps, path=str(self._shared))  # type: ignore[no-untyped-call]
        page = generate_latest(self._registry if self._shared is None else steps)
        return page + generate_latest(_Of(store))


class _Of(CollectorRegistry):
    """A registry of one collector that is asked once."""

    def __init__(self, collector: Collector) -> None:
        super().__init__(auto_describe=False)
        self._one = collector

    def collect(self) -> Iterable[Metric]:
        return self._one.collect()


class StoreMetrics(Collector):
    """Everything that is read at the scrape. `read` raises GatewayError when the store cannot be used."""

    def __init__(self, read: Callable[[dt.datetime], Iterator[Metric]], clock: Callable[[], dt.datetime]) -> None:
        self._read = read
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        try:
            found = list(self._read(self._clock()))
            up = 1
        except GatewayError:
            # what cannot be read is absent and not zero
            found, up = [], 0
        yield gauge("gateway_database_up", "1 when the database could be read for this page", up)
        yield from found


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    metric = Metric(name, text, "gauge")
    metric.add_sample(name, {}, value)
    return metric


def gauges(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    """A gauge with one sample for each set of labels."""
    metric = Metric(name, text, "gauge")
    for labels, value in samples:
        metric.add_sample(name, labels, value)
    return metric
