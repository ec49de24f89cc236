"""Log records and metrics as coding agents send them, through OpenTelemetry's own exporters and as JSON."""

from __future__ import annotations

from typing import Any

from opentelemetry._logs import LogRecord as SdkRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

SECOND = 10**9
BEGIN = 1_790_000_000 * SECOND
SESSION = "0199f1a2-7c11-4a51-b4b0-11aa22bb33cc"
Event = tuple[float, str, dict[str, Any]]
"""When, in seconds after the beginning; the event's whole name; its attributes."""


def claude(at: float, event: str, sequence: int, **attributes: Any) -> Event:
    """Return an event of Claude Code; two underscores stand for a dot."""
    common = {
        "session.id": SESSION, "user.id": "someone", "event.name": event, "event.sequence": sequence,
        "event.timestamp": f"2026-09-21T14:13:{20 + at:06.3f}Z", "prompt.id": "prompt-1",
    }  # fmt: skip
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return at, f"claude_code.{event}", common | named


def send_logs(url: str, events: list[Event], *, service: str = "claude-code", named: bool = False) -> None:
    """Send events in protobuf; their name is the body, or where `named` the attribute `event.name`."""
    exporter = OTLPLogExporter(f"{url}/v1/logs")
    provider = LoggerProvider(Resource.create({"service.name": service}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger(f"{service}.events")
    for at, name, attributes in events:
        moment = BEGIN + round(at * SECOND)
        fields = attributes | ({"event.name": name} if named else {})
        body = None if named else name
        logger.emit(SdkRecord(timestamp=moment, observed_timestamp=moment, body=body, attributes=fields))
    provider.shutdown()


def build_json_logs(events: list[Event], *, service: str = "claude-code", span: str = "") -> dict[str, Any]:
    """Return a request with events as OTLP JSON, numbers as text as Claude Code's tools have them."""
    records = [
        {
            "timeUnixNano": str(BEGIN + round(at * SECOND)),
            "body": {"stringValue": name},
            "attributes": [
                {"key": key, "value": {"stringValue": str(value)}} for key, value in fields.items()
            ],
            "traceId": "ab" * 16 if span else "",
            "spanId": span,
        }
        for at, name, fields in events
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}


def send_metrics(
    url: str, usage: dict[str, float], *, cumulative: bool = False, session: str = SESSION
) -> None:
    """Send tokens by their type, and under `cost` dollars, in protobuf as Claude Code counts them."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import Counter, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader

    way = AggregationTemporality.CUMULATIVE if cumulative else AggregationTemporality.DELTA
    exporter = OTLPMetricExporter(f"{url}/v1/metrics", preferred_temporality={Counter: way})
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], Resource.create({"service.name": "claude-code"}))
    meter = provider.get_meter("com.anthropic.claude_code")
    tokens, cost = (
        meter.create_counter("claude_code.token.usage"),
        meter.create_counter("claude_code.cost.usage"),
    )
    common = {"session.id": session, "model": "claude-sonnet-5"}
    for kind, count in usage.items():
        if kind == "cost":
            cost.add(count, common)
        else:
            tokens.add(count, {**common, "type": kind})
    provider.shutdown()
