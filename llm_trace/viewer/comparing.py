"""One run, prompt version or model against another: metrics with bounds, and what got worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.comparison.html import place_bounds
from llm_trace.rendering.differences import diff_words
from llm_trace.stores.run_totals import read_runs

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store

CHOICES = 50
"""Runs to choose from."""


def read_comparison(store: Store, request: Request) -> dict[str, Any]:
    """Return what can be compared and, where two sides are named, the comparison."""
    query = request.query_params
    a, b, by = (query.get(name, "").strip() for name in ("a", "b", "by"))
    runs = [{"id": run["id"], "name": run["name"]} for run in read_runs(store, CHOICES)]
    prompts = [f"{version.name}@{version.number}" for version in store.prompts()]
    choices = {"runs": runs, "prompts": prompts, "a": a, "b": b, "by": by, "comparison": None}
    return {**choices, **_compare(store, a, b, by)} if a and b else choices


def _compare(store: Store, a: str, b: str, by: str) -> dict[str, Any]:
    from llm_trace.comparison.api import compare

    comparison = compare(a, b, store=store, by=by or None)
    return {
        "comparison": comparison,
        "summary": comparison.summary(),
        "rows": [
            {"slice": name, "metric": metric, "range": place_bounds(metric)}
            for name, metric in comparison.rows()
        ],
        "losses": [
            {"loss": loss, "diff": diff_words(loss.output_a, loss.output_b)} for loss in comparison.losses
        ],
    }
