"""What "the same input" means for two calls, also when the prompt itself is what changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import TYPE_CHECKING

import orjson

from llm_trace.capture.content import is_cut
from llm_trace.comparison.facts import ASKED, bound_times, list_asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.dataset import Dataset
    from llm_trace.comparison.facts import Fact
    from llm_trace.stores.duckdb import Store

_WHOLE = "function and input"
Keys = list[str | None]
"""For each call that is compared the hash of what identifies its input; `None` where it has none."""

_MESSAGES = (
    r"messages_in[1 + coalesce(TRY_CAST(regexp_extract("
    r"""CAST(input AS TEXT), '"\$messages":\[([0-9]+)', 1) AS INT), 0):]"""
)
"""Ids of the messages in the input; a system prompt that goes before them is an argument of its own."""
_INPUT = (
    ASKED
    + """
SELECT i, name || md5(concat(CAST({input} AS TEXT), CAST({messages} AS TEXT)))
FROM calls JOIN asked USING (span_id) WHERE start_ns BETWEEN ? AND ?"""
)
_KEYED = (
    ASKED
    + """
SELECT i, name || (rebuild ->> '$.key') FROM calls JOIN asked USING (span_id)
WHERE start_ns BETWEEN ? AND ? AND rebuild ->> '$.key' IS NOT NULL AND CAST(input AS TEXT) <> '{}'"""
)
"""The hashes of inputs from before they were masked."""
_CUT = (
    ASKED
    + """
SELECT i, CAST(input AS TEXT) FROM calls JOIN asked USING (span_id)
WHERE start_ns BETWEEN ? AND ?
AND contains(CAST(input AS TEXT), '"truncated":') AND contains(CAST(input AS TEXT), '"__type__":')"""
)
_NO_SYSTEM = (
    ASKED
    + """
SELECT i, any_value(c.name) || md5(concat(
    regexp_replace(any_value(CAST(c.input AS TEXT)), '"\\$messages":\\[[0-9]+,[0-9]+\\]', ''),
    CAST(list(m.message_id ORDER BY m.position) AS TEXT)))
FROM calls c JOIN asked USING (span_id)
JOIN call_messages m ON m.span_id = c.span_id AND m.direction = 'in' AND m.role NOT IN ('system', 'developer')
WHERE c.start_ns BETWEEN ? AND ? GROUP BY i"""
)
_CONSTANT = (
    ASKED
    + """,
     inputs AS (
        SELECT i < ? AS in_a, input FROM calls JOIN asked USING (span_id) WHERE start_ns BETWEEN ? AND ?
     ),
     sizes AS (SELECT in_a, count(*) AS calls FROM inputs GROUP BY in_a),
     given AS (SELECT in_a, unnest(json_keys(input)) AS argument,
         unnest(json_extract(input, '$.*')) AS value FROM inputs),
     said AS (
        SELECT in_a, argument, min(CAST(value AS TEXT)) AS least, max(CAST(value AS TEXT)) AS most,
            count(*) AS calls
        FROM given GROUP BY ALL
     )
