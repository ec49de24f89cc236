"""The one builder of an `Attribution`: of open models, of remote ones, and of the leaves of a hierarchy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.methods import registry
from llm_trace.record import Attribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_trace.attribution.methods.registry import Scores
    from llm_trace.attribution.quality.findings import Findings
    from llm_trace.record import Segment, Settings


@dataclass(frozen=True)
class Explained:
    """What was explained, and of which model."""

    span_id: str | None
    prompt: str
    segments: tuple[Segment, ...]
    response: str
    target: str
    """In words."""
    target_tokens: tuple[str, ...]
    unit: str
    """Of the value function; a method may have its own."""
    baseline: str
    """In words; a method may have its own."""
    model: str


@dataclass(frozen=True)
class Spent:
    """What it cost."""

    passes: int
    tokens: int
    seconds: float


def build_record(
    explained: Explained,
    scores: Scores,
    findings: Findings,
    spent: Spent,
    settings: Settings,
    *,
    method: str,
    notes: Sequence[str],
    figures: Mapping[str, Any] | None = None,
) -> Attribution:
    """Return the record of an attribution.

    Args:
        explained: prompt, response, model.
        scores: what the method found.
        findings: what the checks say of them.
        spent: what it cost.
        settings: what was asked.
        method: whose meaning the scores have.
        notes: choices and fall-backs made before the method's own.
        figures: further ones beside those of the method and the checks.
    """
    sampled = scores.low is not None or scores.p_values is not None
    return Attribution(
        **registry.list_recorded_fields(scores),
        method=method,
        confidence=settings.confidence if sampled else None,
        seed=settings.seed if sampled else None,
        settings=settings.to_record(),
        span_id=explained.span_id,
        segments=explained.segments,
        prompt=explained.prompt,
        response=explained.response,
        target=explained.target,
        target_tokens=explained.target_tokens,
        unit=scores.unit or explained.unit,  # type: ignore[arg-type]  # checked by the record
        baseline=scores.baseline or explained.baseline,
        model=explained.model,
        passes=spent.passes,
        tokens=spent.tokens,
        seconds=spent.seconds,
        empty=findings.empty,
        completeness_gap=findings.gap,
        faithfulness={**(scores.faithfulness or {}), **findings.faithfulness, **(figures or {})},
        verdict=findings.verdict,
        notes=(*notes, *scores.notes),
        warnings=tuple(findings.warnings),
        groups=tuple(findings.groups),
    )
