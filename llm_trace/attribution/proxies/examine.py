"""What one call shows of a proxy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.proxies.case import compute_cost, compute_quality
from llm_trace.attribution.proxies.screen_state import ScreenedCall
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.proxies.case import OracleCost, TaskCall
    from llm_trace.record import Verdict

_LEAST = 8
"""Held-out prompts below which no quality is measured."""
_UNUSABLE: tuple[Verdict, ...] = ("redacted_input", "model_changed")


def examine_call(case: TaskCall, floor: float, *, audit: bool = False) -> ScreenedCall:
    """Return what a call shows; the oracle is asked only where both models agree.

    Args:
        case: the call.
        floor: quality of the oracle's explanation below which nothing is decided.
        audit: whether the proxy was used for this call; then both agree.
    """
    instance = ScreenedCall(case.key, "failed", audit=audit)
    try:
        if not audit and case.disagreement() is not None:
            return replace(instance, kind="disagreed")
        return _measure_case(instance, case, floor)
    except AttributionError as exc:
        return replace(instance, why=str(exc))


def _measure_case(instance: ScreenedCall, case: TaskCall, floor: float) -> ScreenedCall:
    own, cost = case.own, compute_cost(case.own)
    instance = replace(
        _add_cost(instance, cost), own_calls=cost.calls, own_tokens=cost.tokens, own_usd=cost.usd
    )
    if own.verdict in _UNUSABLE:
        return replace(instance, why=f"{own.verdict}: {own.warnings[0]}")
    masks = case.draw_held_out(len(own.segments))
    if len(masks) < _LEAST:
        return replace(
            instance, why=f"{len(own.segments)} segments are too few to hold out prompts: take smaller ones"
        )
    values, more, models = case.values(masks)
    ours = compute_quality(np.array(own.values), masks, values)
    instance = replace(_add_cost(instance, cost.plus(more)), answered_by=models, oracle=ours)
    if ours < floor:
        return replace(instance, kind="poor")
    theirs = case.explain("proxy")
    if [s.text for s in theirs.segments] != [s.text for s in own.segments]:
        return replace(instance, why="both models see the prompt in other segments")
    return replace(instance, kind="measured", proxy=compute_quality(np.array(theirs.values), masks, values))


def _add_cost(instance: ScreenedCall, cost: OracleCost) -> ScreenedCall:
    return replace(instance, calls=cost.calls, tokens=cost.tokens, usd=cost.usd)
