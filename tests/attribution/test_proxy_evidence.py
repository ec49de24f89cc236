"""The tests behind a proxy's screen, on differences whose mean is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.attribution.proxies.sequential_tests import (
    compute_bounds,
    count_fewest_instances,
    find_decision,
    is_overturned,
)
from llm_trace.statistics.anytime import compute_wealth

TAU = 0.9
DIFFERENCES = st.lists(st.floats(-TAU, 1.0), min_size=1, max_size=60)


def null(rng: np.random.Generator, paths: int, length: int) -> np.ndarray:
    """Return differences whose mean is zero: small gains, and every tenth a total failure."""
    return np.where(rng.random((paths, length)) < 0.1, -0.9, 0.1)


def test_a_proxy_that_is_not_good_enough_is_hardly_ever_accepted_however_often_one_looks() -> None:
    differences = null(np.random.default_rng(0), 4000, 200)
    assert (compute_wealth(differences + TAU, TAU).max(axis=1) >= 100).mean() <= 0.01


def test_a_proxy_that_is_good_enough_is_hardly_ever_rejected_however_often_one_looks() -> None:
    differences = -null(np.random.default_rng(1), 4000, 200) * TAU
    assert (compute_wealth(1.0 - differences, 1.0).max(axis=1) >= 100).mean() <= 0.01


def test_the_published_test_accepts_a_proxy_that_fails_one_call_in_ten() -> None:
    differences = null(np.random.default_rng(2), 200, 50)
    found = [find_decision(row.tolist(), TAU, 0.99, "t") > 0 for row in differences]
    assert np.mean(found) > 0.3


def test_both_decide_for_a_proxy_that_is_better_and_against_one_that_is_worse() -> None:
    rng = np.random.default_rng(3)
    for mean, sign in ((0.25, 1), (-0.4, -1)):
        differences = rng.normal(mean, 0.15, 50).clip(-TAU, 1.0).tolist()
        assert np.sign(find_decision(differences, TAU, 0.99)) == sign
        assert np.sign(find_decision(differences, TAU, 0.99, "t")) == sign


@given(DIFFERENCES)
def test_the_bounds_hold_the_mean_and_say_what_is_decided_at_the_last_look(d: list[float]) -> None:
    low, high = compute_bounds(d, TAU, 0.99)
    assert -TAU <= low <= np.mean(d) + 1e-9
    assert np.mean(d) - 1e-9 <= high <= 1.0
    assert (low > 1e-6) <= (find_decision(d, TAU, 0.99) != 0)


def test_the_fewest_instances_are_those_that_decide_when_all_are_at_their_best() -> None:
    count = count_fewest_instances(0.73, TAU, 0.99)
    assert find_decision([0.73] * count, TAU, 0.99) == count
    assert find_decision([0.73] * (count - 1), TAU, 0.99) == 0


def test_the_evidence_is_overturned_when_failures_outweigh_it() -> None:
    assert not is_overturned([0.1] * 45, TAU)
    assert not is_overturned([0.1] * 45 + [-0.7], TAU)
    assert is_overturned([0.1] * 38 + [-0.7] * 12, TAU)
