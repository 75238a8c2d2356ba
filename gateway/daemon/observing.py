"""Switches metrics and spans on in a process that serves, and answers /metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import telemetry
from gateway.daemon.assembly import Gateway, now
from gateway.daemon.metrics import CONTENT_TYPE, Metrics, StoreMetrics
from gateway.daemon.store_metrics import reader
from gateway.daemon.tracing import start_tracing


@dataclass(frozen=True, slots=True)
class Observing:
    """What listens in this process. `stop` hands over the steps and spans that are left."""

    metrics: Metrics
    stop: Callable[[], None]

    def route(self, gateway: Gateway) -> Route:
        """GET /metrics."""
        store = StoreMetrics(reader(gateway), now)

        async def page(_: Request) -> Response:
            content = await anyio.to_thread.run_sync(lambda: self.metrics.exposition(store))
            return Response(content, headers={"content-type": CONTENT_TYPE})

        return Route("/metrics", page, methods=["GET"])


def observe(gateway: Gateway, shared_folder: Path | None = None) -> Observing:
    """Listen from now on, for the life of the process; once for each process, before it serves.

    `shared_folder`: an empty folder that all workers of one daemon share, None for a daemon of one process.
    Raises ConfigurationError: `tracing.otlp_url` without the extra `otel`.
    """
    options = gateway.loaded.settings.tracing
    metrics = Metrics(shared_folder)
    telemetry.listen_to_durations(metrics)
    if not options.otlp_url:
        return Observing(metrics, metrics.flush)
    tracing, provider = start_tracing(options.otlp_url, options.sample_ratio)
    telemetry.listen(tracing)
    telemetry.listen_to_messages(tracing)

    def stop() -> None:
        metrics.flush()
        provider.shutdown()

    return Observing(metrics, stop)
