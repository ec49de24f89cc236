"""Alarms when values are no longer like those before."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.statistics.shifts import LevelShift, ShiftDetector, compute_bets


def watch(values: np.ndarray, reference: np.ndarray, **settings: float) -> list[LevelShift]:
    """Return all alarms."""
    detector = ShiftDetector(reference.tolist(), **settings)  # type: ignore[arg-type]
    return [shift for value in values if (shift := detector.observe(float(value))) is not None]


def test_no_gambler_wins_on_average_while_ranks_are_even() -> None:
    ranks = (np.arange(20_000) + 0.5) / 20_000
    bets = np.array([compute_bets(float(rank)) for rank in ranks])
    means = bets.mean(axis=0)
    assert means == pytest.approx(np.ones(len(means)), abs=1e-3)
    assert bets.min() > 0


@pytest.mark.parametrize("kind", ["yes or no", "shares", "heavy"])
def test_alarms_without_a_change_come_no_more_often_than_stated(kind: str) -> None:
    rng, n = np.random.default_rng(5), 6_300
    values = np.asarray(
        {"yes or no": rng.random(n) < 0.1, "shares": rng.beta(2, 5, n), "heavy": rng.standard_cauchy(n)}[
            kind
        ],
        float,
    )
    alarms = watch(values[300:], values[:300], values_per_false_alarm=300)
    assert len(alarms) <= 33  # 20 are expected at most; more than 33 come with a chance of 0.2 %


@pytest.mark.parametrize("up", [True, False])
def test_a_change_is_noticed_with_its_direction_and_beginning(up: bool) -> None:
    rng = np.random.default_rng(6)
    before, after = rng.normal(0.4, 0.1, 1500), rng.normal(0.5 if up else 0.3, 0.1, 500)
    (shift, *_) = watch(np.concatenate([before[1000:], after]), before[:1000])
    assert shift.direction == ("up" if up else "down")
    assert 500 < shift.at < 580
    assert abs(shift.since - 500) < 30
    assert shift.evidence >= 10_000


def test_a_rate_of_yes_that_rises_by_ten_points_is_noticed() -> None:
    rng = np.random.default_rng(7)
    before, after = rng.random(2000) < 0.1, rng.random(1000) < 0.2
    (shift, *_) = watch(np.concatenate([before[1000:], after]).astype(float), before[:1000].astype(float))
    assert shift.direction == "up"
    assert 1000 < shift.at < 1500


def test_the_same_values_and_seed_give_the_same_alarms() -> None:
    values = np.repeat([0.0, 1.0], 200)
    assert watch(values, values[:50], seed=3) == watch(values, values[:50], seed=3) != []
