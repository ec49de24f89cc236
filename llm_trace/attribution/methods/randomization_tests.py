"""Decoding noise told apart from effect: random masks, and tests that are exact whatever the model does.

Masks are independent Bernoulli draws, so the law of one word's column given all else is known: under the
hypothesis that the word makes no difference, drawing its column anew changes nothing (conditional
randomisation, Candès et al. 2018). That holds for any statistic, so the test takes the larger of two: with
near masks weighing more, and with all alike, which sees words of which either suffices. Where several answers
to two prompts are compared, the answers are exchangeable under the hypothesis and are permuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SCREENED = 0.02
"""p-value of the first, short round up to which a word is tested by a second, long one."""
_RIDGE = 0.02
"""Penalty for each column."""
_NEIGHBOURS = 2
"""Prompts next in length, on each side."""
_FIRST_ROUND = 2000
_AT_ONCE = 4_000_000
"""Numbers drawn at once."""


def draw_masks(k: int, n: int, keep: ArrayLike, seed: int, *, vanishes: bool) -> NDArray[np.bool_]:
    """Return masks (k, n) that keep each segment with probability `keep`; several rates take turns.

    Where a mask that keeps nothing leaves no prompt it is drawn again; `ColumnEffects` knows that its last
    segment then had no choice.
    """
    rates = np.resize(np.asarray(keep, dtype=float), k)
    masks = np.random.default_rng(seed).random((k, n)) < rates[:, None]
    for row in np.flatnonzero(~masks.any(axis=1)) if vanishes else ():
        rng = np.random.default_rng((seed, int(row)))  # of its own: the first masks are the same for every k
        while not masks[row].any():
            masks[row] = rng.random(n) < rates[row]
    return masks


def compute_least_masks(n: int, keep: ArrayLike, level: float) -> int:
    """Return how many masks one of n segments needs to be significant after Benjamini-Hochberg.

    A column of k draws is as rare as exp(-k entropy); two-sided, that must stay below level / n.
    """
    rates = np.asarray(keep, dtype=float)
    entropy = -float(np.mean(rates * np.log(rates) + (1 - rates) * np.log(1 - rates)))
    return ceil(log(2 * n / level) / entropy)


class ColumnEffects:
    """Each segment's effect with all others regressed out, and what chance alone could have given.

    Args:
        masks: (k, n) from `draw_masks`.
        values: (k,)
        keep: probability of a kept segment, one for all or (k,).
        vanishes: as for `draw_masks`.
    """

    def __init__(
        self, masks: NDArray[np.bool_], values: NDArray[np.float64], keep: ArrayLike, *, vanishes: bool
    ) -> None:
        n = masks.shape[1]
        self._rates = np.resize(np.asarray(keep, dtype=float), len(masks))
        self._centred = masks.astype(np.float64) - self._rates[:, None]  # (k, n)
        others = masks.sum(axis=1, keepdims=True) - masks
        free = np.where(others == 0, 0.0, 1.0) if vanishes else np.ones(masks.shape)
        weights = free * compute_nearness(others, max(1, n - 1))
        rest = regress_out(self._centred, values, self._rates)
        pull = weights * rest.values
        self._pulls = (self._scale_pull(pull), self._scale_pull(free * rest.values))
        along = weights * self._centred * rest.directions
        mass = np.maximum(along.sum(axis=0), 1e-9 * len(masks))
        self.effects = np.asarray((self._centred * pull).sum(axis=0) / mass)
        """How much keeping each segment raises the value, (n,), others regressed out, by nearness."""
        unexplained = rest.values - rest.directions * self.effects
        pushed = weights * self._centred * unexplained / (1.0 - rest.leverage)[:, None]
        self.errors = np.asarray(np.sqrt((pushed**2).sum(axis=0)) / mass)
        """Standard errors of the effects, (n,): sandwich, residuals enlarged by their leverage (HC3)."""

    def _scale_pull(self, pull: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pulls (k, n), column i from the other columns alone, such that chance gives variance 1."""
        variance = (self._rates * (1 - self._rates)) @ pull**2
        return np.asarray(pull / np.sqrt(np.maximum(variance, 1e-300)))

    def compute_p_values(self, level: float, seed: int) -> NDArray[np.float64]:
        """Return for each segment how often drawing its column anew gives an effect as large, (n,).

        What a short round finds rare is drawn afresh, long enough to reach the level after correction.
        """
        n = self._centred.shape[1]
        rng = np.random.default_rng((seed, 1))
        p_values = self._compute_tail(np.arange(n), _FIRST_ROUND, rng)
        rare = np.flatnonzero(p_values <= _SCREENED)
        if len(rare):
            p_values[rare] = self._compute_tail(rare, max(20_000, ceil(4 * n / level)), rng)
        return p_values

    def _compute_tail(
        self, chosen: NDArray[np.int64], rounds: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        pulls = [np.ascontiguousarray(pull[:, chosen]) for pull in self._pulls]
        centred, rates = self._centred[:, chosen], self._rates
        seen = np.max([np.abs((centred * pull).sum(axis=0)) for pull in pulls], axis=0) * (1 - 1e-9)
        above, k = np.zeros(len(chosen)), len(rates)
        step = max(1, _AT_ONCE // k)
        for done in range(0, rounds, step):
            drawn: NDArray[np.float64] = (
                rng.random((min(step, rounds - done), k), dtype=np.float32) < rates
            ) - rates
            above += (np.maximum(*(np.abs(drawn @ pull) for pull in pulls)) >= seen).sum(axis=0)
        return np.asarray((above + 1) / (rounds + 1))


def compute_nearness(sizes: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return exp(-d²/2s²) of the cosine distance d of masks that keep so many of n segments to the whole.

    The bandwidth s is the median distance of the column. Weights know the masks only, never the answers.
    """
    distance = 1.0 - np.sqrt(sizes / n)
    width = np.maximum(np.median(distance, axis=0), 1e-6)
    return np.asarray(np.exp(-((distance / width) ** 2) / 2))


@dataclass(frozen=True)
class Regressed:
    """Ridge regressions on all columns but one; entry (., i) is of the one without column i."""

    values: NDArray[np.float64]
    """(k, n): what they leave of the values."""
    directions: NDArray[np.float64]
    """(k, n): what they leave of column i."""
    leverage: NDArray[np.float64]
    """(k,): how far each row determines its own prediction, with all columns; below 1."""


def regress_out(x: NDArray[np.float64], y: NDArray[np.float64], rates: NDArray[np.float64]) -> Regressed:
    """Return what regressions on the other columns leave of y (k,) and of each column of x (k, n); each rate
    (k,) has its own mean.

    One decomposition serves all: the coefficients without column i are those of the whole with entry i
    constrained to zero. The penalty keeps a regression with as many columns as rows from explaining
    everything; with many rows it is next to nothing.
    """
    k, n = x.shape
    means = rates[:, None] == np.unique(rates)
    design = np.hstack([x, means])
    penalty = np.array([_RIDGE * n] * n + [1e-9 * k] * means.shape[1])
    inverse = np.linalg.inv(design.T @ design + np.diag(penalty))
    fitted = inverse @ (design.T @ y)
    through = design @ inverse
    directions = through[:, :n] / np.diag(inverse)[:n]
    leverage = np.minimum(np.einsum("kn,kn->k", through, design), 0.95)
    return Regressed((y - design @ fitted)[:, None] + directions * fitted[:n], directions, leverage)


def remove_length_trend(values: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values (k,), each less the mean of its neighbours in the order of length.

    Neighbours say what a length does whatever its form, a threshold too.
    """
    order = np.argsort(lengths, kind="stable")
    ranked = values[order]
    padded = np.pad(ranked, _NEIGHBOURS, mode="reflect")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
    rest = np.empty(len(values))
    rest[order] = ranked - (window.sum(axis=1) - ranked) / (2 * _NEIGHBOURS)
    return rest


def assess_drift(values: NDArray[np.float64], seed: int, rounds: int = 2000) -> float:
    """Return how often shuffled values wander as far from their mean as they do in the order of asking: the
    p-value of a change between calls.

    Masks are drawn independently, so that under one and the same model every order is alike.
    """
    rest = values - values.mean()
    if not np.any(np.abs(rest) > 1e-12):
        return 1.0
    rng = np.random.default_rng((seed, 2))
    seen = np.abs(np.cumsum(rest)).max() * (1 - 1e-9)
    shuffled = rng.permuted(np.tile(rest, (rounds, 1)), axis=1)
    return float((1 + (np.abs(np.cumsum(shuffled, axis=1)).max(axis=1) >= seen).sum()) / (rounds + 1))


def compare_apart(
    distances: NDArray[np.float64], first: int, seed: int, rounds: int = 9999
) -> tuple[float, float]:
    """Return the energy distance of two sets of answers, and how often a random split gives one as large.

    The answers are permuted, never their pairwise distances: these share answers and are not exchangeable.

    Args:
        distances: (m, m) between all answers, those of the first set first.
        first: how many these are.
        seed: of the permutations.
        rounds: permutations.
    """
    m = len(distances)
    sign = np.where(np.arange(m) < first, 1.0 / first, -1.0 / (m - first))
    seen = -float(sign @ distances @ sign)
    order = np.random.default_rng((seed, 3)).permuted(np.tile(sign, (rounds, 1)), axis=1)
    drawn = -np.einsum("ri,ri->r", order @ distances, order)
    return seen, float((1 + (drawn >= seen - 1e-9 * max(1.0, abs(seen))).sum()) / (rounds + 1))
