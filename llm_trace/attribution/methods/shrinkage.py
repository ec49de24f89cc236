"""Shapley regression from few masks: fewer free parameters, so less noise than the plain fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.methods.mask_designs import Design

ENOUGH = 10
"""Mask pairs a segment from which the plain regression is as good; from stories260K with 12 segments."""
_PENALTIES = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
"""Parts of the mean squared singular value."""


def fit_shrunk(
    design: Design, values: NDArray[np.float64], empty: NDArray[np.float64], full: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return scores, (n,) or (n, m), that sum to full - empty; `None` where masks suffice for the plain fit.

    Two things differ from it, both less and less as the pairs grow towards `ENOUGH` n. The weights of masks,
    which for the exact values span orders of magnitude, are drawn together, as few masks of the heaviest
    sizes say much about themselves and little about the rest. And a ridge penalty, chosen by leaving pairs
    out (PRESS; Allen 1974), draws the scores towards equal shares.
    """
    n, count = design.masks.shape[1], len(design.unseen)
    trust = count / (ENOUGH * n)
    if trust >= 1 or not design.unseen.any():
        return None
    shares = design.masks[::2].mean(axis=1)
    rows = design.masks[::2] - shares[:, None]  # of a pair: the other row is its negative
    change = full - empty
    mean = (2 * shares - 1).reshape(-1, *[1] * (values.ndim - 1)) * change
    target = ((values[::2] - values[1::2] - mean) / 2).reshape(count, -1)
    root = (design.weights[::2] ** (trust / 2))[:, None]
    free = _fit_ridge(root * rows, root * target, 1 - trust)
    return np.asarray(free.reshape(n, *values.shape[1:]) + change / n)


def _fit_ridge(x: NDArray[np.float64], y: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return coefficients (n, m) at the penalty that predicts the totals of left-out masks best."""
    u, size, v = np.linalg.svd(x, full_matrices=False)
    known = size > 1e-9 * size.max()
    u, size, v = u[:, known], size[known], v[known]
    parts, total = u.T @ y, y.sum(axis=1)
    best, chosen = np.inf, 0.0
    for penalty in (scale * p * float((size**2).mean()) for p in _PENALTIES):
        shrinkage = size**2 / (size**2 + penalty)
        leverage = (u**2 * shrinkage).sum(axis=1)
        wrong = (total - u @ (shrinkage * parts.sum(axis=1))) / np.clip(1 - leverage, 1e-6, None)
        if float(wrong @ wrong) < 0.999 * best:
            best, chosen = float(wrong @ wrong), penalty
    return np.asarray(v.T @ ((size / (size**2 + chosen))[:, None] * parts))
