"""The numbers that are compared: of each unit one for each metric, and of each pair how its outputs differ."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.comparison.similarity import similarity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llm_trace.comparison.pairs import Pair
    from llm_trace.comparison.result import Better
    from llm_trace.comparison.units import Unit
    from llm_trace.stores.duckdb import Store

    Embed = Callable[[list[str]], Sequence[Sequence[float]]]

Values = dict[str, dict[str, float]]
"""Metric to span id of a unit's call to value; what is not known is absent."""

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


def numbers(units: Iterable[Unit]) -> Values:
    """Return what the calls themselves tell: errors, tokens, cost, times."""
    made: Values = defaultdict(dict)
    for unit in units:
        call = unit.top
        first = min((c.first_token_ns for c in unit.calls if c.first_token_ns is not None), default=None)
        found = {
            "errors": float(call.status == "error"),
            "input_tokens": unit.total(lambda c: c.input_tokens),
            "output_tokens": unit.total(lambda c: c.output_tokens),
            "cost_usd": unit.total(lambda c: c.cost_usd),
            "latency_ms": None if call.end_ns is None else (call.end_ns - call.start_ns) / 1e6,
            "first_token_ms": None if first is None else (first - call.start_ns) / 1e6,
        }
        for name, value in found.items():
            if value is not None:
                made[name][call.span_id] = value
    return made


def scores(store: Store, units: Iterable[Unit]) -> Values:
    """Return the scores of the units: of all calls inside the mean, the latest word of each source."""
    home = {call.span_id: unit.top.span_id for unit in units for call in unit.calls}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for span, name, value in store.sql(_SCORES, list(home)):
        found[name][home[span]].append(value)
    return {name: {top: float(np.mean(v)) for top, v in values.items()} for name, values in found.items()}


def outputs(store: Store, units: Iterable[Unit]) -> tuple[Values, dict[str, str]]:
    """Return whether each answer refuses and is valid JSON (where answers look like it), and the hashes of the answers."""
    rows = store.sql(_OUTPUTS.format(columns=_FACTS), [unit.top.span_id for unit in units]).fetchall()
    made: Values = {"refusals": {span: float(refuses) for span, _, refuses, _, _ in rows}}
    if 2 * sum(looks for *_, looks in rows) > len(rows):
        made["valid_json"] = {span: float(valid) for span, _, _, valid, _ in rows}
    return made, {span: text for span, text, *_ in rows}


def changed(pairs: Sequence[Pair], hashes: dict[str, str]) -> dict[str, float]:
    """Return by pair which share of b's answers is not, letter for letter, a's."""
    made = {}
    for pair in pairs:
        said = [[hashes[u.top.span_id] for u in side if u.top.span_id in hashes] for side in (pair.a, pair.b)]
        if said[0] and said[1]:
            made[pair.key] = float(np.mean([x != y for x in said[0] for y in said[1]]))
    return made


def similarities(store: Store, pairs: Sequence[Pair], embed: Embed | None) -> dict[str, float]:
    """Return by pair how similar the first answers are, 1 where they are the same; of many pairs of a part."""
    step = max(1, -(-len(pairs) // READ))
    part = pairs[::step]  # keys are hashes, so this is as good as drawn
    wanted = [side[0].top.span_id for pair in part for side in (pair.a, pair.b)]
    texts: dict[str, str] = dict(store.sql(_OUTPUTS.format(columns="text"), wanted).fetchall())
    both = [(p.key, p.a[0].top.span_id, p.b[0].top.span_id) for p in part]
    said = [(key, texts[a], texts[b]) for key, a, b in both if a in texts and b in texts]
    if not said:
        return {}
    values = similarity([a for _, a, _ in said], [b for _, _, b in said], embed)
    return dict(zip((key for key, _, _ in said), values, strict=True))
