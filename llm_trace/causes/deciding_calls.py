"""Which call of a model asked for a tool: the last one before it in its trace that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.models.questions import list_tool_calls, read_answer
from llm_trace.errors import NotFoundError
from llm_trace.replays.playing import open_replayed_store

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store


def find_deciding_call(call: Call, store: str | os.PathLike[str] | Store | None = None) -> Call:
    """Return the call of a model that asked for a tool.

    Of those that ended in the trace before the tool began: the last that asked for it by name and arguments,
    or by name; where none names it, the last of all.

    Args:
        call: of the tool.
        store: where its trace is; absent: the configured one.

    Raises:
        NotFoundError: no call of a model ended before it in its trace.
    """
    trace = open_replayed_store(store).trace(call.trace_id)
    before = [c for c in trace if c.kind == "llm" and c.end_ns is not None and c.end_ns <= call.start_ns]
    if not before:
        raise NotFoundError(
            f"no call of a model ended before the {call.kind} call {call.span_id} ({call.name}) in its "
            f"trace: {_advise(call)}"
        )
    before.sort(key=lambda c: c.end_ns or 0)
    return max(before, key=lambda c: (_rate_match(c, call), c.end_ns))


def _advise(call: Call) -> str:
    if call.kind != "tool":
        return f"choose a call of a tool or of a model: `llm-trace show {call.span_id}` lists those around it"
    return (
        "trace the model's calls with kind='llm', in one trace with the tools (@trace around the agent's "
        "loop)"
    )


def _rate_match(decision: Call, tool: Call) -> int:
    """Return 2 where an answer asks for the tool with its arguments, 1 where it names it, 0 where not."""
    asked = [each for each in list_tool_calls(decision) if is_call_of(each, tool)]
    if any(each.get("arguments") == tool.input for each in asked):
        return 2
    return int(bool(asked) or get_tool_name(tool) in (read_answer(decision) or ""))


def is_call_of(asked: Mapping[str, Any], tool: Call) -> bool:
    """Whether a model asked for this tool."""
    return bool(asked.get("name") in (tool.name, get_tool_name(tool)))


def get_tool_name(tool: Call) -> str:
    """Return a tool's name without the class that it is a method of."""
    return tool.name.rpartition(".")[2]
