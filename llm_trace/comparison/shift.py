"""Which words gained or lost weight from a to b: both answers under both prompts, like with like."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from llm_trace.comparison.facts import ASKED
from llm_trace.comparison.measures import find_changed
from llm_trace.comparison.weights import LEAST, Word, weigh_words
from llm_trace.errors import AttributionError
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.weights import Weights
    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

WHOLE = "(all of it)"
RECORDED = 100
"""Pairs whose attributions in the store are looked at."""
_EXPLAINED = f"""{ASKED}, explained AS (
    SELECT DISTINCT c.trace_id FROM attributions a JOIN calls c USING (span_id) WHERE a.status = 'ok')
SELECT span_id FROM asked JOIN calls USING (span_id) WHERE trace_id IN (SELECT trace_id FROM explained)"""
_INSIDE = """SELECT span_id, parent_id, kind = 'llm' AND coalesce(output::VARCHAR, 'null') <> 'null'
FROM calls WHERE trace_id IN (SELECT unnest(?)) ORDER BY start_ns, span_id"""
_ANSWERS = {"a": "a's answers", "b": "b's answers", "own": "each side's own answers"}
T = TypeVar("T")


class RecordedPair(NamedTuple):
    """The model calls of a pair, each with what the store has of why it answered so."""

    a: Call
    b: Call
    of_a: Attribution
    of_b: Attribution


class Shift(Record):
    """Words by how much their weight changed, the largest first."""

    words: tuple[Word, ...]
    pairs: int
    changed: int
    """Pairs with another answer in b than in a; where there are five or more the words are of these alone."""
    left_out: int
    """Pairs without a model call with an answer in words on both sides, or with an answer that its own
    prompt does not explain.
    """
    method: str
    unit: str
    confidence: float

    def summary(self, most: int = 3) -> str:
        """Return the finding in a sentence."""
        clear = [word for word in self.words if word.verdict in ("gained", "lost")][:most]
        changes = [
            f"{w.word!r} ({w.part}) {w.verdict} weight for {_ANSWERS[w.answer]}, {w.a:+.2g} to {w.b:+.2g} "
            f"{self.unit}"
            for w in clear
        ]
        over = f"Over {count_things(self.pairs, 'pair')}, {self.changed:,} with another answer"
        return f"{over}: {'; '.join(changes) or 'no word changed its weight beyond chance'}."


def measure_attribution_shift(
    store: str,
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
        pairs: at most so many, each costs up to four attributions. Those with another answer in b come first;
            where these are fewer than five, others are added, evenly spaced.
        settings: of `llm_trace.attribute`, such as `method` and `tokenizer`.

    Raises:
        AttributionError: no pair can be explained.
    """
    with open_store(store) as opened:
        chosen = _choose(spans, find_changed(opened, spans), pairs)
        calls = _find_asking(opened, [span for pair, _ in chosen for span in pair])
    asked = [(calls.get(a), calls.get(b), changed) for (a, b), changed in chosen]
    attributions: list[Attribution] = []
    weighed = [
        (_measure_weights(a, b, attributions, model=model, seed=seed, **settings), changed)
        for a, b, changed in asked
        if a and b
    ]
    explained = [weights for weights, _ in weighed if weights is not None]
    if not explained:
        raise AttributionError(
            f"none of {count_things(len(chosen), 'pair')} has a model call with an answer in words on both "
            f"sides that can be explained"
        )
    words = weigh_words(explained, confidence=confidence, seed=seed)
    left_out = len(chosen) - len(explained)
    return Shift(
        words=words,
        pairs=len(explained),
        changed=sum(changed for weights, changed in weighed if weights is not None),
        left_out=left_out,
        method=attributions[0].method,
        unit=attributions[0].unit,
        confidence=confidence,
    )


def measure_recorded_shift(
    store: str, spans: Sequence[tuple[str, str]], *, confidence: float = 0.95, seed: int = 0
) -> Shift | None:
    """Return how the weight of each word changed, by the attributions that the store has.

    They explain each side's own answers; where answers differ, a word may weigh otherwise for that alone.
    `measure_attribution_shift` tells both apart and needs a model.

    Args:
        spans: of the pairs, in a and in b; of each the first model call inside is taken.

    Returns:
        `None` where no pair has attributions of one method and unit on both sides.
    """
    with open_store(store) as opened, opened.hold():
        known = list_explained(opened, spans)[:RECORDED]
        changed = dict(zip(known, find_changed(opened, known), strict=True))
        pairs = [(pair, changed[key]) for key, pair in find_recorded_pairs(opened, known).items()]
    kinds = Counter((pair.of_a.method, pair.of_a.unit) for pair, _ in pairs)
    if not kinds:
        return None
    (method, unit), _ = kinds.most_common(1)[0]
    same = [
        (pair, differs) for pair, differs in pairs if (pair.of_a.method, pair.of_a.unit) == (method, unit)
    ]
    weights = [[(_sum_by_word(pair.of_a, pair.a), _sum_by_word(pair.of_b, pair.b))] for pair, _ in same]
    return Shift(
        words=weigh_words(weights, confidence=confidence, seed=seed),
        pairs=len(same),
        changed=sum(differs for _, differs in same),
        left_out=len(spans) - len(same),
        method=method,
        unit=unit,
        confidence=confidence,
    )


