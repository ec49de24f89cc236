"""Decoding noise is not taken for effect: p-values are true, drift is seen, sets of answers are told
apart; and the paper's measures.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from scipy import stats

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.methods import randomization_tests
from llm_trace.attribution.methods.smile import RATES
from llm_trace.attribution.remote.model import Remote
from llm_trace.attribution.studies.smile_measures import (
    measure_accuracy,
    measure_consistency,
    measure_faithfulness,
    measure_smile_stability,
)
from llm_trace.errors import AttributionError
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg
from tests.helpers.remote_toys import desk, explain

LEVEL = 0.05
LONG_AND_SHORT = ["a", "in", "of", "go", "customer", "delivery", "warehouse", "packaging", "by", "at"]


def chance(seed: int) -> Any:
    """A model that answers by chance, whatever it is asked."""
    rng, lock = np.random.default_rng(seed), threading.Lock()

    def ask(_: str) -> str:
        with lock:
            return ("yes, approved", "no, denied", "tell me more")[rng.integers(3)]

    return ask


def test_p_values_are_uniform_where_the_answers_ignore_the_prompt() -> None:
    p_values, hits = [], 0
    for seed in range(60):
        found = explain(chance(seed), "one two three four five six", "yes, approved", budget=60, seed=seed)
        assert found.p_values is not None
        assert found.q_values is not None
        p_values.append(found.p_values[seed % 6])
        hits += min(found.q_values) <= LEVEL
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert hits <= 8  # 5 % of 60 are 3


@pytest.mark.parametrize(
    ("k", "n", "vanishes"), [(40, 2, True), (30, 3, True), (40, 40, False), (30, 50, False)]
)
def test_the_test_is_exact_in_small_and_wide_designs(k: int, n: int, vanishes: bool) -> None:
    found = []
    for seed in range(80):
        masks = randomization_tests.draw_masks(k, n, 0.7, seed, vanishes=vanishes)
        rest = np.random.default_rng((seed, 9)).exponential(size=k) * 3
        values = rest + 5.0 * masks[:, 0]  # the first one matters, by far
        found.append(
            randomization_tests.ColumnEffects(masks, values, 0.7, vanishes=vanishes).compute_p_values(
                LEVEL, seed
            )[-1]
        )
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_few_false_discoveries_beside_words_that_matter() -> None:
    rates, power = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        masks = randomization_tests.draw_masks(150, 20, 0.7, seed, vanishes=False)
        values = (
            masks[:, :4] @ np.array([1.0, 0.8, 0.6, -0.6]) + masks[:, 0] * masks[:, 1] + rng.normal(0, 1, 150)
        )
        q_values = correct_benjamini_hochberg(
            randomization_tests.ColumnEffects(masks, values, 0.7, vanishes=False).compute_p_values(
                LEVEL, seed
            )
        )
        hits = set(np.flatnonzero(q_values <= LEVEL))
        rates.append(len(hits - {0, 1, 2, 3}) / max(1, len(hits)))
        power.append(len(hits & {0, 1, 2, 3}) / 4)
    assert np.mean(rates) <= 0.07
    assert np.mean(power) > 0.7


def test_one_word_of_many_can_be_significant_with_so_few_masks_and_not_with_fewer() -> None:
    for n in (5, 40, 400):
        least = randomization_tests.compute_least_masks(n, 0.7, LEVEL)
        masks = randomization_tests.draw_masks(4 * least, n, 0.7, 0, vanishes=False)
        q_values = correct_benjamini_hochberg(
            randomization_tests.ColumnEffects(
                masks, masks[:, 2].astype(float), 0.7, vanishes=False
            ).compute_p_values(LEVEL, 0)
        )
        assert np.flatnonzero(q_values <= LEVEL).tolist() == [2]
        assert least <= 25


def test_masks_without_a_segment_are_drawn_again_and_the_first_masks_are_the_same_for_every_budget() -> None:
    few, more = (randomization_tests.draw_masks(k, 3, 0.3, 7, vanishes=True) for k in (50, 80))
    assert few.any(axis=1).all()
    assert (more[:50] == few).all()


def test_a_change_between_calls_is_seen_and_a_steady_model_is_not_accused() -> None:
    rng = np.random.default_rng(0)
    steady = [randomization_tests.assess_drift(rng.exponential(size=100), seed) for seed in range(100)]
    assert stats.kstest(steady, "uniform").pvalue > 0.01
    assert (
        randomization_tests.assess_drift(np.concatenate([rng.normal(0, 1, 60), rng.normal(2, 1, 60)]), 0)
        < 0.001
    )
    assert randomization_tests.assess_drift(np.ones(20), 0) == 1.0


def test_sets_of_answers_are_told_apart_by_permuting_the_answers() -> None:
    def between(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(x[:, None] - x[None, :]))

    rng = np.random.default_rng(0)
    same = [
        randomization_tests.compare_apart(between(rng.normal(size=16)), 8, seed, rounds=999)[1]
        for seed in range(150)
    ]
    assert stats.kstest(same, "uniform").pvalue > 0.01
    spread = np.concatenate([rng.normal(0, 0.1, 20), rng.choice([-2.0, 2.0], 20)])
    assert randomization_tests.compare_apart(between(spread), 20, 0)[1] < 0.001  # the mean is the same
    x, y = rng.normal(size=9), rng.normal(1, 1, size=9)
    energy = randomization_tests.compare_apart(between(np.concatenate([x, y])), 9, 0, rounds=9)[0]
    assert energy == pytest.approx(stats.energy_distance(x, y) ** 2)


def test_answer_sets_find_a_word_that_only_changes_how_much_answers_vary() -> None:
    rng, lock = np.random.default_rng(0), threading.Lock()

    def ask(prompt: str) -> str:
        with lock:
            luck = rng.integers(4)
        return "seven" if "exactly" in prompt else ("seven", "eleven", "forty two", "none")[luck]

    model, prompt = Remote(ask), "name exactly one number please"
    found = explain(model, prompt, "seven", method="answer_sets")
    assert found.q_values is not None
    assert [s.text for s, q in zip(found.segments, found.q_values, strict=True) if q <= LEVEL] == ["exactly"]
    assert (found.passes, found.verdict) == (60, "ok")
    plan = attribute(prompt, "seven", model=model, method="answer_sets", dry_run=True)
    assert isinstance(plan, Plan)
    assert plan.evaluations == 60
    poor = explain(model, prompt, "seven", method="answer_sets", budget=12)
    assert (poor.verdict, poor.passes) == ("insufficient_evidence", 0)


@pytest.mark.parametrize("steady", [False, True], ids=["noise", "constant"])
def test_answer_sets_of_a_model_that_ignores_the_prompt_are_no_evidence(steady: bool) -> None:
    said = []
    for seed in range(10):
        model: Any = (lambda _: "always the same") if steady else chance(seed)
        found = explain(model, "one two three four", "yes, approved", method="answer_sets", seed=seed)
        assert found.q_values is not None
        assert (found.verdict == "ok") == (min(found.q_values) <= LEVEL)
        said.append(found.verdict)
    assert said.count("insufficient_evidence") >= 9
    assert "stands out from noise" in found.warnings[0]


def test_answers_that_follow_the_length_of_the_prompt_are_mostly_said_to() -> None:
    said = []
    for seed in range(8):
        prompt = " ".join(np.random.default_rng(seed).permutation(LONG_AND_SHORT))
        model: Any = lambda text: "a long answer" if len(text) > 42 else "no"  # noqa: E731
        found = explain(model, prompt, "a long answer", budget=150, seed=seed)
        said.append(found.verdict)
    assert said.count("length_dependent") >= 6, said


def test_no_word_is_significant_where_the_answers_follow_the_number_of_words() -> None:
    said = []
    for seed in range(8):
        prompt = " ".join(np.random.default_rng(seed).permutation(LONG_AND_SHORT))
        model: Any = lambda text: "a long answer" if len(text.split()) > 6 else "no"  # noqa: E731
        found = explain(model, prompt, "a long answer", budget=150, seed=seed)
        assert found.q_values is not None
        assert (found.verdict == "ok") == (min(found.q_values) <= LEVEL)
        said.append(found.verdict)
    assert said.count("length_dependent") >= 6, said


def test_the_test_is_exact_where_rates_take_turns_and_answers_to_half_prompts_are_others() -> None:
    p_values = []
    for seed in range(120):
        masks = randomization_tests.draw_masks(60, 6, RATES, seed, vanishes=True)
        half = np.arange(60) % 3 == 2
        rest = np.random.default_rng((seed, 9)).exponential(size=60)
        values = rest + 5.0 * masks[:, 0] * masks[:, 1] + 5.0 * half * rest
        columns = randomization_tests.ColumnEffects(masks, values, np.resize(RATES, 60), vanishes=True)
        p_values.append(columns.compute_p_values(LEVEL, seed)[-1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_word_that_matters_is_not_taken_for_length() -> None:
    for seed in range(6):
        prompt = " ".join(np.random.default_rng(seed).permutation([*LONG_AND_SHORT, "gold"]))
        found = explain(desk, prompt, budget=100, seed=seed)
        assert found.verdict == "ok"


def test_accuracy_counts_a_tie_as_half() -> None:
    scores = (0.3, -1.2, 0.3, 2.5, 0.0, 4.1, -0.7, 1.9, 1.9, 0.3)
    tied = explain(desk, "a gold customer asks today", budget=80).model_copy(update={"values": scores})
    assert measure_accuracy(tied, [0, 3, 8]) == pytest.approx(0.7380952380952381, abs=1e-12)


def test_measures_of_the_paper() -> None:
    one, other = (explain(desk, "a gold customer asks today", budget=80, seed=seed) for seed in (1, 3))
    edited = explain(desk, "a gold client asks today please", budget=80)
    assert (measure_accuracy(one, [1]), measure_smile_stability(one, edited)) == (1.0, 1.0)
    assert max(measure_consistency([one, other])) < 0.01
    assert measure_faithfulness([0.1, 0.2, 0.4], [50.0, 60.0, 80.0]) == pytest.approx(1.0)
    for wrong in (
        lambda: measure_accuracy(one, []),
        lambda: measure_smile_stability(one, explain(desk, "a gold one", method="occlusion")),
        lambda: measure_consistency([one, edited]),
        lambda: measure_faithfulness([1.0], [1.0]),
    ):
        with pytest.raises(AttributionError):
            wrong()
