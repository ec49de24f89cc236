"""The runs, with what their calls came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.stores.run_totals import read_runs

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store

MOST = 200


def read_runs_page(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return the newest runs."""
    return {"runs": read_runs(store, MOST)}
