"""Spans as OTLP says them, for receivers and importers."""

from __future__ import annotations

from typing import Any

JSON = {"content-type": "application/json"}


PROTOBUF = {"content-type": "application/x-protobuf"}


def span(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return one chat span as OTLP JSON."""
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": f"{number:016x}",
        "name": "chat gpt-4o",
        "startTimeUnixNano": "1763740000000000000",
        "endTimeUnixNano": "1763740000350000000",
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "9"}},
        ],
        **fields,
    }


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    """Return a request that exports spans, as OTLP JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}]}
    return {
        "resourceSpans": [
            {"resource": resource, "scopeSpans": [{"scope": {"name": "openai"}, "spans": list(spans)}]}
        ]
    }
