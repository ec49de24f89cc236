"""Sets of answers with and without each segment, told apart by permuting the answers."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Value, expect, get_remaining, unwrap_value
from llm_trace.attribution.methods import randomization_tests
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.methods.smile import build_empty_scores
from llm_trace.attribution.methods.text_encoders import compute_cosine_distances
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEFAULT, _MOST = 10, 64
"""Answers to each prompt, without a budget and at most."""


@describe_method(
    "answer_sets",
    access="answers",
    cost="10 (n + 1), or the budget",
    source=(
        "after Rauba et al. 2025, DBPA (arXiv 2412.00868); energy distance and permutation of the answers: "
        "Székely & Rizzo 2004"
    ),
)
def answer_sets(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return how far the answers without each segment are from those with all of them: energy distances,
    never below 0, with p-values.

    Each prompt is asked several times. Finds a segment that changes how much answers vary, or what they are,
    even where their mean distance to the response stays; `smile` finds the others at a smaller price.

    Raises:
        AttributionError: the model does not answer in words.
    """
    source: Any = unwrap_value(value)
    if not hasattr(source, "texts"):
        raise AttributionError("method='answer_sets' compares answers in words: pass a callable as the model")
    left = get_remaining(value)
    k = _DEFAULT if left is None else min(_MOST, left // (n + 1))
    needed = next(size for size in range(2, 99) if 2 / comb(2 * size, size) <= (1 - confidence) / n)
    if n == 1 and source.vanishes:
        return build_empty_scores(
            n,
            "a prompt of one segment has no perturbation but the empty one: take smaller segments, or "
            "baseline='mask'",
        )
    if k < needed:
        return build_empty_scores(
            n,
            f"{k} answers to each of {n + 1} prompts cannot reach the level; that takes {needed * (n + 1)} "
            "calls at least",
        )
    expect(value, k * (n + 1))
    masks = np.vstack([np.ones((1, n), dtype=bool), ~np.eye(n, dtype=bool)])
    texts = source.texts(np.repeat(masks, k, axis=0))
    tests = np.array(
        [
            randomization_tests.compare_apart(rows, k, seed + i)
            for i, rows in enumerate(_measure_pairs(source, texts, k))
        ]
    )
    return Scores(
        tests[:, 0],
        bounds="none; each score has a p-value",
        stopped="budget",
        p_values=tests[:, 1],
        notes=(f"{k} answers to each prompt; scores are energy distances and have no direction",),
    )


def _measure_pairs(source: Any, texts: list[str], k: int) -> list[NDArray[np.float64]]:
    """Return for each segment the distances (2k, 2k) between the answers with it and those without it."""
    distinct = list(dict.fromkeys(texts))
    vectors = np.asarray(source.compare.encoder(distinct), dtype=np.float64)
    # of negative type, as the energy distance needs
    between = np.sqrt(np.maximum(compute_cosine_distances(vectors, vectors), 0.0))
    at = {text: i for i, text in enumerate(distinct)}
    rows = np.array([at[text] for text in texts]).reshape(-1, k)
    return [between[np.ix_(both, both)] for both in (np.concatenate([rows[0], row]) for row in rows[1:])]
