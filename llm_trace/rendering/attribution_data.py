"""An attribution as data for a page: words with levels of colour, and what stands beside each of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.curves import describe_curve
from llm_trace.rendering.heatmap import find_scale, measure_share, scale_of, split_pieces
from llm_trace.rendering.sentences import explain_verdict, name_segment, write_summary

if TYPE_CHECKING:
    from llm_trace.rendering.scores import ScoredPrompt

LEVELS = 5
"""Steps of colour on each side of zero."""
STRONGEST = 40
"""Segments in the table beside the prompt."""


def describe_attribution(attribution: ScoredPrompt, most: int | None = None) -> dict[str, Any]:
    """Return an attribution with its pieces (the first ones, at most so many), its strongest segments and its
    matrix.
    """
    top = scale_of(attribution)
    order = sorted(range(len(attribution.values)), key=lambda i: -abs(attribution.values[i]))
    return {
        "method": attribution.method,
        "kind": attribution.segments[0].kind if attribution.segments else "word",
        "unit": attribution.unit,
        "target": attribution.target,
        "response": attribution.response,
        "verdict": attribution.verdict,
        "reason": explain_verdict(attribution),
        "summary": write_summary(attribution),
        "baseline": attribution.baseline,
        "bounds": attribution.bounds,
        "confidence": attribution.level,
        "model": attribution.model,
        "passes": attribution.passes,
        "tokens": attribution.tokens,
        "seconds": attribution.seconds,
        "completeness_gap": attribution.completeness_gap,
        "faithfulness": attribution.faithfulness,
        "curve": describe_curve(attribution),
        "warnings": attribution.warnings,
        "notes": attribution.notes,
        "time_ns": attribution.time_ns,
        "scale": top,
        "pieces": describe_pieces(attribution, 0, most),
        "strongest": [_describe_segment(attribution, i, top) for i in order[:STRONGEST]],
        "segments": len(order),
        "matrix": _describe_matrix(attribution),
    }


def describe_pieces(attribution: ScoredPrompt, begin: int, most: int | None = None) -> list[dict[str, Any]]:
    """Return the pieces of the prompt from a number on: segments, and what stands between them."""
    top, end = scale_of(attribution), None if most is None else begin + most
    pieces = islice(split_pieces(attribution), begin, end)
    return [_describe_piece(attribution, text, i, top) for text, i in pieces]


def describe_segments(attribution: ScoredPrompt) -> list[dict[str, Any]]:
    """Return every segment with its score, in the prompt's order."""
    top = scale_of(attribution)
    return [_describe_segment(attribution, i, top) for i in range(len(attribution.segments))]


def _describe_piece(attribution: ScoredPrompt, text: str, i: int | None, top: float) -> dict[str, Any]:
    if i is None:
        return {"text": text, "segment": None, "level": 0, "label": ""}
    return {
        "text": text,
        "segment": i,
        "level": _choose_level(attribution, i, top),
        "label": _label(attribution, i),
    }


def _choose_level(attribution: ScoredPrompt, i: int, top: float) -> int:
    """Return the step of colour of a segment, 0 where it is not told from noise."""
    return compute_level(attribution.values[i], top) if attribution.stands_out(i) else 0


def compute_level(value: float, top: float) -> int:
    """Return the step of colour of a score: from -LEVELS to LEVELS, 0 where it is faint."""
    step = round(measure_share(value, top) * LEVELS)
    return step if value > 0 else -step


def _label(attribution: ScoredPrompt, i: int) -> str:
    """Return a segment's score with all that is known of it, in words."""
    facts = [f"{attribution.values[i]:+.3g} {attribution.unit}"]
    if attribution.low is not None and attribution.high is not None:
        facts.append(f"{attribution.low[i]:+.3g} to {attribution.high[i]:+.3g}")
    if attribution.p_values is not None:
        facts.append(f"p {attribution.p_values[i]:.2g}")
    if attribution.q_values is not None:
        facts.append(f"q {attribution.q_values[i]:.2g}")
    if not attribution.stands_out(i):
        facts.append("not told from noise")
    name = attribution.segments[i].name
    return f"{name}: {', '.join(facts)}" if name else ", ".join(facts)


def _describe_segment(attribution: ScoredPrompt, i: int, top: float) -> dict[str, Any]:
    value = attribution.values[i]
    low, high = attribution.low, attribution.high
    return {
        "segment": i,
        "name": name_segment(attribution.segments[i]),
        "value": value,
        "low": None if low is None else low[i],
        "high": None if high is None else high[i],
        "p": None if attribution.p_values is None else attribution.p_values[i],
        "q": None if attribution.q_values is None else attribution.q_values[i],
        "stands_out": attribution.stands_out(i),
        "bar": round(measure_share(value, top) * 100, 1),
        "level": _choose_level(attribution, i, top),
        "retriever_score": attribution.segments[i].score,
        "label": _label(attribution, i),
    }


def _describe_matrix(attribution: ScoredPrompt) -> dict[str, Any] | None:
    """Return output tokens and the levels of every segment for each, `None` where there is no matrix."""
    if attribution.matrix is None or len(attribution.matrix) != len(attribution.target_tokens):
        return None
    top = find_scale(v for row in attribution.matrix for v in row)
    levels = [[compute_level(v, top) for v in row] for row in attribution.matrix]
    return {"tokens": attribution.target_tokens, "levels": levels, "scale": top}