def list_explained(store: Store, spans: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of which both traces have an attribution."""
    every = " ".join([span for pair in spans for span in pair])
    known = {row[0] for row in store.fetch(_EXPLAINED, every)}
    return [pair for pair in spans if known.issuperset(pair)]


def find_recorded_pairs(
    store: Store, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], RecordedPair]:
    """Return, by pair, the newest attributions of one method and unit that the store has of both answers."""
    calls = _find_asking(store, [span for pair in pairs for span in pair])
    asked = {pair: (calls[pair[0]], calls[pair[1]]) for pair in pairs if calls.keys() >= set(pair)}
    recorded = {pair: _choose_recorded(store, *both) for pair, both in asked.items()}
    return {pair: each for pair, each in recorded.items() if each is not None}


def _choose_recorded(store: Store, a: Call, b: Call) -> RecordedPair | None:
    known = [{(x.method, x.unit): x for x in store.attributions(call.span_id)} for call in (a, b)]
    for kind in reversed(known[0]):
        if kind in known[1] and _is_explained(known[0][kind], known[1][kind]):
            return RecordedPair(a, b, known[0][kind], known[1][kind])
    return None


def _choose(
    spans: Sequence[tuple[str, str]], changed: Sequence[bool], most: int
) -> list[tuple[tuple[str, str], bool]]:
    """Return the pairs to explain, and whether each has another answer in b."""
    other = [(pair, True) for pair, differs in zip(spans, changed, strict=True) if differs]
    same = [(pair, False) for pair, differs in zip(spans, changed, strict=True) if not differs]
    first = _space_evenly(other, most)
    return first if len(first) >= LEAST else first + _space_evenly(same, most - len(first))


def _space_evenly(items: list[T], most: int) -> list[T]:
    """Return at most so many of the items, evenly spaced."""
    return [items[i * len(items) // most] for i in range(most)] if len(items) > most else items


def _find_asking(store: Store, spans: Sequence[str]) -> dict[str, Call]:
    """Return, by span, the first call of a model with an output that is this call or inside it."""
    traces = sorted({call.trace_id for call in store.pick(spans)})
    calls = store.fetch(_INSIDE, traces)
    asking: dict[str, str] = {}
    tops: defaultdict[str | None, list[str]] = defaultdict(list)
    """By call: of which of the spans it is inside."""
    wanted = set(spans)
    for span_id, parent_id, asks in calls:
        tops[span_id] = [*tops[parent_id], *([span_id] if span_id in wanted else [])]
        if asks:
            asking.update({top: span_id for top in tops[span_id] if top not in asking})
    by_id = {call.span_id: call for call in store.pick(sorted(set(asking.values())))}
    return {top: by_id[span_id] for top, span_id in asking.items()}


def _measure_weights(
    a: Call, b: Call, attributions: list[Attribution], **settings: Any
) -> list[tuple[Weights, Weights]] | None:
    """Return for a's and b's answer the weights under both prompts; `None` where its own prompt does not
    explain one of them.
    """
    from llm_trace.attribution.api import attribute

    weights: list[tuple[Weights, Weights]] = []
    answers = [attribute(call, **settings) for call in (a, b)]
    attributions += answers
    for i, own in enumerate(answers):
        other = (b, a)[i]
        same = answers[0].response == answers[1].response
        crossed = answers[1 - i] if same else attribute(other, own.response, **settings)
        both = (own, crossed) if i == 0 else (crossed, own)
        if not _is_explained(own):  # crossed, an answer may well be unexpected
            return None
        weights.append((_sum_by_word(both[0], a), _sum_by_word(both[1], b)))
    return weights


def _is_explained(*attributions: Attribution) -> bool:
    return all(x.verdict not in ("insufficient_evidence", "redacted_input") for x in attributions)


def _sum_by_word(attribution: Attribution, call: Call) -> Weights:
    """Return the sum of scores of each word in each part, and of each variable as a whole."""
    places = list(_find_variables(attribution.prompt, call))
    weights: Weights = defaultdict(float)
    for segment, value in zip(attribution.segments, attribution.values, strict=True):
        part = next((name for name, start, end in places if start <= segment.start < end), "template")
        weights[part, re.sub(r"^\W+|\W+$", "", segment.text).lower() or segment.text.strip()] += value
        if part != "template":
            weights[part, WHOLE] += value
    return weights


def _find_variables(prompt: str, call: Call) -> Iterator[tuple[str, int, int]]:
    for name, value in call.prompt.variables.items() if call.prompt else ():
        start = prompt.find(str(value))
        if start >= 0 and str(value):
            yield name, start, start + len(str(value))
