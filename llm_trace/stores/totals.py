"""What calls come to, no token counted twice: what a call reports includes the calls inside it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_trace.stores.duckdb import Store

Number = TypeVar("Number", int, float)

_CALLS = """
WITH traces AS (SELECT DISTINCT run, trace_id FROM calls WHERE list_contains(?, run))
SELECT t.run, c.span_id, c.parent_id, CASE WHEN c.run = t.run THEN c.input_tokens END,
       CASE WHEN c.run = t.run THEN c.output_tokens END, CASE WHEN c.run = t.run THEN c.cost_usd END
FROM traces t JOIN calls c USING (trace_id) ORDER BY t.run, c.start_ns, c.span_id"""
"""Of each run all calls of its traces, those of other runs without numbers."""


class Totals(NamedTuple):
    """What the calls of a run come to; `None` where none of them reports the number."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


def total_runs(store: Store, runs: Sequence[str]) -> dict[str, Totals]:
    """Return what the calls of each run come to, by the run's id; runs without calls are left out."""
    totals = {}
    for run, rows in groupby(store.sql(_CALLS, list(runs)), key=lambda row: row[0]):
        _, spans, parents, *numbers = zip(*rows, strict=True)
        tree = dict(zip(spans, parents, strict=True))
        totals[run] = Totals(*(sum_outermost(tree, dict(zip(spans, n, strict=True))) for n in numbers))
    return totals


def sum_outermost(parents: Mapping[str, str | None], numbers: Mapping[str, Number | None]) -> Number | None:
    """Return the sum of the numbers of calls that are inside no other that has one; `None` where none has.

    Args:
        parents: the ids of the calls, and of those around them.
        numbers: what each call reports.
    """
    outermost = [
        number
        for span, number in numbers.items()
        if number is not None and not _is_inside_reporting(span, parents, numbers)
    ]
    return sum(outermost) if outermost else None


def _is_inside_reporting(
    span: str, parents: Mapping[str, str | None], numbers: Mapping[str, Number | None]
) -> bool:
    above = parents[span]
    for _ in parents:  # no more steps than calls: parents may go in a circle
        if above is None or above == span or above not in parents:
            return False
        if numbers[above] is not None:
            return True
        above = parents[above]
    return False
