"""The GenAI convention's metrics of a batch of calls: `gen_ai.client.token.usage` and `….operation.duration`.

Each batch is a delta of its own. Source: OpenTelemetry GenAI metrics, buckets included.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.shapes import CallFields

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope


TOKENS = "gen_ai.client.token.usage"
DURATION = "gen_ai.client.operation.duration"
_TOKEN_BOUNDS = tuple(4.0**power for power in range(14))
_SECOND_BOUNDS = tuple(0.01 * 2**power for power in range(14))
_TOKEN_TYPES = {"input": "input_tokens", "output": "output_tokens"}
_CLIENTS = ("llm", "embedding")


@dataclass
class _Histogram:
    bounds: tuple[float, ...]
    values: list[float] = field(default_factory=list)

    def point(self, attributes: dict[str, Any], begin: int, end: int) -> HistogramDataPoint:
        from opentelemetry.sdk.metrics.export import HistogramDataPoint

        counts = [0] * (len(self.bounds) + 1)
        for value in self.values:
            counts[bisect_left(self.bounds, value)] += 1
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=begin,
            time_unix_nano=end,
            count=len(self.values),
            sum=sum(self.values),
            bucket_counts=counts,
            explicit_bounds=self.bounds,
            min=min(self.values),
            max=max(self.values),
        )


def build_metrics(
    calls: Sequence[CallFields], resource: Resource, scope: InstrumentationScope
) -> MetricsData | None:
    """Return the metrics of calls of models that have ended, `None` where there is none."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    ended = [call for call in calls if call.get("kind") in _CLIENTS and call.get("end_ns") is not None]
    if not ended:
        return None
    begin, end = min(call["start_ns"] for call in ended), max(call["end_ns"] for call in ended)
    metrics = [
        _build_metric(TOKENS, "{token}", "Tokens used", _list_tokens(ended), begin, end),
        _build_metric(DURATION, "s", "How long a request took", _list_durations(ended), begin, end),
    ]
    url = scope.schema_url or ""
    scoped = ScopeMetrics(scope=scope, metrics=[metric for metric in metrics if metric], schema_url=url)
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scoped], schema_url=url)])


Key = tuple[tuple[str, Any], ...]


def _build_metric(
    name: str, unit: str, says: str, found: Mapping[Key, _Histogram], begin: int, end: int
) -> Metric | None:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, Metric

    points = [histogram.point(dict(key), begin, end) for key, histogram in found.items()]
    data = Histogram(data_points=points, aggregation_temporality=AggregationTemporality.DELTA)
    return Metric(name=name, description=says, unit=unit, data=data) if points else None


def _list_tokens(calls: Sequence[CallFields]) -> Mapping[Key, _Histogram]:
    histograms: dict[Key, _Histogram] = {}
    for call in calls:
        for kind, count in _TOKEN_TYPES.items():
            if isinstance(tokens := (call.get("usage") or {}).get(count), int):
                key = (*_build_attributes(call), ("gen_ai.token.type", kind))
                histograms.setdefault(key, _Histogram(_TOKEN_BOUNDS)).values.append(tokens)
    return histograms


def _list_durations(calls: Sequence[CallFields]) -> Mapping[Key, _Histogram]:
    histograms: dict[Key, _Histogram] = {}
    for call in calls:
        error = (call.get("error") or {}).get("type")
        key = (*_build_attributes(call), *([(names.ERROR_TYPE, error)] if error else ()))
        seconds = max(0, call["end_ns"] - call["start_ns"]) / 1e9
        histograms.setdefault(key, _Histogram(_SECOND_BOUNDS)).values.append(seconds)
    return histograms


def _build_attributes(call: CallFields) -> Key:
    asked_for = (call.get("metadata") or {}).get("request_model")
    attributes = {
        names.OPERATION: names.OPERATION_OF_KIND.get(str(call.get("kind"))),
        names.PROVIDER: call.get("provider"),
        names.REQUEST_MODEL: asked_for or call.get("model"),
        names.RESPONSE_MODEL: call.get("model") if asked_for else None,
    }
    return tuple((name, value) for name, value in attributes.items() if isinstance(value, str))
