"""Whom steps and messages are told to, and what log lines and spans say of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import logs, telemetry
from gateway.daemon import tracing
from gateway.errors import ConfigurationError, SignatureRefused
from tests.exchange.world import PERSON


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Logs as the daemon writes them; call it for what was written."""
    before = structlog.get_config()
    written = io.StringIO()
    logs.configure("debug")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(written))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    listener = tracing.Tracing(provider.get_tracer("test"))
    monkeypatch.setattr(telemetry, "_listeners", [listener])
    monkeypatch.setattr(telemetry, "_message_listeners", [listener])
    return exporter


def test_a_line_inside_a_message_says_which_and_one_outside_does_not(lines: Any) -> None:
    log = structlog.get_logger()
    with telemetry.message("in.sync", system="gbdfl") as this:
        log.info("exchange", action="early")
        this.about(message_id="m-1", service_id="A_SERVICE")
        with telemetry.message("out.sync", message_id="m-2"):
            log.info("exchange", action="inner")
        log.info("exchange", action="late")
    log.info("exchange", action="outside")
    early, inner, late, outside = lines()
    assert (early["flow"], early["system"], "message_id" in early) == ("in.sync", "gbdfl", False)
    assert (inner["flow"], inner["message_id"]) == ("out.sync", "m-2")
    assert (late["flow"], late["message_id"], late["service_id"]) == ("in.sync", "m-1", "A_SERVICE")
    assert not {"flow", "system", "message_id", "service_id"} & set(outside)


def test_no_field_of_a_line_holds_an_iin_whoever_wrote_it(lines: Any) -> None:
    iin = PERSON.value
    with telemetry.message("in.sync", message_id=f"id-{iin}-77{iin}1"):
        try:
            raise ValueError(iin)
        except ValueError:
            structlog.get_logger().exception("exchange", place=iin, several=[iin], subject=PERSON, number=12, none=None)
    (line,) = lines()
    assert iin not in json.dumps(line)
    assert (line["message_id"], line["number"], line["none"]) == ("id-************-************", 12, None)


def test_digits_that_are_nobodys_iin_stay() -> None:
    assert logs.mask("journal 123456789012 and 12345") == "journal 123456789012 and 12345"


def test_a_message_is_a_span_and_its_steps_lie_inside(spans: InMemorySpanExporter) -> None:
    with telemetry.message("in.sync", message_id=f"id-{PERSON.value}") as this:
        this.about(service_id="A_SERVICE")
        with telemetry.step(11, "in.sync"):
            pass
    step, message = spans.get_finished_spans()
    assert (step.name, message.name) == ("in.sync step 11", "in.sync")
    assert step.parent is not None
    assert step.parent.span_id == message.context.span_id
    assert step.attributes == {"gateway.flow": "in.sync", "gateway.step": 11}
    assert message.attributes == {
        "gateway.flow": "in.sync",
        "gateway.message_id": "id-************",
        "gateway.service_id": "A_SERVICE",
    }


def test_a_span_says_the_code_of_an_error_and_not_its_text(spans: InMemorySpanExporter) -> None:
    for error in (SignatureRefused("bad_digest", "ЖАСЫРЫН", step="digest"), ValueError("ЖАСЫРЫН")):
        with pytest.raises(type(error)), telemetry.step(11, "in.push"):
            raise error
    refused, broken = spans.get_finished_spans()
    assert (dict(refused.attributes or {})["error.type"], dict(broken.attributes or {})["error.type"]) == (
        "bad_digest",
        "internal",
    )
    assert "ЖАСЫРЫН" not in refused.to_json() + broken.to_json()
    assert "ЖАСЫРЫН".encode("unicode_escape").decode() not in refused.to_json()


def test_spans_without_the_extra_are_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(tracing.importlib, "import_module", missing)
    with pytest.raises(ConfigurationError, match=r"shep-gateway\[otel\]") as refused:
        tracing.start_tracing("http://127.0.0.1:1/v1/traces", 1.0)
    assert refused.value.key == "tracing.otlp_url"
