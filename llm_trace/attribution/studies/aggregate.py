"""Which parts of a prompt matter over many calls, with bounds; those that never do can go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_trace.attribution.core.naming import shorten_text
from llm_trace.errors import AttributionError
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg
from llm_trace.statistics.student import compute_t_p_value, compute_t_quantile

if TYPE_CHECKING:
    from llm_trace.record import Attribution, Verdict

NEGLIGIBLE = 0.05
"""Nats, for a segment's mean with its bounds, that count as no effect."""
_UNTRUSTED: tuple[Verdict, ...] = ("insufficient_evidence", "redacted_input", "unknown")
LEAST = 3
"""Calls below which a part has a mean but no bounds."""


@dataclass(frozen=True)
class PromptPart:
    """A variable or a piece of fixed text that stands in many calls of a prompt."""

    name: str
    """Of the variable; the text itself where it is fixed."""
    kind: str
    calls: int
    """In how many it stands."""
    mean: float
    """In the attributions' unit; a part that stands several times in a call counts with their sum."""
    low: float | None
    high: float | None
    """Bounds of the mean over calls such as these, at the stated confidence, one part at a time."""
    size: float
    """Mean of the absolute scores: a part that helps here and hinders there has a size and no mean."""
    p_value: float | None
    q_value: float | None
    verdict: Literal["supports", "opposes", "negligible", "unclear"]
    """`supports`, `opposes`: the q-value says so; `negligible`: the bounds of mean and size lie within
    0.05 nats; `unclear`: more calls are needed.
    """


@dataclass(frozen=True)
class Aggregate:
    """What `aggregate` found."""

    parts: tuple[PromptPart, ...]
    """Largest absolute mean first."""
    calls: int
    left_out: int
    """Attributions whose verdict says that they are no evidence."""
    confidence: float
    unit: str
    bounds: str = "the mean over calls drawn as these were, one part at a time; Student's t over calls"

    def summary(self, most: int = 3) -> str:
        """Return the finding in a sentence or two."""
        strong = [p for p in self.parts if p.verdict in ("supports", "opposes")][:most]
        findings = [
            f"{shorten_text(p.name)!r} {p.verdict} the answer ({p.mean:+.2g} {self.unit})" for p in strong
        ]
        idle = [p for p in self.parts if p.verdict == "negligible"]
        if idle:
            others = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
            findings.append(f"{shorten_text(idle[0].name)!r}{others} never mattered")
        sentence = "; ".join(findings) or "no part matters more than the calls differ"
        return f"Over {self.calls} calls: {sentence}."


def aggregate(attributions: Iterable[Attribution], *, confidence: float = 0.95) -> Aggregate:
    """Return what each part of a prompt does on average over many calls.

    Parts are variables by name and other segments by their text. Attributions without evidence or with a
    redacted input are left out and counted.

    Args:
        attributions: of calls of one prompt; one method, baseline and unit.
        confidence: of the bounds.

    Raises:
        AttributionError: none is evidence, or their scores do not mean the same.
    """
    every = list(attributions)
    evidence = [a for a in every if a.verdict not in _UNTRUSTED]
    if not evidence:
        raise AttributionError(
            f"none of {len(every)} attributions is evidence: there is nothing to aggregate"
        )
    meanings = {(a.method, a.unit, a.baseline) for a in evidence}
    if len(meanings) > 1:
        names = " and ".join(", ".join(m) for m in sorted(meanings))
        raise AttributionError(f"the scores do not mean the same ({names}): aggregate those of one method")
    scores: dict[tuple[str, str], list[float]] = {}
    for attribution in evidence:
        for key, value in _group_by_part(attribution).items():
            scores.setdefault(key, []).append(value)
    parts = [_build_part(*key, np.array(values), confidence) for key, values in scores.items()]
    return Aggregate(
        _correct_parts(parts, 1 - confidence),
        len(evidence),
        len(every) - len(evidence),
        confidence,
        evidence[0].unit,
    )


def _group_by_part(attribution: Attribution) -> dict[tuple[str, str], float]:
    sums: dict[tuple[str, str], float] = {}
    for segment, value in zip(attribution.segments, attribution.values, strict=True):
        named = segment.kind == "variable" and segment.name
        key = (str(segment.name) if named else " ".join(segment.text.split()), segment.kind)
        sums[key] = sums.get(key, 0.0) + value
    return sums


def _build_part(name: str, kind: str, values: np.ndarray, confidence: float) -> PromptPart:
    n, mean, size = len(values), float(values.mean()), float(np.abs(values).mean())
    if n < LEAST:
        return PromptPart(name, kind, n, mean, None, None, size, None, None, "unclear")
    error = float(values.std(ddof=1)) / n**0.5
    half = compute_t_quantile(confidence, n - 1) * error
    p_value = compute_t_p_value(mean / error, n - 1) if error > 0 else float(mean == 0)
    spread = compute_t_quantile(confidence, n - 1) * float(np.abs(values).std(ddof=1)) / n**0.5
    low, high = mean - half, mean + half
    verdict: Literal["supports", "opposes", "negligible", "unclear"] = "unclear"
    if size + spread < NEGLIGIBLE:
        verdict = "negligible"
    return PromptPart(name, kind, n, mean, low, high, size, p_value, None, verdict)


def _correct_parts(parts: list[PromptPart], level: float) -> tuple[PromptPart, ...]:
    """Return the parts with q-values, largest first; what stands out by them supports or opposes."""
    tested = [i for i, p in enumerate(parts) if p.p_value is not None]
    q_values = correct_benjamini_hochberg(np.array([parts[i].p_value for i in tested], dtype=float))
    out = list(parts)
    for i, q in zip(tested, q_values, strict=True):
        proven = q <= level and out[i].verdict == "unclear"
        verdict = ("supports" if out[i].mean > 0 else "opposes") if proven else out[i].verdict
        out[i] = replace(out[i], q_value=float(q), verdict=verdict)
    return tuple(sorted(out, key=lambda p: -abs(p.mean)))
