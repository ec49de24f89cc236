"""Logs of inspect_ai (`.eval`, `.json`): the evaluation is a run, each sample a trace with its steps.

Source: inspect_ai's log format 2 (`inspect_ai/log/_log.py`, `inspect_ai/event`), 2026. Grades count as
    inspect counts them:
C 1, P 0.5, I and N 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id, parse_nanoseconds

NAME = "inspect"
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_KINDS = {"agent": "agent", "tool": "tool", "scorer": "evaluator", "scorers": "evaluator"}
_ATTACHED = "attachment://"
_SAMPLE = {
    "id", "epoch", "input", "target", "messages", "output", "scores", "metadata", "events", "attachments",
    "uuid", "error", "events_data",
}  # fmt: skip
_MODEL = {
    "event", "timestamp", "completed", "span_id", "parent_id", "model", "input", "output", "config", "tools",
    "tool_choice", "error", "uuid", "pending", "working_start", "working_time", "call", "input_refs",
}  # fmt: skip
_TOOL = {
    "event", "timestamp", "completed", "span_id", "id", "function", "arguments", "result", "error",
    "uuid", "type", "pending", "working_start", "working_time", "events",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a log of an evaluation."""
    evaluation = record.get("eval") if isinstance(record, dict) else None
    return isinstance(evaluation, dict) and "task" in evaluation and "model" in evaluation


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the calls of every sample."""
    if not recognises(record):
        raise ValueError("no log of an evaluation: `eval` with `task` and `model` is missing")
    run = _run(record, origin)
    for sample in record.get("samples") or []:
        yield from _Sample(sample, record["eval"], run).calls()


def _run(log: dict[str, Any], origin: Origin) -> dict[str, Any]:
    evaluation, stats = log["eval"], log.get("stats") or {}
    start = (
        parse_nanoseconds(stats.get("started_at"))
        or parse_nanoseconds(evaluation.get("created"))
        or origin.time_ns
    )
    config = {
        name: evaluation[name]
        for name in (
            "model",
            "dataset",
            "task_args",
            "model_generate_config",
            "model_args",
            "config",
            "packages",
            "revision",
        )
        if evaluation.get(name)
    }
    config |= {name: log[name] for name in ("status", "plan", "results") if log.get(name)}
    fields = {
        "id": make_span_id(NAME, "run", evaluation.get("eval_id") or origin.key),
        "name": str(evaluation["task"]),
        "config": config,
        "tags": [tag for tag in evaluation.get("tags") or [] if isinstance(tag, str)],
        "start_ns": start,
        "end_ns": parse_nanoseconds(stats.get("completed_at")),
    }
    return {name: value for name, value in fields.items() if value is not None}


class _Sample:
    """The calls of one sample of a log."""

    def __init__(self, sample: dict[str, Any], evaluation: dict[str, Any], run: dict[str, Any]) -> None:
        self.attachments = sample.get("attachments") or {}
        self.sample = self._restore_texts(
            {name: value for name, value in sample.items() if name != "attachments"}
        )
        self.pool: list[Any] = list((self.sample.get("events_data") or {}).get("messages") or ())
        self.task, self.run = str(evaluation["task"]), run
        key = sample.get("uuid") or f"{run['id']} {sample.get('id')} {sample.get('epoch')}"
        self.key = (key,)
        self.trace_id = make_trace_id(NAME, "sample", *self.key)
        self.root = make_span_id(NAME, "sample", *self.key)
        self.events: list[dict[str, Any]] = [
            e for e in self.sample.get("events") or [] if isinstance(e, dict)
        ]
        self.spans = {str(e.get("id")) for e in self.events if e.get("event") == "span_begin"}

    def calls(self) -> Iterator[Imported]:
        times = [at for e in self.events for at in (_begin_entry(e), _end_entry(e)) if at is not None]
        start, end = min(times, default=self.run["start_ns"]), max(times, default=self.run["start_ns"])
        yield self._read_sample(start, end)
        ends = {str(e.get("id")): _begin_entry(e) for e in self.events if e.get("event") == "span_end"}
        for number, entry in enumerate(self.events):
            kind = entry.get("event")
            if kind == "span_begin":
                yield self._read_span(entry, ends.get(str(entry.get("id"))), end)
            elif kind == "model":
                yield self._read_model(entry, number)
            elif kind == "tool":
                yield self._read_tool(entry, number)

    def _read_sample(self, start: int, end: int) -> Imported:
        sample, output = self.sample, self.sample.get("output") or {}
        fields = self._build_call(self.root, None, self.task, "chain", start, end)
        fields["input"] = {
            "sample": sample.get("id"),
            "input": sample.get("input"),
            "target": sample.get("target"),
        }
        fields["output"] = output.get("completion") or _get_first_answer(output)
        fields["metadata"] = {"epoch": sample.get("epoch"), **(sample.get("metadata") or {})}
        fields |= _read_failure(sample.get("error"))
        scores = tuple(_score(self.root, name, score) for name, score in (sample.get("scores") or {}).items())
        return Imported(_drop_absent(fields), list_left_over(sample, _SAMPLE), scores, self.run)

    def _read_span(self, entry: dict[str, Any], end: int | None, last: int) -> Imported:
        kind = _KINDS.get(str(entry.get("type")), "chain")
        begin = _begin_entry(entry) or self.run["start_ns"]
        fields = self._build_call(
            self._find_parent(entry.get("id")),
            self._find_parent(entry.get("parent_id")),
            str(entry.get("name")),
            kind,
            begin,
            end or last,
        )
        if end is None:
            fields["status"] = "cancelled"
        return Imported(_drop_absent(fields))

    def _read_model(self, entry: dict[str, Any], number: int) -> Imported:
        output, config = entry.get("output") or {}, entry.get("config") or {}
        fields = self._read_event(entry, number, str(entry.get("model")), "llm")
        provider, _, _ = str(entry.get("model")).partition("/")
        tools = (
            {"tools": entry["tools"], "tool_choice": entry.get("tool_choice")} if entry.get("tools") else {}
        )
        fields |= {
            "model": output.get("model") or entry.get("model"),
            "provider": provider,
            "params": config,
            "input": {"messages": self._list_input(entry), **tools},
            "output": _get_first_answer(output),
            "messages_out": semconv.messages_out(output),
            "usage": _read_usage(output.get("usage")),
            **_read_failure(entry.get("error") or output.get("error")),
        }
        return Imported(_drop_absent(fields), list_left_over(entry, _MODEL))

    def _list_input(self, entry: dict[str, Any]) -> list[Any]:
        """Return what a model was asked; newer logs write each message once and refer to ranges of them."""
        messages = self.pool
        ranges = entry.get("input_refs") or ()
        return list(entry.get("input") or ()) + [m for first, end in ranges for m in messages[first:end]]

    def _read_tool(self, entry: dict[str, Any], number: int) -> Imported:
        fields = self._read_event(entry, number, str(entry.get("function")), "tool")
        fields |= {
            "input": entry.get("arguments"),
            "output": entry.get("result"),
            **_read_failure(entry.get("error")),
        }
        return Imported(_drop_absent(fields), list_left_over(entry, _TOOL))

    def _read_event(self, entry: dict[str, Any], number: int, name: str, kind: str) -> dict[str, Any]:
        begin = _begin_entry(entry) or self.run["start_ns"]
        own = make_span_id(NAME, *self.key, entry.get("uuid") or number)
        return self._build_call(
            own, self._find_parent(entry.get("span_id")), name, kind, begin, _end_entry(entry) or begin
        )

    def _find_parent(self, span: Any) -> str:
        """Return the id of the call of a span of this sample; of the sample where it has no such span."""
        return make_span_id(NAME, *self.key, span) if str(span) in self.spans else self.root

    def _build_call(
        self, own: str, parent: str | None, name: str, kind: str, start: int, end: int
    ) -> dict[str, Any]:
        return {
            "span_id": own, "trace_id": self.trace_id, "parent_id": parent, "name": name, "kind": kind,
            "start_ns": start, "end_ns": max(start, end), "status": "ok", "run": self.run["id"],
        }  # fmt: skip

    def _restore_texts(self, value: Any) -> Any:
        """Return a value with the texts that the log keeps apart put back."""
        if isinstance(value, str) and value.startswith(_ATTACHED):
            return self.attachments.get(value[len(_ATTACHED) :], value)
        if isinstance(value, list):
            return [self._restore_texts(entry) for entry in value]
        return (
            {name: self._restore_texts(entry) for name, entry in value.items()}
            if isinstance(value, dict)
            else value
        )


def _begin_entry(entry: dict[str, Any]) -> int | None:
    return parse_nanoseconds(entry.get("timestamp"))


def _end_entry(entry: dict[str, Any]) -> int | None:
    end, took = parse_nanoseconds(entry.get("completed")), (entry.get("output") or {}).get("time")
    begin = _begin_entry(entry)
    if end is None and begin is not None and isinstance(took, (int, float)):
        return begin + round(took * 1e9)
    return end or begin


def _get_first_answer(output: dict[str, Any]) -> Any:
    """Return what a model said first."""
    choices = output.get("choices") or []
    return choices[0].get("message", {}).get("content") if choices else None


def _read_usage(raw: Any) -> dict[str, int] | None:
    """Return tokens, cached ones within the input: inspect counts them beside it, which the total tells."""
    counts = dict(raw) if isinstance(raw, dict) else {}
    names = ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write", "output_tokens")
    asked, read, wrote, answered = (counts.get(name) or 0 for name in names)
    if read + wrote and counts.get("total_tokens") == asked + read + wrote + answered:
        counts["input_tokens"] = asked + read + wrote
    counts["cache_read_tokens"] = counts.pop("input_tokens_cache_read", None)
    counts["cache_write_tokens"] = counts.pop("input_tokens_cache_write", None)
    return semconv.usage(counts)


def _read_failure(error: Any) -> dict[str, Any]:
    if not error:
        return {}
    details = error if isinstance(error, dict) else {"message": str(error)}
    kind = str(details.get("type") or "error")
    return {
        "status": "error",
        "error": {"type": kind, "message": details.get("message"), "traceback": details.get("traceback")},
    }


def _score(call: str, name: str, raw: Any) -> dict[str, Any]:
    details = raw if isinstance(raw, dict) else {"value": raw}
    value = details.get("value")
    value = _GRADES.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, (str, int, float)):
        value = str(value)
    score = {"id": sha256(f"{call} {name}".encode()).hexdigest()[:16], "name": name, "value": value}
    return score | ({"comment": str(details["explanation"])} if details.get("explanation") else {})


def _drop_absent(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != []}
