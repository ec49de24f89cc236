"""The numbers that are compared: one per metric of each unit, and how the outputs of each pair differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from llm_trace.comparison.dataset import as_text
from llm_trace.comparison.facts import ASKED, bound_times, find_times, list_asked
from llm_trace.comparison.similarity import measure_similarity
from llm_trace.statistics.floats import Floats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_trace.comparison.facts import Fact
    from llm_trace.comparison.pairs import Pairs
    from llm_trace.comparison.records import Better
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.result import SqlRow

    Embed = Callable[[list[str]], Sequence[Sequence[float]]]

Values = dict[str, Floats]
"""Metric to (calls,): NaN where it is not known."""

DIRECTIONS: dict[str, Better] = {
    "errors": "lower", "refusals": "lower", "valid_json": "higher",
    "input_tokens": "lower", "output_tokens": "lower",
    "cost_usd": "lower", "latency_ms": "lower", "first_token_ms": "lower",
}  # fmt: skip
"""Metrics that need no score, and which direction is good. For scores it is higher, unless told otherwise."""
READ = 1_000
"""Pairs whose outputs are read for their similarity."""

TEXT = """
CASE WHEN json_type(c.output) = 'VARCHAR' THEN c.output ->> '$'
     ELSE coalesce(m.text, c.output ->> '$.choices[0].message.content', c.output ->> '$.content[0].text',
                   c.output ->> '$.output_text', CAST(c.output AS TEXT)) END"""
REFUSAL = (
    r"(?i)^\W*(i'?m (very |so |really )?sorry,? (but )?|(i )?apologi[sz]e,? but |"
    r"sorry,? (but )?|unfortunately,? |as an ai\b.{0,60}, )?"
    r"i( can't| cannot| can not| won't| am not able to| am unable to|"
    r"'m not able to|'m unable to| must decline)"
)
_OUTPUTS = f"""{ASKED}, picked AS MATERIALIZED (
    SELECT i, output, messages_out[-1] AS message_id FROM calls JOIN asked USING (span_id)
    WHERE start_ns BETWEEN ? AND ? AND output IS NOT NULL
), last AS (SELECT id, text FROM messages WHERE id IN (SELECT message_id FROM picked)
), said AS (SELECT i, {TEXT} AS text FROM picked c LEFT JOIN last m ON m.id = c.message_id)
SELECT i, {{columns}} FROM said"""
_FACTS = (
    "hash(text), regexp_matches(text, '" + REFUSAL.replace("'", "''") + "'), "
    "json_valid(text), regexp_matches(text, '^\\s*[\\[{]')"
)


def read_numbers(calls: Sequence[Fact]) -> Values:
    """Return what the calls themselves tell: errors, tokens, cost, times."""
    numbers: dict[str, list[float | None]] = {
        "errors": [c.status == "error" for c in calls],
        "input_tokens": [c.input_tokens for c in calls],
        "output_tokens": [c.output_tokens for c in calls],
        "cost_usd": [c.cost_usd for c in calls],
        "latency_ms": [None if c.end_ns is None else (c.end_ns - c.start_ns) / 1e6 for c in calls],
        "first_token_ms": [
            None if c.first_token_ns is None else (c.first_token_ns - c.start_ns) / 1e6 for c in calls
        ],
    }
    return {name: np.array(values, dtype=float) for name, values in numbers.items()}


def read_outputs(store: Store, calls: Sequence[Fact]) -> tuple[Values, list[int | None]]:
    """Return whether each answer refuses, is valid JSON (where it looks like it), and its hash."""
    rows = {row[0]: row[1:] for row in _read_outputs_of(store, _FACTS, calls)}
    answers = [rows.get(i, (None, None, None, False)) for i in range(len(calls))]
    values: Values = {"refusals": np.array([refuses for _, refuses, _, _ in answers], dtype=float)}
    if 2 * sum(looks for *_, looks in answers) > len(rows):
        values["valid_json"] = np.array([valid for _, _, valid, _ in answers], dtype=float)
    return values, [text for text, *_ in answers]


def _read_outputs_of(store: Store, columns: str, calls: Sequence[Fact]) -> list[SqlRow]:
    """Return the place of each call that has an output, and columns made of its `text`."""
    return _fetch_outputs(store, columns, list_asked(calls), bound_times(calls))


def _fetch_outputs(store: Store, columns: str, ids: str, between: tuple[int, int]) -> list[SqlRow]:
    """Return the same by ids, of which the first and the last began at these times."""
    return store.fetch(_OUTPUTS.format(columns=columns), ids, *between)


def find_changed(store: Store, spans: Sequence[tuple[str, str]]) -> list[bool]:
    """Return of pairs of calls whether their answers differ, letter for letter."""
    every = " ".join([span for pair in spans for span in pair])
    hashes: dict[int, int] = dict(_fetch_outputs(store, "hash(text)", every, find_times(store, every)))
    return [hashes.get(2 * i) != hashes.get(2 * i + 1) for i in range(len(spans))]


def as_expected(store: Store, calls: Sequence[Fact], expected: Sequence[Any]) -> Floats:
    """Return whether each output is what is expected, white space around texts aside, a number also as
    text; NaN where nothing is.
    """
    rows = store.fetch(ASKED + " SELECT i, output FROM calls JOIN asked USING (span_id)", list_asked(calls))
    outputs = {i: text and orjson.loads(text) for i, text in rows}
    pairs = ((outputs.get(i), right) for i, right in enumerate(expected))
    return np.array(
        [np.nan if right is None else _is_right(output, right) for output, right in pairs], dtype=float
    )


def _is_right(output: Any, right: Any) -> bool:
    return bool(
        _strip_bare(output) == _strip_bare(right)
        or (isinstance(right, str) and as_text(output) == right.strip())
    )


def _strip_bare(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def measure_changed(pairs: Pairs, hashes: Sequence[int | None]) -> Floats:
    """Return by pair which share of b's answers is not, letter for letter, a's."""
    n, group = len(pairs), pairs.group[[text is not None for text in hashes]]
    answered = np.array([text for text in hashes if text is not None], dtype=np.uint64)
    _, text = np.unique(answered, return_inverse=True)
    answer = group // 2 * len(answered) + text  # one number for a pair's calls that say the same
    answers, which = np.unique(answer, return_inverse=True)
    times = np.bincount(2 * which + group % 2, minlength=2 * len(answers)).reshape(-1, 2)  # in a and in b
    same = np.bincount(answers // max(1, len(answered)), times.prod(axis=1), minlength=n)
    every = np.bincount(group, minlength=2 * n).reshape(n, 2).prod(axis=1)
    return np.asarray(np.divide(every - same, every, out=np.full(n, np.nan), where=every > 0))


def measure_similarities(store: Store, pairs: Pairs, embed: Embed | None) -> Floats:
    """Return by pair how similar the first answers are, 1 where they are the same; a sample of many pairs."""
    step = max(1, -(-len(pairs) // READ))
    part = range(0, len(pairs), step)  # keys are hashes, so this is as good as drawn
    calls = [side[i] for i in part for side in pairs.firsts]
    texts: dict[int, str] = dict(_read_outputs_of(store, "text", calls))
    pairs_of_texts = [
        (i, texts[2 * k], texts[2 * k + 1])
        for k, i in enumerate(part)
        if 2 * k in texts and 2 * k + 1 in texts
    ]
    similarities = np.full(len(pairs), np.nan)
    if pairs_of_texts:
        similarities[[i for i, _, _ in pairs_of_texts]] = measure_similarity(
            [a for _, a, _ in pairs_of_texts], [b for _, _, b in pairs_of_texts], embed
        )
    return similarities
