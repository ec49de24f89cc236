"""What `runs` and exporters say of a run: its calls, its totals, the means of its scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_trace.stores.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.duckdb import Store

_RUNS = """
    SELECT r.id, r.name, r.config, coalesce(r.tags, []) AS tags, r.start_ns, r.end_ns, r.fork_of,
           coalesce(c.calls, 0) AS calls, coalesce(c.failed, 0) AS failed,
           r.environment ->> '$.git_commit' AS git_commit
    FROM (SELECT * FROM runs {chosen}) r LEFT JOIN (
        SELECT run, count(*) AS calls, count(*) FILTER (status NOT IN ('ok', 'open')) AS failed
        FROM calls WHERE run IS NOT NULL GROUP BY run
    ) c ON c.run = r.id
    ORDER BY r.start_ns DESC, r.id"""
_COUNTS = """
SELECT count(*), count(*) FILTER (status = 'error'), median(duration_ms) FROM calls WHERE run = ?"""
_MEANS = """
SELECT 'scores.' || s.name,
       avg(coalesce(try_cast(s.value ->> '$' AS DOUBLE),
                    CASE s.value ->> '$' WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)) AS mean
FROM scores s JOIN calls c ON c.span_id = s.span_id WHERE c.run = ?
GROUP BY s.name HAVING mean IS NOT NULL ORDER BY s.name"""


def read_runs(store: Store, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs with their configuration, and their calls, failures, tokens and cost."""
    return _read_chosen(store, "ORDER BY start_ns DESC, id LIMIT ?", limit)


def read_runs_by_id(store: Store, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return these runs as `read_runs` does, newest first; ids that are unknown are left out."""
    return _read_chosen(store, "WHERE id IN (SELECT unnest(?))", list(ids))


def _read_chosen(store: Store, chosen: str, value: Any) -> list[dict[str, Any]]:
    runs = store.fetch_dicts(_RUNS.format(chosen=chosen), value, remember=True)
    totals = store.run_totals([run["id"] for run in runs])
    for run in runs:
        run["config"] = json.loads(run["config"]) if run["config"] else {}
        run |= totals.get(run["id"], Totals())._asdict()
    return runs


def compute_run_metrics(store: Store, run: str) -> dict[str, float]:
    """Return the sums of a run's calls, the median of their time, and the means of their scores."""
    ((calls, errors, duration_ms),) = store.fetch(_COUNTS, run)
    totals = store.run_totals([run]).get(run, Totals())
    figures = {"calls": calls, "errors": errors, **totals._asdict(), "duration_ms": duration_ms}
    means = store.fetch(_MEANS, run)
    return {name: float(value) for name, value in [*figures.items(), *means] if value is not None}
