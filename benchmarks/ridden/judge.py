"""Compares the calls that were recorded of a program with what the server answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.ridden.server import Answered
from benchmarks.ridden.table import Program

MODEL_KINDS = ("llm", "embedding", "reranker")
Record = dict[str, Any]


def judge(calls: list[Record], answered: list[Answered], program: Program) -> dict[str, str]:
    """Return a cell of the table for each thing that must be right: `4 of 4`."""
    models = sorted((c for c in calls if c["kind"] in MODEL_KINDS), key=lambda c: c["start_ns"])
    tools = [c for c in calls if c["kind"] == "tool"]
    pairs = list(zip(models, answered, strict=False))
    return {
        "calls": f"{len(calls)}",
        "models": _count(len(models), len(answered)),
        "kind": _tally(pairs, lambda c, a: c["kind"] == a.kind),
        "model": _tally(pairs, lambda c, a: c["model"] in (a.model, "gpt-4o")),
        "provider": _tally(pairs, lambda c, a: c["provider"] == "openai"),
        "input": _tally(pairs, lambda c, a: _last_line(a.question) in _show(c["messages_in"] or c["input"])),
        "output": _tally([p for p in pairs if p[1].kind == "llm"], _check_output),
        "in tokens": _tally(pairs, lambda c, a: (c["usage"] or {}).get("input_tokens") == a.input_tokens),
        "out tokens": _tally(
            [p for p in pairs if p[1].kind == "llm"],
            lambda c, a: (c["usage"] or {}).get("output_tokens") == a.output_tokens,
        ),
        "cached": _tally(
            [p for p in pairs if p[1].kind == "llm"],
            lambda c, a: (c["usage"] or {}).get("cache_read_tokens") == a.cached_tokens,
        ),
        "tools": _count(len([c for c in tools if _check_tool(c)]), program.tools),
        "parents": _judge_parents(calls, program),
        "status": _count(len([c for c in calls if c["status"] == "ok"]), len(calls)),
    }


def sum_tokens(calls: list[Record]) -> tuple[int, int]:
    """Return input and output tokens of all calls."""
    usages = [call["usage"] or {} for call in calls]
    return tuple(sum(u.get(name) or 0 for u in usages) for name in ("input_tokens", "output_tokens"))  # type: ignore[return-value]


def _check_output(call: Record, answered: Answered) -> bool:
    said = _show(call["messages_out"] or call["output"])
    if not answered.tool:
        return _last_line(answered.text) in said
    parts = [part for message in call["messages_out"] for part in message["parts"]]
    wanted = json.loads(answered.tool["arguments"])
    return any(
        part.get("type") == "tool_call" and part.get("name") == answered.tool["name"]
        and part.get("arguments") == wanted
        for part in parts
    )  # fmt: skip


def _check_tool(call: Record) -> bool:
    return bool("Huascar" in _show(call["input"]) and "6768" in _show(call["output"]))


def _judge_parents(calls: list[Record], program: Program) -> str:
    known = {call["span_id"] for call in calls}
    roots = [call for call in calls if call["parent_id"] is None]
    lost = [call for call in calls if call["parent_id"] is not None and call["parent_id"] not in known]
    traces = {call["trace_id"] for call in calls}
    if lost:
        return f"{len(lost)} lost"
    return _count(len(roots), program.roots) + (
        "" if len(traces) == program.roots else f", {len(traces)} traces"
    )


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\\", "")


def _tally(pairs: list[tuple[Record, Answered]], check: Callable[[Record, Answered], bool]) -> str:
    return _count(sum(check(*pair) for pair in pairs), len(pairs))


def _count(number: int, of: int) -> str:
    return f"{number}" if number == of else f"{number} of {of}"
