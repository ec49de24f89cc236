"""Means of one and of two independent samples, against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llm_trace.statistics.independent import ClusteredSample, bound_difference, bound_sample, compare_means


def sample(*values: float, repeats: int = 1) -> ClusteredSample:
    return ClusteredSample(
        np.repeat(np.array(values, dtype=float), repeats), np.repeat(np.arange(len(values)), repeats)
    )


def shares(right: int, n: int) -> ClusteredSample:
    return sample(*[1.0] * right, *[0.0] * (n - right))


def test_a_share_has_wilsons_bounds() -> None:
    mean = bound_sample(shares(18, 20), 0.95)
    wilson = stats.binomtest(18, 20).proportion_ci(0.95, method="wilson")
    assert (mean.value, mean.low, mean.high) == (0.9, wilson.low, wilson.high)


def test_repeats_that_agree_tell_no_more_than_one() -> None:
    once, thrice = (bound_sample(sample(1, 1, 0, 1, 0, 1, repeats=n), 0.95) for n in (1, 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_clusters_that_are_all_alike_have_bounds_of_their_number() -> None:
    values = ClusteredSample(np.tile([0.0, 1.0], 20), np.repeat(np.arange(20), 2))
    mean = bound_sample(values, 0.95)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.value == 0.5
    assert 0.3 < mean.low < 0.4
    assert 0.6 < mean.high < 0.7


def test_one_cluster_has_no_bounds() -> None:
    mean = bound_sample(sample(1, repeats=4), 0.95)
    assert (mean.value, mean.low, mean.high) == (1.0, None, None)
    assert compare_means(sample(1, repeats=4), shares(1, 9)) is None


def test_the_difference_of_shares_has_newcombes_bounds() -> None:
    """Source: Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10, 56/70 - 48/80."""
    mean = bound_difference(shares(56, 70), shares(48, 80), 0.95)
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_the_p_value_is_where_the_bounds_reach_zero() -> None:
    a, b = shares(56, 70), shares(48, 80)
    p_value = compare_means(a, b)
    assert p_value is not None
    assert bound_difference(a, b, 1 - p_value).low == pytest.approx(0, abs=1e-4)
    assert compare_means(shares(5, 9), shares(5, 9)) == 1.0
    assert compare_means(shares(400, 400), shares(0, 400)) == 1e-6


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=4), min_size=2, max_size=30
    )
)
def test_bounds_of_a_share_hold_its_value_and_are_shares(clusters: list[list[float]]) -> None:
    numbers = [i for i, values in enumerate(clusters) for _ in values]
    values = [value for cluster in clusters for value in cluster]
    mean = bound_sample(ClusteredSample(np.array(values), np.array(numbers)), 0.95)
    assert mean.low is not None
    assert mean.high is not None
    assert 0 <= mean.low <= mean.value + 1e-12
    assert mean.value - 1e-12 <= mean.high <= 1
    assert mean.low < mean.high
