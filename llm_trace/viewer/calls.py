"""The table of calls, a page at a time, and what the calls of a filter come to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_trace.rendering import formatting
from llm_trace.stores.choices import list_choices
from llm_trace.stores.lookup import find_run_name, read_rows_about
from llm_trace.viewer.filters import CallFilters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

ROWS = 50
"""Calls a page."""
ROWS_APART = 12
"""Calls a page in an order other than of time: each lies elsewhere in the store, and its texts with it."""


def read_call_table(store: Store, request: Request) -> dict[str, Any]:
    """Return the calls that match, a page of them, and where the next page begins."""
    filters = CallFilters.read(request.query_params)
    begin = TablePlace.read(request.query_params.get("after", ""))
    calls, after = _read_rows(store, filters, begin)
    rows = [describe_row(call) for call in calls]
    _add_columns(store, rows, filters.shown)
    return {
        "filters": filters,
        "calls": rows,
        "next": None if after is None else filters.link("/calls/rows", after=after.write()),
    }


class TablePlace:
    """Where a page of calls begins: before a start in nanoseconds, after some calls that began just then."""

    def __init__(self, until: int = 0, skip: int = 0) -> None:
        self.until = until
        self.skip = skip

    @classmethod
    def read(cls, text: str) -> TablePlace:
        """Return the place that `write` wrote; the beginning for anything else."""
        until, _, skip = text.partition("-")
        return cls(int(until), int(skip)) if until.isdigit() and skip.isdigit() else cls()

    def write(self) -> str:
        return f"{self.until}-{self.skip}"


def _read_rows(store: Store, filters: CallFilters, begin: TablePlace) -> tuple[list[Call], TablePlace | None]:
    arguments = filters.build()
    if filters.order != "newest":  # no column to begin at: all before the page are passed over
        rows = ROWS if filters.order == "oldest" else ROWS_APART
        calls = store.calls(**arguments, limit=rows + 1, offset=begin.skip, order=filters.order, brief=True)
        return calls[:rows], TablePlace(0, begin.skip + rows) if len(calls) > rows else None
    if begin.until:
        arguments["until"] = min(begin.until, arguments.get("until", begin.until))
    calls = store.calls(**arguments, limit=ROWS + 1, offset=begin.skip, brief=True)
    if len(calls) <= ROWS:
        return calls, None
    last = calls[ROWS - 1].start_ns
    same = sum(call.start_ns == last for call in calls[:ROWS])
    again = begin.skip if begin.until == last + 1 else 0
    return calls[:ROWS], TablePlace(last + 1, same + again)


def describe_row(call: Call) -> dict[str, Any]:
    """Return what a line of the table shows of a call."""
    usage = call.usage
    return {
        "span_id": call.span_id,
        "trace_id": call.trace_id,
        "start_ns": call.start_ns,
        "name": call.name,
        "kind": call.kind,
        "status": call.status,
        "model": call.model,
        "provider": call.provider,
        "duration_ns": call.duration_ns,
        "first_token_ns": None if call.first_token_ns is None else call.first_token_ns - call.start_ns,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cost_usd": call.cost_usd,
        "input": formatting.describe_input(call),
        "output": formatting.describe_output(call),
        "run": call.run,
        "prompt": call.prompt and {"name": call.prompt.name, "version": call.prompt.version},
        "session": call.session,
        "user": call.user,
        "tags": call.tags,
    }


def _add_columns(store: Store, rows: list[dict[str, Any]], shown: Sequence[str]) -> None:
    """Add what only some columns need: the names of runs, the scores."""
    if "run" in shown:
        names = {run: find_run_name(store, run) for run in {row["run"] for row in rows} if run}
        for row in rows:
            row["run_name"] = names.get(row["run"]) or row["run"]
    if "scores" in shown:
        scores: dict[str, list[dict[str, Any]]] = {}
        for score in read_rows_about(store, "scores", [row["span_id"] for row in rows]):
            value = {"name": score["name"], "value": json.loads(score["value"])}
            scores.setdefault(score["span_id"], []).append(value)
        for row in rows:
            row["scores"] = scores.get(row["span_id"], [])


def read_choices(store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return what the fields of the filters can be filled with."""
    return {"choices": list_choices(store)}


BARS = 60
"""Stretches of time in the picture above the table."""


def read_summary(store: Store, request: Request) -> dict[str, Any]:
    """Return what the calls that match come to, and how many fall into each stretch of time."""
    filters = CallFilters.read(request.query_params)
    summary = store.summary(bars=BARS, **filters.build())
    bars = [bar._asdict() for bar in summary.bars]
    return {"filters": filters, "summary": summary._asdict() | {"bars": bars}}
