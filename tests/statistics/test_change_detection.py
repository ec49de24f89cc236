"""Changes of a stream are noticed soon, placed well, and not made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_trace.statistics.change_detection import ChangeDetector, LevelChange, choose_block

Floats = NDArray[np.float64]
DRAWS: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "yes and no": lambda rng, level: (rng.random(len(level)) < level).astype(float),
    "shares": lambda rng, level: rng.beta(9 * level, 9 * (1 - level)),
    "heavy tails": lambda rng, level: (0.2 + 3 * level) * np.exp(rng.standard_t(2, len(level))),
    "whole numbers": lambda rng, level: rng.binomial(5, level).astype(float),
}


def make_levels(n: int, at: int, before: float, after: float) -> Floats:
    return np.where(np.arange(n) < at, before, after)


@pytest.mark.parametrize("name", DRAWS)
def test_without_a_change_alarms_are_as_rare_as_promised(name: str) -> None:
    alarms = 0
    for seed in range(100):
        values = DRAWS[name](np.random.default_rng(seed), np.full(2000, 0.2))
        alarms += ChangeDetector().feed(values, 10_000) is not None
    assert alarms <= 18 + 3 * 18**0.5  # at most one in 10,000 values on average: 180,000 were watched


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(("before", "after"), [(0.2, 0.5), (0.6, 0.3)])
def test_a_change_is_noticed_and_placed(name: str, before: float, after: float) -> None:
    delays, distances = [], []
    for seed in range(15):
        values = DRAWS[name](np.random.default_rng(seed), make_levels(1600, 900, before, after))
        change = ChangeDetector().feed(values, 1_000_000)
        assert change is not None
        assert change.rises == (after > before)
        delays.append(change.noticed - 900)
        distances.append(abs(change.first - 900))
    assert 0 < np.median(delays) < 250
    assert np.median(distances) < 40


def test_the_place_is_that_of_ruptures_with_hindsight() -> None:
    ruptures = pytest.importorskip("ruptures")
    for seed in range(10):
        values = DRAWS["shares"](np.random.default_rng(seed), make_levels(1500, 900, 0.4, 0.1))
        change = ChangeDetector().feed(values, 10_000)
        assert change is not None
        (place, _) = ruptures.Binseg(model="l2").fit(values).predict(n_bkps=1)
        assert abs(change.first - place) <= 25


@settings(max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(0, 5))
def test_values_in_pieces_come_to_what_all_at_once_do(sizes: list[int], seed: int) -> None:
    values = DRAWS["yes and no"](np.random.default_rng(seed), make_levels(1500, 600, 0.1, 0.6))
    whole = ChangeDetector().feed(values, 10_000)
    detector = ChangeDetector()
    change: LevelChange | None = None
    cuts = sorted({min(1499, cut) for cut in np.cumsum(sizes)})
    for piece in np.split(values, cuts):
        change = detector.feed(piece, 10_000)
        if change is not None:
            break
    assert change == whole
    assert whole is not None


@pytest.mark.parametrize("level", [0.0, 0.5, 7.0, 250.0, -3.0])
def test_a_constant_never_alarms_and_its_change_is_noticed(level: float) -> None:
    detector = ChangeDetector()
    assert detector.feed(np.full(25_000, level), 10_000) is None  # longer than the time to a false alarm
    change = detector.feed(np.full(200, level + 1.0), 10_000)
    assert change is not None
    assert change.rises
    assert change.first == 25_000
    assert change.noticed < 25_060


def test_few_values_are_learnt_from_and_nothing_else() -> None:
    detector = ChangeDetector(learn=50)
    assert detector.feed(np.array([0.0] * 25 + [1.0] * 24), 10.0) is None
    assert detector.is_learning
    assert detector.feed(np.array([1.0]), 10.0) is None
    assert detector.count == 50


def test_no_values_change_nothing() -> None:
    detector = ChangeDetector()
    assert detector.feed(np.empty(0), 10_000) is None
    assert detector.count == 0


def test_infinite_values_are_ranked_as_the_largest() -> None:
    values = np.concatenate([np.random.default_rng(0).exponential(size=900), np.full(60, np.inf)])
    change = ChangeDetector().feed(values, 10_000)
    assert change is not None
    assert abs(change.first - 900) <= 5


def test_milliseconds_below_one_are_told_apart_by_rank() -> None:
    rng = np.random.default_rng(0)
    values = 0.001 * np.concatenate([rng.lognormal(size=900), 4 * rng.lognormal(size=300)])
    change = ChangeDetector(ranked=True).feed(values, 10_000)
    assert change is not None
    assert abs(change.first - 900) <= 20


def draw_alike(rng: np.random.Generator, n: int, memory: float) -> Floats:
    noise, values = rng.normal(size=n), np.zeros(n)
    for i in range(1, n):
        values[i] = memory * values[i - 1] + noise[i]
    return values


def test_values_that_resemble_their_neighbours_are_taken_in_blocks() -> None:
    rng = np.random.default_rng(1)
    assert choose_block(rng.normal(size=500)) == 1
    assert choose_block(draw_alike(rng, 500, 0.5)) in (4, 8, 16)
    assert choose_block(np.arange(500.0)) == 64
    assert choose_block(np.full(500, 3.0)) == 1


def test_values_that_resemble_their_neighbours_raise_no_more_false_alarms() -> None:
    alarms = 0
    for seed in range(60):
        values = draw_alike(np.random.default_rng(seed), 3000, 0.6)
        alarms += ChangeDetector().feed(values, 10_000) is not None
    assert alarms <= 17 + 3 * 17**0.5  # 168,000 were watched
