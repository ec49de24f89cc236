"""Exact estimators: leave-one-out and Shapley values by enumeration."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import Value, expect
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ENUMERATED = 12
"""Segments up to which all subsets are evaluated: 4,096 evaluations."""


def build_scores(by_token: NDArray[np.float64], **rest: object) -> Scores:
    """Return scores from (n,) or, per target token, (n, m)."""
    if by_token.ndim == 1:
        return Scores(by_token, **rest)  # type: ignore[arg-type]
    return Scores(by_token.sum(axis=1), by_token.T.copy(), **rest)  # type: ignore[arg-type]


@describe_method(
    "occlusion",
    access="values",
    cost="n + 1",
    source=(
        "Zeiler & Fergus 2014, section 4; per token equal to Sequential Integrated Gradients (Enguehard 2023)"
    ),
)
def occlusion(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return how much each segment supports the response: log p(it | all) - log p(it | all but i).

    Positive means that segment i helped. Two segments that each suffice both score about zero.
    """
    expect(value, n + 1)
    masks = np.vstack([np.ones((1, n), dtype=bool), ~np.eye(n, dtype=bool)])
    values = value(masks)
    return build_scores(values[0] - values[1:], full=float(values[0].sum()))


@describe_method("shapley", access="values", cost="2^n, n <= 12", source="Shapley 1953; Lundberg & Lee 2017")
def shapley(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return each segment's mean contribution over all orders, from every subset; they sum to full - empty.

    Raises:
        AttributionError: more than 12 segments.
    """
    if n > MOST_ENUMERATED:
        raise AttributionError(
            f"exact Shapley values of {n} segments need 2^{n} evaluations; take method='permutation', larger "
            "segments, or occlusion"
        )
    expect(value, 2**n)
    values = value(list_subsets(n))
    return build_scores(
        compute_exact_shapley(values, n), full=float(values[-1].sum()), empty=float(values[0].sum())
    )


def list_subsets(n: int) -> NDArray[np.bool_]:
    """Return all masks (2^n, n); row r keeps the segments whose bit is set in r."""
    return (np.arange(2**n)[:, None] >> np.arange(n)[None, :] & 1).astype(bool)


def compute_exact_shapley(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return Shapley values (n,) or (n, m) from the values of `list_subsets(n)`."""
    rows = np.arange(2**n)
    sizes = list_subsets(n).sum(axis=1)
    weights = np.array([1.0 / (n * comb(n - 1, min(size, n - 1))) for size in range(n + 1)])
    out = np.empty((n, *values.shape[1:]))
    for i in range(n):
        without = rows[(rows >> i & 1) == 0]
        gains = values[without | 1 << i] - values[without]
        out[i] = np.tensordot(weights[sizes[without]], gains, axes=1)
    return out
