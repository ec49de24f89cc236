"""The tool `calls`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, fit_page, format_call
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.record import Kind, Status
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.filters import Order
from llm_trace.times import parse_moment


class CallsQuestion(ToolQuestion):
    """Which calls: those that match all that is given."""

    run: str | None = Field(default=None, description="Id or name of a run.")
    name: str | None = Field(default=None, description="Name of the function.")
    kind: Kind | None = None
    model: str | None = None
    tag: str | None = None
    session: str | None = None
    user: str | None = None
    status: Status | None = None
    since: str | None = Field(default=None, description="30m, 2h, 3d (ago), or ISO 8601.")
    until: str | None = Field(default=None, description="As since.")
    text: str | None = Field(default=None, description="Occurs in the prompt or the answer.")
    order: Order = "newest"
    limit: RowLimit = 20
    offset: Offset = 0


def answer_calls(bench: Workbench, question: CallsQuestion) -> ToolAnswer:
    """Return calls that match, with how many match in all and what they come to."""
    filters: dict[str, Any] = question.model_dump(exclude={"order", "limit", "offset"}, exclude_none=True)
    for name in ("since", "until"):
        if name in filters:
            filters[name] = parse_moment(filters[name])
    with bench.store.hold():
        calls = bench.store.calls(
            **filters, limit=question.limit + 1, offset=question.offset, order=question.order, brief=True
        )
        totals = bench.store.summary(**filters)
    shown, more = fit_page([format_call(call) for call in calls], question.limit, question.offset, "calls")
    took = "" if totals.median_ms is None else f", {totals.median_ms:,.4g} ms in the median"
    spent = "" if totals.cost_usd is None else f", ${totals.cost_usd:,.4g} in all"
    match = "matches" if totals.calls == 1 else "match"
    verdict = f"{count_things(totals.calls, 'call')} {match}, {totals.failed:,} failed{took}{spent}."
    return ToolAnswer(
        verdict=verdict if totals.calls else "No call matches.", more=more, recorded={"calls": shown}
    )
