"""What `llm-trace doctor` finds, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.examination import examine

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store


def read_health(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return what is known of store, spool, destinations and installation."""
    return {"report": examine(str(store.path))}
