"""What the calls of a filter come to: how many, when, how long, what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.stores.search import search

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.filters import Filter


class Bar(NamedTuple):
    """The calls that began in one stretch of time."""

    start_ns: int
    end_ns: int
    calls: int
    failed: int


class Summary(NamedTuple):
    """What calls come to; numbers that none of them reports are `None`."""

    calls: int
    failed: int
    """Neither ok nor open."""
    traces: int
    """Counted about, as median and quantile are computed: exact ones would take a sort of everything."""
    first_ns: int | None
    last_ns: int | None
    median_ms: float | None
    p95_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    bars: tuple[Bar, ...]


# What a call reports includes the calls inside it, so one right inside another that reports is left out;
# calls further around are not looked at: that would take a walk through every trace.
_OUTERMOST = """
    NOT EXISTS (SELECT 1 FROM _chosen p WHERE p.span_id = c.parent_id
                AND (p.input_tokens IS NOT NULL OR p.cost_usd IS NOT NULL))"""
_COLUMNS = "span_id, parent_id, trace_id, status, start_ns, end_ns, input_tokens, output_tokens, cost_usd"
_TOTALS = """
    SELECT count(*), count(*) FILTER (status NOT IN ('ok', 'open')), approx_count_distinct(trace_id),
           min(start_ns), max(start_ns), approx_quantile((end_ns - start_ns) / 1e6, 0.5),
           approx_quantile((end_ns - start_ns) / 1e6, 0.95)
    FROM _chosen"""
_SUMS = f"""
    SELECT sum(input_tokens)::BIGINT, sum(output_tokens)::BIGINT, sum(cost_usd)
    FROM _chosen c WHERE (input_tokens IS NOT NULL OR cost_usd IS NOT NULL) AND {_OUTERMOST}"""
_BARS = """
    SELECT (start_ns - $1) // $2 AS bar, count(*), count(*) FILTER (status NOT IN ('ok', 'open'))
    FROM _chosen GROUP BY bar ORDER BY bar"""


def summarize_calls(connection: DuckDBPyConnection, chosen: Filter, text: str | None, bars: int) -> Summary:
    """Return what the calls of a filter come to, and how they spread over `bars` equal stretches of time."""
    if text:
        matches = [span_id for span_id, _ in search(connection, chosen, text, None)]
        chosen = chosen.and_("span_id IN (SELECT unnest(?))", matches)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _chosen AS SELECT {_COLUMNS} FROM calls WHERE {chosen.sql}",
        chosen.values,
    )
    calls, failed, traces, first, last, median, p95 = _fetch_one(connection, _TOTALS)
    read, written, cost = _fetch_one(connection, _SUMS)
    spread = _spread(connection, first, last, bars) if calls and bars else ()
    return Summary(calls, failed, traces, first, last, median, p95, read, written, cost, spread)


def _spread(connection: DuckDBPyConnection, first: int, last: int, bars: int) -> tuple[Bar, ...]:
    width = (last - first) // bars + 1
    counts = {row[0]: row[1:] for row in connection.execute(_BARS, [first, width]).fetchall()}
    return tuple(Bar(first + i * width, first + (i + 1) * width, *counts.get(i, (0, 0))) for i in range(bars))


def _fetch_one(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
