"""Which masks sampling methods evaluate, in pairs of complements, and how they know when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import BudgetError, Value, expect, get_remaining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TIGHT = 0.05
"""Sampling stops when every bound lies within this part of the largest score's size of its score."""


@dataclass(frozen=True)
class Design:
    """Masks drawn so far with the weight of each in a regression."""

    masks: NDArray[np.bool_]
    """(2 pairs, n): row 2j and row 2j + 1 are complements."""
    weights: NDArray[np.float64]
    """(2 pairs,): importance weights."""
    unseen: NDArray[np.float64]
    """(pairs,): part of the pair's stratum that was not drawn; at 0 it brings no sampling error."""
    draws: NDArray[np.float64]
    """(pairs,): how often each was drawn, each time by itself."""


def list_looks(room: int | None, first: int, most: int) -> list[int]:
    """Return the evaluations after which a method looks at its bounds: doubling from `first` to `most`."""
    limit = most if room is None else min(room, most)
    sizes = []
    size = min(first, limit)
    while size < limit:
        sizes.append(size)
        size *= 2
    return [*sizes, limit] if limit > 0 else []


def get_level(confidence: float, look: int) -> float:
    """Return the confidence of the t-th look, from 1, so that all keep the stated one: error / t (t + 1)."""
    return 1.0 - (1.0 - confidence) / (look * (look + 1))


def are_tight(values: NDArray[np.float64], half_width: NDArray[np.float64]) -> bool:
    """Whether all bounds are narrow beside the largest score."""
    return bool(half_width.max() <= TIGHT * np.abs(values).max())


class LeveragePairs:
    """Pairs of complementary masks, equally many of every size, each once (Musco & Witter 2025).

    The leverage score of a subset of size s is 1 / C(n, s), so that all sizes get the same share; sizes with
    fewer subsets than their share are enumerated. Growing the design keeps what was drawn.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self._rng = np.random.default_rng(seed)
        self._sizes = list(range(1, n // 2 + 1))
        self._drawn: dict[int, dict[bytes, NDArray[np.bool_]]] = {s: {} for s in self._sizes}

    def strata(self, size: int) -> int:
        """Return how many pairs have a member of this size."""
        return comb(self.n, size) // (2 if 2 * size == self.n else 1)

    def grow(self, pairs: int) -> Design:
        """Return a design of this many pairs, or of all there are."""
        for size, wanted in self._shares(pairs).items():
            self._fill(size, wanted)
        masks, weights, unseen = [], [], []
        for size in self._sizes:
            drawn, total = self._drawn[size], self.strata(size)
            kernel = 1.0 / (comb(self.n, size) * size * (self.n - size))
            for mask in drawn.values():
                masks += [mask, ~mask]
                weights += [kernel * total / len(drawn)] * 2
                unseen.append(1.0 - len(drawn) / total)
        once = np.ones(len(unseen))
        return Design(np.array(masks).reshape(-1, self.n), np.array(weights), np.array(unseen), once)

    def _shares(self, pairs: int) -> dict[int, int]:
        """Split the pairs evenly over the sizes, no more than a size has; the smallest get what is left."""
        shares = {s: len(self._drawn[s]) for s in self._sizes}
        left = pairs - sum(shares.values())
        while left > 0:
            open_sizes = [s for s in self._sizes if shares[s] < self.strata(s)]
            if not open_sizes:
                break
            size = min(open_sizes, key=lambda s: (shares[s], s))
            shares[size] += 1
            left -= 1
        return shares

    def _fill(self, size: int, wanted: int) -> None:
        drawn = self._drawn[size]
        if len(drawn) < wanted and self.strata(size) <= max(64, 2 * wanted):
            rest = [m for m in _iter_combinations(self.n, size) if m.tobytes() not in drawn]
            for at in self._rng.permutation(len(rest))[: wanted - len(drawn)]:
                drawn[rest[at].tobytes()] = rest[at]
        while len(drawn) < wanted:
            mask = np.zeros(self.n, dtype=bool)
            mask[self._rng.choice(self.n, size, replace=False)] = True
            mask = _get_canonical(mask, size)
            drawn[mask.tobytes()] = mask


def _get_canonical(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return the one of a pair of halves that keeps segment 0."""
    return ~mask if 2 * size == len(mask) and not mask[0] else mask


def _iter_combinations(n: int, size: int) -> Iterator[NDArray[np.bool_]]:
    from itertools import combinations

    for chosen in combinations(range(n), size):
        if 2 * size == n and chosen[0] != 0:
            continue
        mask = np.zeros(n, dtype=bool)
        mask[list(chosen)] = True
        yield mask


class KernelPairs:
    """Pairs of complementary masks drawn by the Shapley kernel, with replacement (Covert & Lee 2021).

    A pair drawn again weighs more, and its draws err each by itself.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self._rng = np.random.default_rng(seed)
        sizes = np.arange(1, n)
        odds = 1.0 / (sizes * (n - sizes))
        self._sizes, self._odds = sizes, odds / odds.sum()
        self._counts: dict[bytes, int] = {}
        self._masks: dict[bytes, NDArray[np.bool_]] = {}

    def grow(self, pairs: int) -> Design:
        """Return a design that costs this many pairs at most; at most ten times as many are drawn."""
        for _ in range(10 * pairs):
            mask = np.zeros(self.n, dtype=bool)
            mask[
                self._rng.choice(self.n, int(self._rng.choice(self._sizes, p=self._odds)), replace=False)
            ] = True
            mask = mask if mask[0] else ~mask
            key = mask.tobytes()
            if key not in self._masks and len(self._masks) == pairs:
                break
            self._masks[key] = mask
            self._counts[key] = self._counts.get(key, 0) + 1
        masks = [side for mask in self._masks.values() for side in (mask, ~mask)]
        draws = np.array([float(count) for count in self._counts.values()])
        return Design(np.array(masks), np.repeat(draws, 2), np.ones(len(draws)), draws)


def count_draws(value: Value, n: int, most: int, method: str) -> int:
    """Return how many masks to draw within the budget."""
    left = get_remaining(value)
    count = most if left is None else min(most, left)
    if count < 2 * n + 2:
        raise BudgetError(f"{method} needs {2 * n + 2} evaluations at least here; the budget pays for {left}")
    expect(value, count)
    return count
