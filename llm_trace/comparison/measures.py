"""The numbers that are compared: of each unit one for each metric, and of each pair how its outputs differ."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from llm_trace.comparison.similarity import similarity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_trace.comparison.pairs import Pair
    from llm_trace.comparison.result import Better
    from llm_trace.comparison.units import Unit
    from llm_trace.stores.duckdb import Store

    Embed = Callable[[list[str]], Sequence[Sequence[float]]]

Floats = NDArray[np.float64]
Values = dict[str, Floats]
"""Metric to (units,): NaN where it is not known."""

DIRECTIONS: dict[str, Better] = {
    "errors": "lower", "refusals": "lower", "valid_json": "higher", "input_tokens": "lower", "output_tokens": "lower",
    "cost_usd": "lower", "latency_ms": "lower", "first_token_ms": "lower",
}  # fmt: skip
"""Metrics that need no score, and which direction is good. Scores count as better when higher, unless told otherwise."""
READ = 1_000
"""Pairs whose outputs are read for their similarity."""

TEXT = """
CASE WHEN json_type(c.output) = 'VARCHAR' THEN c.output ->> '$'
     ELSE coalesce(m.text, c.output ->> '$.choices[0].message.content', c.output ->> '$.content[0].text',
                   c.output ->> '$.output_text', CAST(c.output AS TEXT)) END"""
REFUSAL = (
    r"(?i)^\W*(i'?m (very |so |really )?sorry,? (but )?|(i )?apologi[sz]e,? but |sorry,? (but )?|unfortunately,? |as an ai\b.{0,60}, )?"
    r"i( can't| cannot| can not| won't| am not able to| am unable to|'m not able to|'m unable to| must decline)"
)
_input_tokens, _output_tokens, _cost = map(attrgetter, ("input_tokens", "output_tokens", "cost_usd"))
_OUTPUTS = f"""
WITH said AS (
    SELECT c.span_id, {TEXT} AS text FROM calls c LEFT JOIN messages m ON m.id = c.messages_out[-1]
    WHERE c.span_id IN (SELECT unnest(?)) AND c.output IS NOT NULL
)
SELECT span_id, {{columns}} FROM said"""
_FACTS = (
    "md5(text), regexp_matches(text, '" + REFUSAL.replace("'", "''") + "'), "
    "json_valid(text), regexp_matches(text, '^\\s*[\\[{]')"
)
_SCORES = """
WITH last AS (
    SELECT span_id, name, number FROM scores WHERE span_id IN (SELECT unnest(?)) AND number IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY span_id, name, source ORDER BY time_ns DESC, id DESC) = 1
)
SELECT span_id, name, avg(number) FROM last GROUP BY ALL ORDER BY name, span_id"""


def numbers(units: Sequence[Unit]) -> Values:
    """Return what the calls themselves tell: errors, tokens, cost, times."""
    tops = [unit.top for unit in units]
    firsts = [
        min((c.first_token_ns for c in u.calls if c.first_token_ns is not None), default=None) for u in units
    ]
    found: dict[str, list[float | None]] = {
        "errors": [float(call.status == "error") for call in tops],
        "input_tokens": [unit.total(_input_tokens) for unit in units],
        "output_tokens": [unit.total(_output_tokens) for unit in units],
        "cost_usd": [unit.total(_cost) for unit in units],
        "latency_ms": [None if c.end_ns is None else (c.end_ns - c.start_ns) / 1e6 for c in tops],
        "first_token_ms": [
            None if f is None else (f - c.start_ns) / 1e6 for f, c in zip(firsts, tops, strict=True)
        ],
    }
    return {name: np.array(values, dtype=float) for name, values in found.items()}


def scores(store: Store, units: Sequence[Unit]) -> Values:
    """Return the scores of the units: of all calls inside the mean, the latest word of each source."""
    home = {call.span_id: i for i, unit in enumerate(units) for call in unit.calls}
    rows: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for span, name, value in store.sql(_SCORES, list(home)):
        rows[name][0].append(home[span])
        rows[name][1].append(value)
    return {name: mean_by(np.array(at), np.array(values), len(units)) for name, (at, values) in rows.items()}


def mean_by(groups: NDArray[np.int64], values: Floats, count: int) -> Floats:
    """Return the mean of each group's values, NaN for groups that have none; values that are NaN do not count."""
    known = ~np.isnan(values)
    sums = np.bincount(groups[known], values[known], minlength=count)
    sizes = np.bincount(groups[known], minlength=count)
    return np.asarray(np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0))


def outputs(store: Store, units: Sequence[Unit]) -> tuple[Values, list[str | None]]:
    """Return whether each answer refuses and is valid JSON (where answers look like it), and the hashes of the answers."""
    query = _OUTPUTS.format(columns=_FACTS)
    rows = {row[0]: row[1:] for row in store.sql(query, [unit.top.span_id for unit in units])}
    said = [rows.get(unit.top.span_id, (None, None, None, False)) for unit in units]
    made: Values = {"refusals": np.array([refuses for _, refuses, _, _ in said], dtype=float)}
    if 2 * sum(looks for *_, looks in said) > len(rows):
        made["valid_json"] = np.array([valid for _, _, valid, _ in said], dtype=float)
    return made, [text for text, *_ in said]


def as_expected(store: Store, units: Sequence[Unit], expected: Sequence[Any]) -> Floats:
    """Return whether each output is what is expected, white space around texts aside; NaN where nothing is."""
    query = "SELECT span_id, output FROM calls WHERE span_id IN (SELECT unnest(?))"
    said = {
        span: given and orjson.loads(given)
        for span, given in store.sql(query, [u.top.span_id for u in units])
    }
    pairs = ((said.get(unit.top.span_id), right) for unit, right in zip(units, expected, strict=True))
    return np.array(
        [np.nan if right is None else _bare(output) == _bare(right) for output, right in pairs], dtype=float
    )


def _bare(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def changed(pairs: Sequence[Pair], hashes: Mapping[str, str | None]) -> Floats:
    """Return by pair which share of b's answers is not, letter for letter, a's."""
    return np.array(
        [_changed(*([hashes[u.top.span_id] for u in side] for side in (p.a, p.b))) for p in pairs]
    )


def _changed(a: list[str | None], b: list[str | None]) -> float:
    said = [x != y for x in a for y in b if x and y]
    return sum(said) / len(said) if said else float("nan")


def similarities(store: Store, pairs: Sequence[Pair], embed: Embed | None) -> Floats:
    """Return by pair how similar the first answers are, 1 where they are the same; of many pairs of a part."""
    step = max(1, -(-len(pairs) // READ))
    part = range(0, len(pairs), step)  # keys are hashes, so this is as good as drawn
    spans = [(pairs[i].a[0].top.span_id, pairs[i].b[0].top.span_id) for i in part]
    texts: dict[str, str] = dict(
        store.sql(_OUTPUTS.format(columns="text"), [span for both in spans for span in both]).fetchall()
    )
    said = [
        (i, texts[a], texts[b]) for i, (a, b) in zip(part, spans, strict=True) if a in texts and b in texts
    ]
    found = np.full(len(pairs), np.nan)
    if said:
        found[[i for i, _, _ in said]] = similarity([a for _, a, _ in said], [b for _, _, b in said], embed)
    return found
