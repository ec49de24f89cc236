"""From values to metrics with a verdict, for all pairs and for slices of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.comparison.result import Metric, Slice
from llm_trace.comparison.statistics.intervals import mean_interval
from llm_trace.comparison.statistics.paired import estimate, with_false_discovery_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.result import Better, Verdict

WORST = 3
"""Pairs named for each metric."""


@dataclass(frozen=True)
class Table:
    """The values of all pairs; NaN where one is missing.

    Args:
        spans: of the first call in a and b of each pair.
        tested: metric to (2, pairs): the values in a and in b.
        described: metric to (pairs,): how the outputs differ.
        clusters: (pairs,) which depend on each other, or `None`.
        better: the good direction of metrics that have one.
    """

    spans: Sequence[tuple[str, str]]
    tested: Mapping[str, NDArray[np.float64]]
    described: Mapping[str, NDArray[np.float64]]
    clusters: NDArray[np.int64] | None
    better: Mapping[str, Better]
    confidence: float
    seed: int


def overall(table: Table) -> tuple[Metric, ...]:
    """Return every metric over all pairs."""
    every = np.ones(len(table.spans), dtype=bool)
    return tuple(_controlled(_metrics(table, every), table))


def sliced(table: Table, slices: Mapping[str, NDArray[np.bool_]]) -> tuple[Slice, ...]:
    """Return every metric over each slice, with false findings controlled over all of them together."""
    found = {name: _metrics(table, rows) for name, rows in slices.items()}
    controlled = iter(_controlled([m for metrics in found.values() for m in metrics], table))
    return tuple(
        Slice(name=name, pairs=int(slices[name].sum()), metrics=tuple(next(controlled) for _ in metrics))
        for name, metrics in found.items()
    )


def _metrics(table: Table, rows: NDArray[np.bool_]) -> list[Metric]:
    tested = (_tested(name, values, rows, table) for name, values in table.tested.items())
    described = (_described(name, values[rows], table) for name, values in table.described.items())
    return [metric for metric in (*tested, *described) if metric is not None]


def _tested(name: str, values: NDArray[np.float64], rows: NDArray[np.bool_], table: Table) -> Metric | None:
    there = np.flatnonzero(rows & ~np.isnan(values).any(axis=0))
    if not len(there):
        return None
    a, b = values[:, there]
    clusters = None if table.clusters is None else table.clusters[there]
    found = estimate(a, b, clusters, confidence=table.confidence, seed=table.seed)
    better = table.better.get(name)
    return Metric(
        name=name, kind=found.kind, better=better, n=found.n, a=found.a, b=found.b, difference=found.difference,
        low=found.low, high=found.high, p_value=found.p_value, effect=found.effect,
        verdict="undecided" if (a != b).any() else "same",
        further=found.further, worst=_worst(b - a if better != "lower" else a - b, there, table.spans),
    )  # fmt: skip


def _worst(
    gain: NDArray[np.float64], there: NDArray[np.intp], spans: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    order = np.argsort(gain, kind="stable")[:WORST]
    return tuple(spans[there[i]] for i in order if gain[i] < 0)


def _described(name: str, values: NDArray[np.float64], table: Table) -> Metric | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    same = 1.0 if name == "output_similarity" else 0.0
    bounds = mean_interval(known - same, confidence=table.confidence, largest=1.0) if len(known) > 1 else None
    mean = float(known.mean())
    return Metric(
        name=name, kind="description", n=len(known), a=same, b=mean, difference=mean - same,
        low=bounds.low if bounds else None, high=bounds.high if bounds else None, verdict="described",
    )  # fmt: skip


def _controlled(metrics: Iterable[Metric], table: Table) -> list[Metric]:
    """Return the metrics with q-values and verdicts."""
    given = list(metrics)
    q_values = with_false_discovery_control([m.p_value for m in given])
    return [_decided(m, q, 1 - table.confidence) for m, q in zip(given, q_values, strict=True)]


def _decided(metric: Metric, q_value: float | None, level: float) -> Metric:
    excluded = metric.low is not None and metric.high is not None and (metric.low > 0 or metric.high < 0)
    if metric.kind == "description" or q_value is None or q_value > level or not excluded:
        return metric.model_copy(update={"q_value": q_value})
    return metric.model_copy(update={"q_value": q_value, "verdict": _direction(metric), "further": None})


def _direction(metric: Metric) -> Verdict:
    rose = metric.difference > 0
    if metric.better is None:
        return "higher" if rose else "lower"
    return "better" if rose == (metric.better == "higher") else "worse"
