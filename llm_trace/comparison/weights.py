"""From the weights of words under two prompts to words that gained or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_trace.attribution.studies.aggregate import NEGLIGIBLE
from llm_trace.record import Record
from llm_trace.statistics.multiple_tests import correct_tested
from llm_trace.statistics.paired import estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Weights = dict[tuple[str, str], float]
    """Part and word to weight."""

LEAST = 5
"""Pairs that a word must stand in to be named, and with another answer for the others to stay out."""


class Word(Record):
    """A word's weight for one side's answers, under both prompts."""

    word: str
    part: str
    """`template`, or the name of the variable that it stands in."""
    answer: Literal["a", "b", "own"]
    """Whose answers it supports (positive) or opposes; `own`: a's under a's prompt, b's under b's."""
    n: int
    """Pairs that have it in a prompt; where it is missing in one of both its weight there is 0."""
    a: float
    """Mean weight under a's prompt."""
    b: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    q_value: float | None = None
    verdict: Literal["gained", "lost", "negligible", "unclear"] = "unclear"
    """`negligible`: no pair's weight changed by 0.05 nats, or the bounds lie within that; such a word is
    not a finding however sure its sign is.
    """


def weigh_words(
    pairs: Sequence[Sequence[tuple[Weights, Weights]]], *, confidence: float = 0.95, seed: int = 0
) -> tuple[Word, ...]:
    """Return how the weight of each word changed, the largest change first.

    Args:
        pairs: of each the weights under a's and b's prompt, for a's answer and for b's; or once,
            of each side's own answer.
        confidence: of the bounds, and 1 less the share of false findings.
        seed: of the sign flips.
    """
    answers = range(len(pairs[0]) if pairs else 0)
    words = [word for answer in answers for word in _build_words(pairs, answer, confidence, seed)]
    return tuple(sorted(_decide(words, 1 - confidence), key=lambda w: -abs(w.difference)))


def _build_words(
    pairs: Sequence[Sequence[tuple[Weights, Weights]]], answer: int, confidence: float, seed: int
) -> Iterator[Word]:
    names: tuple[Literal["a", "b", "own"], ...] = ("own",) if len(pairs[0]) == 1 else ("a", "b")
    keys = sorted({key for pair in pairs for weights in pair[answer] for key in weights})
    for key in keys:
        rows = [
            (a.get(key, 0.0), b.get(key, 0.0))
            for a, b in (pair[answer] for pair in pairs)
            if key in a or key in b
        ]
        if len(rows) < LEAST:
            continue
        a, b = np.array(rows).T
        change = estimate(a, b, np.arange(len(rows)), confidence=confidence, seed=seed)
        # Of sizes alone, which leaves the test of signs valid.
        relevant = float(np.abs(b - a).max()) >= NEGLIGIBLE
        yield Word(
            word=key[1], part=key[0], answer=names[answer], n=change.n, a=change.a, b=change.b,
            difference=change.difference, low=change.low, high=change.high,
            p_value=change.p_value if relevant else None,
        )  # fmt: skip


def _decide(words: list[Word], level: float) -> Iterator[Word]:
    """Return the words with q-values and verdicts; those whose changes are all negligible are not tested."""
    for word, q in zip(words, correct_tested([w.p_value for w in words]), strict=True):
        yield word.model_copy(update={"q_value": q, "verdict": _judge_word(word, q, level)})


def _judge_word(
    word: Word, q: float | None, level: float
) -> Literal["gained", "lost", "negligible", "unclear"]:
    if word.low is None or word.high is None:
        return "unclear"
    if q is None or max(-word.low, word.high) < NEGLIGIBLE:
        return "negligible"
    if q <= level and (word.low > 0 or word.high < 0) and abs(word.difference) >= NEGLIGIBLE:
        return "gained" if word.difference > 0 else "lost"
    return "unclear"
