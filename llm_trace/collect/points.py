"""Data points of OTLP's metrics, from protobuf and from JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_trace.imports import otlp

_CUMULATIVE = (2, "AGGREGATION_TEMPORALITY_CUMULATIVE")


class DataPoint(NamedTuple):
    """A number of one series; of a histogram the sum."""

    metric: str
    value: float
    attributes: dict[str, Any]
    is_cumulative: bool
    """Whether it counts from `start_ns`, else from the point before it."""
    start_ns: int
    time_ns: int
    resource: dict[str, Any]


def iter_json_points(request: Any) -> Iterator[DataPoint | None]:
    """Yield each point of an OTLP/JSON request, None for one that is no sum or cannot be read.

    Raises:
        ValueError: the request around the points is malformed.
    """
    for raw, _, resource in otlp.walk_entries(request, "resourceMetrics", "scopeMetrics", "metrics"):
        if isinstance(resource, str):
            yield None
            continue
        metric = raw if isinstance(raw, dict) else {}
        for kind in ("sum", "histogram", "gauge", "summary", "exponentialHistogram"):
            data = metric.get(kind)
            points = data.get("dataPoints") if isinstance(data, dict) else None
            for point in points if isinstance(points, list) else ():
                yield _read_json_point(metric, kind, data, point, resource)


def _read_json_point(
    metric: dict[str, Any], kind: str, data: Any, point: Any, resource: dict[str, Any]
) -> DataPoint | None:
    try:
        fields = otlp.check_object(point)
        names = ("sum",) if kind == "histogram" else ("asInt", "asDouble")
        value = next((fields[name] for name in names if fields.get(name) is not None), None)
        if kind not in ("sum", "histogram") or value is None:
            return None
        return DataPoint(
            str(metric.get("name")),
            float(value),
            otlp.read_attributes(fields.get("attributes")),
            data.get("aggregationTemporality") in _CUMULATIVE,
            otlp.read_integer(fields.get("startTimeUnixNano") or 0),
            otlp.read_moment(otlp.read_integer(fields.get("timeUnixNano") or 0), "timeUnixNano"),
            resource,
        )
    except (TypeError, ValueError):
        return None
