"""The protocol of value functions: plain callables are adapted, wrappers pass on what is below them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.core.value import (
    Budget,
    Capped,
    Metered,
    PlainValue,
    ValueFunction,
    as_value_function,
    get_remaining,
    resample_values,
)
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from tests.helpers import attribution_toys as toys

MASKS = np.array([[True, True], [True, False], [True, True]])


def count(masks: Any) -> Any:
    return masks.sum(axis=1).astype(float)


class Noisy(PlainValue):
    """A model whose answers vary: each is one more than the last."""

    capabilities = frozenset(("resample", "remote"))

    def __init__(self) -> None:
        super().__init__(count)
        self.answers = 0

    def resample(self, masks: Any) -> Any:
        self.answers += len(masks)
        return np.arange(self.answers - len(masks), self.answers, dtype=float)


def test_a_plain_callable_is_adapted_and_a_value_function_is_taken_as_it_is() -> None:
    plain = as_value_function(count)
    assert isinstance(plain, PlainValue)
    assert as_value_function(plain) is plain
    assert (plain.remaining(), plain.capabilities, plain(MASKS).tolist(), plain.passes) == (
        None, frozenset(), [2.0, 1.0, 2.0], 3,
    )  # fmt: skip


def test_an_open_model_and_both_wrappers_are_value_functions() -> None:
    question = parse_question("Lily had a ball.", " Yes")
    work = build_problem(question, toys.llama(), toys.byte_level(), "toy", segments="word", target=None)
    source = work.value("delete")
    metered = Metered(source, budget=Budget(evaluations=9))
    capped = Capped(metered, 3)
    assert all(isinstance(value, ValueFunction) for value in (source, metered, capped))
    masks = np.array([[True] * work.n, [False] + [True] * (work.n - 1)])
    capped(masks)
    assert (metered.remaining(), capped.remaining()) == (7, 1)
    assert (capped.passes, capped.tokens, capped.unmasked) == (source.passes, source.tokens, 0)
    assert source.passes == 2
    assert capped.capabilities == metered.capabilities == {"inside"}


@pytest.mark.parametrize("wrap", [Metered, lambda v: Capped(Metered(v), 9)], ids=["metered", "capped"])
def test_only_varying_answers_are_drawn_anew_through_every_wrapper(wrap: Any) -> None:
    assert resample_values(wrap(Noisy()), MASKS).tolist() == [0.0, 1.0, 2.0]
    plain = PlainValue(count)
    assert resample_values(wrap(plain), MASKS).tolist() == [2.0, 1.0, 2.0]
    assert plain.passes == 2


def test_a_cap_counts_masks_of_a_function_that_does_not() -> None:
    capped = Capped(count, 4)
    capped(MASKS)
    assert get_remaining(capped) == 1
