"""The runs as a tree: forks below the run that they fork, those that were made alike as one line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.formatting import count_things
from llm_trace.stores.run_totals import read_runs_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_trace.stores.duckdb import Store

_GROUPS = """
    SELECT fork_of, list(id ORDER BY start_ns, id) AS ids, min(start_ns) AS start_ns
    FROM (
        SELECT id, fork_of, start_ns,
               CASE WHEN fork_of IS NOT NULL THEN coalesce(
                   'why ' || (config ->> '$.fork.why'),
                   'fork ' || (config ->> '$.fork.at') || (config ->> '$.fork.set')) END AS alike
        FROM runs)
    GROUP BY fork_of, coalesce(alike, 'run ' || id)
    {having} ORDER BY start_ns DESC, ids[1] {limit}"""
_NEWEST = _GROUPS.format(having="", limit="LIMIT ? OFFSET ?")
_OF_EACH = ("repeat", "without")
"""What `config["fork"]` says of one rerun and not of those made like it."""
_SUMS = ("calls", "failed", "input_tokens", "output_tokens", "cost_usd")


@dataclass(frozen=True)
class RunLine:
    """A run, or forks that were made alike: the reruns of one `why`, or of one change at one call."""

    run: Mapping[str, Any]
    """The first of them as `read_runs` has it, with the sums of all and the end of the last."""
    count: int
    """How many runs."""
    title: str
    depth: int
    """How many runs are above it, each a fork of the one before."""


def read_run_lines(store: Store, limit: int, offset: int = 0) -> list[RunLine]:
    """Return the lines from number `offset` on, newest first, each by itself: none stands below another."""
    groups = store.fetch_dicts(_NEWEST, limit, offset, remember=True)
    return _build_lines(store, groups, [(number, 0) for number in range(len(groups))])


def read_run_tree(store: Store, limit: int) -> list[RunLine]:
    """Return the newest lines, forks below the run that they fork.

    Args:
        limit: how many lines; runs that they fork come with them though older.
    """
    groups = _add_forked(store, store.fetch_dicts(_NEWEST, limit, 0, remember=True))
    above = {i: number for number, group in enumerate(groups) for i in group["ids"]}
    below = defaultdict[int | None, list[int]](list)
    for number, group in enumerate(groups):
        below[above.get(group["fork_of"])].append(number)
    return _build_lines(store, groups, _walk(below, len(groups)))


def read_alike(store: Store, run: str) -> list[RunLine]:
    """Return each run of the line that a run belongs to, newest first."""
    groups = store.fetch_dicts(_GROUPS.format(having="HAVING list_contains(ids, ?)", limit=""), run)
    ids = [i for group in groups for i in group["ids"]]
    return [_build_line([each], 0) for each in read_runs_by_id(store, ids)]


def _add_forked(store: Store, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines with those that they fork, and what these fork, newest first."""
    lines = {group["ids"][0]: group for group in groups}
    query = _GROUPS.format(having="HAVING list_has_any(ids, ?)", limit="")
    while missing := _list_missing(lines.values()):
        older = store.fetch_dicts(query, missing, remember=True)
        lines |= {group["ids"][0]: group for group in older}
        if not older:  # the run was purged, or the fork is of a root that belongs to none
            break
    return sorted(lines.values(), key=lambda group: (-group["start_ns"], group["ids"][0]))


def _list_missing(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    listed = {i for group in groups for i in group["ids"]}
    return sorted({group["fork_of"] for group in groups if group["fork_of"]} - listed)


def _walk(below: Mapping[int | None, list[int]], count: int) -> list[tuple[int, int]]:
    """Return the numbers of all lines with their depth, each after the one that it forks."""
    order: dict[int, int] = {}
    for root in (*below.get(None, ()), *range(count)):  # logs of strangers may have circles: none is left out
        rest = [(root, 0)]
        while rest:
            number, depth = rest.pop()
            if number not in order:
                order[number] = depth
                rest += [(each, depth + 1) for each in reversed(below.get(number, []))]
    return list(order.items())


def _build_lines(
    store: Store, groups: Sequence[Mapping[str, Any]], order: Iterable[tuple[int, int]]
) -> list[RunLine]:
    """Return lines by their number and depth."""
    facts = {run["id"]: run for run in read_runs_by_id(store, [i for group in groups for i in group["ids"]])}
    return [_build_line([facts[i] for i in groups[number]["ids"]], depth) for number, depth in order]


def _build_line(runs: Sequence[dict[str, Any]], depth: int) -> RunLine:
    first = runs[0]
    if len(runs) == 1:
        return RunLine(first, 1, first["name"] or first["id"], depth)
    sums = {name: _add(run[name] for run in runs) for name in _SUMS}
    ends = [run["end_ns"] for run in runs]
    fork = {key: value for key, value in first["config"]["fork"].items() if key not in _OF_EACH}
    config = {**first["config"], "fork": fork}
    whole = {**first, **sums, "config": config, "end_ns": None if None in ends else max(ends)}
    return RunLine(whole, len(runs), _name_forks(fork, len(runs)), depth)


def _add(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _name_forks(fork: Mapping[str, Any], count: int) -> str:
    reruns = count_things(count, "rerun")
    return f"why: {reruns}" if "why" in fork else f"{reruns} at {fork.get('name') or fork['at']}"
