"""Changes of paired shares: bounds, and the proof that one is small."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.statistics.equivalence import count_pairs_needed, judge_change, measure_change


def test_of_yes_and_no_the_p_value_is_exact_and_the_narrow_bounds_are_inside() -> None:
    before = np.array([1.0] * 10 + [0.0] * 90)
    change = measure_change(before, np.zeros(100), 0.95)
    assert [change.value, change.p_value] == pytest.approx([-0.1, 2 / 2**10])
    assert change.low is not None
    assert change.equivalent_low is not None
    assert change.low < change.equivalent_low < -0.1
    assert not change.is_within(0.1)
    assert change.is_within(0.2)


@pytest.mark.parametrize("value", [1.0, 0.25])
def test_what_never_changes_is_certified_only_when_it_was_seen_often_enough(value: float) -> None:
    for n, within in ((30, False), (60, True)):
        change = measure_change(np.full(n, value), np.full(n, value), 0.95)
        assert (change.value, change.p_value, change.is_within(0.05)) == (0.0, 1.0, within)


def test_one_pair_certifies_nothing() -> None:
    change = measure_change(np.array([0.5]), np.array([0.5]), 0.95)
    assert (change.value, change.low, change.is_within(1.0)) == (0.0, None, False)


def test_what_is_proved_not_to_matter_is_absent_however_sure_it_is() -> None:
    assert judge_change(within=True, p_value=0.001, level=0.05) == "absent"
    assert judge_change(within=False, p_value=0.001, level=0.05) == "found"
    assert judge_change(within=False, p_value=0.2, level=0.05) == "undecided"


def test_a_loss_is_proved_smaller_than_the_margin_however_large_the_gain() -> None:
    before = np.array([0.0] * 50 + [1.0] * 50)
    change = measure_change(before, np.ones(100), 0.95)
    assert (change.is_no_worse(0.01), change.is_within(0.4)) == (True, False)
    assert not measure_change(np.ones(100), before, 0.95).is_no_worse(0.4)
    assert not measure_change(np.array([0.5]), np.array([0.5]), 0.95).is_no_worse(0.9)


@pytest.mark.parametrize(("margin", "confidence"), [(0.01, 0.975), (0.05, 0.95), (0.5, 0.9)])
def test_as_many_unchanged_pairs_as_are_needed_prove_it_and_one_less_does_not(
    margin: float, confidence: float
) -> None:
    needed = count_pairs_needed(margin, confidence)
    for n, proved in ((needed, True), (needed - 1, False)):
        assert measure_change(np.ones(n), np.ones(n), confidence).is_no_worse(margin) == proved
