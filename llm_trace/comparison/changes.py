"""What was changed from a to b: prompts, system messages, models and parameters of the calls compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from llm_trace.comparison.facts import ASKED, find_times
from llm_trace.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_trace.stores.duckdb import Store

MOST = 500
"""Pairs that are looked at."""
_INSIDE = f"""
WITH RECURSIVE {ASKED.strip().removeprefix("WITH ")}, inside AS (
    SELECT span_id, trace_id, start_ns, i % 2 = 0 AS in_a FROM calls JOIN asked USING (span_id)
    WHERE start_ns BETWEEN ? AND ?
    UNION
    SELECT c.span_id, c.trace_id, c.start_ns, in_a FROM calls c
    JOIN inside i ON c.parent_id = i.span_id AND c.trace_id = i.trace_id
)
SELECT span_id, in_a FROM inside ORDER BY in_a DESC, start_ns, span_id"""
_PROMPTS = f"""{ASKED}
SELECT 'prompt', prompt_name, prompt_version, i < ? AS in_a, count(*) FROM calls JOIN asked USING (span_id)
WHERE start_ns BETWEEN ? AND ? AND prompt_name IS NOT NULL GROUP BY ALL"""
_MODELS = f"""{ASKED}
SELECT 'model', '', model, i < ? AS in_a, count(*) FROM calls JOIN asked USING (span_id)
WHERE start_ns BETWEEN ? AND ? AND model IS NOT NULL GROUP BY ALL"""
_TALKS = f"""{ASKED}
SELECT 1 FROM calls JOIN asked USING (span_id)
WHERE start_ns BETWEEN ? AND ? AND len(messages_in) > 0 LIMIT 1"""
_SYSTEM = f"""{ASKED}, used AS MATERIALIZED (
    SELECT unnest(messages_in) AS message_id, i < ? AS in_a FROM calls JOIN asked USING (span_id)
    WHERE start_ns BETWEEN ? AND ?
)
SELECT 'system message', '', m.text, in_a, count(*) FROM used JOIN (
    SELECT id, text FROM messages
    WHERE id IN (SELECT message_id FROM used) AND role IN ('system', 'developer')
) m ON m.id = used.message_id GROUP BY ALL"""
_PARAMS = f"""{ASKED}, params AS (
    SELECT params, i < ? AS in_a, unnest(json_keys(params)) AS name FROM calls JOIN asked USING (span_id)
    WHERE start_ns BETWEEN ? AND ? AND params IS NOT NULL
)
SELECT 'parameter', name, CAST(params -> ('$."' || name || '"') AS TEXT), in_a, count(*) FROM params
WHERE NOT contains(name, '"') GROUP BY ALL"""
ChangeSubject = Literal["prompt", "system message", "model", "parameter"]


class Change(Record):
    """One thing that is not the same on both sides: what most calls of each have."""

    what: ChangeSubject
    name: str
    """Of a prompt or parameter."""
    a: str
    """A template, text, name or a value as JSON; empty where the side has none."""
    b: str
    label_a: str
    """Of a prompt its version."""
    label_b: str


class Seen(NamedTuple):
    """A value and how many calls of a side have it."""

    what: ChangeSubject
    name: str
    value: str
    in_a: bool
    calls: int


def list_changes(store: Store, spans: Sequence[tuple[str, str]]) -> list[Change]:
    """Return what differs between the calls of a and of b, and those inside them.

    Args:
        spans: of pairs, in a and in b; the first 500 are looked at.
    """
    every = " ".join([span for pair in spans[:MOST] for span in pair])
    inside = store.fetch(_INSIDE, every, *find_times(store, every))
    ids, in_a = " ".join([span for span, _ in inside]), sum(is_in_a for _, is_in_a in inside)
    times = find_times(store, ids)
    queries = [_PROMPTS, _MODELS, _PARAMS]
    if store.fetch(_TALKS, ids, *times):  # to find that none of all messages is meant takes long
        queries.insert(1, _SYSTEM)
    seen = [Seen(*row) for query in queries for row in store.fetch(query, ids, in_a, *times)]
    templates = {(p.name, p.version): (f"v{p.number}", p.template) for p in store.prompts(halfway=True)}
    changes = list(_list_changes(seen, templates))
    prompts = any(change.what == "prompt" for change in changes)
    return [change for change in changes if not prompts or change.what != "system message"]


def _list_changes(
    seen: Iterable[Seen], templates: dict[tuple[str, str], tuple[str, str]]
) -> Iterator[Change]:
    most: dict[tuple[ChangeSubject, str], dict[bool, Seen]] = {}
    for row in seen:
        sides = most.setdefault((row.what, row.name), {})
        if row.calls > sides.get(row.in_a, row._replace(calls=0)).calls:
            sides[row.in_a] = row
    for (what, name), sides in most.items():
        a, b = ("" if side is None else side.value for side in (sides.get(True), sides.get(False)))
        if a == b:
            continue
        shown = [templates.get((name, value), (value, value)) if what == "prompt" else ("", value)
                 for value in (a, b)]  # fmt: skip
        yield Change(
            what=what, name=name, a=shown[0][1], b=shown[1][1], label_a=shown[0][0], label_b=shown[1][0]
        )
