"""The memorisation gap: how much better the public set is answered than fresh questions of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llm_trace.call_parts import Record
from llm_trace.evaluation.dimensions import ScoreTable, make_sample
from llm_trace.statistics.independent import ClusteredSample, bound_difference, bound_sample, compare_means

GapVerdict = Literal["memorised", "equivalent", "worse", "undecided"]
"""`memorised`: the public set is answered better, beyond chance; `equivalent`: the gap is proved to lie
within the margin; `worse`: fresh questions are answered better; `undecided`: neither is shown.
"""


class MemorisationGap(Record):
    """The mean score on the public set less that on fresh instances of the same scenarios."""

    score: str
    public: float
    fresh: float
    n_public: int
    """Public examples."""
    n_fresh: int
    """Fresh instances."""
    value: float
    low: float | None
    """At the evaluation's confidence; `None` where one example alone cannot give bounds."""
    high: float | None
    p_value: float | None
    """Two-sided, that there is no gap."""
    margin: float
    """The gap that would not matter."""
    equivalent: bool
    """Whether both one-sided tests, each at the level of 1 - confidence, put the gap within the margin."""
    equivalent_low: float | None
    """The bounds that decide it: at confidence 0.95 those of 0.90."""
    equivalent_high: float | None
    verdict: GapVerdict


def build_gaps(
    tables: Sequence[ScoreTable], *, confidence: float, margin: float
) -> tuple[MemorisationGap, ...]:
    """Return the gap of each score from 0 to 1, over the scenarios that have a public set."""
    gaps = []
    for table in tables:
        public = table.of("public")
        scenarios = {each.outcome.instance.scenario for each in public}
        fresh = [each for each in table.of("fresh") if each.outcome.instance.scenario in scenarios]
        if public and fresh and table.is_share:
            samples = make_sample(public), make_sample(fresh)
            gaps.append(_build_gap(table, *samples, confidence=confidence, margin=margin))
    return tuple(gaps)


def _build_gap(
    table: ScoreTable, public: ClusteredSample, fresh: ClusteredSample, *, confidence: float, margin: float
) -> MemorisationGap:
    gap = bound_difference(public, fresh, confidence)
    narrow = bound_difference(public, fresh, 2 * confidence - 1)
    within = (
        narrow.low is not None and narrow.high is not None and -margin < narrow.low and narrow.high < margin
    )
    return MemorisationGap(
        score=table.name,
        public=bound_sample(public, confidence).value,
        fresh=bound_sample(fresh, confidence).value,
        n_public=public.count, n_fresh=fresh.count, value=gap.value, low=gap.low, high=gap.high,
        p_value=compare_means(public, fresh), margin=margin, equivalent=within,
        equivalent_low=narrow.low, equivalent_high=narrow.high,
        verdict=_judge(gap.low, gap.high, within=within),
    )  # fmt: skip


def _judge(low: float | None, high: float | None, *, within: bool) -> GapVerdict:
    if within:
        return "equivalent"
    if low is not None and low > 0:
        return "memorised"
    return "worse" if high is not None and high < 0 else "undecided"
