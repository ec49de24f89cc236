"""What a strict OTLP receiver answers, and the spans that it was sent."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.helpers.loopback import Received, Reply

PROTOBUF = {"content-type": "application/x-protobuf"}


def spans_of(request: Received) -> list[Span]:
    """Return the spans of a request; none of one that is no trace."""
    if not request.path.endswith("/v1/traces"):
        return []
    message = ExportTraceServiceRequest.FromString(request.body)
    return [span for r in message.resource_spans for scope in r.scope_spans for span in scope.spans]


def strict(request: Received) -> Reply:
    """Answer as a receiver that takes nothing but what the protocol says."""
    if request.headers.get("content-type") != "application/x-protobuf":
        return Reply(415, b"protobuf only")
    if request.path.endswith("/v1/metrics"):
        ExportMetricsServiceRequest.FromString(request.body)
        return Reply(200, b"", PROTOBUF)
    if not request.path.endswith("/v1/traces"):
        return Reply(404, b"no such path")
    right = all(
        len(s.trace_id) == 16
        and len(s.span_id) == 8
        and s.name
        and s.end_time_unix_nano >= s.start_time_unix_nano
        for s in spans_of(request)
    )
    return Reply(200, b"", PROTOBUF) if right else Reply(400, b"a span is not right")
