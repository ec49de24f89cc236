"""LIME: a weighted ridge regression on random masks around a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import Value, sum_targets
from llm_trace.attribution.methods.mask_designs import count_draws
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.statistics.student import compute_t_p_values, compute_t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KERNEL_WIDTH = 0.25
"""On the cosine distance of a mask to the full one, 0 to 1 (25 on LIME's distance times 100)."""


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
    k = count_draws(value, n, 10 * n + 1, "lime")
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
