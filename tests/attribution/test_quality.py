"""Held-out fidelity, curves and sanity checks: on games whose truth is known, then on models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_trace.attribution import quality
from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget, Metered, Value
from llm_trace.attribution.methods.exact import occlusion, shapley
from llm_trace.attribution.quality import Findings, Study, judge_figures, measure, run_measures
from llm_trace.attribution.quality.fidelity import draw_held_out
from llm_trace.attribution.studies.paraphrases import measure_paraphrase_stability
from llm_trace.demo.world import TEMPLATE_V1
from llm_trace.errors import AttributionError
from llm_trace.statistics.student import compute_t_p_value
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import run

WEIGHTS = np.array([4.0, -2.0, 1.0, 0.5, 0.0, 0.0, 3.0, -1.0, 0.2, 0.1, 0.0, 2.0])
TEXT = "Once upon a time there was a little girl named Lily. She had a red ball."
SAID = " Lily was happy with the ball."


def study(game: Value, scores: Any, **settings: Any) -> Study:
    full = float(game(np.ones((1, len(scores)), dtype=bool))[0])
    return Study(game, np.asarray(scores, dtype=float), full, **settings)


def additive(masks: np.ndarray) -> np.ndarray:
    return np.asarray(masks @ WEIGHTS)


def saturating(masks: np.ndarray) -> np.ndarray:
    """Any two of the first six suffice: leave-one-out sees nothing far from the full prompt."""
    return np.asarray(10.0 * np.minimum(masks[:, :6].sum(axis=1), 5) / 5 + masks @ WEIGHTS)


def test_true_weights_are_perfectly_faithful_and_random_ones_are_not() -> None:
    right = run_measures(study(additive, WEIGHTS))
    for figures in right["fidelity"].values():
        assert figures["spearman"] == pytest.approx(1.0, abs=1e-3), "equal sums differ in their last digit"
        assert figures["r2"] == pytest.approx(1.0)
        assert "kept with probability" in figures["masks"]
    shuffled = run_measures(study(additive, np.random.default_rng(5).permutation(WEIGHTS)))
    assert shuffled["fidelity"]["half"]["spearman"] < 0.7
    assert right["curves"]["deletion"]["beats_random"]
    assert right["curves"]["insertion"]["beats_random"]
    assert right["completeness"]["gap"] == pytest.approx(0.0)


def test_leave_one_out_is_good_near_the_prompt_and_bad_at_one_half() -> None:
    loo = run_measures(study(saturating, occlusion(saturating, 12).values))["fidelity"]
    fair = run_measures(study(saturating, shapley(saturating, 12).values))["fidelity"]
    assert loo["near"]["r2"] > loo["half"]["r2"]
    assert fair["half"]["r2"] > loo["half"]["r2"]


def test_curves_are_what_one_gets_by_hand() -> None:
    found = run_measures(study(additive, WEIGHTS), ["curves"])["curves"]
    best = np.sort(WEIGHTS)[::-1]
    assert found["log_odds_20"] == pytest.approx(-best[:3].sum())
    counts = [1, 1, 2, 3, 6]
    assert found["comprehensiveness"] == pytest.approx(np.mean([best[:k].sum() for k in counts]))
    assert found["sufficiency"] == pytest.approx(np.mean([WEIGHTS.sum() - best[:k].sum() for k in counts]))
    assert found["deletion_curve"][-1] == pytest.approx(WEIGHTS.sum())
    low, mean, high = (np.array(found[f"deletion_random_{name}"]) for name in ("low", "curve", "high"))
    assert mean.mean() == pytest.approx(found["deletion"]["random"])
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (low < np.array(found["deletion_curve"])).any()
    assert (
        found["deletion"]["strongest_first"]
        > found["deletion"]["random"]
        > found["deletion"]["weakest_first"]
    )


def test_held_out_masks_are_distinct_and_unseen() -> None:
    value = Metered(additive)
    seen = np.random.default_rng([0, 71]).random((50, 12)) < 0.5
    value(seen)
    given = study(value, WEIGHTS, used=value.find_evaluated)
    masks, words = draw_held_out(given, "half")
    assert len(masks) == len(np.unique(masks, axis=0)) == 64
    assert not (masks[:, None, :] == seen[None, :, :]).all(axis=2).any()
    assert words.endswith("none seen by the method")
    assert draw_held_out(given, 0.7)[1].startswith("each segment kept with probability 0.7")
    sizes = draw_held_out(given, "sizes")[0].sum(axis=1)
    assert set(sizes) >= {1, 6, 11}
    with pytest.raises(AttributionError, match="choose half, near, sizes"):
        draw_held_out(given, "whole")


def test_noise_gets_a_verdict() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=2**12)
    noise: Value = lambda m: table[(m * 2 ** np.arange(12)).sum(axis=1)]  # noqa: E731
    said = []
    for seed in range(10):
        found = Findings(0.95)
        judge_figures(run_measures(study(noise, rng.normal(size=12), seed=seed)), found)
        said.append(found.verdict)
    assert said.count("insufficient_evidence") >= 8
    found = Findings(0.95)
    judge_figures(run_measures(study(additive, WEIGHTS)), found)
    assert found.verdict == "ok"


def test_chance_among_many_segments_is_no_evidence() -> None:
    said, excluded = [], 0
    for seed in range(100):
        scores, checks = np.random.default_rng(seed).normal(size=40), Findings(0.95)
        p_values = np.array([compute_t_p_value(x, 10_000) for x in scores])
        quality.check_evidence(scores, checks, scores - 1.96, scores + 1.96, p_values)
        said.append(checks.verdict)
        excluded += bool((np.abs(scores) > 1.96).any())
    assert excluded > 70, "some of forty bounds exclude zero by chance"
    assert said.count("ok") <= 10


def test_seeds_that_disagree_get_a_verdict() -> None:
    rng = np.random.default_rng(0)
    unstable = study(additive, WEIGHTS, again=lambda seed: rng.normal(size=12))
    found = Findings(0.95)
    judge_figures(run_measures(unstable), found)
    assert found.verdict == "insufficient_evidence"
    assert "other seeds" in found.warnings[0]
    stable = run_measures(study(additive, WEIGHTS, again=lambda seed: WEIGHTS))["stability"]
    assert (stable["spearman"], stable["overlap"], stable["sd"]) == (
        pytest.approx(1.0),
        1.0,
        pytest.approx(0.0),
    )


def test_a_response_that_the_model_does_not_expect_is_no_evidence() -> None:
    found = Findings(0.95)
    quality.check_unlikely(-0.9 * 3 * np.log(500), 3, 500, found)
    assert found.verdict == "insufficient_evidence"
    fine = Findings(0.95)
    quality.check_unlikely(-0.5 * 3 * np.log(500), 3, 500, fine)
    assert fine.verdict == "ok"
    blank = toys.llama(initializer_range=0.02)
    assert run(model=blank).verdict == "insufficient_evidence"


def test_attribute_measures_when_asked() -> None:
    model, tokenizer = toys.stories()
    given = {"model": model, "tokenizer": tokenizer}
    found = run(TEXT, SAID, **given, method="occlusion", quality=True)
    assert {"fidelity", "curves", "completeness"} <= found.faithfulness.keys()
    assert found.faithfulness["fidelity"]["near"]["spearman_low"] > 0.5
    assert found.verdict == "ok"
    assert found.passes > 150
    few = run(TEXT, SAID, **given, method="leverage_shap", quality=["fidelity"], budget=160)
    assert few.passes <= 160 + 7
    assert few.faithfulness["fidelity"]["half"]["masks"].endswith("none seen by the method")
    assert few.q_values is not None
    assert few.p_values is not None
    assert all(q >= p for q, p in zip(few.q_values, few.p_values, strict=True))


def test_a_finished_attribution_is_measured_again() -> None:
    model, tokenizer = toys.stories()
    given = {"model": model, "tokenizer": tokenizer}
    found = run(TEXT, SAID, **given, method="leverage_shap", budget=120, baseline="delete", target="ball")
    figures = measure(found, **given, measures="all", count=24)
    assert figures["completeness"]["gap"] == pytest.approx(0.0, abs=1e-3)
    assert figures["stability"]["spearman"] > 0.6
    assert abs(figures["randomised"]["spearman"]) < 0.75
    assert measure(found, **given, measures="fidelity", count=24) == {"fidelity": figures["fidelity"]}
    with pytest.raises(AttributionError, match="pass the model"):
        measure(found, model=toys.llama(512), tokenizer=tokenizer)
    with pytest.raises(AttributionError, match="quality measure 'magic' is unknown"):
        measure(found, **given, measures="magic")


def test_a_budget_that_is_spent_skips_measures() -> None:
    value = Metered(additive, budget=Budget(evaluations=3))
    value(np.ones((1, 12), dtype=bool))
    figures = run_measures(Study(value, WEIGHTS, 8.0))
    assert "fidelity" not in figures
    assert "skipped" in figures["curves"]
    found = Findings(0.95)
    judge_figures(figures, found)
    assert found.verdict == "ok"


def test_other_words_for_the_same_give_the_same_first_word() -> None:
    ask = "Hello, I bought this lamp 75 days ago. I have a VIP card. Thanks."
    others = (
        "Hi there, I ordered the lamp 75 days ago. My VIP number is on file. Please help.",
        "Good day, the lamp was purchased 75 days ago! I have a VIP card. Best wishes.",
    )
    found = attribute(TEMPLATE_V1.format(message=ask), " DENY", model="demo", method="occlusion")
    figures = measure_paraphrase_stability(
        found, [TEMPLATE_V1.format(message=t) for t in others], model="demo"
    )
    assert (figures["paraphrases"], figures["same_first"]) == (2, 1.0)
    assert figures["shared"] > 35
    assert 0.5 < figures["spearman"] <= 1
    assert 0.4 < figures["overlap"] <= 1
    itself = measure_paraphrase_stability(found, [found.prompt], model="demo")
    assert itself == {
        "paraphrases": 1, "shared": len(found.segments), "spearman": pytest.approx(1), "overlap": 1.0,
        "same_first": 1.0,
    }  # fmt: skip
    with pytest.raises(AttributionError, match="three segments in common"):
        measure_paraphrase_stability(found, ["Something else"], model="demo")
