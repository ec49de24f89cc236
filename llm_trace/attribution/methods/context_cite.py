"""ContextCite: a sparse regression on masks that keep each segment with probability one half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import Value, get_remaining, sum_targets
from llm_trace.attribution.methods.mask_designs import count_draws
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.statistics.student import compute_t_p_values, compute_t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALPHA = 0.01
"""ContextCite's penalty, on the mean log-probability of a token."""


@describe_method(
    "context_cite",
    access="values",
    cost="64, or the budget",
    source=(
        "Cohen-Wang et al. 2024, ContextCite: LASSO on masks that keep each segment with probability one half"
    ),
)
def context_cite(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return sparse linear effects at keep rate one half. Zero means: not needed to predict the response, not
    proven to be without effect.

    Bounds do not reuse the masks that chose the segments: each half corrects what the other half fitted.
    """
    k = count_draws(value, 16, 64 if get_remaining(value) is None else 256, "context_cite") - 1
    rng = np.random.default_rng(seed)
    masks = rng.random((k, n)) < 0.5
    values = value(np.vstack([np.ones((1, n), dtype=bool), masks]))
    length = values.shape[1] if values.ndim == 2 else 1
    y = sum_targets(values)[1:]
    x = masks.astype(float)
    effects = fit_lasso(x, y / length, _ALPHA) * length
    half = rng.permutation(k) % 2 == 0
    means, variances = zip(
        *(
            _correct_effects(x[held], y[held], fit_lasso(x[~held], y[~held] / length, _ALPHA) * length)
            for held in (half, ~half)
        ),
        strict=True,
    )
    middle = (means[0] + means[1]) / 2
    error = np.sqrt(variances[0] + variances[1]) / 2
    wide = compute_t_quantile(confidence, k // 2 - 2) * error
    return Scores(
        effects,
        None,
        np.minimum(middle - wide, effects),
        np.maximum(middle + wide, effects),
        "the sampling error of each linear effect at keep rate one half, one at a time; sample splitting",
        "budget",
        full=float(sum_targets(values)[0]),
        p_values=compute_t_p_values(middle, error, k // 2 - 2),
    )


def _correct_effects(
    x: NDArray[np.float64], y: NDArray[np.float64], fitted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return linear effects and their variances from masks that the fit has not seen.

    At keep rate one half the masks' entries are independent, so the linear effect of a segment is the
    difference of means with and without it; taking the fit off first leaves less to vary.
    """
    rest = y - x @ fitted
    with_it, without = x.sum(axis=0).clip(2), (1 - x).sum(axis=0).clip(2)
    mean_with, mean_without = x.T @ rest / with_it, (1 - x).T @ rest / without
    spread_with = ((rest[:, None] - mean_with) ** 2 * x).sum(axis=0) / (with_it - 1)
    spread_without = ((rest[:, None] - mean_without) ** 2 * (1 - x)).sum(axis=0) / (without - 1)
    return fitted + mean_with - mean_without, spread_with / with_it + spread_without / without


def fit_lasso(
    x: NDArray[np.float64], y: NDArray[np.float64], penalty: float, rounds: int = 1000
) -> NDArray[np.float64]:
    """Return the coefficients that minimise |y - x w - b|^2 / 2k + penalty |w| on standardised columns, on
    the scale of x.
    """
    scale = x.std(axis=0)
    scale[scale == 0] = 1.0
    z = (x - x.mean(axis=0)) / scale
    rest = y - y.mean()
    k, w = len(y), np.zeros(x.shape[1])
    size = (z**2).mean(axis=0).clip(1e-12)
    for _ in range(rounds):
        largest = 0.0
        for j in range(len(w)):
            pull = z[:, j] @ rest / k + size[j] * w[j]
            new = np.sign(pull) * max(abs(pull) - penalty, 0.0) / size[j]
            if new != w[j]:
                rest = rest - z[:, j] * (new - w[j])
                largest, w[j] = max(largest, abs(new - w[j])), new
        if largest < 1e-7:
            break
    return np.asarray(w / scale)
