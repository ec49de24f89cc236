"""What "the same input" means for two calls, and how it is found out when the prompt itself is what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.dataset import Dataset
    from llm_trace.comparison.units import Unit
    from llm_trace.stores.duckdb import Store

Keys = dict[str, str | None]
"""For each unit's call the hash of what identifies its input; `None` where it has none."""

_INPUT = """
SELECT span_id, name || md5(concat(CAST({input} AS TEXT), CAST({messages} AS TEXT))) FROM calls
WHERE span_id IN (SELECT unnest(?))"""
_NO_SYSTEM = """
SELECT c.span_id, any_value(c.name) || md5(concat(
    regexp_replace(any_value(CAST(c.input AS TEXT)), '"\\$messages":\\[[0-9]+,[0-9]+\\]', ''),
    CAST(list(m.message_id ORDER BY m.position) AS TEXT)))
FROM calls c JOIN call_messages m ON m.span_id = c.span_id AND m.direction = 'in' AND m.role NOT IN ('system', 'developer')
WHERE c.span_id IN (SELECT unnest(?)) GROUP BY c.span_id"""
_CONSTANT = """
WITH inputs AS (SELECT span_id IN (SELECT unnest(?)) AS in_a, input FROM calls WHERE span_id IN (SELECT unnest(?))),
     sizes AS (SELECT in_a, count(*) AS calls FROM inputs GROUP BY in_a),
     given AS (SELECT in_a, input, unnest(json_keys(input)) AS argument FROM inputs),
     said AS (
        SELECT in_a, argument, min(said) AS least, max(said) AS most, count(*) AS calls
        FROM (SELECT *, CAST(json_extract(input, '$."' || argument || '"') AS TEXT) AS said FROM given) GROUP BY ALL
     )
SELECT argument FROM said JOIN sizes USING (in_a) GROUP BY argument
HAVING bool_and(least = most AND said.calls = sizes.calls) AND (count(*) = 1 OR min(least) <> max(least))
ORDER BY argument"""


@dataclass(frozen=True)
class Pairing:
    """A way to tell that two calls had the same input."""

    by: str
    a: Keys
    b: Keys

    @property
    def common(self) -> int:
        """How many inputs both sides have."""
        return len((set(self.a.values()) & set(self.b.values())) - {None})

    @property
    def complete(self) -> bool:
        """Whether every input of the smaller side is in the other."""
        return self.common >= min(len(set(self.a.values())), len(set(self.b.values())))


def by_input(store: Store, a: Sequence[Unit], b: Sequence[Unit]) -> Pairing:
    """Return the strictest way of pairing that pairs the most: the input whole, else without what differs by design."""
    best: Pairing | None = None
    for pairing in _ways(store, a, b):
        if best is None or pairing.common > best.common:
            best = pairing
        if best.complete:
            break
    assert best is not None
    return best


def _ways(store: Store, a: Sequence[Unit], b: Sequence[Unit]) -> Iterator[Pairing]:
    def read(by: str, query: str) -> Pairing:
        return Pairing(by, _keys(store, query, a), _keys(store, query, b))

    yield read("function and input", _INPUT.format(input="input", messages="messages_in"))
    compared = _compared_arguments(store, a, b)
    if compared:
        patch = orjson.dumps(dict.fromkeys(compared)).decode().replace("'", "''")
        query = _INPUT.format(input=f"json_merge_patch(input, '{patch}')", messages="messages_in")
        yield read(f"function and input without {', '.join(compared)}", query)
    if any(unit.variables for unit in a):
        yield Pairing(
            "function and variables of the prompt",
            *({u.top.span_id: u.variables and f"{u.top.name}{u.variables}" for u in side} for side in (a, b)),
        )
    yield read("function and messages without the system's", _NO_SYSTEM)


def _compared_arguments(store: Store, a: Sequence[Unit], b: Sequence[Unit]) -> list[str]:
    """Return the arguments that are one value throughout a and another throughout b: what is compared, not what is asked."""
    ids = [[unit.top.span_id for unit in side] for side in (a, b)]
    return [str(row[0]) for row in store.sql(_CONSTANT, ids[0], ids[0] + ids[1])]


def _keys(store: Store, query: str, side: Sequence[Unit]) -> Keys:
    found: dict[str, str] = dict(store.sql(query, [unit.top.span_id for unit in side]).fetchall())
    return {unit.top.span_id: found.get(unit.top.span_id) for unit in side}


def by_dataset(store: Store, dataset: Dataset, a: Sequence[Unit], b: Sequence[Unit]) -> Pairing:
    """Return the pairing by the example that a call's input holds; calls of no example have no key."""
    return Pairing(
        f"example of {dataset.name} {dataset.version}", *(_examples(store, dataset, side) for side in (a, b))
    )


def _examples(store: Store, dataset: Dataset, side: Sequence[Unit]) -> Keys:
    spans = [unit.top.span_id for unit in side]
    rows = store.sql("SELECT span_id, input FROM calls WHERE span_id IN (SELECT unnest(?))", spans)
    inputs = {span: given and orjson.loads(given) for span, given in rows}
    found = {span: dataset.example_of(inputs.get(span)) for span in spans}
    return {span: example.id if example else None for span, example in found.items()}


def by_place(by: str, a: Sequence[Unit], b: Sequence[Unit]) -> Pairing:
    """Return the pairing by the first value that was asked for, wherever in the unit it stands."""
    return Pairing(
        by, *({u.top.span_id: u.first(lambda call: call.wanted[0]) for u in side} for side in (a, b))
    )
