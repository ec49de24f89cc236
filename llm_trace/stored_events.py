"""Stored calls as the events that exporters take; above both rooms, for neither knows the other."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_trace.exporters.protocol import Event
    from llm_trace.record import Call, Run
    from llm_trace.stores.duckdb import Store

PAGE = 500
"""Calls in memory at a time."""


def iter_pages(store: "Store", chosen: dict[str, Any], limit: int | None) -> "Iterator[list[Call]]":
    """Yield the calls that the filters choose, newest first, a page at a time."""
    from llm_trace.stores.paging import RECORD, build_records

    return map(build_records, store.pages(", ".join(RECORD.values()), size=PAGE, limit=limit, **chosen))


def iter_batches(
    store: "Store", pages: "Iterator[list[Call]]", *, whole_traces: bool, most: int
) -> "Iterator[list[list[Event]]]":
    """Yield runs before their calls, then the calls as events, with their scores and attributions.

    Args:
        store: has the calls.
        pages: the calls, a page at a time.
        whole_traces: give all calls of their traces.
        most: traces or calls in a batch.
    """
    seen: set[str] = set()
    runs: set[str] = set()
    templates = {prompt.version: prompt.template for prompt in store.prompts(halfway=True)}
    for page in pages:
        fresh_runs = {call.run for call in page if call.run is not None} - runs
        runs |= fresh_runs
        yield [[_run(store, run)] for run in store.runs() if run.id in fresh_runs]
        groups = [[call] for call in page if call.status != "open"]
        if whole_traces:
            fresh = {call.trace_id: None for (call,) in groups if call.trace_id not in seen}
            seen |= set(fresh)
            groups = [list(store.trace(trace_id)) for trace_id in fresh]
        for begin in range(0, len(groups), most):
            batch = groups[begin : begin + most]
            yield [
                *([_build_event(call, templates) for call in group] for group in batch),
                *_read_about(store, batch),
            ]


def _run(store: "Store", run: "Run") -> "Event":
    from llm_trace.exporters.protocol import Event
    from llm_trace.stores.run_totals import compute_run_metrics

    data = run.model_dump(mode="json", exclude_none=True)
    return Event("run", run.id, {**data, "metrics": compute_run_metrics(store, run.id)})


def _build_event(call: "Call", templates: dict[str, str]) -> "Event":
    from llm_trace.exporters.protocol import Event

    data = {name: item for name, item in call.model_dump().items() if item is not None}
    for name in ("messages_in", "messages_out"):
        data[name] = [message.model_dump(exclude_none=True) for message in getattr(call, name)]
    if call.prompt is not None:
        data["prompt"]["template"] = templates.get(call.prompt.version)
    return Event("call", call.span_id, data)


def _read_about(store: "Store", groups: "list[list[Call]]") -> "list[list[Event]]":
    """Return the scores and attributions of calls."""
    from llm_trace.exporters.protocol import Event
    from llm_trace.stores.lookup import read_rows_about

    traces = {call.span_id: call.trace_id for group in groups for call in group}
    events = []
    for row in read_rows_about(store, "scores", traces):
        data = {**row, "value": json.loads(row["value"]), "trace_id": traces[row["span_id"]]}
        events.append([Event("score", row["id"], data)])
    for row in read_rows_about(store, "attributions", traces):
        attribution = json.loads(row.pop("attribution") or "{}")
        method = attribution.get("method") or row["method"]  # not the name it was asked by
        data = {**attribution, **row, "method": method, "trace_id": traces[row["span_id"]]}
        events.append([Event("attribution", row["id"], data)])
    return events
