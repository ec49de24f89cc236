"""How likely an answer is wrong by its signals: a ridge logistic regression, cross-fitted to be judged."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.statistics.floats import Floats

FOLDS = 5
_RIDGES = (0.3, 3.0, 30.0)
_CALLS_PER_TERM = 4
"""Calls for each term from which on products of signals are tried."""
_REACH = 4.0
"""Standard deviations beyond which a signal counts no more."""
_STEPS = 25
_TOLERANCE = 1e-6


class ErrorModel(Record):
    """The chance of an error as a function of signals."""

    centre: tuple[float, ...]
    """Of each signal the mean of the calls that it was fitted to."""
    scale: tuple[float, ...]
    """Of each signal the standard deviation."""
    weights: tuple[float, ...]
    """Log-odds of an error: a constant, one for each signal and, where `products`, for each of their
    products."""
    products: bool
    ridge: float

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        return np.array(self.centre), np.array(self.scale), np.array(self.weights)

    def estimate(self, signals: Floats) -> Floats:
        """Return the chance of an error for each row of signals, (..., k) to (...)."""
        centre, scale, weights = self._arrays
        z = np.minimum(np.maximum((signals - centre) / scale, -_REACH), _REACH)  # np.clip takes longer
        log_odds = weights[0] + _expand(z, products=self.products) @ weights[1:]
        return np.asarray(1 / (1 + np.exp(-log_odds)))

    def explain(self, signals: Floats) -> int:
        """Return the signal that speaks most against an answer: with it at its mean the chance is lowest."""
        without = np.repeat(signals[None], len(signals), axis=0)
        np.fill_diagonal(without, self.centre)
        return int(self.estimate(without).argmin())


def _expand(z: Floats, *, products: bool) -> Floats:
    """Return standardised signals with, if wanted, their squares and products."""
    if not products:
        return z
    first, second = _pair(z.shape[-1])
    return np.concatenate([z, z[..., first] * z[..., second]], axis=-1)


@lru_cache
def _pair(k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(k)


def fit_model(signals: Floats, wrong: Floats, seed: int) -> tuple[ErrorModel, Floats]:
    """Return the model and, for each call, the chance by models that were fitted without it.

    Ridge and products are chosen by how well calls are predicted by models that have not seen them.

    Args:
        signals: (n, k).
        wrong: (n,) of 0 and 1, both present.
        seed: of the folds.
    """
    folds = _deal_folds(wrong, seed)
    k = signals.shape[1]
    terms = k + k * (k + 1) // 2
    shapes = [False, True] if len(wrong) >= _CALLS_PER_TERM * terms else [False]
    best: tuple[float, ErrorModel, Floats] | None = None
    for products in shapes:
        for ridge in _RIDGES:
            chances = np.empty(len(wrong))
            for fold in range(FOLDS):
                held = folds == fold
                chances[held] = _fit(signals[~held], wrong[~held], ridge, products).estimate(signals[held])
            loss = -float(np.log(np.where(wrong > 0, chances, 1 - chances).clip(1e-9)).mean())
            if best is None or loss < best[0]:
                best = loss, _fit(signals, wrong, ridge, products), chances
    assert best is not None
    return best[1], best[2]


def _deal_folds(wrong: Floats, seed: int) -> Floats:
    """Return the fold of each call, wrong ones dealt out evenly."""
    order = np.random.default_rng(seed).permutation(len(wrong))
    order = order[np.argsort(wrong[order], kind="stable")]
    folds = np.empty(len(wrong), dtype=np.int64)
    folds[order] = np.arange(len(wrong)) % FOLDS
    return np.asarray(folds)


def _fit(signals: Floats, wrong: Floats, ridge: float, products: bool) -> ErrorModel:
    """Return the penalised maximum likelihood by Newton's method; the constant is not penalised."""
    centre, scale = signals.mean(axis=0), signals.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    z = _expand(np.clip((signals - centre) / scale, -_REACH, _REACH), products=products)
    x = np.concatenate([np.ones((len(z), 1)), z], axis=1)  # (n, terms)
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = 1e-3
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, x.T @ (wrong - chance) - penalty * weights)
        weights += step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    return ErrorModel(
        centre=tuple(centre.tolist()), scale=tuple(scale.tolist()), weights=tuple(weights.tolist()),
        products=products, ridge=ridge,
    )  # fmt: skip
