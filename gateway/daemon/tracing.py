"""Spans over OTLP, where `tracing.otlp_url` asks for them: one for each message, one for each step inside it.

A listener of gateway.telemetry, as the metrics are. A span has the message id (an IIN in it masked), the system, the
service, the flow, the number of the step and the code of an error; never its text, which may quote what came.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from gateway import __version__
from gateway.errors import ConfigurationError, GatewayError
from gateway.telemetry import Flow

#: the name under which the collector knows us
SERVICE_NAME: Final = "shep-gateway"


#: a collector that does not answer must not hold up the end of the process
_EXPORT_TIMEOUT_S: Final = 3


class Tracing:
    """Makes spans with an OpenTelemetry tracer. Safe to use from several threads."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._trace = importlib.import_module("opentelemetry.trace")
        #: open spans of this thread, the innermost last
        self._open: ContextVar[tuple[Any, ...]] = ContextVar("open", default=())

    def opened(self, flow: Flow) -> None:
        self._begin(flow, {"gateway.flow": flow})

    def closed(self, flow: Flow, known: Mapping[str, str], error: BaseException | None) -> None:  # noqa: ARG002
        self._end({f"gateway.{key}": value for key, value in known.items()}, error)

    def entered(self, number: int, flow: Flow) -> None:
        self._begin(f"{flow} step {number}", {"gateway.flow": flow, "gateway.step": number})

    def left(self, number: int, flow: Flow, error: BaseException | None) -> None:  # noqa: ARG002
        self._end({}, error)

    def _begin(self, name: str, attributes: Mapping[str, str | int]) -> None:
        around = self._open.get()
        context = self._trace.set_span_in_context(around[-1]) if around else None
        span = self._tracer.start_span(name, context=context, attributes=attributes, record_exception=False)
        self._open.set((*around, span))

    def _end(self, attributes: Mapping[str, str], error: BaseException | None) -> None:
        *around, span = self._open.get()
        self._open.set(tuple(around))
        for key, value in attributes.items():
            span.set_attribute(key, value)
        if error is not None:
            code = error.code if isinstance(error, GatewayError) else "internal"
            span.set_attribute("error.type", code)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()


def start_tracing(otlp_url: str, sample_ratio: float) -> tuple[Tracing, Any]:
    """The listener, and the provider whose `shutdown()` sends what is left.

    Raises ConfigurationError when the extra `otel` is not installed.
    """
    try:
        exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        sampling = importlib.import_module("opentelemetry.sdk.trace.sampling")
        resources = importlib.import_module("opentelemetry.sdk.resources")
    except ImportError:
        raise ConfigurationError(
            "spans need the extra: pip install 'shep-gateway[otel]', or leave this key empty", key="tracing.otlp_url"
        ) from None
    provider = sdk.TracerProvider(
        resource=resources.Resource.create({"service.name": SERVICE_NAME, "service.version": __version__}),
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(sample_ratio)),
    )
    provider.add_span_processor(
        export.BatchSpanProcessor(exporter.OTLPSpanExporter(endpoint=otlp_url, timeout=_EXPORT_TIMEOUT_S))
    )
    return Tracing(provider.get_tracer("gateway")), provider
