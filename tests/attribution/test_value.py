"""Masks to log-probabilities: equal to plain single passes in any batches; the model stays as it was."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.attribution.core.value import Budget, BudgetError, CancelledError, Metered
from llm_trace.attribution.models.batching import Batch, BatchLimits, count_common, plan_batches
from llm_trace.attribution.models.causal import CausalForward
from llm_trace.attribution.models.open_value import OpenValue
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.question.objective import Query
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys

torch = toys.torch
PROMPT = "Lily had a 🙂 red ball. One day her friend Tom came to play, and they said hello."
RESPONSE = " One day the dog came."


def work_of(
    model: Any, tokenizer: Any, segments: Any = "word", target: Any = None, response: str = RESPONSE
) -> Problem:
    return build_problem(
        parse_question(PROMPT, response), model, tokenizer, "toy", segments=segments, target=target
    )


def some_masks(n: int, k: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.random((k, n)) < rng.choice([0.2, 0.5, 0.9], (k, 1))
    return np.vstack(
        [np.ones((1, n), dtype=bool), ~np.eye(n, dtype=bool), np.zeros((1, n), dtype=bool), drawn]
    )


def expected(work: Problem, baseline: str, masks: np.ndarray) -> np.ndarray:
    prompts = work.render(baseline)(masks)
    return np.array([toys.brute(work.model, p, work.response.ids)[list(work.rows)] for p in prompts])


@pytest.mark.parametrize("baseline", ["delete", "mask", "..."])
@pytest.mark.parametrize("make", [toys.llama, toys.gpt2])
@pytest.mark.parametrize("target", [None, "day the", -1, 0])
def test_values_equal_single_passes(make: Any, baseline: str, target: Any) -> None:
    work = work_of(make(), toys.byte_level(), target=target)
    masks = some_masks(work.n)
    value = work.value(baseline)
    got = value(masks)
    assert got.shape == (len(masks), len(work.rows))
    assert np.abs(got - expected(work, baseline, masks)).max() < 1e-5
    assert np.abs(value(masks[:5]) - got[:5]).max() < 1e-5  # the spine's cache is kept and used again


@pytest.mark.parametrize(
    "limits",
    [
        BatchLimits(1),
        BatchLimits(60, rows=3),
        BatchLimits(10**6, rows=1000),
        BatchLimits(10**6, overhead=10**6),
    ],
)
def test_values_do_not_depend_on_the_batches(limits: BatchLimits) -> None:
    work = work_of(toys.llama(), toys.sentence_piece())
    masks = some_masks(work.n)
    for share in (True, False):
        value = OpenValue(
            work.model,
            work.render("delete"),
            work.response.ids,
            work.rows,
            work.n,
            limits=limits,
            share=share,
        )
        assert np.abs(value(masks) - expected(work, "delete", masks)).max() < 1e-5


def test_leave_one_out_computes_less_than_every_token_of_every_prompt() -> None:
    work = work_of(toys.llama(), toys.byte_level())
    masks = np.vstack([np.ones((1, work.n), dtype=bool), ~np.eye(work.n, dtype=bool)])
    limits = BatchLimits(10**6, overhead=4)
    value = OpenValue(work.model, work.render("mask"), work.response.ids, work.rows, work.n, limits=limits)
    value(masks)
    each = len(work.codec.ids(PROMPT)) + len(work.response.ids) - 1
    assert value.passes == work.n + 1
    assert value.tokens < 0.75 * each * (work.n + 1)


def test_sliding_window_models_share_nothing_and_are_right() -> None:
    config = toys.transformers.MistralConfig(
        vocab_size=420, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, sliding_window=8, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    work = work_of(toys.transformers.MistralForCausalLM(config).eval(), toys.byte_level())
    masks = some_masks(work.n, 6)
    assert np.abs(work.value("delete")(masks) - expected(work, "delete", masks)).max() < 1e-5


def test_bfloat16_is_close() -> None:
    work = work_of(copy.deepcopy(toys.llama()).to(torch.bfloat16), toys.byte_level())
    masks = some_masks(work.n, 4)
    exact = expected(work_of(toys.llama(), toys.byte_level()), "mask", masks)
    assert np.abs(work.value("mask")(masks) - exact).max() < 0.5


def test_prompts_that_come_out_the_same_go_through_once() -> None:
    work = work_of(toys.llama(), toys.byte_level(), segments=[(0, 4), (5, 8)])
    value = work.value("delete")
    got = value(np.array([[True, True], [True, True], [False, True], [False, True]]))
    assert value.passes == 2
    assert (got[0] == got[1]).all()
    same = work_of(toys.llama(), toys.byte_level(), segments=[(0, 4)]).value("Lily")
    both = same(np.array([[True], [False]]))
    assert same.passes == 1
    assert (both[0] == both[1]).all()


def test_the_model_is_left_as_it_was_found() -> None:
    model = copy.deepcopy(toys.llama())
    tokenizer = copy.deepcopy(toys.byte_level())
    model.train()
    model.model.layers[0].eval()
    before, size, side = toys.state_of(model), len(tokenizer), tokenizer.padding_side
    work = work_of(model, tokenizer)
    work.value("mask")(some_masks(work.n, 3))
    with pytest.raises(AttributionError):
        CausalForward(model)([()], Query((), (0,), (1,)), lambda p, t: None)
    assert toys.state_of(model) == before
    assert (len(tokenizer), tokenizer.padding_side, tokenizer.pad_token) == (size, side, None)


def test_running_out_of_memory_halves_the_batch_and_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(toys.llama())
    work = work_of(model, toys.byte_level())
    masks = some_masks(work.n)
    right, forward, failures = expected(work, "mask", masks), model.forward, []

    @functools.wraps(forward)
    def small(input_ids: Any, **rest: Any) -> Any:
        if input_ids.numel() > 150:
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids, **rest)

    monkeypatch.setattr(model, "forward", small)
    assert np.abs(work.value("mask")(masks) - right).max() < 1e-5
    first = len(failures)
    assert first > 0
    work.value("mask")(masks)
    assert len(failures) - first < first


def test_nan_is_an_error_that_names_the_remedy() -> None:
    with pytest.raises(AttributionError, match="bfloat16 or float32"):
        Metered(lambda masks: np.full(len(masks), np.nan))(np.ones((1, 2), dtype=bool))


def test_too_long_a_prompt_is_an_error() -> None:
    work = build_problem(
        parse_question("Lily " * 300, " x"),
        toys.llama(),
        toys.byte_level(),
        "toy",
        segments="sentence",
        target=None,
    )
    with pytest.raises(AttributionError, match="the model reads 256"):
        work.value("delete")(np.ones((1, 1), dtype=bool))


def test_masks_are_asked_once_and_counted() -> None:
    seen: list[int] = []

    def count(masks: np.ndarray) -> np.ndarray:
        seen.append(len(masks))
        return np.asarray(masks.sum(axis=1), dtype=float)

    told: list[tuple[int, int | None]] = []
    value = Metered(count, progress=lambda done, planned: told.append((done, planned)))
    masks = np.array([[True, False], [True, False], [False, False]])
    assert value(masks).tolist() == [1.0, 1.0, 0.0]
    assert value(~masks).tolist() == [1.0, 1.0, 2.0]
    assert seen == [2, 2]
    assert (value.evaluations, told) == (4, [(2, None), (4, None)])


def test_budgets_in_evaluations_tokens_and_seconds() -> None:
    def source(masks: np.ndarray) -> np.ndarray:
        return np.asarray(masks.sum(axis=1), dtype=float)

    value = Metered(source, budget=Budget(evaluations=2))
    assert value.remaining() == 2
    with pytest.raises(BudgetError, match="pays for 2 more"):
        value(np.eye(3, dtype=bool))
    now = iter(range(100))
    timed = Metered(source, budget=Budget(seconds=10), clock=lambda: float(next(now)))
    timed(np.eye(2, dtype=bool))
    assert timed.remaining() is not None
    work = work_of(toys.llama(), toys.byte_level())
    metered = Metered(work.value("mask"), budget=Budget(tokens=100))
    metered(np.ones((1, work.n), dtype=bool))
    left = metered.remaining()
    assert left is not None
    assert left <= 100 // 30


def test_a_progress_callback_can_cancel() -> None:
    with pytest.raises(CancelledError, match="after 1 evaluations"):
        Metered(lambda m: m.sum(axis=1), progress=lambda done, planned: False)(np.ones((1, 3), dtype=bool))


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_common_beginning(a: list[int], b: list[int]) -> None:
    n = count_common(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 49)), min_size=1, max_size=40),
    st.integers(1, 300),
    st.integers(1, 9),
)
def test_a_plan_covers_every_row_once_within_its_limits(
    rows: list[tuple[int, int]], tokens: int, most: int
) -> None:
    lengths, shared = [n for n, _ in rows], [min(s, n - 1) for n, s in rows]
    batches = plan_batches(lengths, shared, BatchLimits(tokens, rows=most))
    assert sorted(i for b in batches for i in b.rows) == list(range(len(rows)))
    for b in batches:
        assert b.prefix <= min(shared[i] for i in b.rows)
        size = len(b.rows) * (max(lengths[i] for i in b.rows) - b.prefix)
        assert len(b.rows) == 1 or (size <= tokens and len(b.rows) <= most)


def test_rows_with_a_long_common_beginning_go_together() -> None:
    assert plan_batches([100] * 4, [95, 0, 95, 0], BatchLimits(10**6, overhead=10)) == [
        Batch((0, 2), 95, 20),
        Batch((1, 3), 0, 210),
    ]
