"""Which calls of a side are compared: outermost ones, each with all that happened inside it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import orjson

from llm_trace.errors import ConfigurationError
from llm_trace.stores.totals import sum_outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.comparison.facts import Fact

Path = tuple[str, ...]
T = TypeVar("T")
NOT_OVER = ("open", "interrupted", "cancelled")


def build_units(
    a: Sequence[Fact], b: Sequence[Fact], climbs: tuple[bool, bool]
) -> tuple[list[Fact], list[Fact]]:
    """Return the calls to compare, both sides from the same depth, each with what is inside summed up.

    These are the outermost calls, unless a side is a single one with several calls inside (a script's
    `main`), or both sides lie in the same trace: then those one step inside, and so on.

    Raises:
        ConfigurationError: a and b are the same calls.
    """
    paths = [_build_paths(side, climb) for side, climb in zip((a, b), climbs, strict=True)]
    depth = _find_depth(*paths)
    tops = [{_cut_at(path, depth) for path in side.values()} for side in paths]
    both = tops[0] & tops[1]
    if both and not (tops[0] - both and tops[1] - both):
        raise ConfigurationError(
            "a and b mean the same calls: choose two runs, versions, models or filters that differ"
        )
    return _grow_units(a, tops[0] - both), _grow_units(b, tops[1] - both)


def _build_paths(facts: Iterable[Fact], climbs: bool) -> dict[str, Path]:
    """Return for each chosen call the ids from the outermost call that counts down to itself."""
    known = {fact.span_id: fact for fact in facts}
    paths: dict[str, Path] = {}
    for fact in known.values():
        if fact.chosen and fact.parent_id not in known:
            paths[fact.span_id] = (fact.span_id,)
        elif fact.chosen:
            line = _list_ancestors(fact, known)
            first = 0 if climbs else next(i for i, span in enumerate(line) if known[span].chosen)
            paths[fact.span_id] = line[first:]
    return paths


def _list_ancestors(fact: Fact, known: dict[str, Fact]) -> Path:
    line = [fact.span_id]
    while (parent := known[line[-1]].parent_id) in known and parent not in line:
        line.append(str(parent))
    return tuple(reversed(line))


def _cut_at(path: Path, depth: int) -> str:
    return path[min(depth, len(path) - 1)]


def _find_depth(a: dict[str, Path], b: dict[str, Path]) -> int:
    """Return the least depth at which the sides share no call and neither is one that could be opened."""
    deepest = max(map(len, (*a.values(), *b.values())), default=1)
    for depth in range(deepest):
        tops = [{_cut_at(path, depth) for path in side.values()} for side in (a, b)]
        opens = [len(top) == 1 and len(side) > 2 for top, side in zip(tops, (a, b), strict=True)]
        if not tops[0] & tops[1] and not any(opens):
            return depth
    return 0


def _grow_units(facts: Iterable[Fact], tops: set[str]) -> list[Fact]:
    """Return the calls that are compared, with all calls inside them."""
    units: dict[str, Fact] = {}
    inside: dict[str, list[Fact]] = defaultdict(list)
    home: dict[str | None, str] = {}
    for fact in facts:  # by start: parents come first
        top = home.get(fact.parent_id)
        if fact.span_id in tops:
            top = fact.span_id
            units[top] = fact
        elif top is not None:
            inside[top].append(fact)
        if top is not None:
            home[fact.span_id] = top
    return [_sum_calls([call, *inside[top]]) if top in inside else call for top, call in units.items()]


def _sum_calls(calls: Sequence[Fact]) -> Fact:
    """Return the first of the calls with what happened inside it: the others, ordered by their starts."""
    parents = {call.span_id: call.parent_id for call in calls}
    return calls[0]._replace(
        first_token_ns=min((c.first_token_ns for c in calls if c.first_token_ns is not None), default=None),
        input_tokens=sum_outermost(parents, {c.span_id: c.input_tokens for c in calls}),
        output_tokens=sum_outermost(parents, {c.span_id: c.output_tokens for c in calls}),
        cost_usd=sum_outermost(parents, {c.span_id: c.cost_usd for c in calls}),
        session=_get_first(c.session for c in calls),
        tags=orjson.dumps([tag for c in calls if c.tags for tag in orjson.loads(c.tags)]).decode(),
        variables=",".join(c.variables for c in calls if c.variables) or None,
        wanted=tuple(_get_first(values) for values in zip(*(c.wanted for c in calls), strict=True)),
        inside=tuple(c.span_id for c in calls[1:]),
    )


def _get_first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
