"""Bounds and tests that may be looked at after every observation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from llm_trace.statistics.anytime import (
    bound_least_mean,
    compute_rate_evidence,
    compute_wealth,
    is_rate_above,
    lower_bound_of_rate,
    upper_bound_of_rate,
)


def draw_counts(rate: float, paths: int, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return errors and trials after each trial, (paths, trials)."""
    errors = (np.random.default_rng(seed).random((paths, trials)) < rate).cumsum(axis=1)
    return errors, np.broadcast_to(np.arange(1, trials + 1), errors.shape)


def test_the_wealth_of_a_gambler_is_the_mean_over_his_stakes() -> None:
    stakes = np.array([0.2, 0.4, 0.6, 0.8, 0.98])
    prior = stakes**4 / (stakes**4).sum()
    expected = prior @ ((1 + stakes * (3 / 2 - 1)) * (1 + stakes * (1 / 2 - 1)))
    assert compute_wealth(np.array([3.0, 1.0]), 2.0)[-1] == pytest.approx(expected)


def test_the_bound_of_a_mean_lies_below_it_and_is_zero_of_nothing() -> None:
    x = np.random.default_rng(0).random(200)
    assert 0.4 < bound_least_mean(x, 0.95) < x.mean()
    assert bound_least_mean(np.array([]), 0.95) == bound_least_mean(np.zeros(9), 0.95) == 0.0


def test_the_evidence_of_a_rate_is_the_mean_likelihood_of_higher_ones_over_its_own() -> None:
    def weigh(q: float) -> float:
        return float(q**2.5 * (1 - q) ** 9.5)  # Jeffreys' prior times 3 errors in 13

    mass = integrate.quad(lambda q: q**-0.5 * (1 - q) ** -0.5, 0.1, 1)[0]
    expected = integrate.quad(weigh, 0.1, 1)[0] / mass / (0.1**3 * 0.9**10)
    assert float(compute_rate_evidence(3, 13, 0.1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.5])
def test_a_rate_is_hardly_ever_said_to_be_exceeded_that_is_not_however_often_one_looks(rate: float) -> None:
    evidence = compute_rate_evidence(*draw_counts(rate, 600, 150, 1), rate)
    assert (evidence.max(axis=1) >= 20).mean() <= 0.05


def test_a_rate_that_is_exceeded_is_soon_said_to_be() -> None:
    evidence = compute_rate_evidence(*draw_counts(0.2, 200, 200, 2), 0.05)
    first = np.where((evidence >= 20).any(axis=1), (evidence >= 20).argmax(axis=1), 200)
    assert np.median(first) < 50
    assert (first < 200).all()


def test_the_upper_bound_holds_after_every_trial_at_once_in_nearly_all_series() -> None:
    errors, trials = draw_counts(0.1, 600, 150, 3)
    assert (compute_rate_evidence(trials - errors, trials, 0.9).max(axis=1) >= 20).mean() <= 0.05
    below = [
        any(upper_bound_of_rate(int(s), n) < 0.1 for n, s in enumerate(path, 1)) for path in errors[:5, :30]
    ]
    assert sum(below) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_bounds_hold_the_share_and_mirror_each_other(errors: int, right: int) -> None:
    n = errors + right
    low, high = lower_bound_of_rate(errors, n), upper_bound_of_rate(errors, n)
    assert 0 <= low <= (errors / n if n else 0.0)
    assert (errors / n if n else 1.0) <= high <= 1
    assert low == pytest.approx(1 - upper_bound_of_rate(right, n))
    assert upper_bound_of_rate(errors, n, 0.99) >= high


def test_bounds_say_the_same_as_the_test() -> None:
    low, high = lower_bound_of_rate(9, 40), upper_bound_of_rate(9, 40)
    assert is_rate_above(9, 40, low - 1e-6, 0.95)
    assert not is_rate_above(9, 40, low + 1e-6, 0.95)
    assert is_rate_above(31, 40, 1 - high - 1e-6, 0.95)
    assert not is_rate_above(31, 40, 1 - high + 1e-6, 0.95)


def test_few_trials_say_little_and_many_much() -> None:
    assert upper_bound_of_rate(0, 0) == 1.0
    assert lower_bound_of_rate(0, 0) == 0.0
    assert upper_bound_of_rate(0, 8, 0.99) < 0.5 < upper_bound_of_rate(1, 8, 0.99)
    assert upper_bound_of_rate(480, 500, 0.99) > 0.96
    assert upper_bound_of_rate(8, 8, 0.99) == 1.0
    assert 0.003 < upper_bound_of_rate(0, 1000) < 0.004  # Clopper and Pearson's, for one look: 0.0030
    assert upper_bound_of_rate(500, 100_000) - 0.005 < 0.001
    assert is_rate_above(8, 8, 0.5, 0.99)
    assert not is_rate_above(7, 7, 0.5, 0.99)
