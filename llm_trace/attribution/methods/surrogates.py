"""Linear surrogates of the model around a prompt: LIME's weighted ridge and ContextCite's sparse
regression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import BudgetError, Value, expect, get_remaining, sum_targets
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.statistics.student import compute_t_p_values, compute_t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALPHA = 0.01
"""ContextCite's penalty, on the mean log-probability of a token."""
_KERNEL_WIDTH = 0.25
"""On the cosine distance of a mask to the full one, which lies between 0 and 1 (25 on LIME's distance
times 100).
"""


@describe_method(
    "lime",
    access="values",
    cost="10 n, at least 2 n",
    source=(
        "Ribeiro et al. 2016; text defaults of the lime package: subset sizes uniform, cosine kernel, ridge 1"
    ),
)
def lime(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the coefficients of a ridge regression on random masks, near ones weighing more."""
    k = _count_draws(value, n, 10 * n + 1, "lime")
    rng = np.random.default_rng(seed)
    masks = np.ones((k, n), dtype=bool)
    for row in masks[1:]:
        row[rng.choice(n, rng.integers(1, n + 1), replace=False)] = False
    values = value(masks)
    distance = 1.0 - np.sqrt(masks.mean(axis=1))
    weights = np.sqrt(np.exp(-((distance / _KERNEL_WIDTH) ** 2)))
    total = sum_targets(values)
    by_token, error = _fit_ridge(masks.astype(float), values.reshape(k, -1), weights, 1.0)
    freedom = max(1, k - n - 1)
    half = compute_t_quantile(confidence, freedom) * error
    middle = by_token.sum(axis=1)
    return Scores(
        middle,
        by_token.T if values.ndim == 2 else None,
        middle - half,
        middle + half,
        "the sampling error of each ridge coefficient around its value for all masks, one at a time; "
        "sandwich variance",
        "budget",
        full=float(total[0]),
        p_values=compute_t_p_values(middle, error, freedom),
    )


def _fit_ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients (n, m) without the intercept and the standard error of their totals (n,)."""
    share = weights / weights.sum()
    centred = (x - share @ x) * np.sqrt(weights)[:, None]
    target = (y - share @ y) * np.sqrt(weights)[:, None]
    inverse = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T)
    coefficients = inverse @ target
    residual = (target - centred @ coefficients).sum(axis=1)
    leverage = np.einsum("rn,nr->r", centred, inverse)
    pushed = inverse * (residual / np.clip(1.0 - leverage, 0.05, None))[None, :]
    return coefficients, np.sqrt((pushed**2).sum(axis=1))


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

    The bounds do not reuse the masks that chose the segments: each half of the masks corrects what the other
    half fitted.
    """
    k = _count_draws(value, 16, 64 if get_remaining(value) is None else 256, "context_cite") - 1
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


def _count_draws(value: Value, n: int, wanted: int, method: str) -> int:
    """Return how many masks to draw within the budget."""
    left = get_remaining(value)
    count = wanted if left is None else min(wanted, left)
    if count < 2 * n + 2:
        raise BudgetError(f"{method} needs {2 * n + 2} evaluations at least here; the budget pays for {left}")
    expect(value, count)
    return count
