"""How far raters of the same things agree: two by kappa, any number with gaps by Krippendorff's alpha.

Kappa is weighted by squared differences: of yes and no it is Cohen's kappa, of numbers Lin's concordance.
Its bounds join those of drawing the pairs anew with Student's t of the squared differences and, where few or
none were seen, with a bound of their share times their size (`benchmarks/evaluation.py` measures them).
Those of alpha are made in the same way, with the things that several have rated drawn anew.

Source: Cohen 1968, Psychological Bulletin 70, 213-220; Lin 1989, Biometrics 45, 255-268; Krippendorff 2011,
    Computing Krippendorff's Alpha-Reliability.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from llm_trace.statistics.correlation import bootstrap
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import FEW
from llm_trace.statistics.student import compute_t_quantile
from llm_trace.statistics.yesno import bound_tango

ROUNDS = 1_000
_TINY = 1e-300


def compute_kappa(a: Floats, b: Floats) -> Floats:
    """Return kappa with squared weights along the last axis of two arrays (..., n), shape (...).

    It is 1 where both always say the same, 0 where they agree as by chance.
    """
    apart = ((a - b) ** 2).mean(axis=-1)
    by_chance = a.var(axis=-1) + b.var(axis=-1) + (a.mean(axis=-1) - b.mean(axis=-1)) ** 2
    return np.asarray(np.where(by_chance > _TINY, 1.0 - apart / np.maximum(by_chance, _TINY), 1.0))


def bound_kappa(
    a: Floats, b: Floats, *, confidence: float, largest: float, seed: int = 0
) -> tuple[float, float]:
    """Return bounds of kappa for n >= 2 pairs, by drawing the pairs anew.

    Args:
        a, b: (n,) ratings of the same things.
        confidence: of the bounds.
        largest: by how much two ratings can differ.
        seed: of the draws.
    """
    by_chance = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    if by_chance <= _TINY:
        return -1.0, 1.0
    low, high = bootstrap(compute_kappa, a, b, confidence=confidence, seed=seed, rounds=ROUNDS)
    apart, n = (a - b) ** 2, len(a)
    most = float(apart.mean()) + compute_t_quantile(confidence, n - 1) * float(apart.std(ddof=1)) / n**0.5
    wrong = int((apart > 0).sum())
    if wrong < FEW:
        share = bound_tango(wrong, 0, n, confidence)[1]
        # one that was not seen is taken to be as large as by chance
        size = max(float(apart.max()), by_chance) if wrong else largest**2
        most = max(most, share * size)
    return max(-1.0, min(low, 1 - most / by_chance)), high


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha with bounds."""

    value: float
    """1 where all say the same of each thing, 0 where they agree as by chance."""
    low: float
    high: float
    things: int
    """Things that at least two have rated."""


def measure_alpha(
    ratings: Sequence[Sequence[Hashable]], *, numeric: bool, confidence: float = 0.95, seed: int = 0
) -> Alpha | None:
    """Return how far raters agree; `None` where fewer than two things have two ratings, or all are the same.

    Args:
        ratings: of each thing its ratings, by however many.
        numeric: they are numbers, and two differ by the square of their distance; else two labels differ or
            do not.
        confidence: of the bounds.
        seed: of the draws.
    """
    pairable = [thing for thing in ratings if len(thing) > 1]
    if len(pairable) < 2:
        return None
    counts, levels = _count_levels(pairable)
    apart = _build_distances(levels, numeric=numeric)
    sizes = counts.sum(axis=1)
    within = np.einsum("ui,ij,uj->u", counts, apart, counts) / (sizes - 1)  # each thing's disagreement
    value, by_chance = _compute_alpha(np.ones((1, len(counts))), counts, within, sizes, apart)
    if by_chance[0] <= _TINY:
        return None
    draws = np.random.default_rng(seed).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), ROUNDS
    )
    drawn, _ = _compute_alpha(draws.astype(np.float64), counts, within, sizes, apart)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    most = _bound_disagreement(
        within * len(within) / sizes.sum(), float(by_chance[0]), float(apart.max()), confidence
    )
    return Alpha(float(value[0]), max(-1.0, min(float(low), 1 - most)), float(high), len(pairable))


def _count_levels(ratings: Sequence[Sequence[Hashable]]) -> tuple[Floats, list[Hashable]]:
    """Return how often each thing has each level (things, levels), and the levels."""
    levels = list(dict.fromkeys(value for thing in ratings for value in thing))
    place = {level: i for i, level in enumerate(levels)}
    counts = np.zeros((len(ratings), len(levels)))
    for row, thing in zip(counts, ratings, strict=True):
        for value in thing:
            row[place[value]] += 1
    return counts, levels


def _build_distances(levels: list[Hashable], *, numeric: bool) -> Floats:
    if not numeric:
        return 1.0 - np.eye(len(levels))
    numbers = np.array(levels, dtype=np.float64)
    return np.asarray((numbers[:, None] - numbers[None, :]) ** 2)


def _compute_alpha(
    weights: Floats, counts: Floats, within: Floats, sizes: Floats, apart: Floats
) -> tuple[Floats, Floats]:
    """Return alpha and the disagreement by chance of things drawn `weights` (rounds, things) times."""
    n = weights @ sizes
    totals = weights @ counts  # (rounds, levels)
    by_chance = np.einsum("ri,ij,rj->r", totals, apart, totals) / (n * (n - 1))
    observed = (weights @ within) / n
    return np.where(by_chance > _TINY, 1.0 - observed / np.maximum(by_chance, _TINY), 1.0), by_chance


def _bound_disagreement(apart: Floats, by_chance: float, largest: float, confidence: float) -> float:
    """Return the most that the mean of things' disagreements may be, relative to that by chance."""
    n = len(apart)
    most = float(apart.mean()) + compute_t_quantile(confidence, n - 1) * float(apart.std(ddof=1)) / n**0.5
    wrong = int((apart > 0).sum())
    if wrong < FEW:
        share = float(stats.binomtest(wrong, n).proportion_ci(confidence, method="exact").high)
        # one that was not seen is taken to be as large as by chance
        size = max(float(apart.max()), by_chance) if wrong else largest
        most = max(most, share * size)
    return float(most / by_chance)
