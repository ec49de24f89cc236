"""SMILE: which words an answer depends on, by the answers to perturbed prompts, tested against noise.

Ours differs from the published procedure where that misleads: the answers are compared and not the prompts,
words keep their order, the kernel weighs masks and never outcomes, and every word has a p-value.
`gsmile_published` is the published one, for reproduction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import (
    PartialError,
    Value,
    as_value_function,
    expect,
    get_remaining,
    resample_values,
    sum_targets,
)
from llm_trace.attribution.methods import lengths, randomization_tests
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg
from llm_trace.statistics.student import compute_t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.record import Verdict

KEEP = 0.7
"""Probability that a segment is kept: answers to half a prompt say little about the whole."""
RATES = (KEEP, KEEP, 0.5)
"""The same for prompts one by one: half a prompt often lacks two words, to see that either suffices."""
_FOLDS = 5
_DRIFT = 0.001
"""p-value below which the model must have changed between calls."""
_PUBLISHED, _WIDTH = 64, 0.25
"""Masks and kernel width of the published procedure."""


@describe_method(
    "smile",
    access="values",
    cost="64 + 4 n, or the budget",
    source=(
        "Aslansefat et al. 2024, SMILE; Dehghani et al. 2025, gSMILE; tests: Candès et al. 2018, "
        "conditional randomisation"
    ),
)
def smile(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return how much closer answers stay where a segment is kept, with bounds and exact p-values.

    A budget that cannot reach the level is not spent: zero scores, verdict `insufficient_evidence`.
    """
    k, why = count_affordable(value, n, 1 - confidence)
    if why is not None:
        return build_empty_scores(n, why)
    vanishes = "vanishes" in as_value_function(value).capabilities
    expect(value, k)
    masks, rates = randomization_tests.draw_masks(k, n, RATES, seed, vanishes=vanishes), np.resize(RATES, k)
    notes: tuple[str, ...] = ()
    try:
        values = sum_targets(resample_values(value, masks))
    except PartialError as exc:
        if (why := _describe_hopeless(int(exc.done.sum()), n, 1 - confidence, vanishes=vanishes)) is not None:
            return build_empty_scores(n, f"{exc}; {why}")
        masks, rates, values, notes = masks[exc.done], rates[exc.done], sum_targets(exc.values), (str(exc),)
    columns = randomization_tests.ColumnEffects(masks, values, rates, vanishes=vanishes)
    r2 = compute_fidelity(masks, values, rates, vanishes=vanishes)
    scores = _test_masks(columns, values, confidence, seed, notes, r2)

    def retest(rest: NDArray[np.float64]) -> NDArray[np.float64]:
        return randomization_tests.ColumnEffects(masks, rest, rates, vanishes=vanishes).compute_p_values(
            1 - confidence, seed
        )

    return lengths.check_length_dependence(
        scores, values, lengths.measure_lengths(value, masks), 1 - confidence, retest
    )


def count_affordable(value: Value, n: int, level: float, spare: int = 0) -> tuple[int, str | None]:
    """Return how many masks the budget pays for besides `spare` calls, or why these show nothing."""
    usual, left = 64 + 4 * n, get_remaining(value)
    k = usual if left is None else min(4 * usual, left - spare)
    return k, _describe_hopeless(k, n, level, vanishes="vanishes" in as_value_function(value).capabilities)


def _describe_hopeless(k: int, n: int, level: float, *, vanishes: bool) -> str | None:
    """Return why so many masks cannot show anything, in words."""
    if n == 1 and vanishes:
        return (
            "a prompt of one segment has no perturbation but the empty one: take smaller segments, or "
            "baseline='mask'"
        )
    needed = randomization_tests.compute_least_masks(n, RATES, level)
    if k >= needed:
        return None
    return (
        f"{k} perturbed prompts cannot make one of {n} segments significant at {level:.2g}; that takes "
        f"{needed} at least"
    )


def build_empty_scores(n: int, why: str) -> Scores:
    """Return scores that say nothing, with the reason."""
    zero = np.zeros(n)
    return Scores(
        zero,
        bounds="none: nothing was measured",
        stopped="budget",
        p_values=zero + 1.0,
        doubts=(("insufficient_evidence", why),),
    )


