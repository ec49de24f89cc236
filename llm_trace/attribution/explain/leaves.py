"""The leaves of a hierarchy as an `Attribution`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution import quality
from llm_trace.attribution.models.problem import note_suspicions
from llm_trace.record import Attribution

if TYPE_CHECKING:
    from llm_trace.attribution.core.value import Metered
    from llm_trace.attribution.explain.hierarchy import Node
    from llm_trace.attribution.models.problem import ParsedQuestion, Problem


def build_leaves_attribution(
    root: Node,
    work: Problem,
    value: Metered,
    full: float,
    empty: float,
    question: ParsedQuestion,
    *,
    cut_short: bool,
    confidence: float,
) -> Attribution:
    """Return the leaves as leave-one-out scores of stretches of several sizes."""
    leaves = list(root.leaves())
    scores = np.array([leaf.score for leaf in leaves])
    found = quality.Findings(confidence)
    note_suspicions(question, work, found)
    if work.goal.unit != "probability":
        quality.check_evidence(scores, found)
    note = (
        "each score is what the response loses without this stretch; stretches that matter little are not "
        "taken apart"
    )
    return Attribution(
        span_id=question.span_id,
        method="occlusion",
        segments=tuple(leaf.segment for leaf in leaves),
        values=tuple(float(x) for x in scores),
        bounds="exact",
        prompt=str(work.segmented.text),
        response=work.text,
        target=work.target,
        target_tokens=work.target_tokens,
        unit=work.goal.unit,
        baseline=str(getattr(getattr(value.source, "render", None), "baseline", "?")),
        model=work.name,
        passes=value.passes,
        tokens=value.tokens,
        seconds=value.seconds,
        full=full,
        empty=empty,
        completeness_gap=full - empty - float(scores.sum()),
        stopped="budget" if cut_short else "exact",
        verdict=found.verdict,
        notes=(*work.notes, f"hierarchy: {note}"),
        warnings=tuple(found.warnings),
    )
