"""Which words gained or lost weight from a to b: both answers under both prompts, so that like is compared with like."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.comparison.statistics.paired import estimate, with_false_discovery_control
from llm_trace.comparison.words import count
from llm_trace.errors import AttributionError
from llm_trace.record import Record
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

    Key = tuple[str, str]
    Weights = dict[Key, float]

LEAST = 5
"""Pairs that a word must stand in to be told of."""
WHOLE = "(all of it)"


class Word(Record):
    """A word's weight for one side's answers, under both prompts."""

    word: str
    part: str
    """`template`, or the name of the variable that it stands in."""
    answer: Literal["a", "b"]
    """Whose answers it supports (positive) or opposes."""
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
    verdict: Literal["gained", "lost", "unclear"] = "unclear"


class Shift(Record):
    """Words by how much their weight changed, the largest first."""

    words: tuple[Word, ...]
    pairs: int
    left_out: int
    """Pairs without a model call with an answer in words on both sides, or with an answer that its own prompt does not explain."""
    method: str
    unit: str
    confidence: float

    def summary(self, most: int = 3) -> str:
        """Return the finding in a sentence."""
        clear = [word for word in self.words if word.verdict != "unclear"][:most]
        said = [
            f"{w.word!r} ({w.part}) {w.verdict} weight for {w.answer}'s answers, {w.a:+.2g} to {w.b:+.2g} {self.unit}"
            for w in clear
        ]
        return f"Over {count(self.pairs, 'pair')}: {'; '.join(said) or 'no word changed its weight beyond chance'}."


def attribution_shift(
    store: Path,
    spans: Sequence[tuple[str, str]],
    *,
    model: Any,
    pairs: int = 20,
    confidence: float = 0.95,
    seed: int = 0,
    **settings: Any,
) -> Shift:
    """Return how the weight of each word changed, with bounds over pairs drawn as these were.

    Args:
        store: where the calls are.
        spans: of the pairs, in a and in b; of each the first model call inside is taken.
        model: as `llm_trace.attribute` takes it.
        pairs: at most so many, evenly spaced; each costs up to four attributions.
        settings: of `llm_trace.attribute`, such as `method` and `tokenizer`.

    Raises:
        AttributionError: no pair can be explained.
    """
    step = max(1, len(spans) // pairs)
    chosen = spans[::step][:pairs]
    with open_store(store) as opened:
        asked = [(_asking(opened, a), _asking(opened, b)) for a, b in chosen]
    told: list[Attribution] = []
    found = [_weights(a, b, told, model=model, seed=seed, **settings) for a, b in asked if a and b]
    kept = [weights for weights in found if weights is not None]
    if not kept:
        raise AttributionError(
            f"none of {count(len(chosen), 'pair')} has a model call with an answer in words on both sides that can be explained"
        )
    words = [word for answer in (0, 1) for word in _words(kept, answer, confidence, seed)]
    ordered = tuple(sorted(_decided(words, 1 - confidence), key=lambda w: -abs(w.difference)))
    left_out = len(chosen) - len(kept)
    return Shift(
        words=ordered,
        pairs=len(kept),
        left_out=left_out,
        method=told[0].method,
        unit=told[0].unit,
        confidence=confidence,
    )


def _asking(store: Store, span: str) -> Call | None:
    """Return the first call of a model that is this call or inside it."""
    top = store.call(span)
    inside = {span}
    for call in store.trace(top.trace_id):
        if call.parent_id in inside:
            inside.add(call.span_id)
        if call.span_id in inside and call.kind == "llm" and call.output is not None:
            return call
    return None


def _weights(
    a: Call, b: Call, told: list[Attribution], **settings: Any
) -> list[tuple[Weights, Weights]] | None:
    """Return for a's and b's answer the weights under both prompts; `None` where its own prompt does not explain one of them."""
    from llm_trace.attribution.api import attribute

    found: list[tuple[Weights, Weights]] = []
    answers = [attribute(call, **settings) for call in (a, b)]
    told += answers
    for i, own in enumerate(answers):
        other = (b, a)[i]
        same = answers[0].response == answers[1].response
        crossed = answers[1 - i] if same else attribute(other, own.response, **settings)
        both = (own, crossed) if i == 0 else (crossed, own)
        if own.verdict in (
            "insufficient_evidence",
            "redacted_input",
        ):  # crossed, an answer may well be unexpected
            return None
        found.append((_by_word(both[0], a), _by_word(both[1], b)))
    return found


def _by_word(attribution: Attribution, call: Call) -> Weights:
    """Return the sum of scores of each word in each part, and of each variable as a whole."""
    places = list(_variables(attribution.prompt, call))
    found: Weights = defaultdict(float)
    for segment, value in zip(attribution.segments, attribution.values, strict=True):
        part = next((name for name, start, end in places if start <= segment.start < end), "template")
        found[part, re.sub(r"^\W+|\W+$", "", segment.text).lower() or segment.text.strip()] += value
        if part != "template":
            found[part, WHOLE] += value
    return found


def _variables(prompt: str, call: Call) -> Iterator[tuple[str, int, int]]:
    for name, value in call.prompt.variables.items() if call.prompt else ():
        start = prompt.find(str(value))
        if start >= 0 and str(value):
            yield name, start, start + len(str(value))


def _words(
    kept: list[list[tuple[Weights, Weights]]], answer: int, confidence: float, seed: int
) -> Iterator[Word]:
    keys = sorted({key for pair in kept for weights in pair[answer] for key in weights})
    for key in keys:
        rows = [
            (a.get(key, 0.0), b.get(key, 0.0))
            for a, b in (pair[answer] for pair in kept)
            if key in a or key in b
        ]
        if len(rows) < LEAST:
            continue
        a, b = np.array(rows).T
        found = estimate(a, b, np.arange(len(rows)), confidence=confidence, seed=seed)
        yield Word(
            word=key[1], part=key[0], answer=("a", "b")[answer], n=found.n, a=found.a, b=found.b,
            difference=found.difference, low=found.low, high=found.high, p_value=found.p_value,
        )  # fmt: skip


def _decided(words: list[Word], level: float) -> Iterator[Word]:
    for word, q in zip(words, with_false_discovery_control([w.p_value for w in words]), strict=True):
        known = word.low is not None and word.high is not None and (word.low > 0 or word.high < 0)
        sure = known and q is not None and q <= level
        verdict = ("gained" if word.difference > 0 else "lost") if sure else "unclear"
        yield word.model_copy(update={"q_value": q, "verdict": verdict})
