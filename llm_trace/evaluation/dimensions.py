"""From outcomes to dimensions: each quality apart, with bounds that know which answers depend on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from llm_trace.call_parts import Record
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.statistics.independent import ClusteredSample, bound_sample

DimensionKind = Literal["score", "public", "consistency", "robustness", "sensitivity", "agreement"]
"""`score`: on fresh instances; `public`: on the public set. Of fresh ones answered right: `consistency`,
asked again unchanged; `robustness`, after edits that keep the meaning; `sensitivity`, after edits that change
it, by the new answer. `agreement`: of attributions with the words that decide.
"""
RIGHT = 0.5
"""Score from which an answer counts as right."""


class Dimension(Record):
    """One quality, with bounds; never a mean of several."""

    name: str
    """The score, and for other kinds than `score` the kind after it: `exact`, `exact robustness`."""
    score: str
    kind: DimensionKind = "score"
    slice: str | None = None
    """The part it is of, such as `scenario refund` or `position 3`; `None`: of all."""
    n: int
    """Answers, or pairs of answers, that it is of."""
    instances: int
    """Fresh instances, or public examples, behind them, which is how much they tell."""
    value: float
    low: float | None = None
    """`None` where one instance alone cannot give bounds."""
    high: float | None = None
    failed: int = 0
    """Answers among them that are none (an error, a time-out): they count as 0."""


class ScoredOutcome(NamedTuple):
    """The score of one outcome."""

    outcome: Outcome
    value: float

    @property
    def root(self) -> str:
        """The fresh instance that it goes back to."""
        return self.outcome.instance.of or self.outcome.instance.id


class ScoreTable(NamedTuple):
    """All values of one score."""

    name: str
    values: tuple[ScoredOutcome, ...]
    is_share: bool
    """Whether they all lie between 0 and 1: what failed counts as 0, and 0.5 is right."""

    def of(self, *variants: str) -> list[ScoredOutcome]:
        """Return the values of instances of these variants."""
        return [each for each in self.values if each.outcome.instance.variant in variants]


def build_tables(outcomes: Sequence[Outcome]) -> list[ScoreTable]:
    """Return the values by score, in the order of their names as they come; what failed counts as 0."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.scores))
    return [_build_table(name, outcomes) for name in names]


def _build_table(name: str, outcomes: Sequence[Outcome]) -> ScoreTable:
    values = [ScoredOutcome(outcome, outcome.scores[name]) for outcome in outcomes if name in outcome.scores]
    share = all(0 <= each.value <= 1 for each in values)
    if share:
        scenarios = {each.outcome.instance.scenario for each in values}
        values += [
            ScoredOutcome(outcome, 0.0)
            for outcome in outcomes
            if outcome.status == "error" and outcome.instance.scenario in scenarios
        ]
    return ScoreTable(name, tuple(values), share)


def build_dimensions(tables: Sequence[ScoreTable], confidence: float) -> tuple[Dimension, ...]:
    """Return every dimension of every score, each over all and over its slices."""
    return tuple(dimension for table in tables for dimension in _build_dimensions(table, confidence))


def _build_dimensions(table: ScoreTable, confidence: float) -> Iterator[Dimension]:
    kinds: dict[DimensionKind, list[ScoredOutcome]] = {
        "score": table.of("fresh"),
        "public": table.of("public"),
    }
    if table.is_share:
        right = {(v.root, v.outcome.repeat) for v in table.of("fresh") if v.value >= RIGHT}
        kinds["consistency"] = _list_repeated(table.of("fresh"))
        kinds["robustness"] = [v for v in table.of("preserved") if (v.root, v.outcome.repeat) in right]
        kinds["sensitivity"] = [v for v in table.of("changed") if (v.root, v.outcome.repeat) in right]
    for kind, values in kinds.items():
        if values:
            yield from measure_parts(table, kind, values, confidence)


def measure_parts(
    table: ScoreTable, kind: DimensionKind, values: Sequence[ScoredOutcome], confidence: float
) -> Iterator[Dimension]:
    """Yield a dimension of all values, and one of each part of them."""
    for slice_, part in _slice(values):
        yield _measure(table, kind, slice_, part, confidence)


def _list_repeated(fresh: Iterable[ScoredOutcome]) -> list[ScoredOutcome]:
    """Return for each right answer the next one to the same instance, the first after the last."""
    by_root: defaultdict[str, list[ScoredOutcome]] = defaultdict(list)
    for value in sorted(fresh, key=lambda each: each.outcome.repeat):
        by_root[value.root].append(value)
    return [
        values[(i + 1) % len(values)]
        for values in by_root.values()
        if len(values) > 1
        for i, value in enumerate(values)
        if value.value >= RIGHT
    ]


def _slice(values: Sequence[ScoredOutcome]) -> Iterator[tuple[str | None, list[ScoredOutcome]]]:
    """Yield all values, then those of each scenario, edit and sliced slot where there are several."""
    yield None, list(values)
    parts: defaultdict[str, defaultdict[str, list[ScoredOutcome]]] = defaultdict(lambda: defaultdict(list))
    for value in values:
        instance = value.outcome.instance
        parts["scenario"][instance.scenario].append(value)
        if instance.edit is not None:
            parts["edit"][instance.edit].append(value)
        for slot, item in instance.slices.items():
            parts[slot][str(item)].append(value)
    for key, by_item in parts.items():
        if len(by_item) > 1:
            for item in sorted(by_item, key=_sort_naturally):
                yield f"{key} {item}", by_item[item]


def _sort_naturally(item: str) -> tuple[float, str]:
    try:
        return float(item), item
    except ValueError:
        return float("inf"), item


def make_sample(values: Sequence[ScoredOutcome]) -> ClusteredSample:
    """Return values with the fresh instances that they go back to as clusters."""
    numbers = {root: i for i, root in enumerate(dict.fromkeys(each.root for each in values))}
    return ClusteredSample(
        np.array([each.value for each in values], dtype=np.float64),
        np.array([numbers[each.root] for each in values], dtype=np.int64),
    )


def _measure(
    table: ScoreTable,
    kind: DimensionKind,
    slice_: str | None,
    values: Sequence[ScoredOutcome],
    confidence: float,
) -> Dimension:
    sample = make_sample(values)
    mean = bound_sample(sample, confidence, share=table.is_share)
    return Dimension(
        name=table.name if kind == "score" else f"{table.name} {kind}",
        score=table.name, kind=kind, slice=slice_, n=len(values), instances=sample.count,
        value=mean.value, low=mean.low, high=mean.high,
        failed=sum(each.outcome.status == "error" for each in values),
    )  # fmt: skip
