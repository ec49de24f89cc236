"""The runs, with what their calls came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.stores.run_tree import read_alike, read_run_tree

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store

MOST = 200


def read_runs_page(store: Store, request: Request) -> dict[str, Any]:
    """Return the newest runs as a tree of forks, or each rerun of the line that a run belongs to."""
    run = request.query_params.get("like")
    lines = read_run_tree(store, MOST) if run is None else read_alike(store, run)
    runs = [{**line.run, "count": line.count, "title": line.title, "depth": line.depth} for line in lines]
    return {"runs": runs, "like": run}
