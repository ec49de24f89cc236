"""Correlations, R² and their bounds, against figures of another implementation and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.statistics.correlation import (
    bootstrap,
    bound_correlation,
    compute_r_squared,
    correlate,
    rank_correlate,
    rank_correlate_rows,
)

A = np.array([0.3, -1.2, 0.3, 2.5, 0.0, 4.1, -0.7, 1.9, 1.9, 0.3])
B = np.array([0.1, -0.9, 0.4, 1.1, 1.1, 3.0, 0.2, -2.0, 2.2, 0.6])

numbers = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=12)


def test_correlations_of_a_sample_with_ties() -> None:
    assert correlate(A, B) == pytest.approx(0.5410959179949729, abs=1e-12)
    assert rank_correlate(A, B) == pytest.approx(0.5247313482200945, abs=1e-12)
    assert compute_r_squared(A, B) == pytest.approx(0.12366773811537823, abs=1e-12)
    assert compute_r_squared(A, A) == 1.0


def test_what_does_not_vary_correlates_with_nothing() -> None:
    flat = np.full(10, 0.1)
    assert (correlate(A, flat), rank_correlate(A, flat), rank_correlate(flat, A)) == (0.0, 0.0, 0.0)
    assert compute_r_squared(flat, A) == 0.0


@given(numbers, st.permutations(range(12)))
def test_spearman_is_pearson_of_ranks_that_ties_share(values: list[float], order: list[int]) -> None:
    a = np.array(values)
    b = a[[i for i in order if i < len(a)]]
    ranks = [
        np.array([sum(y < x for y in sample) + (sum(y == x for y in sample) + 1) / 2 for x in sample])
        for sample in (a, b)
    ]
    assert rank_correlate(a, b) == pytest.approx(correlate(*ranks), abs=1e-12)


def test_bootstrap_bounds_are_percentiles_of_pairs_drawn_anew() -> None:
    expected = (-0.1986066342557322, 0.9531361911782319)
    assert bootstrap(rank_correlate_rows, A, B) == pytest.approx(expected, abs=1e-12)
    bounds = bootstrap(compute_r_squared, A, B, confidence=0.9, seed=3, rounds=200)
    assert bounds == pytest.approx((-2.19998722815187, 0.8213954754129538), abs=1e-12)


def test_bootstrap_bounds_of_samples_that_do_not_vary_are_zero() -> None:
    assert bootstrap(rank_correlate_rows, np.zeros(8), B[:8]) == (0.0, 0.0)


def test_bootstrap_bounds_hold_the_true_correlation() -> None:
    rng, held = np.random.default_rng(0), 0
    truth = 6 / np.pi * np.arcsin(0.8 / 2)  # Spearman of a normal pair with correlation 0.8
    for seed in range(100):
        a = rng.normal(size=60)
        b = 0.8 * a + 0.6 * rng.normal(size=60)
        low, high = bootstrap(rank_correlate_rows, a, b, seed=seed, rounds=200)
        held += low <= truth <= high
    assert held >= 88


def test_fishers_bounds_of_a_correlation() -> None:
    assert bound_correlation(0.6, 10, 0.95) == pytest.approx(
        (-0.04761354419701497, 0.8924719958282221), abs=1e-12
    )
    assert bound_correlation(0.6, 3, 0.95) == (-1.0, 1.0)
    assert bound_correlation(1.0, 10, 0.95) == (1.0, 1.0)
