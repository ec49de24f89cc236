"""The calls of runs that say most: those that failed, lost in the comparison, or have the lowest scores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.comparison.words import format_number
from llm_trace.stores.lookup import read_trace_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.comparison import Comparison
    from llm_trace.record import Attribution, Call, Run
    from llm_trace.stores.duckdb import Store

EXPLAINED = 3
"""Calls that are shown because they have attributions, after the others."""
LOWEST = 3
"""Calls of the lowest values of each score."""
_ATTRIBUTIONS = 2
"""Attributions of a call, the newest."""
_TRACE = 10_000
"""Calls of a trace among which attributions are looked for."""
_FAILED = "status NOT IN ('ok', 'open')"
# Where a call failed because one inside it did, the one inside is the failure.
_FAILURES = f"""
    SELECT count(*), status, error_type, error_message, list(span_id ORDER BY start_ns, span_id)
    FROM calls c
    WHERE list_contains($1, run) AND {_FAILED} AND NOT EXISTS (
        SELECT 1 FROM calls i WHERE i.trace_id = c.trace_id AND i.parent_id = c.span_id AND i.{_FAILED})
    GROUP BY ALL ORDER BY 1 DESC, 2, 3, 4"""
_LOWEST = """
    SELECT s.span_id, s.name, s.number FROM scores s JOIN calls c USING (span_id)
    WHERE list_contains($1, c.run) AND s.number IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY c.run, s.name ORDER BY s.number, c.start_ns, s.id) <= $2
        AND s.number < max(s.number) OVER (PARTITION BY c.run, s.name)
    ORDER BY s.name, s.number, c.start_ns, s.id"""


_EXPLAINED = """
    SELECT span_id FROM calls SEMI JOIN (SELECT span_id FROM attributions WHERE status = 'ok') USING (span_id)
    WHERE list_contains($1, run) ORDER BY start_ns DESC, span_id LIMIT $2"""


class Failure(NamedTuple):
    """Calls that failed alike."""

    calls: int
    status: str
    type: str | None
    message: str | None
    span_ids: list[str]


@dataclass(frozen=True)
class TellingCall:
    """A call worth a look."""

    call: Call
    reasons: tuple[str, ...]
    attributions: tuple[Attribution, ...]
    """Of the call, or of the calls inside it."""


def list_failures(store: Store, runs: Sequence[Run]) -> list[Failure]:
    """Return how the calls of runs failed, the most frequent failure first."""
    return [Failure(*row) for row in store.sql(_FAILURES, [run.id for run in runs])]


def choose_calls(
    store: Store, runs: Sequence[Run], failures: Sequence[Failure], comparison: Comparison | None, most: int
) -> list[TellingCall]:
    """Return at most `most` calls, in turn one that failed, one that lost and one with a low score, then
    explained ones."""
    ids = [run.id for run in runs]
    failed = [(failure.span_ids[0], f"failed: {failure.type or failure.status}") for failure in failures]
    lost = [
        (loss.b, f"lost: {loss.metric} {format_number(loss.before)} → {format_number(loss.after)}")
        for loss in (comparison.losses if comparison else ())
    ]
    scores = store.sql(_LOWEST, ids, LOWEST)
    low = [(span, f"lowest {name}: {format_number(number)}") for span, name, number in scores]
    explained = [(row[0], "explained") for row in store.sql(_EXPLAINED, ids, EXPLAINED)]
    reasons: dict[str, list[str]] = {}
    for entry in chain.from_iterable([*zip_longest(failed, lost, low), explained]):
        if entry is not None:
            reasons.setdefault(entry[0], []).append(entry[1])
    return [
        TellingCall(call, tuple(reasons[span]), find_attributions(store, call))
        for span in list(reasons)[:most]
        for call in [store.call(span)]
    ]


def find_attributions(store: Store, call: Call) -> tuple[Attribution, ...]:
    """Return the newest attributions of a call, else those of the first explained call inside it."""
    for span_id in (call.span_id, *_list_inside(store, call)):
        attributions = store.attributions(span_id)
        if attributions:
            return tuple(attributions[-_ATTRIBUTIONS:])
    return ()


def _list_inside(store: Store, call: Call) -> list[str]:
    """Return the calls inside a call that have attributions, in the order of their starts."""
    inside = {call.span_id}
    for row in read_trace_rows(store, call.trace_id, _TRACE):
        if row.parent_id in inside:
            inside.add(row.span_id)
    query = """
        SELECT DISTINCT span_id, start_ns FROM attributions a JOIN calls USING (span_id)
        WHERE list_contains(?, span_id) AND a.status = 'ok' ORDER BY start_ns, span_id"""
    return [str(row[0]) for row in store.sql(query, sorted(inside - {call.span_id}))]
