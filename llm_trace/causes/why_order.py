"""In which order steps are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from llm_trace.causes.why_values import NEUTRAL
from llm_trace.errors import LLMTraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

EVALUATIONS = 8
"""Of the model that orders the steps, for each step: Shapley values, for leave-one-out is blind to steps that
stand in for each other.
"""


def order_steps(
    seen: Sequence[SeenStep], deciding: Call, store: Store, model: Any
) -> tuple[list[SeenStep], Literal["attribution", "nearness"], list[str]]:
    """Return the steps, likeliest first: by an attribution of the deciding call, else the nearest first; and
    remarks.
    """
    remarks = []
    attributions: list[Attribution] = list(store.attributions(deciding.span_id))
    if not attributions and model is not None:
        from llm_trace.attribution.api import attribute

        segments = {step.label: step.text for step in seen}
        try:
            attributions = [
                attribute(
                    deciding,
                    model=model,
                    method="leverage_shap",
                    segments=segments,
                    baseline=NEUTRAL,
                    budget=EVALUATIONS * len(segments),
                )
            ]
        except LLMTraceError as exc:
            remarks.append(f"the steps are not ordered by attribution: {exc}")
    if not attributions:
        return list(reversed(seen)), "nearness", remarks
    nearest = list(reversed(seen))
    weights = {step.label: _sum_weights(step, attributions[0]) for step in nearest}
    return sorted(nearest, key=lambda step: -weights[step.label]), "attribution", remarks


def _sum_weights(step: SeenStep, attribution: Attribution) -> float:
    """Return what the segments inside a step's text came to; of segments around it the part that it is."""
    begin = attribution.prompt.find(step.text)
    if begin < 0:
        return 0.0
    end, total = begin + len(step.text), 0.0
    for segment, value in zip(attribution.segments, attribution.values, strict=True):
        for start, stop in segment.stretches:
            common = min(end, stop) - max(begin, start)
            if common > 0:
                total += value * common / (stop - start)
    return total
