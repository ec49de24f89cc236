"""From values to metrics with a verdict, for all pairs and for slices of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.comparison.missing import allow_for_missing
from llm_trace.comparison.records import Metric, Slice
from llm_trace.statistics.intervals import bound_mean
from llm_trace.statistics.multiple_tests import correct_tested
from llm_trace.statistics.paired import Estimate, estimate
from llm_trace.statistics.scales import Scale, find_scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.missing import Failures
    from llm_trace.comparison.records import Better, MetricVerdict
    from llm_trace.statistics.floats import Floats

WORST = 3
"""Pairs named for each metric."""


@dataclass(frozen=True)
class PairTable:
    """The values of all pairs; NaN where one is missing.

    Args:
        spans: of the first call in a and b of each pair.
        tested: metric to (2, pairs): the values in a and in b.
        described: metric to (pairs,): how the outputs differ.
        clusters: (pairs,) which depend on each other, or `None`.
        better: the good direction of metrics that have one.
        scales: of metrics where it is known; of others it is found from their values.
        unfinished: inputs that only a finished although b began them, and the other way round.
        failures: score to what its failed calls count as; that is in `tested`.
        labels: metrics that are the share of a label, with the score that it is a label of.
        remarks: what could not be taken.
    """

    spans: Sequence[tuple[str, str]]
    tested: Mapping[str, Floats]
    described: Mapping[str, Floats]
    clusters: NDArray[np.int64] | None
    better: Mapping[str, Better]
    confidence: float
    seed: int
    scales: Mapping[str, Scale] = field(default_factory=dict)
    unfinished: tuple[int, int] = (0, 0)
    failures: Mapping[str, Failures] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def clusters_of(self, pairs: NDArray[np.intp]) -> NDArray[np.int64] | None:
        """Return the clusters of some pairs by their numbers."""
        return None if self.clusters is None else self.clusters[pairs]


@dataclass(frozen=True)
class Judged:
    """A metric before it is corrected for the others."""

    metric: Metric
    measured: Estimate | None = None
    """Of the pairs that have it on both sides; `None` where nothing is tested."""


def judge_overall(table: PairTable) -> tuple[Metric, ...]:
    """Return every metric over all pairs."""
    every = np.ones(len(table.spans), dtype=bool)
    return tuple(_correct_metrics(_judge_metrics(table, every, table.unfinished), table))


def judge_slices(table: PairTable, slices: Mapping[str, NDArray[np.bool_]]) -> tuple[Slice, ...]:
    """Return every metric over each slice, with false findings controlled over all of them together."""
    judged = {name: _judge_metrics(table, rows, (0, 0)) for name, rows in slices.items()}
    corrected = iter(_correct_metrics([m for metrics in judged.values() for m in metrics], table))
    return tuple(
        Slice(name=name, pairs=int(slices[name].sum()), metrics=tuple(next(corrected) for _ in metrics))
        for name, metrics in judged.items()
    )


def _judge_metrics(table: PairTable, rows: NDArray[np.bool_], unfinished: tuple[int, int]) -> list[Judged]:
    tested = (_test(name, values, rows, unfinished, table) for name, values in table.tested.items())
    described = (_describe(name, values[rows], table) for name, values in table.described.items())
    return [judged for judged in (*tested, *described) if judged is not None]


def _test(
    name: str, values: Floats, rows: NDArray[np.bool_], unfinished: tuple[int, int], table: PairTable
) -> Judged | None:
    lacks = np.isnan(values)
    both = ~lacks.any(axis=0)
    there, either = np.flatnonzero(rows & both), np.flatnonzero(rows & ~lacks.all(axis=0))
    if not len(there):
        return None
    (a, b), scale = values[:, there], table.scales.get(name) or find_scale(values[:, both])
    measured = estimate(
        a, b, table.clusters_of(there), scale=scale, confidence=table.confidence, seed=table.seed
    )
    bounds = allow_for_missing(
        measured, values[:, either], scale, clusters=table.clusters_of(either), unfinished=sum(unfinished),
        confidence=table.confidence, seed=table.seed,
    )  # fmt: skip
    better = table.better.get(name)
    missing = (int(lacks[1, either].sum()) + unfinished[0], int(lacks[0, either].sum()) + unfinished[1])
    metric = Metric(
        name=name, kind=measured.kind, better=better, n=measured.n, a=measured.a, b=measured.b,
        difference=measured.difference, low=bounds.low, high=bounds.high, p_value=measured.p_value,
        effect=measured.effect, missing=missing,
        verdict="undecided" if (a != b).any() or any(missing) else "same",
        worst=_find_worst(b - a if better != "lower" else a - b, there, table.spans),
    )  # fmt: skip
    return Judged(metric, measured)


def _find_worst(
    gain: NDArray[np.float64], there: NDArray[np.intp], spans: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    order = np.argsort(gain, kind="stable")[:WORST]
    return tuple(spans[there[i]] for i in order if gain[i] < 0)


def _describe(name: str, values: Floats, table: PairTable) -> Judged | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    same = 1.0 if name == "output_similarity" else 0.0
    bounds = bound_mean(known - same, confidence=table.confidence, largest=1.0) if len(known) > 1 else None
    mean = float(known.mean())
    metric = Metric(
        name=name, kind="description", n=len(known), a=same, b=mean, difference=mean - same,
        low=bounds.low if bounds else None, high=bounds.high if bounds else None, verdict="described",
    )  # fmt: skip
    return Judged(metric)


def _correct_metrics(metrics: Sequence[Judged], table: PairTable) -> list[Metric]:
    """Return the metrics with q-values, verdicts, and what would decide those that are undecided."""
    level = 1 - table.confidence
    q_values = correct_tested([judged.metric.p_value for judged in metrics])
    tests = sum(q is not None for q in q_values)
    passed = sum(q is not None and q <= level for q in q_values)
    return [
        _decide(judged, q, level, level * min(tests, passed + 1) / max(tests, 1))
        for judged, q in zip(metrics, q_values, strict=True)
    ]


def _decide(judged: Judged, q_value: float | None, level: float, needed: float) -> Metric:
    """Return a metric with its verdict.

    Args:
        judged: what the pairs say.
        q_value: of the metric among the others.
        level: of q-values that decide.
        needed: the p-value that would have decided it, the others keeping theirs (Benjamini-Hochberg).
    """
    metric, measured = judged.metric, judged.measured
    if measured is None or measured.p_value is None:
        return metric
    passed = q_value is not None and q_value <= level
    if passed and _excludes_zero(metric.low, metric.high):
        return metric.model_copy(update={"q_value": q_value, "verdict": _get_direction(metric)})
    turns = passed and _excludes_zero(measured.low, measured.high)
    further = None if turns else measured.further(needed)
    return metric.model_copy(update={"q_value": q_value, "further": further})


def _excludes_zero(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and (low > 0 or high < 0)


def _get_direction(metric: Metric) -> MetricVerdict:
    rose = metric.difference > 0
    if metric.better is None:
        return "higher" if rose else "lower"
    return "better" if rose == (metric.better == "higher") else "worse"
