"""The tool `show`: one call, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.explanations import format_explanation
from llm_trace.mcp.limits import TOKENS, estimate_tokens
from llm_trace.mcp.values import CallId, Offset, drop_empty, format_time, format_value
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import Call
    from llm_trace.stores.lookup import TreeRow

CallPart = Literal["input", "output", "messages_in", "messages_out", "error", "metadata", "documents"]
BEGINNING = 1500
"""Characters of each part that are shown with the whole call."""
NEAR = 30
"""Calls of the trace that are shown."""


class ShowQuestion(ToolQuestion):
    """A call, or one part of it whole."""

    id: CallId = "last"
    part: CallPart | None = Field(default=None, description="Only this part, as long as an answer may be.")
    offset: Offset = Field(default=0, description="Of a part: how many characters to pass over.")


def answer_show(bench: Workbench, question: ShowQuestion) -> ToolAnswer:
    """Return one call with its place in the trace, scores and attributions, or one part of it whole.

    Raises:
        NotFoundError: there is no such call.
        ConfigurationError: the id is none, or the beginning of several.
    """
    from llm_trace.stores.find import find_call

    with bench.store.hold():
        place = find_call(bench.store, question.id)
        call = bench.store.call(place.span_id)
        if question.part is not None:
            return _answer_part(call, question.part, question.offset)
        attributions = bench.store.attributions(call.span_id)
        scores = bench.store.scores(call.span_id)
    parts = _list_parts(call)
    long = [name for name, text in parts.items() if len(text) > BEGINNING]
    more = tuple(
        MoreRequest(gives=f"the {name} whole", tool="show", arguments={"id": call.span_id, "part": name})
        for name in long
    )
    recorded = {
        "call": _format_facts(call) | {name: text[:BEGINNING] for name, text in parts.items()},
        "scores": [drop_empty(s.model_dump(include={"name", "value", "source", "comment"})) for s in scores],
        "explanations": [format_explanation(a, 5) for a in attributions[-2:]],
        "trace": [_format_row(row) for row in _choose_near(place.rows, call.span_id)],
    }
    verdict = (
        f"Call {call.span_id} ended {call.status}; {count_things(place.calls, 'call')} in its trace, "
        f"{count_things(len(scores), 'score')}, {count_things(len(attributions), 'explanation')}."
    )
    return ToolAnswer(verdict=verdict, more=more, recorded=recorded)


def _list_parts(call: Call) -> dict[str, str]:
    """Return what the call was asked and answered, each part as text."""
    values: dict[str, Any] = {name: getattr(call, name) for name in get_args(CallPart)}
    values["error"] = call.error and call.error.model_dump(mode="json", exclude_none=True)
    for name in ("messages_in", "messages_out", "documents"):
        values[name] = [item.model_dump(mode="json", exclude_none=True) for item in values[name]]
    if call.messages_in:  # the same, told twice
        values["input"] = None
    return {name: format_value(value) for name, value in values.items() if value not in (None, [], {})}


def _answer_part(call: Call, part: CallPart, offset: int) -> ToolAnswer:
    text = _list_parts(call).get(part, "")
    size = min(len(text) - offset, 4 * TOKENS)
    while size > 0 and estimate_tokens(format_value([text[offset : offset + size]])) > TOKENS - 400:
        size = size * 4 // 5
    piece = text[offset : offset + max(size, 0)]
    end = offset + len(piece)
    again = {"id": call.span_id, "part": part, "offset": end}
    more = (MoreRequest(gives=f"from character {end:,} on", tool="show", arguments=again),)
    verdict = f"Characters {offset:,} to {end:,} of {len(text):,} of the {part} of call {call.span_id}."
    return ToolAnswer(verdict=verdict, more=more if end < len(text) else (), recorded={part: piece})


def _format_facts(call: Call) -> dict[str, Any]:
    usage = call.usage.model_dump(exclude_none=True) if call.usage else None
    prompt = None if call.prompt is None else {"name": call.prompt.name, "version": call.prompt.version}
    return drop_empty(
        {
            "id": call.span_id, "trace": call.trace_id, "parent": call.parent_id, "name": call.name,
            "kind": call.kind, "status": call.status, "started": format_time(call.start_ns),
            "took_ms": None if call.duration_ns is None else call.duration_ns / 1e6,
            "model": call.model, "usage": usage, "cost_usd": call.cost_usd, "prompt": prompt,
            "run": call.run, "session": call.session, "user": call.user, "tags": list(call.tags),
            "params": format_value(call.params) if call.params else None, "replay_of": call.replay_of,
            "function": call.code.function if call.code else None,
        }
    )  # fmt: skip


def _choose_near(rows: Sequence[TreeRow], span_id: str) -> Sequence[TreeRow]:
    """Return the calls of a trace around one of them."""
    here = next((i for i, row in enumerate(rows) if row.span_id == span_id), 0)
    begin = max(0, min(here - NEAR // 2, len(rows) - NEAR))
    return rows[begin : begin + NEAR]


def _format_row(row: TreeRow) -> dict[str, Any]:
    return drop_empty(
        {
            "id": row.span_id, "parent": row.parent_id, "name": row.name, "kind": row.kind,
            "status": row.status,
            "took_ms": None if row.end_ns is None else (row.end_ns - row.start_ns) / 1e6,
        }
    )  # fmt: skip
