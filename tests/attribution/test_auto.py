"""`auto`: which method, what a score means, and a second opinion where leave-one-out leaves much open."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.attribution import quality
from llm_trace.attribution.core.value import Budget, Metered, Value
from llm_trace.attribution.methods import auto, registry
from llm_trace.attribution.methods.exact import compute_exact_shapley, list_subsets, occlusion
from llm_trace.attribution.methods.mask_designs import LeveragePairs
from llm_trace.attribution.methods.shapley_sampling import fit
from llm_trace.attribution.methods.shrinkage import fit_shrunk
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import PROMPT, run


@pytest.mark.parametrize(
    ("n", "left", "method", "second"),
    [
        (1, None, "shapley", None),
        (8, None, "shapley", None),
        (8, 100, "occlusion", "leverage_shap"),
        (9, None, "occlusion", "leverage_shap"),
        (64, 70, "occlusion", "leverage_shap"),
        (65, None, "occlusion", "context_cite"),
        (500, 100, "context_cite", None),
        (500, 20, "occlusion", "context_cite"),
    ],
)
def test_the_choice_is_by_segments_and_budget(
    n: int, left: int | None, method: str, second: str | None
) -> None:
    plan = auto.plan_auto(n, left)
    assert (plan.method, plan.second) == (method, second)


def test_scores_mean_what_the_result_says() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=20)
    game: Value = lambda m: np.asarray(m @ weights)  # noqa: E731
    value = Metered(game)
    found = auto.auto(value, 20)
    assert (found.method, found.stopped) == ("occlusion", "exact")
    assert found.values == pytest.approx(weights)
    assert found.faithfulness == {}, "additive: nothing is left to ask"
    assert value.evaluations == 22
    assert "20 segments, no limit" in found.notes[0]


def crowd(n: int) -> Value:
    """Six segments of which any one suffices, and two that count for themselves."""
    return lambda m: 8.0 * m[:, :6].any(axis=1) + 2.0 * m[:, 8] - 1.0 * m[:, 9]


@pytest.mark.parametrize("n", [16, 90])
def test_a_second_method_is_asked_where_much_is_unexplained(n: int) -> None:
    value = Metered(crowd(n))
    found = auto.auto(value, n)
    assert found.values == pytest.approx(occlusion(crowd(n), n).values)
    assert found.faithfulness is not None
    second = found.faithfulness["second"]
    assert second["method"] == ("leverage_shap" if n == 16 else "context_cite")
    assert len(second["values"]) == n
    assert value.evaluations <= n + 2 + max(4 * n + 2, auto.SPARSE)


def test_what_leave_one_out_hides_is_said() -> None:
    second = {"method": "leverage_shap", "values": [2.0, 2.2, 0.3, 4.0], "low": [0.5, -0.2, 0.1, 3.0]}
    alone = np.array([0.0, 0.0, 0.0, 4.0])
    checks = quality.Findings(0.95)
    quality.check_hidden(alone, second, checks)
    assert (checks.verdict, checks.faithfulness["hidden"]) == ("redundant", [0]), (
        "only what is proven and matters"
    )
    known = quality.Findings(0.95, groups=[(0, 1)])
    quality.check_hidden(alone, second, known)
    assert known.verdict == "ok"


def test_the_budget_holds_for_both_methods() -> None:
    for budget in (17, 18, 30, 60):
        value = Metered(crowd(16), budget=Budget(evaluations=budget))
        auto.auto(value, 16)
        assert value.evaluations <= budget


def test_too_small_a_budget_for_leave_one_out_takes_a_sparse_regression() -> None:
    game: Value = lambda m: 6.0 * m[:, 3] - 3.0 * m[:, 70]  # noqa: E731
    value = Metered(game, budget=Budget(evaluations=60))
    found = auto.auto(value, 100)
    assert found.method == "context_cite"
    assert set(np.flatnonzero(np.abs(found.values) > 1)) == {3, 70}
    assert value.evaluations <= 60


def test_the_result_names_the_method_that_was_taken_and_why() -> None:
    model, tokenizer = toys.stories()
    found = run(PROMPT, " Lily played with Tom.", model=model, tokenizer=tokenizer)
    assert found.method == "occlusion"
    assert found.notes[-1].startswith("auto: occlusion (13 segments, no limit, access to values")


@pytest.mark.parametrize("name", ["permutation", "kernel_shap", "leverage_shap"])
def test_bounds_stay_valid_when_sampling_stops_by_itself(name: str) -> None:
    n, held, stopped = 12, [], 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weights, pairs = rng.normal(size=n), rng.normal(size=(n, n)) * 0.08
        weights[0] = 8.0
        game: Value = lambda m, w=weights, q=pairs: m @ w + np.einsum("ki,ij,kj->k", m, q, m)  # type: ignore[misc]  # noqa: E731
        exact = compute_exact_shapley(game(list_subsets(n)), n)
        found = registry.find_method(name)(Metered(game), n, confidence=0.95, seed=seed)
        assert found.low is not None
        assert found.high is not None
        stopped += found.stopped == "tight"
        held.append(((found.low <= exact) & (exact <= found.high)).mean())
    assert stopped >= 20
    assert np.mean(held) >= 0.95


def nothing(n: int, seed: int) -> Value:
    """Triples that cancel in every Shapley value and in no sample of orders."""
    rng = np.random.default_rng(seed)
    triples, weights = np.array([rng.choice(n, 3, replace=False) for _ in range(20)]), rng.normal(size=20)
    single = np.zeros(n)
    np.add.at(single, triples.ravel(), np.repeat(-weights / 3, 3))

    def game(masks: np.ndarray) -> np.ndarray:
        signs = np.where(masks, 1.0, -1.0)
        return np.asarray(signs[:, triples].prod(axis=2) @ weights + signs @ single)

    return game


def test_p_values_are_uniform_or_larger_where_nothing_matters() -> None:
    assert compute_exact_shapley(nothing(9, 0)(list_subsets(9)), 9) == pytest.approx(np.zeros(9), abs=1e-12)
    for name in ("permutation", "leverage_shap", "kernel_shap"):
        below, spread = [], 0.0
        for seed in range(60):
            value = Metered(nothing(9, seed), budget=Budget(evaluations=150))
            found = registry.find_method(name)(value, 9, confidence=0.95, seed=seed)
            assert found.p_values is not None
            below += list(found.p_values < 0.05)
            spread += float(np.abs(found.values).max())
        assert spread / 60 > 0.05, "the scores are noise, not zero"
        assert np.mean(below) <= 0.06


def test_few_masks_are_shrunk_and_many_are_not() -> None:
    # Effects of three segments at once: paired masks are exact for any that two have together.
    n, plain, better = 12, [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        weights, triples = 2 * rng.normal(size=n) * (rng.random(n) < 0.4), rng.normal(size=(n, n, n)) * 0.1
        game: Value = lambda m, w=weights, t=triples: m @ w + np.einsum("ki,kj,kl,ijl->k", m, m, m, t)  # type: ignore[misc]  # noqa: E731
        exact, design = compute_exact_shapley(game(list_subsets(n)), n), LeveragePairs(n, seed).grow(n)
        ends = game(np.array([[False] * n, [True] * n]))
        drawn = (design, game(design.masks), ends[0], ends[1])
        best = fit_shrunk(*drawn)
        assert best is not None
        assert best.sum() == pytest.approx(ends[1] - ends[0])
        plain.append(((fit(*drawn)[0] - exact) ** 2).sum())
        better.append(((best - exact) ** 2).sum())
    assert 1 < np.mean(better) < 0.7 * np.mean(plain)
    many = LeveragePairs(n, 0).grow(10 * n)
    assert fit_shrunk(many, game(many.masks), ends[0], ends[1]) is None
