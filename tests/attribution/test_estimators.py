"""Estimators on games whose answer is known, without any model."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.attribution import quality
from llm_trace.attribution.core.value import Budget, BudgetError, Metered, Value
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.auto import plan_auto
from llm_trace.attribution.methods.context_cite import fit_lasso
from llm_trace.attribution.methods.exact import compute_exact_shapley, list_subsets, occlusion, shapley
from llm_trace.attribution.methods.mask_designs import Design, LeveragePairs
from llm_trace.attribution.methods.shapley_sampling import fit
from llm_trace.errors import AttributionError


def additive(weights: list[float]) -> Value:
    return lambda masks: masks @ np.array(weights)


def table(n: int, seed: int, tokens: int = 0) -> Value:
    """A random game: one value, or one per token, for every subset."""
    values = np.random.default_rng(seed).normal(size=(2**n, tokens) if tokens else 2**n)
    return lambda masks: values[(masks * 2 ** np.arange(n)).sum(axis=1)]


@pytest.mark.parametrize("name", [m for m in registry.BUILTIN if registry.get_info(m).access == "values"])
def test_every_method_finds_the_weights_of_an_additive_game(name: str) -> None:
    weights = [3.0, -1.0, 0.0, 0.5, 2.0, 0.0]
    found = registry.find_method(name)(Metered(additive(weights)), 6, confidence=0.95, seed=0)
    if name in ("lime", "gsmile_published"):  # a ridge and a weight by the outcome shrink
        assert np.corrcoef(found.values, weights)[0, 1] > 0.99
    else:
        assert found.values == pytest.approx(weights, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("tokens", [0, 3])
def test_shapley_equals_the_mean_over_all_orders(n: int, tokens: int) -> None:
    game = table(n, seed=n, tokens=tokens)
    wanted = np.zeros((n, tokens) if tokens else n)
    orders = list(permutations(range(n)))
    for order in orders:
        mask = np.zeros((1, n), dtype=bool)
        before = game(mask)[0]
        for i in order:
            mask[0, i] = True
            wanted[i] += (game(mask)[0] - before) / len(orders)
            before = game(mask)[0]
    found = shapley(game, n)
    assert found.values == pytest.approx(wanted.sum(axis=1) if tokens else wanted)
    if tokens:
        assert found.matrix == pytest.approx(wanted.T)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_shapley_is_efficient_symmetric_and_blind_to_dummies(n: int, seed: int) -> None:
    inner = table(n, seed)
    doubled: Value = lambda masks: inner(masks[:, :n]) + 2.0 * (masks[:, n] & masks[:, n + 1])  # noqa: E731
    found = shapley(doubled, n + 3)
    assert found.full is not None
    assert found.empty is not None
    assert found.values.sum() == pytest.approx(found.full - found.empty)
    assert found.values[n] == pytest.approx(1.0)
    assert found.values[n + 1] == pytest.approx(1.0)
    assert found.values[n + 2] == pytest.approx(0.0)


def test_occlusion_is_the_loss_without_each() -> None:
    game = table(5, seed=1, tokens=4)
    found = occlusion(game, 5)
    masks = ~np.eye(5, dtype=bool)
    rows = game(np.ones((1, 5), dtype=bool)) - game(masks)
    assert found.matrix == pytest.approx(rows.T)
    assert found.values == pytest.approx(rows.sum(axis=1))
    assert (found.low, found.bounds, found.stopped) == (None, "exact", "exact")


def test_subsets_are_numbered_by_their_bits() -> None:
    assert list_subsets(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]
    assert compute_exact_shapley(np.array([0.0, 1.0, 2.0, 4.0]), 2).tolist() == [1.5, 2.5]


def test_too_many_segments_for_enumeration_is_an_error_that_names_another_method() -> None:
    with pytest.raises(AttributionError, match="permutation"):
        shapley(additive([0.0] * 13), 13)


def findings(game: Value, n: int) -> tuple[quality.Findings, Metered]:
    value = Metered(game)
    scores = occlusion(value, n)
    found = quality.Findings(0.95)
    assert scores.full is not None
    quality.check_evidence(scores.values, found)
    quality.check_completeness(value, scores.values, scores.full, found)
    quality.check_redundancy(value, scores.values, scores.full, found)
    return found, value


@pytest.mark.parametrize("n", [2, 3, 10, 60])
def test_two_segments_that_each_suffice_are_found(n: int) -> None:
    a, b = 0, n - 1
    found, value = findings(lambda m: 5.0 * (m[:, a] | m[:, b]) + (3.0 * m[:, 1] if n > 2 else 0.0), n)
    assert found.groups == [(a, b)]
    assert found.verdict == ("redundant" if n > 2 else "insufficient_evidence")
    assert value.evaluations <= n + 2 + 4 * (np.log2(n) + 2)


def test_two_pairs_and_a_triple_are_found() -> None:
    found, _ = findings(lambda m: 4.0 * (m[:, 0] | m[:, 7]) + 6.0 * (m[:, 3] | m[:, 4] | m[:, 9]), 12)
    assert sorted(found.groups) == [(0, 7), (3, 4, 9)]


@pytest.mark.parametrize("seed", range(5))
def test_additive_games_and_conjunctions_are_not_called_redundant(seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=20) * 0.3
    found, value = findings(lambda m: m @ weights + 5.0 * (m[:, 2] & m[:, 5]), 20)
    assert found.groups == []
    assert found.verdict == "ok"
    assert value.evaluations <= 20 + 3


def test_no_effect_is_insufficient_evidence() -> None:
    found, _value = findings(lambda m: 0.001 * m.sum(axis=1), 8)
    assert found.verdict == "insufficient_evidence"


SAMPLED = ["permutation", "kernel_shap", "leverage_shap"]


def crooked(n: int, seed: int) -> Value:
    """Pairs and triples under a saturating curve."""
    rng = np.random.default_rng(seed)
    terms = [(rng.choice(n, rng.integers(1, 4), replace=False), rng.normal()) for _ in range(3 * n)]
    return lambda masks: 3 * np.tanh(sum(w * masks[:, t].all(axis=1) for t, w in terms) / 2)


@pytest.mark.parametrize("name", SAMPLED)
def test_bounds_hold_the_truth_as_often_as_they_say_and_shrink(name: str) -> None:
    n, widths, held = 10, [], []
    for budget in (100, 400):
        wide = []
        for seed in range(30):
            game = crooked(n, seed)
            exact = compute_exact_shapley(game(list_subsets(n)), n)
            found = registry.find_method(name)(
                Metered(game, budget=Budget(evaluations=budget)), n, confidence=0.95, seed=seed
            )
            assert found.low is not None
            assert found.high is not None
            held.append(float(((found.low <= exact) & (exact <= found.high)).mean()))
            wide.append(float((found.high - found.low).mean()))
        widths.append(np.mean(wide))
    assert np.mean(held) >= 0.93
    assert widths[1] < 0.8 * widths[0]


def test_bounds_of_kernel_shap_are_about_as_narrow_as_those_of_leverage_shap() -> None:
    n, widths = 8, {}
    for name in ("kernel_shap", "leverage_shap"):
        wide = []
        for seed in range(20):
            value = Metered(crooked(n, seed), budget=Budget(evaluations=100))
            found = registry.find_method(name)(value, n, confidence=0.95, seed=seed)
            assert found.low is not None
            assert found.high is not None
            wide.append(float((found.high - found.low).mean()))
        widths[name] = float(np.mean(wide))
    assert widths["kernel_shap"] < 1.5 * widths["leverage_shap"]  # 1.1; 2.5 if a pair's draws erred as one


def collapsing(n: int, seed: int) -> Value:
    """An additive game in which one subset in twenty collapses by 12."""
    rng = np.random.default_rng(seed)
    values = list_subsets(n) @ rng.normal(size=n) - 12.0 * (rng.random(2**n) < 0.05)
    return lambda masks: values[masks @ (1 << np.arange(n))]


@pytest.mark.parametrize("name", SAMPLED)
def test_bounds_hold_where_one_subset_in_twenty_collapses(name: str) -> None:
    n, held = 9, []
    for seed in range(40):
        game, budget = collapsing(n, seed), (80, 160)[seed % 2]
        found = registry.find_method(name)(
            Metered(game, budget=Budget(evaluations=budget)), n, confidence=0.95, seed=seed
        )
        exact = compute_exact_shapley(game(list_subsets(n)), n)
        assert found.low is not None
        assert found.high is not None
        held.append(float(((found.low <= exact) & (exact <= found.high)).mean()))
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize("name", SAMPLED)
def test_no_method_stops_before_a_collapse_of_one_subset_in_twenty_would_have_shown(name: str) -> None:
    value = Metered(lambda masks: masks @ np.arange(8.0))
    found = registry.find_method(name)(value, 8, confidence=0.95, seed=0)
    assert found.stopped == "tight"
    assert value.evaluations >= 59


@pytest.mark.parametrize("name", SAMPLED)
def test_sampling_is_efficient_repeatable_and_within_its_budget(name: str) -> None:
    value = Metered(crooked(12, 1), budget=Budget(evaluations=150))
    first = registry.find_method(name)(value, 12, confidence=0.95, seed=3)
    again = registry.find_method(name)(
        Metered(crooked(12, 1), budget=Budget(evaluations=150)), 12, confidence=0.95, seed=3
    )
    assert (first.values == again.values).all()
    assert value.evaluations <= 150
    ends = crooked(12, 1)(np.array([[False] * 12, [True] * 12]))
    assert first.values.sum() == pytest.approx(ends[1] - ends[0])
    assert first.stopped == "budget"


def test_sampling_stops_when_the_bounds_are_tight() -> None:
    game: Value = lambda m: 9.0 * m[:, 0] + m[:, 1:] @ np.full(19, 0.01)  # noqa: E731
    for name in SAMPLED:
        value = Metered(game)
        found = registry.find_method(name)(value, 20, confidence=0.95, seed=0)
        assert found.stopped == "tight"
        assert value.evaluations < 400


def test_with_every_mask_the_regression_is_exact() -> None:
    n, game = 6, table(6, seed=4, tokens=2)
    masks = list_subsets(n)[1:-1]
    ordered = np.array([side for m in masks if m[0] for side in (m, ~m)])
    sizes = ordered.sum(axis=1)
    weights = np.array([1.0 / (math.comb(n, s) * s * (n - s)) for s in sizes])
    values = game(list_subsets(n))
    found, spread = fit(
        Design(ordered, weights, np.zeros(len(ordered) // 2), np.ones(len(ordered) // 2)),
        game(ordered),
        values[0],
        values[-1],
    )
    assert found == pytest.approx(compute_exact_shapley(values, n))
    assert not spread.any()


def test_leverage_sampling_draws_no_mask_twice_and_enumerates_small_sizes() -> None:
    source = LeveragePairs(7, seed=0)
    few, more, every = source.grow(20), source.grow(40), source.grow(10**6)
    for design in (few, more, every):
        assert len(np.unique(design.masks, axis=0)) == len(design.masks)
        assert (design.masks[::2] == ~design.masks[1::2]).all()
    assert {m.tobytes() for m in few.masks} <= {m.tobytes() for m in more.masks}
    assert len(every.masks) == 2**7 - 2
    assert (every.unseen == 0).all()


def test_context_cite_selects_the_few_that_matter_and_bounds_all() -> None:
    noise = np.random.default_rng(0).normal(size=2**20)
    game: Value = lambda m: 4.0 * m[:, 3] - 2.0 * m[:, 7] + 0.05 * noise[(m * 2 ** np.arange(20)).sum(axis=1)]  # noqa: E731
    found = registry.find_method("context_cite")(Metered(game), 20, confidence=0.95, seed=0)
    assert found.low is not None
    assert found.high is not None
    strong = np.flatnonzero(np.abs(found.values) > 0.1).tolist()
    assert strong == [3, 7]
    assert found.values[[3, 7]] == pytest.approx([4, -2], abs=0.1)
    truth = np.zeros(20)
    truth[[3, 7]] = 4, -2
    assert ((found.low <= truth + 0.02) & (truth - 0.02 <= found.high)).mean() >= 0.9


def test_lasso_meets_its_optimality_conditions() -> None:
    rng = np.random.default_rng(0)
    x, penalty = (rng.random((80, 12)) < 0.5).astype(float), 0.05
    y = x @ rng.normal(size=12) * (rng.random(12) < 0.4).sum() + rng.normal(size=80)
    w = fit_lasso(x, y, penalty) * x.std(axis=0)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    gradient = z.T @ (y - y.mean() - z @ w) / 80
    assert (np.abs(gradient) <= penalty + 1e-6).all()
    assert gradient[w != 0] == pytest.approx(penalty * np.sign(w[w != 0]), abs=1e-6)


def test_a_budget_too_small_for_a_method_is_said_before_anything_is_spent() -> None:
    for name in [*SAMPLED, "lime", "context_cite"]:
        value = Metered(additive([1.0] * 30), budget=Budget(evaluations=20))
        with pytest.raises(BudgetError, match="at least"):
            registry.find_method(name)(value, 30, confidence=0.95, seed=0)
        assert value.evaluations == 0


def test_methods_by_name() -> None:
    assert plan_auto(3, None).method == "shapley"
    assert registry.get_info("occlusion").cost == "n + 1"
    with pytest.raises(AttributionError, match="choose one of auto, occlusion, shapley, permutation"):
        registry.find_method("oclusion")