def _test_masks(
    columns: randomization_tests.ColumnEffects,
    values: NDArray[np.float64],
    confidence: float,
    seed: int,
    notes: tuple[str, ...],
    r2: dict[str, Any],
) -> Scores:
    """Return the scores of perturbed prompts and their values."""
    k, n = len(values), len(columns.effects)
    half = compute_t_quantile(confidence, max(1, k - n - 1)) * columns.errors
    p_values = columns.compute_p_values(1 - confidence, seed)
    doubts: list[tuple[Verdict, str]] = []
    if randomization_tests.assess_drift(values, seed) < _DRIFT:
        doubts.append(
            ("model_changed", "the answers drift in the order of asking: the model changed between calls")
        )
    if correct_benjamini_hochberg(p_values).min() > 1 - confidence:
        doubts.append(
            ("insufficient_evidence", f"no effect stands out from the noise of {k} answers: raise the budget")
        )
    return Scores(
        columns.effects,
        low=columns.effects - half,
        high=columns.effects + half,
        bounds=(
            "the sampling error and decoding noise of each linear effect on near masks, one at a time; "
            "sandwich variance"
        ),
        stopped="budget",
        p_values=p_values,
        faithfulness={
            "fidelity": r2,
            "standard_errors": columns.errors.tolist(),
        },
        notes=notes,
        doubts=tuple(doubts),
    )


def compute_fidelity(
    masks: NDArray[np.bool_], values: NDArray[np.float64], rates: NDArray[np.float64], *, vanishes: bool
) -> dict[str, Any]:
    """Return how well the surrogate predicts held-out values: R² weighted by the kernel, five folds."""
    k, n = masks.shape
    predicted = np.empty(k)
    for fold in range(_FOLDS):
        held = np.arange(k) % _FOLDS == fold
        effects = randomization_tests.ColumnEffects(
            masks[~held], values[~held], rates[~held], vanishes=vanishes
        ).effects
        centre = values[~held].mean() - masks[~held].mean(axis=0) @ effects
        predicted[held] = masks[held] @ effects + centre
    weights = randomization_tests.compute_nearness(masks.sum(axis=1), n)
    return compute_figures(values, predicted, weights) | {
        "masks": f"held out, each segment kept with probability {KEEP}, in every third with {RATES[-1]}",
        "count": k,
    }


def compute_figures(
    values: NDArray[np.float64], predicted: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the fidelity figures of the paper: weighted R², and mean errors with and without weights."""
    share = weights / weights.sum()
    off = values - predicted
    total = float(share @ (values - share @ values) ** 2)
    return {
        "weighted_r2": 1.0 - float(share @ off**2) / total if total > 1e-300 else 0.0,
        "mse": float((off**2).mean()),
        "mae": float(np.abs(off).mean()),
        "weighted_l1": float(share @ np.abs(off)),
        "weighted_l2": float(share @ off**2),
    }


@describe_method(
    "gsmile_published",
    access="values",
    cost="64, or the budget",
    source="Dehghani et al. 2025, gSMILE (arXiv 2505.21657), as published: weights depend on the outcome",
)
def gsmile_published(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the published procedure's coefficients: similarities from 0 to 1, weighed by their distance.

    For comparison with others only: it selects on the result and tests nothing.
    """
    left = get_remaining(value)
    k = _PUBLISHED if left is None else left
    rng = np.random.default_rng(seed)
    masks = rng.random((k, n)) < 0.5
    for row in np.flatnonzero(masks.sum(axis=1) < min(2, n)):
        masks[row, rng.choice(n, min(2, n), replace=False)] = True
    distance = -sum_targets(value(masks))
    reach = np.ptp(distance)
    similar = 1.0 - (distance - distance.min()) / (reach if reach > 0 else 1.0)
    squares = (distance / _WIDTH) ** 2
    # a common factor changes nothing, and keeps some above zero
    weights = np.exp((squares.min() - squares) / 2)
    design = np.hstack([masks, np.ones((k, 1))]) * np.sqrt(weights)[:, None]
    coefficients = np.linalg.lstsq(design, similar * np.sqrt(weights), rcond=None)[0]
    figures = compute_figures(similar, masks @ coefficients[:n] + coefficients[n], weights)
    adjusted = 1 - (1 - figures["weighted_r2"]) * (k - 1) / max(1, k - n - 1)
    return Scores(
        coefficients[:n],
        bounds="none",
        stopped="budget",
        faithfulness={
            "fidelity": {**figures, "adjusted_r2": adjusted, "masks": "those that it was fitted to"}
        },
        notes=(
            "the published procedure: the regression's weights depend on the answers, and nothing is tested",
        ),
        doubts=(
            (
                "insufficient_evidence",
                "the published procedure does not test its scores: take method='smile'",
            ),
        ),
    )
