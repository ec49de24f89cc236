"""Results of promptfoo: a whole output file, or its rows as JSON Lines. An evaluation is a run.

Source: promptfoo's `EvaluateSummaryV3` and `EvaluateResult`, 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id, parse_nanoseconds
from llm_trace.semconv.values import load_container

NAME = "promptfoo"
_READ = {
    "id", "evalId", "promptIdx", "testIdx", "promptId", "testCase", "provider", "prompt", "vars",
    "response", "success", "score", "latencyMs", "gradingResult", "namedScores", "cost", "error",
    "failureReason", "tokenUsage", "description",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a file of results, or a row of it."""
    return _iter_rows(record) is not None


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of every row."""
    rows = _iter_rows(record)
    if rows is None:
        raise ValueError(
            "no result of promptfoo: it has neither results nor a provider with a prompt and a response"
        )
    summary = record.get("results") if isinstance(record.get("results"), dict) else {}
    at = (
        parse_nanoseconds(summary.get("timestamp"))
        or parse_nanoseconds(record.get("timestamp"))
        or origin.time_ns
    )
    run = _run(record, at) if summary or "evalId" in record else None
    for number, row in enumerate(rows):
        yield _read_row(row, f"{record.get('evalId') or origin.key} {number}", at, run)


def _iter_rows(record: Any) -> list[dict[str, Any]] | None:
    if not isinstance(record, dict):
        return None
    if _is_row(record):
        return [record]
    listed = record.get("results")
    listed = listed.get("results") if isinstance(listed, Mapping) else listed
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return rows if rows and _is_row(rows[0]) else None


def _is_row(row: Mapping[str, Any]) -> bool:
    asked = isinstance(row.get("prompt"), Mapping) and "raw" in row["prompt"]
    return asked and "provider" in row and ("success" in row or "gradingResult" in row)


def _run(record: Mapping[str, Any], at: int) -> dict[str, Any] | None:
    if not record.get("evalId"):
        return None
    config = record["config"] if isinstance(record.get("config"), dict) else {}
    name = str(config.get("description") or record["evalId"])
    return {"id": make_span_id(NAME, "run", record["evalId"]), "name": name, "config": config, "start_ns": at}


def _read_row(row: dict[str, Any], key: str, at: int, run: dict[str, Any] | None) -> Imported:
    own = row.get("id") or key
    provider = row["provider"].get("id") if isinstance(row["provider"], Mapping) else row["provider"]
    system, _, model = str(provider).partition(":")
    response = row["response"] if isinstance(row.get("response"), dict) else {}
    took = row.get("latencyMs")
    raw = load_container(row["prompt"]["raw"])
    arguments = {"messages": raw} if isinstance(raw, list) else {"prompt": row["prompt"]["raw"]}
    asked = semconv.messages_in(arguments) or [
        semconv.message({"role": "user", "content": row["prompt"]["raw"]})
    ]
    output = response.get("output")
    answered = semconv.message({"role": "assistant", "content": output}) if isinstance(output, str) else None
    cost = row.get("cost") if row.get("cost") is not None else response.get("cost")
    call = make_span_id(NAME, own)
    fields = {
        "span_id": call,
        "trace_id": make_trace_id(NAME, own),
        "name": str(row["prompt"].get("label") or "prompt")[:200],
        "kind": "llm",
        "start_ns": at,
        "end_ns": at + round(took * 1e6) if isinstance(took, (int, float)) else at,
        "model": model.rpartition(":")[2] or None,
        "provider": system or None,
        "input": {**arguments, "vars": row["vars"]} if row.get("vars") else arguments,
        "output": output,
        "messages_in": asked,
        "messages_out": semconv.messages_out(output) or ([answered] if answered else None),
        "usage": _read_usage(response.get("tokenUsage") or row.get("tokenUsage")),
        "cost_usd": float(cost) if isinstance(cost, (int, float)) else None,
        "run": None if run is None else run["id"],
        **_read_outcome(row, response),
    }
    call_fields = {name: value for name, value in fields.items() if value is not None}
    return Imported(call_fields, list_left_over(row, _READ), tuple(_iter_scores(row, call)), run)


def _read_usage(raw: Any) -> dict[str, int] | None:
    """Return tokens; of an answer from promptfoo's cache none were used."""
    if not isinstance(raw, Mapping):
        return None
    counts = {"input_tokens": raw.get("prompt"), "output_tokens": raw.get("completion")}
    return semconv.usage({name: value for name, value in counts.items() if value is not None})


def _read_outcome(row: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status: an assertion that failed is a score, not an error."""
    error = response.get("error") or (row.get("error") if row.get("failureReason") == 2 else None)
    if not error:
        return {"status": "ok"}
    return {"status": "error", "error": {"type": "error", "message": str(error)}}


def _iter_scores(row: Mapping[str, Any], call: str) -> Iterator[dict[str, Any]]:
    graded = row["gradingResult"] if isinstance(row.get("gradingResult"), Mapping) else {}
    comment = {"comment": str(graded["reason"])} if graded.get("reason") else {}
    named = row["namedScores"] if isinstance(row.get("namedScores"), Mapping) else {}
    values = {"score": row.get("score"), "pass": row.get("success"), **named}
    for name, value in values.items():
        if isinstance(value, (bool, int, float)):
            yield {
                "id": make_span_id(NAME, call, "score", name),
                "name": str(name),
                "value": value,
                **comment,
            }
