"""Sampled Shapley values with bounds: by orders of the segments, or regressions on pairs of masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import BudgetError, Value, expect, get_remaining, sum_targets
from llm_trace.attribution.methods.exact import MOST_ENUMERATED, build_scores, shapley
from llm_trace.attribution.methods.mask_designs import (
    Design,
    KernelPairs,
    LeveragePairs,
    are_tight,
    get_level,
    list_looks,
)
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.methods.shrinkage import fit_shrunk
from llm_trace.statistics.student import compute_t_p_values, compute_t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BOUNDS = (
    "the sampling error of each score around the exact Shapley value, one score at a time, all looks "
    "together; {how}"
)


SEEN = 59
"""Evaluations before any early stop: they show a collapse of one subset in twenty with probability .95."""
POOLED = 30
"""Degrees of freedom from which on each score's error stands for itself."""


@describe_method(
    "permutation",
    access="values",
    cost="2 (n - 1) for each pair of orders",
    source="Castro et al. 2009; antithetic pairs: Mitchell et al. 2022",
)
def permutation(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return Shapley values as the mean contribution over random orders, each used forwards and backwards.

    Raises:
        BudgetError: the budget does not pay for four pairs of orders.
    """
    exact = _enumerate_subsets(value, n, confidence, seed)
    if exact is not None:
        return exact
    rng = np.random.default_rng(seed)
    return sample_orders(value, n, lambda: rng.permutation(n), confidence=confidence)


def sample_orders(
    value: Value, n: int, draw: Callable[[], NDArray[np.int64]], *, confidence: float, pairs: int = 128
) -> Scores:
    """Return the mean contribution over orders that `draw` gives, each used forwards and backwards.

    Args:
        value: the value function.
        n: number of segments.
        draw: gives an order of the segments, (n,).
        confidence: of the bounds.
        pairs: of orders, at most.

    Raises:
        BudgetError: the budget does not pay for four pairs of orders.
    """
    walks: list[NDArray[np.float64]] = []
    each = 2 * (n - 1)
    sizes = list_looks(get_remaining(value), first=2 + 4 * each, most=2 + pairs * each)
    if not sizes or sizes[-1] < 2 + 4 * each:
        raise BudgetError(
            f"permutation sampling of {n} segments needs {2 + 4 * each} evaluations at least; the budget "
            f"pays for {get_remaining(value)}"
        )
    expect(value, sizes[-1])
    for look, size in enumerate(sizes, 1):
        while 2 + (len(walks) + 1) * each <= size:
            walks.append(_walk(value, draw()))
        sample = np.array(walks)  # (pairs, n) or (pairs, n, m)
        totalled = sample if sample.ndim == 2 else sample.sum(axis=2)
        spread = (totalled - totalled.mean(axis=0)).T / np.sqrt(len(walks) * (len(walks) - 1))
        looked = Look(spread, len(walks) - 1, look, confidence)
        done = size >= SEEN and are_tight(totalled.mean(axis=0), looked.half)
        if done:
            break
    how = f"Student's t over {len(walks)} pairs of orders"
    return _bound_scores(sample.mean(axis=0), looked, how, "tight" if done else "budget", value)


def _walk(value: Value, order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the contributions in one order and its reverse, averaged: (n,) or (n, m)."""
    n = len(order)
    rank = np.empty(n, dtype=int)
    rank[order] = np.arange(n)
    forward = rank[None, :] < np.arange(n + 1)[:, None]  # row r keeps the first r of the order
    values = value(np.vstack([forward, ~forward]))
    gains, backward = np.diff(values[: n + 1], axis=0), -np.diff(values[n + 1 :], axis=0)
    return (gains + backward)[rank] / 2


@describe_method(
    "kernel_shap",
    access="values",
    cost="2 for each pair of masks, at least 2 n",
    source="Lundberg & Lee 2017; paired sampling: Covert & Lee 2021",
)
def kernel_shap(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return Shapley values by the constrained regression of KernelSHAP on paired masks."""
    return _regress_pairs(value, n, KernelPairs, confidence, seed)


@describe_method(
    "leverage_shap",
    access="values",
    cost="2 for each pair of masks, about n log n in all",
    source="Musco & Witter 2025, Provably accurate Shapley value estimation via leverage score sampling",
)
def leverage_shap(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return Shapley values by regression on paired masks of all sizes alike, none drawn twice.

    While there are fewer than 10 n pairs the scores are shrunk (see `shrinkage.shrunk`), which at 4 n
    evaluations halves their error; the bounds are those of the plain regression, widened to hold the score
    where it lies outside.
    """
    return _regress_pairs(value, n, LeveragePairs, confidence, seed)


def _regress_pairs(
    value: Value, n: int, pairs: type[KernelPairs | LeveragePairs], confidence: float, seed: int
) -> Scores:
    exact = _enumerate_subsets(value, n, confidence, seed)
    if exact is not None:
        return exact
    least = 2 + 2 * (n + 2)
    sizes = list_looks(get_remaining(value), first=max(least, 4 * n), most=32 * n)
    if not sizes or sizes[-1] < least:
        raise BudgetError(
            f"a regression on {n} segments needs {least} evaluations at least; the budget pays for "
            f"{get_remaining(value)}"
        )
    expect(value, sizes[-1])
    source = pairs(n, seed)
    ends = value(np.vstack([np.zeros((1, n), dtype=bool), np.ones((1, n), dtype=bool)]))
    for look, size in enumerate(sizes, 1):
        design = source.grow((size - 2) // 2)
        scores, spread = fit(design, value(design.masks), ends[0], ends[1])
        looked = Look(spread, count_freedom(design), look, confidence)
        whole = not design.unseen.any()
        done = (whole or size >= SEEN) and are_tight(sum_targets(scores), looked.half)
        if done:
            break
    how = f"sandwich variance over {len(design.unseen)} pairs of masks"
    bounded = _bound_scores(scores, looked, how, "tight" if done else "budget", value)
    if pairs is KernelPairs:
        return bounded
    best = fit_shrunk(design, value(design.masks), ends[0], ends[1])
    return bounded if best is None else _move_scores(bounded, best)


def _move_scores(bounded: Scores, best: NDArray[np.float64]) -> Scores:
    """Return the scores with others in their place that lie within the bounds, widened where they must be."""
    assert bounded.low is not None
    assert bounded.high is not None
    moved = build_scores(best)
    low, high = np.minimum(bounded.low, moved.values), np.maximum(bounded.high, moved.values)
    return replace(bounded, values=moved.values, matrix=moved.matrix, low=low, high=high)


def count_freedom(design: Design) -> int:
    """Return the degrees of freedom of the errors: pairs that bring some, less one for each segment."""
    return int(max(1, (design.unseen > 0).sum() - design.masks.shape[1]))


def fit(
    design: Design, values: NDArray[np.float64], empty: NDArray[np.float64], full: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores that sum to full - empty, (n,) or (n, m), and each pair's part of the errors (n, pairs).

    The root of the sum of its squares is the sandwich estimate for random masks: each draw of a pair is a
    cluster, residuals are enlarged by a draw's leverage (HC3), and what was enumerated brings none.
    """
    n = design.masks.shape[1]
    shares = design.masks.sum(axis=1, keepdims=True) / n
    rows = design.masks - shares  # the part of a mask that the constraint leaves free
    root = np.sqrt(design.weights)[:, None]
    change = full - empty
    wanted = (values - empty) - shares.reshape(-1, *[1] * (values.ndim - 1)) * change
    target = wanted.reshape(len(rows), -1)
    inverse = np.linalg.pinv(root * rows)  # (n, rows)
    free = inverse @ (root * target)
    residual = ((target - rows @ free) * root).sum(axis=1)
    leverage = np.einsum("rn,nr->r", root * rows, inverse)
    pushed = inverse * residual[None, :]
    # the rows of a pair are each other's negatives
    room_left = np.clip(1.0 - (leverage[::2] + leverage[1::2]) / design.draws, 0.05, None)
    clusters = (pushed[:, ::2] + pushed[:, 1::2]) / room_left  # (n, pairs)
    clusters = clusters * np.sqrt(design.unseen / design.draws)
    return (free.reshape(n, *values.shape[1:]) + change / n), clusters


def _enumerate_subsets(value: Value, n: int, confidence: float, seed: int) -> Scores | None:
    """Return exact values where all subsets cost no more than sampling would."""
    left = get_remaining(value)
    if n <= MOST_ENUMERATED and 2**n <= 16 * n and (left is None or left >= 2**n):
        return shapley(value, n, confidence=confidence, seed=seed)
    return None


@dataclass(frozen=True)
class Look:
    """What is known of the sampling error when a method looks at its bounds."""

    spread: NDArray[np.float64]
    """(n, clusters): what each pair of orders or masks adds to the error; squares sum to the variance."""
    most: int
    """Degrees of freedom where all pairs add alike."""
    number: int
    """The how many-th look, from 1: each gets its part of the allowed error, see `designs.level`."""
    confidence: float

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard errors of the totals, (n,).

        Few pairs may have missed for one segment what they show for others, so that none is taken for much
        surer than all are on average.
        """
        own = (self.spread**2).sum(axis=1)
        trust = min(1.0, self.most / POOLED)
        return np.asarray(np.sqrt(np.maximum(own, (1 - trust) * own.mean())))

    @property
    def freedom(self) -> NDArray[np.int64]:
        """Degrees of freedom of each error, (n,): fewer where few pairs make most of it.

        The effective number of pairs is (sum of squares)² / sum of fourth powers, a third of their number
        under normal errors.
        """
        squares = self.spread**2
        fourth = (squares**2).sum(axis=1)
        count = squares.sum(axis=1) ** 2 / np.where(fourth > 0, fourth, 1.0)
        return np.where(fourth > 0, np.clip(3 * count, 1, self.most), self.most).astype(np.int64)

    @property
    def half(self) -> NDArray[np.float64]:
        """Half the width of the bounds."""
        at = get_level(self.confidence, self.number)
        return np.array([compute_t_quantile(at, int(f)) for f in self.freedom]) * self.error

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each score how likely one so large is where the truth is zero, all looks together."""
        once = compute_t_p_values(scores, self.error, self.freedom)
        return np.minimum(self.number * (self.number + 1) * once, 1.0)


def _bound_scores(scores: NDArray[np.float64], look: Look, how: str, stopped: str, value: Value) -> Scores:
    middle, n = sum_targets(scores), len(scores)
    full = float(sum_targets(value(np.ones((1, n), dtype=bool)))[0])
    return build_scores(
        scores,
        low=middle - look.half,
        high=middle + look.half,
        bounds=_BOUNDS.format(how=how),
        stopped=stopped,
        full=full,
        p_values=look.p_values(middle),
    )
