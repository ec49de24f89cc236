"""Results of tau-bench: each run of the agent is a trace of model and tool calls, its reward a score.

The file has no times: calls stand in their order, a microsecond apart, at the time when the file was last
changed.
Source: tau-bench's `EnvRunResult`, 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id
from llm_trace.semconv.values import load_container

NAME = "tau"
_READ = {"task_id", "trial", "reward", "traj"}


def recognises(record: Any) -> bool:
    """Say whether a record is one run of an agent."""
    return isinstance(record, dict) and isinstance(record.get("traj"), list) and "task_id" in record


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the agent's run, then its model calls and tool calls in their order."""
    if not recognises(record):
        raise ValueError("no result of tau-bench: `traj` or `task_id` is missing")
    talk = [message for message in record["traj"] if isinstance(message, dict)]
    base = {
        "trace_id": make_trace_id(NAME, origin.key),
        "session": f"task {record['task_id']}, trial {record.get('trial', 0)}",
        "status": "ok",
    }
    root = make_span_id(NAME, origin.key)
    root_call = {**base, **_make_times(origin, -1), "span_id": root, "name": "tau-bench", "kind": "agent"}
    root_call["end_ns"] = origin.time_ns + 1000 * len(talk)
    root_call |= {
        "input": {"task_id": record["task_id"]},
        "output": talk[-1].get("content") if talk else None,
    }
    reward = record.get("reward")
    scores = ({"name": "reward", "value": float(reward)},) if isinstance(reward, (int, float)) else ()
    yield Imported(_drop_absent(root_call), list_left_over(record, _READ), scores)
    asked: dict[str, Any] = {}
    for number, message in enumerate(talk):
        own = {
            **base,
            **_make_times(origin, number),
            "span_id": make_span_id(NAME, origin.key, number),
            "parent_id": root,
        }
        if message.get("role") == "assistant":
            asked |= {
                call["id"]: call["function"] for call in message.get("tool_calls") or [] if "id" in call
            }
            yield Imported(_drop_absent(own | _model_call(talk[:number], message)))
        elif message.get("role") == "tool":
            yield Imported(
                _drop_absent(own | _read_tool_call(message, asked.get(str(message.get("tool_call_id")), {})))
            )


def _make_times(origin: Origin, number: int) -> dict[str, int]:
    begin = origin.time_ns + 1000 * number
    return {"start_ns": begin, "end_ns": begin + 1000}


def _model_call(before: list[dict[str, Any]], message: dict[str, Any]) -> dict[str, Any]:
    return {"name": "agent", "kind": "llm", "input": {"messages": before}, "output": message}


def _read_tool_call(message: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    failed = str(message.get("content", "")).startswith("Error")
    error = {"status": "error", "error": {"type": "error", "message": message["content"]}} if failed else {}
    name = str(message.get("name") or asked.get("name") or "tool")
    arguments = load_container(asked.get("arguments"))
    return {"name": name, "kind": "tool", "input": arguments, "output": message.get("content"), **error}


def _drop_absent(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
