"""Saliency, input x gradient, Integrated Gradients. One backward pass serves the whole target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import Capped, get_remaining
from llm_trace.attribution.methods.prices import attach_price, count_tokens
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.models.embeddings import (
    Ground,
    build_baseline,
    build_ground,
    compute_gradient,
    compute_values,
    get_source,
    integrate_paths,
    split_baselines,
)

if TYPE_CHECKING:
    import torch

    from llm_trace.attribution.core.value import Value
    from llm_trace.record import Verdict

STEPS, MOST_STEPS = 32, 256
"""Points on the path of Integrated Gradients, at least and at most; doubled until each score stands still."""
_USUAL = STEPS + STEPS // 2
"""Points that it usually takes: the scores are compared with those of half the steps."""
_GAP = 0.01
"""Gap, as part of full - empty, and change, as part of the largest score, above which the steps double."""
_LOOSE = 0.1
"""Part of the largest score that a score may still move in the last doubling before it is no evidence."""
_TINY = 1e-3


@attach_price(lambda source: (1, 2 * count_tokens(source)))
@describe_method("saliency", access="gradients", cost="1 forward, 1 backward", source="Simonyan et al. 2014")
def saliency(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the length (L2) of the gradient by each token's embedding, summed over a segment's tokens: how
    sensitive, without a sign.

    The unit is nats per unit of embedding; the scores do not add up to anything.
    """
    at = build_ground(get_source(value, 1, "saliency"))
    values, gradients = compute_gradient(at, at.inputs[None])
    scores = at.per_segment(gradients[0].norm(dim=-1).cpu())
    return Scores(
        scores, full=float(values[0]), unit="gradient", baseline="none (local gradient)", notes=(_UNSIGNED,)
    )


_UNSIGNED = "saliency has no sign: how strongly the target reacts to a small change of the segment"


@attach_price(lambda source: (2, 3 * count_tokens(source)))
@describe_method(
    "input_x_gradient", access="gradients", cost="1 forward, 1 backward", source="Shrikumar et al. 2016"
)
def input_x_gradient(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the gradient times the embedding of each token, summed over a segment's tokens.

    It is the first order towards the zero embedding: the completeness gap says how far the model is off.
    """
    at = build_ground(get_source(value, 2, "input_x_gradient"))
    values, gradients = compute_gradient(at, at.inputs[None])
    scores = at.per_segment((gradients[0] * at.inputs).sum(-1).cpu())
    zero, name = build_baseline(at, "zero")
    return Scores(
        scores, full=float(values[0]), empty=_compute_emptied(at, zero), baseline=f"{name} (first order)"
    )


@attach_price(lambda source: (_USUAL + 2, (2 * _USUAL + 2) * count_tokens(source)))
@describe_method(
    "integrated_gradients",
    access="gradients",
    cost="48 forward and backward (112 to 496 where a score or the completeness gap still moves)",
    source="Sundararajan et al. 2017, equation 3; baseline: the mean embedding",
)
def integrated_gradients(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the integral of the gradient from a baseline to the prompt, times the change of each token,
    summed over a segment's tokens.

    The scores sum to full - empty up to the completeness gap. Baselines: `mean` embedding (the default),
    `mask`, `zero`, or a list of these, averaged. Special and template tokens stand still.
    """
    source = get_source(value, 3, "integrated_gradients")  # both ends and one step
    at = build_ground(source)
    baselines = [build_baseline(at, name) for name in split_baselines(at.baseline)]
    get_source(value, 1 + 2 * len(baselines), f"integrated_gradients from {len(baselines)} baselines")
    full = float(compute_values(at, at.inputs[None])[0])
    parts = [
        _integrate(at, *baseline, full, _share(value, len(baselines) - i))
        for i, baseline in enumerate(baselines)
    ]
    if len(parts) == 1:
        return parts[0]
    return Scores(
        np.mean([part.values for part in parts], axis=0),
        full=full,
        empty=float(np.mean([part.empty for part in parts if part.empty is not None])),
        baseline=f"mean over {len(parts)} of: {'; '.join(str(part.baseline) for part in parts)}",
        notes=tuple(note for part in parts for note in part.notes),
        doubts=tuple(doubt for part in parts for doubt in part.doubts),
    )


def _share(value: Value, among: int) -> Value:
    """Return the value function with its part of what the budget still pays for."""
    left = get_remaining(value)
    return value if left is None else Capped(value, left // among)


def _integrate(at: Ground, baseline: torch.Tensor, name: str, full: float, value: Value) -> Scores:
    """Return Integrated Gradients from one baseline, steps doubled until gap and scores stand still.

    Errors of the scores may cancel in the gap: so each score is compared with that of half the steps.
    """
    empty, left = _compute_emptied(at, baseline), get_remaining(value)
    steps = STEPS // 2 if left is None else max(1, min(STEPS // 2, left // 3))
    before = None
    while True:
        scores = at.per_segment(integrate_paths(at, baseline, at.owned.all, steps)[0])
        gap = full - empty - float(scores.sum())
        moved = np.inf if before is None else float(np.abs(scores - before).max())
        largest = float(np.abs(scores).max())
        still = moved <= max(_TINY, _GAP * largest) and abs(gap) <= max(_TINY, _GAP * abs(full - empty))
        left = get_remaining(value)
        if still or 2 * steps > MOST_STEPS or (left is not None and 2 * steps > left):
            break
        steps, before = 2 * steps, scores
    last = "was not compared with fewer" if before is None else f"moved a score by {moved:.2g} at most"
    note = (
        f"Integrated Gradients from the {name} in {steps} steps: completeness gap {gap:.2g}; the last "
        f"doubling {last}"
    )
    doubts: tuple[tuple[Verdict, str], ...] = ()
    if moved > max(_TINY, _LOOSE * largest):
        why = (
            f"{steps} steps leave the scores of Integrated Gradients open ({last}): raise the budget, or "
            "take sig or occlusion"
        )
        doubts = (("insufficient_evidence", why),)
    return Scores(scores, full=full, empty=empty, baseline=name, notes=(note,), doubts=doubts)


def _compute_emptied(at: Ground, baseline: torch.Tensor) -> float:
    """Return the value of the prompt with every segment's tokens at the baseline."""
    import torch

    gone = torch.from_numpy(at.owned.all[0]).to(at.inputs.device)[:, None]
    return float(compute_values(at, torch.where(gone, baseline, at.inputs)[None])[0])
