"""What the calls of a filter come to: how many, when, how long, what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.stores.search import search
from llm_trace.stores.totals import Totals, add_totals, sum_calls

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.filters import Filter


class Bar(NamedTuple):
    """The calls that began in one stretch of time."""

    start_ns: int
    end_ns: int
    calls: int
    failed: int
    mean_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class Summary(NamedTuple):
    """What calls come to; numbers that none of them reports are `None`.

    Tokens and cost count once: what a call reports includes the calls inside it.
    """

    calls: int
    failed: int
    """Neither ok nor open."""
    traces: int
    """Counted about, as median and quantile are of 16,384 calls at most: exact ones would take a sort."""
    first_ns: int | None
    last_ns: int | None
    median_ms: float | None
    p95_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    bars: tuple[Bar, ...]


_FAILED = "count(*) FILTER (status NOT IN ('ok', 'open'))"
_FIGURES = f"""
    SELECT count(*), {_FAILED}, approx_count_distinct(trace_id), min(start_ns), max(start_ns),
           reservoir_quantile((end_ns - start_ns) / 1e6, [0.5, 0.95], 16384)
    FROM calls WHERE """
_BARS = f"""
    SELECT {{}} AS bar, count(*), {_FAILED}, avg(end_ns - start_ns) / 1e6
    FROM calls WHERE {{}} GROUP BY bar"""


def summarize_calls(connection: DuckDBPyConnection, chosen: Filter, text: str | None, bars: int) -> Summary:
    """Return what the calls of a filter come to, and how they spread over `bars` equal stretches of time."""
    if text:
        matches = [span_id for span_id, _ in search(connection, chosen, text, None)]
        connection.execute("CREATE OR REPLACE TEMP TABLE _matches AS SELECT unnest(?) AS span_id", [matches])
        chosen = chosen.and_("span_id IN (SELECT span_id FROM _matches)")
    row: Any = connection.execute(f"{_FIGURES} {chosen.sql}", chosen.values).fetchone()
    calls, failed, traces, first, last, times = row
    median, p95 = times or (None, None)
    if not calls:
        return Summary(calls, failed, traces, first, last, median, p95, *Totals(), ())
    width = (last - first) // max(bars, 1) + 1
    bar = f"(start_ns - {first}) // {width}"
    totals = sum_calls(connection, chosen, bar)
    rows = connection.execute(_BARS.format(bar, chosen.sql), chosen.values).fetchall() if bars else []
    counts = {row[0]: row[1:] for row in rows}
    stretches = [
        (first + i * width, first + (i + 1) * width, *counts.get(i, (0, 0, None)), *totals.get(i, Totals()))
        for i in range(bars)
    ]
    sums = add_totals(totals.values())
    return Summary(calls, failed, traces, first, last, median, p95, *sums, tuple(map(Bar._make, stretches)))
