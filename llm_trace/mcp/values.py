"""Values of calls as the short texts and numbers of an answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from llm_trace.mcp.answers import MoreRequest, fit_rows
from llm_trace.rendering import formatting

if TYPE_CHECKING:
    from llm_trace.record import Call

CallId = Annotated[
    str, Field(max_length=40, description="A span or trace id, the beginning of one, or last (the newest).")
]
Offset = Annotated[int, Field(ge=0, description="How many to pass over first.")]
RowLimit = Annotated[int, Field(ge=1, le=200, description="At most so many.")]


def format_time(ns: int | None) -> str | None:
    """Return a time in UTC to the second."""
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_value(value: Any) -> str:
    """Return a value as text: what is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def drop_empty(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without what says nothing."""
    return {name: value for name, value in row.items() if value not in (None, "", (), [], {})}


def format_call(call: Call, most: int = 160) -> dict[str, Any]:
    """Return a call as a row of a list."""
    usage = call.usage
    took_ms = None if call.duration_ns is None else call.duration_ns / 1e6
    return drop_empty(
        {
            "id": call.span_id,
            "time": format_time(call.start_ns),
            "name": call.name,
            "kind": call.kind,
            "status": call.status,
            "model": call.model,
            "took_ms": took_ms,
            "tokens": formatting.format_tokens(usage.input_tokens, usage.output_tokens) if usage else None,
            "cost_usd": call.cost_usd,
            "input": formatting.describe_input(call)[:most],
            "output": formatting.describe_output(call)[:most],
        }
    )


def fit_page(
    rows: list[dict[str, Any]], limit: int, offset: int, tool: str
) -> tuple[list[dict[str, Any]], tuple[MoreRequest, ...]]:
    """Return the rows of a page that an answer has room for, and the request for those after them.

    Args:
        rows: those after the offset, one more than the limit where there are more.
    """
    shown = fit_rows(rows[:limit])
    if len(shown) == len(rows):
        return shown, ()
    after = offset + len(shown)
    gives = f"those from number {after + 1:,} on"
    return shown, (MoreRequest(gives=gives, tool=tool, arguments={"offset": after}, same_otherwise=True),)
