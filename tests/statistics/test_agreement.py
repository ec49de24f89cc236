"""Kappa with bounds, and Holm's correction."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.statistics.agreement import bound_kappa, compute_kappa
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.multiple_tests import correct_holm


def count_kappa(a: list[int], b: list[int]) -> Fraction:
    """Return kappa with squared weights by counting all pairs."""
    apart = Fraction(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)), len(a))
    by_chance = Fraction(sum((x - y) ** 2 for x in a for y in b), len(a) ** 2)
    return 1 - apart / by_chance if by_chance else Fraction(1)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=12))
def test_kappa_is_what_counting_gives(pairs: list[tuple[int, int]]) -> None:
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    kappa = float(compute_kappa(np.array(a, float), np.array(b, float)))
    assert kappa == pytest.approx(float(count_kappa(a, b)), abs=1e-9)


def test_of_yes_and_no_it_is_cohens_kappa() -> None:
    yes_no = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    a, b = np.array(yes_no, float).T
    assert float(compute_kappa(a, b)) == pytest.approx(0.4)  # (0.7 - 0.5) / (1 - 0.5)


def test_bounds_lie_around_kappa_and_few_disagreements_do_not_close_them() -> None:
    truth = np.array([0.0, 1.0] * 20)
    ours = truth.copy()
    ours[::5] = 1 - ours[::5]
    low, high = bound_kappa(ours, truth, confidence=0.95, largest=1.0)
    assert -0.1 < low < float(compute_kappa(ours, truth)) < high < 0.95
    same: Floats = np.array([0.0, 1.0] * 10)
    low, high = bound_kappa(same, same, confidence=0.95, largest=1.0)
    assert high == 1.0
    assert 0.6 < low < 0.7  # 1 - 0.168 / 0.5: of 20 none differ, so up to 16.8 % may


def test_holms_correction_keeps_order_and_multiplies_by_the_tests_left() -> None:
    assert correct_holm(np.array([0.04, 0.01, 0.03, 0.9])).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert correct_holm(np.array([])).tolist() == []
    assert correct_holm(np.array([0.7, 0.8])).tolist() == [1.0, 1.0]
