"""What a comparison reads of each call: a row of numbers and hashes, never the call itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.comparison.sides import Chosen
    from llm_trace.stores.duckdb import Store

_PLACES = {
    "metadata": "metadata",
    "input": "input",
    "variables": "prompt_variables",
    "params": "params",
}
_PLAIN = ("session", "user", "model", "kind", "name")


ASKED = """
WITH asked AS (
    SELECT unnest(ids) AS span_id, generate_subscripts(ids, 1) - 1 AS i
    FROM (SELECT string_split(?, ' ') AS ids)
)"""
"""Begins a query on calls whose ids, separated by spaces, are its first parameter: `i` is the place there."""


class Fact(NamedTuple):
    """One call of a side, or of the traces around it."""

    span_id: str
    parent_id: str | None
    chosen: bool
    """Whether the side means this call, rather than one around it."""
    name: str | None
    status: str
    start_ns: int
    end_ns: int | None
    first_token_ns: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    session: str | None
    tags: str | None
    """JSON: with a list for each call, the garbage collector would take as long as the whole reading."""
    variables: str | None
    """Hash of the prompt's variables."""
    wanted: tuple[str | None, ...]
    """Values of the places that the caller named: the key to pair by, then the slices."""
    inside: tuple[str, ...] = ()
    """The calls inside that are summed up in this row."""


_QUERY = """
WITH side AS (SELECT span_id, trace_id FROM calls WHERE {filter})
SELECT span_id, parent_id, span_id IN (SELECT span_id FROM side), name, status, start_ns, end_ns,
       first_token_ns,       input_tokens, output_tokens, cost_usd, session, to_json(tags),
       CASE WHEN prompt_variables IS NOT NULL THEN
           md5(prompt_name || CAST(prompt_variables AS TEXT)) END{wanted}
FROM calls
WHERE span_id IN (SELECT span_id FROM side) OR trace_id IN (SELECT trace_id FROM side)
ORDER BY start_ns, span_id"""


def read_facts(store: Store, side: Chosen, places: Sequence[str] = ()) -> list[Fact]:
    """Return the side's calls and those of the same traces, in the order of their starts.

    Args:
        places: values to read besides, as `place` takes them.
    """
    wanted = "".join(f", {place(name)}" for name in places)
    query = _QUERY.format(filter=side.filter.sql, wanted=wanted)
    own = len(Fact._fields) - 2
    return [Fact._make((*row[:own], row[own:], ())) for row in store.sql(query, *side.filter.values)]


def find_times(store: Store, ids: str) -> tuple[int, int]:
    """Return when the first and the last of some calls began.

    A query that names these times reads only the part of a large store that has the calls.

    Args:
        ids: of the calls, separated by spaces.
    """
    query = f"{ASKED} SELECT min(start_ns), max(start_ns) FROM calls JOIN asked USING (span_id)"
    ((first, last),) = store.fetch(query, ids)
    return first or 0, last or 0


def bound_times(calls: Sequence[Fact]) -> tuple[int, int]:
    """Return what `find_times` does, of calls that were read already."""
    times = [call.start_ns for call in calls] or [0]
    return min(times), max(times)


def list_asked(calls: Iterable[Fact]) -> str:
    """Return the first parameter of a query that begins with `ASKED`."""
    return " ".join([call.span_id for call in calls])


def place(name: str) -> str:
    """Return the SQL of a place in a call, such as `metadata.example`, `input.question`, `variables.name`,
    `session`, `dataset` or `replay`: the call itself, of a replay the one that it repeats.

    Raises:
        ConfigurationError: a place that a call does not have.
    """
    if name in _PLAIN:
        return f'"{name}"'
    if name == "replay":
        return "coalesce(replay_of, span_id)"
    if name == "dataset":
        return "(metadata ->> '$.dataset') || ':' || (metadata ->> '$.example')"
    head, _, rest = name.partition(".")
    if head not in _PLACES or not rest or re.search(r"[\"'\\]", rest):
        known = ", ".join((*_PLAIN, "dataset", "replay", *(f"{head}.NAME" for head in _PLACES)))
        raise ConfigurationError(f"{name!r} is no place in a call: name one of {known}")
    path = ".".join(f'"{part}"' for part in rest.split("."))
    return f"{_PLACES[head]} ->> '$.{path}'"
