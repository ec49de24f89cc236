"""What two segments do together beyond what each does alone: both are needed, or one suffices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.attribution.core.value import Value, expect, get_remaining, sum_targets
from llm_trace.attribution.quality.reopen import reopen_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.record import Attribution, Settings

TOP = 8
MATERIAL = 0.5
"""Nats below which a pair counts as independent."""
_SHARE = 0.25
"""Part of the larger effect that an interaction must reach to count."""


@dataclass(frozen=True)
class Interaction:
    """Two segments seen together."""

    first: int
    second: int
    value: float
    """f(all) - f(without first) - f(without second) + f(without both), in the value's unit. Negative: they
    can replace each other; positive: each needs the other.
    """
    kind: Literal["and", "or", "none"]
    """`and`: without one the other does nothing; `or`: one suffices; `none`: too small to tell."""
    alone: tuple[float, float]
    """What leaving out each alone costs."""
    together: float
    """What leaving out both costs."""


def interactions(
    attribution: Attribution,
    *,
    model: Any,
    tokenizer: Any = None,
    top: int = TOP,
    settings: Settings | None = None,
) -> list[Interaction]:
    """Return how the strongest segments of an attribution depend on each other, largest interaction first.

    Segments of redundant groups take part however small their scores. Costs 1 + k + k (k - 1) / 2 evaluations
    for k segments.

    Args:
        attribution: what `attribute` returned.
        model: the model it was made with; `tokenizer` as for `attribute`.
        top: how many segments take part.
        settings: as `attribute` was asked, for records of versions that did not write them.
    """
    _work, value, _full = reopen_problem(attribution, model, tokenizer, settings)
    strongest = np.argsort(-np.abs(attribution.values), kind="stable")[:top].tolist()
    chosen = list(dict.fromkeys([*(i for group in attribution.groups for i in group), *strongest]))
    return measure_pairwise(value, len(attribution.values), chosen)


def measure_pairwise(value: Value, n: int, chosen: Sequence[int]) -> list[Interaction]:
    """Return the interactions of all pairs of these segments, at the full prompt; fewer pairs where the
    budget does not pay for all.
    """
    chosen = _select_affordable(value, chosen)
    pairs = list(combinations(sorted(chosen), 2))
    expect(value, 1 + len(chosen) + len(pairs))
    groups: list[tuple[int, ...]] = [(), *((i,) for i in chosen), *pairs]
    loss = _compute_losses(value, n, groups)
    pairwise = [
        _compute_interaction(pair, (loss[(pair[0],)], loss[(pair[1],)]), loss[pair]) for pair in pairs
    ]
    return sorted(pairwise, key=lambda x: -abs(x.value))


def _select_affordable(value: Value, chosen: Sequence[int]) -> Sequence[int]:
    """Return as many of the first segments as the budget pays all pairs of."""
    left, k = get_remaining(value), len(chosen)
    while left is not None and k > 0 and 1 + k + k * (k - 1) // 2 > left:
        k -= 1
    return chosen[:k]


def _compute_losses(value: Value, n: int, groups: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
    masks: NDArray[np.bool_] = np.ones((len(groups), n), dtype=bool)
    for row, group in zip(masks, groups, strict=True):
        row[list(group)] = False
    values = sum_targets(value(masks))
    return {group: float(values[0] - v) for group, v in zip(groups, values, strict=True)}


def _compute_interaction(pair: tuple[int, int], alone: tuple[float, float], together: float) -> Interaction:
    value = alone[0] + alone[1] - together
    least = max(MATERIAL, _SHARE * max(abs(x) for x in (*alone, together)))
    kind: Literal["and", "or", "none"] = "none" if abs(value) < least else "and" if value > 0 else "or"
    return Interaction(*pair, value, kind, alone, together)
