"""Checks that need the question asked again: other seeds, shuffled weights, gradients."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import rank_correlate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.quality.study import Scored, Study

SEEDS = 2
"""Further seeds of a method that draws at random."""
TOP = 3


def measure_completeness(study: Study) -> dict[str, Any]:
    """Return what the scores leave unexplained of the difference between the whole prompt and none of it."""
    try:
        empty = float(study.totals(np.zeros((1, study.n), dtype=bool))[0])
    except AttributionError as exc:  # nothing is left of the prompt
        return {"skipped": str(exc)}
    gap = study.full - empty - float(study.scores.sum())
    whole = study.full - empty
    return {"gap": gap, "whole": whole, "share": gap / whole if abs(whole) > 1e-9 else None}


def measure_stability(study: Study) -> dict[str, Any]:
    """Return how alike other seeds' scores are: mean rank correlation, mean overlap of the top three."""
    if study.again is None or study.n < 2:
        return {}
    runs = [study.scores, *(study.again(study.seed + 1 + i) for i in range(SEEDS))]
    pairs = list(combinations(runs, 2))
    return {
        "seeds": len(runs),
        "spearman": float(np.mean([rank_correlate(a, b) for a, b in pairs])),
        "overlap": float(np.mean([compute_overlap(a, b) for a, b in pairs])),
        "sd": float(np.mean(np.std(runs, axis=0, ddof=1))),
    }


def compute_overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Jaccard's index of the strongest three."""
    ours, theirs = (set(np.argsort(-np.abs(x), kind="stable")[:TOP].tolist()) for x in (a, b))
    return len(ours & theirs) / len(ours | theirs)


def measure_randomised(study: Study) -> dict[str, Any]:
    """Return how alike the scores are when the model's weights are shuffled; near 1 means they do not depend
    on what it learnt.

    Source: Adebayo et al. 2018, Sanity checks for saliency maps.
    """
    return _compare_beside(study, study.randomised)


def compare_gradients(study: Study) -> dict[str, Any]:
    """Return how alike the scores of a gradient method on the same question are."""
    return _compare_beside(study, study.gradients)


def _compare_beside(study: Study, ask: Scored | None) -> dict[str, Any]:
    if ask is None or study.n < 2:
        return {}
    try:
        other = ask(study.seed)
    except (AttributionError, RuntimeError) as exc:  # no gradients in this model, no memory for a copy
        return {"skipped": str(exc)}
    return {
        "spearman": rank_correlate(np.abs(study.scores), np.abs(other)),
        "overlap": compute_overlap(study.scores, other),
        "same_first": bool(np.argmax(np.abs(other)) == np.argmax(np.abs(study.scores))),
        "largest": float(np.abs(other).max()),
    }
