"""Segments that belong together, such as the sentences of one author: what each group does, and each segment
in it.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import Value, expect, get_remaining, sum_targets
from llm_trace.attribution.methods.exact import build_scores, compute_exact_shapley, list_subsets
from llm_trace.attribution.methods.shapley_sampling import sample_orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.methods.registry import Scores

_FEW = 8
"""Segments up to which all subsets are evaluated."""
_PAIRS = 16
"""Pairs of orders beyond."""


def weigh_groups(value: Value, groups: Sequence[Sequence[int]], n: int) -> NDArray[np.float64]:
    """Return the exact Shapley value of each group, (groups,): all its segments come and go together.

    They sum to full - empty. Costs 2^groups evaluations.
    """
    subsets = list_subsets(len(groups))
    members = np.zeros((len(groups), n), dtype=bool)
    for row, group in zip(members, groups, strict=True):
        row[list(group)] = True
    expect(value, len(subsets))
    masks = (subsets.astype(int) @ members.astype(int)) > 0
    return compute_exact_shapley(sum_targets(value(masks)), len(groups))


def weigh_within_groups(
    value: Value, groups: Sequence[Sequence[int]], n: int, *, confidence: float = 0.95, seed: int = 0
) -> Scores:
    """Return Owen values: each segment's mean contribution over the orders in which groups stay together.

    Those of a group sum to its Shapley value among the groups; all sum to full - empty. Exact up to 8
    segments, else sampled with bounds.

    Raises:
        BudgetError: the budget does not pay for four pairs of orders.

    Source: Owen 1977, Values of games with a priori unions.
    """
    left = get_remaining(value)
    if n <= _FEW and (left is None or left >= 2**n):
        expect(value, 2**n)
        values = value(list_subsets(n))
        full, empty = (float(sum_targets(values)[i]) for i in (-1, 0))
        return build_scores(_compute_owen(values, groups, n), full=full, empty=empty)
    rng = np.random.default_rng(seed)

    def draw() -> NDArray[np.int64]:
        return np.concatenate([rng.permutation(groups[g]) for g in rng.permutation(len(groups))])

    return sample_orders(value, n, draw, confidence=confidence, pairs=_PAIRS)


def _compute_owen(
    values: NDArray[np.float64], groups: Sequence[Sequence[int]], n: int
) -> NDArray[np.float64]:
    """Return Owen values (n,) or (n, m) from the values of `list_subsets(n)`.

    Within a group: Shapley values of the game that its segments play, the other groups being there or not
    with the weights that they have among groups.
    """
    bits = 1 << np.arange(n)
    whole = np.array([bits[list(group)].sum() for group in groups])
    out = np.empty((n, *values.shape[1:]))
    for g, group in enumerate(groups):
        others = np.delete(whole, g)
        present = list_subsets(len(others)).astype(int)
        weights = _weigh_subsets(present.sum(axis=1), len(groups))
        inside = list_subsets(len(group)).astype(int) @ bits[list(group)]
        game = np.tensordot(weights, values[(present @ others)[:, None] + inside[None, :]], axes=1)
        out[list(group)] = compute_exact_shapley(game, len(group))
    return out


def _weigh_subsets(sizes: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return the Shapley weight of subsets of these sizes of the other n - 1 players; they sum to 1."""
    return np.array([1.0 / (n * comb(n - 1, int(size))) for size in sizes])
