"""OTLP: the contract of all exporters, and what spans and metrics say."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.exporter_contract import ExporterContract
from tests.loopback import Loopback, Received, Reply

PROTOBUF = {"content-type": "application/x-protobuf"}


def spans_of(request: Received) -> list[Span]:
    if request.path != "/v1/traces":
        return []
    told = ExportTraceServiceRequest.FromString(request.body)
    return [span for r in told.resource_spans for scope in r.scope_spans for span in scope.spans]


def strict(request: Received) -> Reply:
    """Answer as a receiver that takes nothing but what the protocol says."""
    if request.headers.get("content-type") != "application/x-protobuf":
        return Reply(415, b"protobuf only")
    if request.path == "/v1/metrics":
        ExportMetricsServiceRequest.FromString(request.body)
        return Reply(200, b"", PROTOBUF)
    if request.path != "/v1/traces":
        return Reply(404, b"no such path")
    right = all(
        len(s.trace_id) == 16
        and len(s.span_id) == 8
        and s.name
        and s.end_time_unix_nano >= s.start_time_unix_nano
        for s in spans_of(request)
    )
    return Reply(200, b"", PROTOBUF) if right else Reply(400, b"a span is not right")


class TestOtlp(ExporterContract):
    settings = "OTEL_EXPORTER_OTLP_HEADERS"

    def address(self, server: Loopback) -> str:
        return f"otlp://{server.address}"

    def answer(self, request: Received) -> Reply:
        return strict(request)

    def spans(self, request: Received) -> list[str]:
        return [span.span_id.hex() for span in spans_of(request)]
