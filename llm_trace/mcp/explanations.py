"""Attributions as parts of an answer: the strongest segments with bounds, and a verdict without quotes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llm_trace.mcp.values import drop_empty, format_time
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.texts import cut_text

if TYPE_CHECKING:
    from llm_trace.record import Attribution

SEGMENT = 160
"""Characters of a segment that are shown."""


def format_explanation(attribution: Attribution, most: int) -> dict[str, Any]:
    """Return an attribution with its `most` strongest segments."""
    segments = [_format_segment(attribution, i) for i in order_segments(attribution)[:most]]
    return drop_empty(
        {
            "verdict": attribution.verdict, "method": attribution.method, "model": attribution.model,
            "unit": attribution.unit, "target": cut_text(attribution.target, SEGMENT),
            "response": cut_text(attribution.response, SEGMENT), "baseline": attribution.baseline,
            "bounds": attribution.bounds, "confidence": attribution.confidence,
            "time": format_time(attribution.time_ns), "segments": segments,
            "groups": [list(group) for group in attribution.groups],
            "warnings": list(attribution.warnings), "summary": attribution.summary(),
        }
    )  # fmt: skip


def order_segments(attribution: Attribution) -> list[int]:
    """Return the numbers of the segments, the strongest first."""
    return sorted(range(len(attribution.values)), key=lambda i: -abs(attribution.values[i]))


def _format_segment(attribution: Attribution, i: int) -> dict[str, Any]:
    segment, low, high, q = (
        attribution.segments[i], attribution.low, attribution.high, attribution.q_values,
    )  # fmt: skip
    return {
        "segment": i,
        "text": cut_text(segment.text, SEGMENT),
        "at": [segment.start, segment.end],
        **({"name": segment.name} if segment.name else {}),
        "effect": attribution.values[i],
        **({"low": low[i], "high": high[i]} if low is not None and high is not None else {}),
        **({"q": q[i]} if q is not None else {}),
        "stands_out": attribution.stands_out(i),
    }


def conclude_explanation(attribution: Attribution) -> str:
    """Return the finding in words, with the numbers of segments in place of their texts."""
    order = order_segments(attribution)
    strong = [i for i in order if attribution.stands_out(i)]
    head = f"{len(strong):,} of {count_things(len(order), 'segment')} matter for the answer"
    trust = "" if attribution.verdict == "ok" else f" Not to be taken as evidence: {attribution.verdict}."
    if not strong:
        return f"{head}.{trust}"
    return f"{head}; the strongest is segment {strong[0]}: {_describe_effect(attribution, strong[0])}.{trust}"


def _describe_effect(attribution: Attribution, i: int) -> str:
    value, low, high = attribution.values[i], attribution.low, attribution.high
    exact = " (exact)" if attribution.bounds == "exact" else ""
    ends = exact if low is None or high is None else f" ({low[i]:.3g} to {high[i]:.3g})"
    effect = f"{value:+.3g} {attribution.unit}{ends}"
    if attribution.unit != "nats":
        return effect
    times = math.exp(min(abs(value), 20.0))
    way = "more" if value > 0 else "less"
    return f"{effect}, which makes the answer {times:,.3g} times {way} likely"
