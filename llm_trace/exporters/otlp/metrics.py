"""The GenAI convention's metrics of a batch of calls, under the names of v0.1.0 and those before.

Each batch is a delta of its own. Source: OpenTelemetry GenAI metrics v0.1.0, buckets included. What a
provider did not count is left out, not 0.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.shapes import CallFields

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData, NumberDataPoint
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope


INFERENCE = "gen_ai.client.inference."
DURATION = INFERENCE + "duration"
USED = {
    INFERENCE + "usage.input_tokens": "input_tokens",
    INFERENCE + "usage.output_tokens": "output_tokens",
    INFERENCE + "usage.cache_read.input_tokens": "cache_read_tokens",
    INFERENCE + "usage.cache_write.input_tokens": "cache_write_tokens",
    INFERENCE + "usage.reasoning.output_tokens": "reasoning_tokens",
}
"""Counters -> fields of `Usage`."""
PER_CALL = {
    INFERENCE + "operation.input_tokens": "input_tokens",
    INFERENCE + "operation.output_tokens": "output_tokens",
}
"""Histograms -> fields of `Usage`."""
OLD_TOKENS = "gen_ai.client.token.usage"
OLD_DURATION = "gen_ai.client.operation.duration"
"""Since v0.1.0 of other operations than inference only."""
_TOKEN_BOUNDS = tuple(4.0**power for power in range(14))
_SECOND_BOUNDS = tuple(0.01 * 2**power for power in range(14))
_TOKEN_TYPES = {"input": "input_tokens", "output": "output_tokens"}
_CLIENTS = ("llm", "embedding")
_NO_MODALITY = ("gen_ai.token.modality", "unknown")

Key = tuple[tuple[str, Any], ...]
AttributedValue = tuple[Key, float]
"""The attributes of a point, and one value of it."""


@dataclass
class _Points:
    """The values of one metric by attributes, and when the batch began and ended."""

    begin: int
    end: int
    values: dict[Key, list[float]] = field(default_factory=dict)

    def take(self, samples: Iterable[AttributedValue]) -> _Points:
        for key, value in samples:
            self.values.setdefault(key, []).append(value)
        return self

    def build_histogram(
        self, name: str, unit: str, description: str, bounds: tuple[float, ...]
    ) -> list[Metric]:
        """Return the metric as a histogram, none where it has no point."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, Metric

        points = [self._bin(key, values, bounds) for key, values in self.values.items()]
        data = Histogram(data_points=points, aggregation_temporality=AggregationTemporality.DELTA)
        return [Metric(name=name, description=description, unit=unit, data=data)] if points else []

    def build_counter(self, name: str, unit: str, description: str) -> list[Metric]:
        """Return the metric as a counter, none where it has no point."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, Sum

        points = [self._add(key, values) for key, values in self.values.items()]
        delta = AggregationTemporality.DELTA
        data = Sum(data_points=points, aggregation_temporality=delta, is_monotonic=True)
        return [Metric(name=name, description=description, unit=unit, data=data)] if points else []

    def _bin(self, key: Key, values: list[float], bounds: tuple[float, ...]) -> HistogramDataPoint:
        from opentelemetry.sdk.metrics.export import HistogramDataPoint

        counts = [0] * (len(bounds) + 1)
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        return HistogramDataPoint(
            attributes=dict(key),
            start_time_unix_nano=self.begin,
            time_unix_nano=self.end,
            count=len(values),
            sum=sum(values),
            bucket_counts=counts,
            explicit_bounds=bounds,
            min=min(values),
            max=max(values),
        )

    def _add(self, key: Key, values: list[float]) -> NumberDataPoint:
        from opentelemetry.sdk.metrics.export import NumberDataPoint

        return NumberDataPoint(
            attributes=dict(key),
            start_time_unix_nano=self.begin,
            time_unix_nano=self.end,
            value=sum(values),
        )


def build_metrics(
    calls: Sequence[CallFields], resource: Resource, scope: InstrumentationScope
) -> MetricsData | None:
    """Return the metrics of calls of models that have ended, `None` where there is none."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    ended = [call for call in calls if call.get("kind") in _CLIENTS and call.get("end_ns") is not None]
    if not ended:
        return None
    url = scope.schema_url or ""
    scoped = ScopeMetrics(scope=scope, metrics=list(_iter_metrics(ended)), schema_url=url)
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scoped], schema_url=url)])


def _iter_metrics(calls: Sequence[CallFields]) -> Iterable[Metric]:
    begin, end = min(call["start_ns"] for call in calls), max(call["end_ns"] for call in calls)
    inference = [call for call in calls if call.get("kind") == "llm"]

    def gather(samples: Iterable[AttributedValue]) -> _Points:
        return _Points(begin, end).take(samples)

    for name, count in USED.items():
        points = gather(_list_tokens(inference, {count: (_NO_MODALITY,)}))
        yield from points.build_counter(name, "{token}", "Tokens used")
    for name, count in PER_CALL.items():
        points = gather(_list_tokens(inference, {count: ()}))
        yield from points.build_histogram(name, "{token}", "Tokens of a request", _TOKEN_BOUNDS)
    kinds = {count: (("gen_ai.token.type", kind),) for kind, count in _TOKEN_TYPES.items()}
    points = gather(_list_tokens(calls, kinds))
    yield from points.build_histogram(OLD_TOKENS, "{token}", "Tokens used", _TOKEN_BOUNDS)
    for name, timed in ((DURATION, inference), (OLD_DURATION, calls)):
        points = gather(_list_durations(timed))
        yield from points.build_histogram(name, "s", "How long a request took", _SECOND_BOUNDS)


def _list_tokens(calls: Sequence[CallFields], wanted: Mapping[str, Key]) -> Iterable[AttributedValue]:
    """Yield those token counts that were reported, each with the attributes that its field adds."""
    for call in calls:
        for name, extra in wanted.items():
            if isinstance(tokens := (call.get("usage") or {}).get(name), int):
                yield (*_build_attributes(call), *extra), tokens


def _list_durations(calls: Sequence[CallFields]) -> Iterable[AttributedValue]:
    for call in calls:
        error = (call.get("error") or {}).get("type")
        key = (*_build_attributes(call), *([(names.ERROR_TYPE, error)] if error else ()))
        yield key, max(0, call["end_ns"] - call["start_ns"]) / 1e9


def _build_attributes(call: CallFields) -> Key:
    asked_for = (call.get("metadata") or {}).get("request_model")
    attributes = {
        names.OPERATION: names.OPERATION_OF_KIND.get(str(call.get("kind"))),
        names.PROVIDER: call.get("provider"),
        names.REQUEST_MODEL: asked_for or call.get("model"),
        names.RESPONSE_MODEL: call.get("model") if asked_for else None,
    }
    return tuple((name, value) for name, value in attributes.items() if isinstance(value, str))
