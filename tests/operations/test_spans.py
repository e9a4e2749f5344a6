"""Spans of requests, as OpenTelemetry's own exporter has them."""

from typing import Any

import pytest

from adaptive_spec import ConstantCosts, Controller
from adaptive_spec.operations.requests import Requests
from adaptive_spec.operations.spans import Spans
from tests.operations.driving import Planned, admit, cycle

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")


def test_a_span_lasts_as_long_as_its_request() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests")
    times = iter([10.0, 12.5])
    parent = tracer.start_span("parent")

    def parent_of(request_id: str) -> Any:
        return trace.set_span_in_context(parent) if request_id == "a" else None

    controller = Controller(Planned(), costs=ConstantCosts())
    Requests(controller, Spans(tracer, parent_of=parent_of), clock=lambda: next(times))
    rows = admit(controller, "a")
    cycle(controller, 2)
    controller.release(rows)
    [span] = memory.get_finished_spans()
    assert span.name == "adaptive_spec.request"
    assert (span.start_time, span.end_time) == (10_000_000_000, 12_500_000_000)
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id
    assert span.attributes is not None
    assert span.attributes["adaptive_spec.request_id"] == "a"
    assert span.attributes["adaptive_spec.accepted_tokens"] == 2
    assert "adaptive_spec.began_s" not in span.attributes
