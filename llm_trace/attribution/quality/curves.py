"""What happens when segments go in the order of their scores: deletion, insertion, sufficiency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.quality.study import Study

STEPS = 10
ORDERS = 5
"""Random orders that the order by score is compared with."""
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the segments, as in ERASER (DeYoung et al. 2020)."""


def measure_curves(study: Study) -> dict[str, Any]:
    """Return deletion and insertion areas by score, in the opposite order and in random orders, and the
    figures at fixed shares.

    All in the value's unit. `comprehensiveness`: mean loss when the strongest 1, 5, 10, 20, 50 % are deleted;
    `sufficiency`: mean loss when only they are kept; `log_odds_20`: change of the log-probability when the
    strongest 20 % are deleted (Enguehard 2023); `deletion_curve`, `deletion_random_curve`: the loss after
    each of `shares` by score, and the mean of the random orders with its lowest and highest.
    """
    if study.n < 2:
        return {}
    best = np.argsort(-study.scores, kind="stable")
    rng = np.random.default_rng([study.seed, 73])
    orders = [best, best[::-1], *(rng.permutation(study.n) for _ in range(ORDERS))]
    steps = np.unique(np.linspace(0, study.n, min(study.n, STEPS) + 1).round().astype(int))
    removed = np.vstack([_remove_in_order(order, steps) for order in orders])
    inserted = np.vstack([~_remove_in_order(order, steps) for order in orders])
    loss = study.full - study.totals(np.vstack([~removed, ~inserted]))
    curves = loss.reshape(2, len(orders), len(steps))
    deletion, insertion = curves.mean(axis=2)
    chance = curves[0, 2:]
    return {
        "masks": "nested: segments deleted or inserted one after the other",
        "deletion": _compute_areas(deletion),
        "insertion": _compute_areas(-insertion),
        "shares": [float(s) for s in steps / study.n],
        "deletion_curve": _make_floats(curves[0, 0]),
        "deletion_random_curve": _make_floats(chance.mean(axis=0)),
        "deletion_random_low": _make_floats(chance.min(axis=0)),
        "deletion_random_high": _make_floats(chance.max(axis=0)),
        **_compute_fixed_shares(study, best),
    }


def _make_floats(row: NDArray[np.float64]) -> list[float]:
    return [float(x) for x in row]


def _remove_in_order(order: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (steps, n): row r marks the first steps[r] of the order."""
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[None, :] < steps[:, None])


def _compute_areas(rows: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean height of each curve; higher is better for both kinds."""
    most, least, *random = (float(x) for x in rows)
    return {
        "strongest_first": most,
        "weakest_first": least,
        "random": float(np.mean(random)),
        "random_sd": float(np.std(random, ddof=1)),
        "beats_random": most > max(random),
    }


def _compute_fixed_shares(study: Study, best: NDArray[np.int64]) -> dict[str, float]:
    counts = np.array([max(1, int(np.ceil(b * study.n))) for b in BINS])
    top = _remove_in_order(best, counts)
    loss = study.full - study.totals(np.vstack([~top, top]))
    without, only = loss.reshape(2, len(BINS))
    return {
        "comprehensiveness": float(without.mean()),
        "sufficiency": float(only.mean()),
        "log_odds_20": -float(without[BINS.index(0.2)]),
    }