SELECT argument FROM said JOIN sizes USING (in_a) GROUP BY argument
HAVING bool_and(least = most AND said.calls = sizes.calls) AND (count(*) = 1 OR min(least) <> max(least))
ORDER BY argument"""
)


_NOTHING = md5(b"", usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Pairing:
    """A way to tell that two calls had the same input."""

    by: str
    a: Keys
    b: Keys
    ambiguous: tuple[str, ...] = field(default=(), kw_only=True)
    """Arguments that differ throughout and may be what is compared; each side has but one input."""

    @property
    def common(self) -> int:
        """How many inputs both sides have."""
        return len((set(self.a) & set(self.b)) - {None})

    @property
    def complete(self) -> bool:
        """Whether every input of the smaller side is in the other."""
        return self.common >= min(len(set(self.a)), len(set(self.b)))

    def blank_name(self, key: str) -> str | None:
        """Return the function of a key that holds no input, `None` for other keys."""
        return key.removesuffix(_NOTHING) if key.endswith(_NOTHING) and self.by.startswith(_WHOLE) else None


def pair_by_input(store: Store, a: Sequence[Fact], b: Sequence[Fact]) -> Pairing:
    """Return the strictest way of pairing that pairs the most: the input whole, else without what differs."""
    best = Pairing(_WHOLE, [], [])
    ambiguous: tuple[str, ...] = ()
    for pairing in _list_ways(store, a, b):
        ambiguous += pairing.ambiguous
        if not best.a or pairing.common > best.common:
            best = pairing
        if best.complete:
            break
    return replace(best, ambiguous=ambiguous)


def _list_ways(store: Store, a: Sequence[Fact], b: Sequence[Fact]) -> Iterator[Pairing]:
    cut = [_cut_inputs(store, side) for side in (a, b)]

    def read(by: str, query: str) -> Pairing:
        keys = (_read_keys(store, query, side) for side in (a, b))
        return Pairing(
            by,
            *(
                [k if i not in c else None for i, k in enumerate(side)]
                for side, c in zip(keys, cut, strict=True)
            ),
        )

    keyed = Pairing(_WHOLE, _read_keys(store, _KEYED, a), _read_keys(store, _KEYED, b))
    if None not in keyed.a and None not in keyed.b:
        yield keyed
    yield read(_WHOLE, _INPUT.format(input="input", messages=_MESSAGES))
    compared = _find_compared_arguments(store, a, b)
    if compared:
        patch = orjson.dumps(dict.fromkeys(compared)).decode().replace("'", "''")
        query = _INPUT.format(input=f"json_merge_patch(input, '{patch}')", messages=_MESSAGES)
        pairing = read(f"{_WHOLE} without {', '.join(compared)}", query)
        tell = all(
            len(set(keys)) > len({u.name for u in side}) for keys, side in ((pairing.a, a), (pairing.b, b))
        )
        yield (
            pairing
            if tell
            else Pairing(pairing.by, [None] * len(a), [None] * len(b), ambiguous=tuple(compared))
        )
    if any(unit.variables for unit in a):
        yield Pairing(
            "function and variables of the prompt",
            *([u.variables and f"{u.name}{u.variables}" for u in side] for side in (a, b)),
        )
    yield read("function and messages without the system's", _NO_SYSTEM)


def _find_compared_arguments(store: Store, a: Sequence[Fact], b: Sequence[Fact]) -> list[str]:
    """Return the arguments that are one value throughout a and another in b: what is compared, not asked."""
    both = (*a, *b)
    rows = store.fetch(_CONSTANT, list_asked(both), len(a), *bound_times(both))
    return [str(row[0]) for row in rows]


def _read_keys(store: Store, query: str, side: Sequence[Fact]) -> Keys:
    keys: dict[int, str] = dict(store.fetch(query, list_asked(side), *bound_times(side)))
    return list(map(keys.get, range(len(side))))


def _cut_inputs(store: Store, side: Sequence[Fact]) -> set[int]:
    """Return the calls whose input was kept in part, without a hash: equal looks may be other inputs."""
    rows = store.fetch(_CUT, list_asked(side), *bound_times(side))
    return {i for i, text in rows if is_cut(orjson.loads(text))}


def pair_by_dataset(store: Store, dataset: Dataset, a: Sequence[Fact], b: Sequence[Fact]) -> Pairing:
    """Return the pairing by the example that a call's input holds; calls of no example have no key."""
    return Pairing(
        f"example of {dataset.name} {dataset.version}",
        *(_read_examples(store, dataset, side) for side in (a, b)),
    )


def _read_examples(store: Store, dataset: Dataset, side: Sequence[Fact]) -> Keys:
    rows = store.fetch(ASKED + " SELECT i, input FROM calls JOIN asked USING (span_id)", list_asked(side))
    inputs = {i: text and orjson.loads(text) for i, text in rows}
    examples = (dataset.example_of(inputs.get(i)) for i in range(len(side)))
    return [example.id if example else None for example in examples]


def pair_by_place(by: str, a: Sequence[Fact], b: Sequence[Fact]) -> Pairing:
    """Return the pairing by the first value that was asked for, wherever in the call it stands."""
    return Pairing(by, *([u.wanted[0] for u in side] for side in (a, b)))
