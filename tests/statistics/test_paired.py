"""Statistics of paired differences, against published figures, exact enumeration and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from llm_trace.statistics.clusters import count_effective_clusters
from llm_trace.statistics.intervals import bound_mean
from llm_trace.statistics.paired import estimate
from llm_trace.statistics.scales import Scale
from llm_trace.statistics.signflip import sign_flip
from llm_trace.statistics.yesno import bound_tango, compute_mcnemar

Floats = NDArray[np.float64]


def covered(samples: Floats, truth: float) -> float:
    """Return the share of samples (repetitions, n) whose bounds hold the truth."""
    found = [bound_mean(sample, largest=1.0) for sample in samples]
    return float(np.mean([interval.low <= truth <= interval.high for interval in found]))


@pytest.mark.parametrize(("n", "least"), [(30, 0.90), (100, 0.93)])
def test_bounds_of_lognormal_differences_cover_as_they_say(n: int, least: float) -> None:
    samples = np.random.default_rng(1).lognormal(0, 1, (500, n))
    assert covered(samples, float(np.exp(0.5))) >= least


def test_bounds_hold_where_one_pair_in_thirty_differs() -> None:
    draws = np.random.default_rng(2).random((500, 40))
    samples = np.where(draws < 0.03, 1.0, 0.0)
    assert covered(samples, 0.03) >= 0.93


def test_bounds_of_many_symmetric_differences_are_students() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, 2000)
    found = bound_mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=2e-3)


def test_bounds_of_a_constant_difference_are_that_difference() -> None:
    found = bound_mean(np.full(50, 0.1) + np.linspace(0, 1e-17, 50))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_tango_agrees_with_what_nam_and_others_print() -> None:
    # Tango 1998: 32 marker-positive pairs etc.; with no discordant pair the bounds are z² / (n + z²)
    z2 = float(stats.norm.ppf(0.975)) ** 2
    assert bound_tango(0, 0, 30) == pytest.approx((-z2 / (30 + z2), z2 / (30 + z2)), abs=1e-6)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 60))
@settings(max_examples=60)
def test_tango_holds_the_difference_and_mirrors(gained: int, lost: int, same: int) -> None:
    n = gained + lost + same
    low, high = bound_tango(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert bound_tango(lost, gained, n) == pytest.approx((-high, -low), abs=1e-6)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert compute_mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert compute_mcnemar(0, 0) == 1.0


def test_the_sign_flip_test_of_few_pairs_is_exact() -> None:
    values = np.array([1.0, 2.0, -0.5, 3.0, 0.0, 1.5])
    moved = values[values != 0]
    sums = [abs(np.dot(signs, moved)) for signs in itertools.product((1, -1), repeat=len(moved))]
    assert sign_flip(values) == np.mean([s >= moved.sum() - 1e-12 for s in sums])


def test_the_sign_flip_test_of_many_pairs_agrees_with_scipy() -> None:
    rng = np.random.default_rng(4)
    for n in (60, 1500):
        values = rng.normal(1.5 / n**0.5, 1, n)
        drawn = stats.permutation_test(
            (values, np.zeros(n)),
            lambda x, y: np.mean(x - y),
            permutation_type="samples",
            n_resamples=2000,
            rng=5,
        )
        assert sign_flip(values) == pytest.approx(drawn.pvalue, abs=0.03)


def test_false_alarms_stay_below_the_level() -> None:
    rng = np.random.default_rng(6)
    p_values = [sign_flip(x - y) for x, y in rng.lognormal(0, 1, (300, 2, 12))]
    assert np.mean(np.array(p_values) < 0.05) <= 0.07


def test_dependent_pairs_give_wider_bounds_than_independent_ones() -> None:
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(30), 10)
    a = np.zeros(300)
    b = rng.normal(0.2, 1, 30)[clusters] + rng.normal(0, 0.1, 300)
    alone, together = estimate(a, b), estimate(a, b, clusters)
    assert alone.low is not None
    assert together.low is not None
    assert (together.difference - together.low) > 2.5 * (alone.difference - alone.low)
    assert (alone.p_value or 0) < (together.p_value or 0)


def covered_in_sessions(sizes: NDArray[np.int64], fails: float, repetitions: int = 200) -> float:
    """Return how often the bounds hold the truth where whole sessions fail, each with the same chance."""
    rng, clusters = np.random.default_rng(10), np.repeat(np.arange(len(sizes)), sizes)
    found = []
    for _ in range(repetitions):
        failed = rng.random(len(sizes)) < fails
        result = estimate(np.ones(len(clusters)), np.where(failed[clusters], 0.0, 1.0), clusters)
        assert result.low is not None
        assert result.high is not None
        found.append(result.low <= -fails <= result.high)
    return float(np.mean(found))


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(np.full(10, 5), id="10-equal-sessions"),
        pytest.param(np.full(40, 5), id="40-equal-sessions"),
        pytest.param(np.array([40, *[2] * 20]), id="half-the-pairs-in-one-session"),
    ],
)
def test_bounds_hold_where_few_sessions_fail_as_a_whole(sizes: NDArray[np.int64]) -> None:
    assert covered_in_sessions(sizes, 0.03) >= 0.93


def test_bounds_hold_where_one_session_has_half_of_the_pairs() -> None:
    rng, clusters = np.random.default_rng(11), np.repeat(np.arange(30), [60, *[2] * 29])
    found = []
    for _ in range(200):
        effects = rng.normal(0, 1, 30)
        result = estimate(np.zeros(118), effects[clusters] + rng.normal(0, 1, 118), clusters)
        found.append(result.low is not None and result.high is not None and result.low <= 0 <= result.high)
    assert np.mean(found) >= 0.93


def test_bounds_of_a_metric_that_is_constant_come_from_its_scale() -> None:
    sessions, ones, fives = np.repeat(np.arange(40), 5), np.ones(200), np.full(200, 5.0)
    by_session = bound_tango(0, 0, 40)  # as many sessions could have failed, unseen, as 40 rule out
    for values, size in ((ones, 1), (fives, 5)):
        found = estimate(values, values, sessions)
        assert (found.low, found.high) == pytest.approx(tuple(size * bound for bound in by_session))
        alone = estimate(values, values)
        assert (alone.low, alone.high) == pytest.approx(
            tuple(size * bound for bound in bound_tango(0, 0, 200))
        )


def test_a_difference_that_is_always_the_same_has_bounds_too() -> None:
    found = estimate(np.ones(10), np.full(10, 0.5), scale=Scale(0, 1, fixed=True))
    low, high = bound_tango(0, 0, 10)
    assert (found.low, found.high) == pytest.approx((-0.5 + low, -0.5 + high))


def test_bounds_stay_within_a_scale_that_is_known() -> None:
    sessions = np.repeat(np.arange(10), 20)
    found = estimate(np.ones(200), np.where(sessions < 2, 0.0, 1.0), sessions)
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= -0.2 <= found.high <= 1


def test_effective_clusters_are_fewer_where_one_is_large() -> None:
    assert count_effective_clusters(np.repeat(np.arange(8), 5)) == pytest.approx(8)
    assert count_effective_clusters(np.repeat(np.arange(30), [58, *[2] * 29])) == pytest.approx(
        116**2 / (58**2 + 29 * 4)
    )


def test_the_spread_over_clusters_is_the_jackknifes() -> None:
    rng, sizes = np.random.default_rng(12), np.array([1, 4, 2, 6, 3])
    clusters, values = np.repeat(np.arange(5), sizes), rng.normal(0, 1, 16)
    left = np.array([values[clusters != k].mean() for k in range(5)])
    error = np.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum())
    assert bound_mean(values, clusters).error == pytest.approx(error)


def test_clusters_of_one_pair_change_nothing() -> None:
    a, b = np.random.default_rng(8).normal(0, 1, (2, 40))
    one, other = estimate(a, b, np.arange(40)), estimate(a, b)
    assert (one.low, one.high, one.p_value) == pytest.approx((other.low, other.high, other.p_value))


def test_yes_or_no_values_are_tested_exactly() -> None:
    a, b = np.repeat([1.0, 0.0, 1.0], [20, 1, 9]), np.repeat([1.0, 1.0, 0.0], [20, 1, 9])
    found = estimate(a, b)
    assert found.kind == "yesno"
    assert found.difference == pytest.approx(-8 / 30)
    assert found.p_value == pytest.approx(compute_mcnemar(1, 9))
    assert (found.low, found.high) == bound_tango(1, 9, 30)
    assert found.effect == pytest.approx(1.5 / 9.5)


def test_one_pair_has_a_difference_and_no_bounds() -> None:
    found = estimate(np.array([0.5]), np.array([2.0]))
    assert (found.n, found.difference, found.low, found.p_value, found.further(0.05)) == (
        1,
        1.5,
        None,
        None,
        None,
    )


def test_further_pairs_are_those_of_a_study_with_power_of_80_percent() -> None:
    # d = 0.2: 197 pairs by the normal approximation (7.849 / 0.04), 320 at level 0.05 / 8 (12.79 / 0.04)
    values = np.random.default_rng(9).normal(0, 1, 50)
    b = 0.2 + (values - values.mean()) / values.std(ddof=1)
    found = estimate(np.zeros(50), b)
    assert (found.further(0.05), found.further(0.05 / 8)) == (147, 270)
    assert estimate(np.zeros(50), np.zeros(50)).further(0.05) is None


def test_further_pairs_are_never_none_or_zero_where_a_test_could_decide() -> None:
    # of k flips of signs no p-value is below 2 / 2^k: 6 for a level of 0.05
    assert estimate(np.zeros(5), np.full(5, 3.3)).further(0.05) == 1
    assert estimate(np.zeros(3), np.full(3, 0.2)).further(0.05) == 3
