"""Kappa and alpha with bounds, and Holm's correction."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.statistics.agreement import bound_kappa, compute_kappa, measure_alpha
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


# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C: four observers, twelve units.
PUBLISHED = [
    *("1 1 1", "2 2 3 2", "3 3 3 3", "3 3 3 3", "2 2 2 2", "1 2 3 4"),
    *("4 4 4 4", "1 1 2 1", "2 2 2 2", "5 5 5", "1 1", "3"),
]


@pytest.mark.parametrize(("numeric", "expected"), [(False, 0.743), (True, 0.849)], ids=["labels", "numbers"])
def test_alpha_is_that_of_the_published_example(numeric: bool, expected: float) -> None:
    alpha = measure_alpha([unit.split() for unit in PUBLISHED], numeric=numeric)
    assert alpha is not None
    assert alpha.value == pytest.approx(expected, abs=5e-4)
    assert alpha.things == 11  # a unit that one has rated says nothing
    assert alpha.low < alpha.value < alpha.high


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), max_size=8), st.booleans())
def test_alpha_is_what_counting_all_pairs_gives(ratings: list[list[int]], numeric: bool) -> None:
    alpha = measure_alpha(ratings, numeric=numeric)
    things = [each for each in ratings if len(each) > 1]
    pooled = [value for thing in things for value in thing]

    def differ(a: int, b: int) -> int:
        return (a - b) ** 2 if numeric else int(a != b)

    n = len(pooled)
    chance = sum(differ(a, b) for a in pooled for b in pooled)
    if len(things) < 2 or not chance:
        assert alpha is None
        return
    within = sum(Fraction(sum(differ(a, b) for a in t for b in t), len(t) - 1) for t in things)
    assert alpha is not None
    assert alpha.value == pytest.approx(float(1 - within / n / Fraction(chance, n * (n - 1))), abs=1e-9)
    assert -1 <= alpha.low <= alpha.value <= alpha.high <= 1


def test_few_disagreements_do_not_close_the_bounds_of_alpha() -> None:
    alpha = measure_alpha([["yes", "yes"], ["no", "no"]] * 10, numeric=False)
    assert alpha is not None
    assert (alpha.value, alpha.high) == (1.0, 1.0)
    assert 0.6 < alpha.low < 0.7  # of 20 things none differs, so up to 16.8 % may
