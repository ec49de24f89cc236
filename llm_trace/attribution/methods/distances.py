"""How far two samples are apart: distances of empirical distribution functions, and of sets of vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sample = NDArray[np.float64]
    """(m,) numbers in any order."""

Distance = Callable[["Sample", "Sample"], float]


def wasserstein(x: Sample, y: Sample) -> float:
    """Return the area between the two distribution functions, in the samples' unit; W1([0], [1]) = 1."""
    from scipy import stats

    return float(stats.wasserstein_distance(x, y))


def energy(x: Sample, y: Sample) -> float:
    """Return the square root of twice the squared area between the distribution functions."""
    from scipy import stats

    return float(stats.energy_distance(x, y))


def kolmogorov_smirnov(x: Sample, y: Sample) -> float:
    """Return the largest gap between the distribution functions, 0 to 1."""
    from scipy import stats

    return float(stats.ks_2samp(x, y, method="asymp").statistic)


def kuiper(x: Sample, y: Sample) -> float:
    """Return the largest gap above plus the largest below, 0 to 1 (Kuiper 1960)."""
    pooled = np.unique(np.concatenate([x, y]))
    gaps = _compute_share_below(x, pooled) - _compute_share_below(y, pooled)
    return float(max(gaps.max(), 0.0) + max(-gaps.min(), 0.0))


def _compute_share_below(x: Sample, at: Sample) -> Sample:
    """Return the share of a sample that is not above each place."""
    return np.searchsorted(np.sort(x), at, side="right") / len(x)


def cramer_von_mises(x: Sample, y: Sample) -> float:
    """Return the two-sample statistic T of squared gaps (Anderson 1962). Both samples need two values."""
    from scipy import stats

    _check_sizes(x, y, "cramer_von_mises")
    return float(stats.cramervonmises_2samp(x, y, method="asymptotic").statistic)


def anderson_darling(x: Sample, y: Sample) -> float:
    """Return the standardised two-sample statistic (Scholz & Stephens 1987): 0 is what chance gives.

    Both samples need two values; where all values are equal it is 0.
    """
    from scipy import stats

    _check_sizes(x, y, "anderson_darling")
    if np.ptp(np.concatenate([x, y])) == 0:
        return 0.0
    with warnings.catch_warnings():  # of its p-value, which is not used
        warnings.simplefilter("ignore")
        return float(stats.anderson_ksamp([x, y]).statistic)


def _check_sizes(x: Sample, y: Sample, name: str) -> None:
    if min(len(x), len(y)) < 2:
        raise AttributionError(
            f"{name} compares samples of two values and more: Remote(…, samples=2), or wasserstein"
        )


DISTANCES: dict[str, Distance] = {
    "wasserstein": wasserstein,
    "energy": energy,
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "kuiper": kuiper,
    "cramer_von_mises": cramer_von_mises,
    "anderson_darling": anderson_darling,
}


def find_distance(name: str) -> Distance:
    """Return the distance of that name.

    Raises:
        AttributionError: unknown.
    """
    if name not in DISTANCES:
        raise AttributionError(f"distance {name!r} is unknown; choose one of {', '.join(DISTANCES)}")
    return DISTANCES[name]


def compute_word_mover(costs: NDArray[np.float64], a: Sample | None = None, b: Sample | None = None) -> float:
    """Return the least cost of moving one set of words onto another: exact transport (Kusner et al. 2015).

    Args:
        costs: (p, q), from each word of one text to each of the other.
        a: (p,) mass of the words, equal where not given.
        b: (q,)
    """
    from scipy import optimize

    p, q = costs.shape
    if a is None and b is None and p == q:
        rows, columns = optimize.linear_sum_assignment(costs)
        return float(costs[rows, columns].mean())
    mass = np.concatenate(
        [np.full(p, 1 / p) if a is None else a / a.sum(), np.full(q, 1 / q) if b is None else b / b.sum()]
    )
    leaving = np.kron(np.eye(p), np.ones(q))  # (p, p q)
    arriving = np.kron(np.ones(p), np.eye(q))  # (q, p q)
    flow = optimize.linprog(costs.ravel(), A_eq=np.vstack([leaving, arriving]), b_eq=mass, method="highs")
    if not flow.success:
        raise AttributionError(f"the transport between {p} and {q} words was not found: {flow.message}")
    return float(flow.fun)
