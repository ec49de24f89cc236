"""Held-out fidelity: how well the summed scores predict the response under masks they were not fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import get_remaining
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import (
    bootstrap,
    compute_r_squared,
    correlate,
    rank_correlate,
    rank_correlate_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.quality.study import Study

LEAST = 8
"""Held-out masks below which no figure is given."""
_RATES = {"half": 0.5, "near": 0.9}


def measure_fidelity(study: Study) -> dict[str, Any]:
    """Return linear datamodelling score (Spearman) and R² by distribution of masks, with bootstrap bounds.

    The prediction for a mask is the value of the whole prompt less the scores of what the mask removes.
    Correct leave-one-out scores predict masks near the full prompt well and masks at keep rate one half
    badly; Shapley values the other way round.
    Source: Park et al. 2023 (TRAK), section 2; Cohen-Wang et al. 2024 (ContextCite).
    """
    figures = {}
    for i, kind in enumerate(study.masks):
        masks, words = draw_held_out(study, kind)
        left = get_remaining(study.value)
        if left is not None:  # what the budget still pays for, split evenly
            masks = masks[: left // (len(study.masks) - i)]
        if len(masks) < LEAST:
            continue
        values = study.totals(masks)
        predicted = study.full - (~masks) @ study.scores
        low, high = bootstrap(
            rank_correlate_rows, values, predicted, confidence=study.confidence, seed=study.seed
        )
        r2_low, r2_high = bootstrap(
            compute_r_squared, values, predicted, confidence=study.confidence, seed=study.seed
        )
        figures[str(kind)] = {
            "masks": words,
            "count": len(masks),
            "spearman": rank_correlate(values, predicted),
            "spearman_low": low,
            "spearman_high": high,
            "r2": float(compute_r_squared(values, predicted)),
            "r2_low": r2_low,
            "r2_high": r2_high,
            "pearson": correlate(values, predicted),
            "confidence": study.confidence,
        }
    return figures


def draw_held_out(study: Study, kind: str | float) -> tuple[NDArray[np.bool_], str]:
    """Return distinct masks that remove something, unseen by the method, and their distribution in words.

    Args:
        study: gives n, seed and number of masks.
        kind: `half` (each segment is kept with probability 0.5), `near` (0.9), `sizes` (all sizes equally
            likely), or a keep rate.
    """
    rng = np.random.default_rng([study.seed, 71])
    drawn = _draw(rng, kind, 8 * study.count, study.n)
    drawn = drawn[~drawn.all(axis=1)]
    _, first = np.unique(drawn, axis=0, return_index=True)
    masks = drawn[np.sort(first)]
    if study.used is not None and len(masks):
        masks = masks[~study.used(masks)]
    known = "drawn anew" if study.used is None else "none seen by the method"
    return masks[: study.count], f"{_describe_kind(kind)}; distinct, {known}"


def _draw(rng: np.random.Generator, kind: str | float, count: int, n: int) -> NDArray[np.bool_]:
    if kind == "sizes":
        sizes = rng.integers(0, n, count)
        return rng.permuted(np.arange(n) < sizes[:, None], axis=1)
    rate = _RATES.get(kind) if isinstance(kind, str) else kind
    if rate is None or not 0 < rate < 1:
        raise AttributionError(
            f"masks {kind!r} are unknown; choose half, near, sizes or a keep rate between 0 and 1"
        )
    return rng.random((count, n)) < rate


def _describe_kind(kind: str | float) -> str:
    if kind == "sizes":
        return "every number of kept segments equally likely"
    rate = _RATES.get(kind, 0.5) if isinstance(kind, str) else kind
    return f"each segment kept with probability {rate:g}"
