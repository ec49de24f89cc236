"""OTLP's log records as accounts of the calls that they belong to.

Some instrumentations (OpenTelemetry's for Bedrock, and those with content in events) tell what was said, and
some of the counts, in log records that name a span.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

from llm_trace.semconv import names
from llm_trace.semconv.agents import AGENTS
from llm_trace.semconv.completed_span import EndedSpan


class LogRecord(NamedTuple):
    """One record, as far as it is read."""

    trace_id: str | None
    span_id: str | None
    """Of the span that it belongs to, `None` where it names none."""
    name: str
    time_ns: int
    attributes: dict[str, Any]
    body: Any
    scope: str | None
    resource: dict[str, Any]


def choose_name(event: Any, attributes: dict[str, Any], body: Any) -> str:
    """Return the name of a record's event.

    Claude Code has the whole name in the body; Codex in `event.name`, as the name itself is a line of its
    source.
    """
    named = attributes.get("event.name")
    for name in (body, named, event):
        if isinstance(name, str) and name.partition(".")[0] in AGENTS:
            return name
    return str(event or named or "")


def is_genai(record: LogRecord) -> bool:
    """Say whether a record tells of the model call whose span it names."""
    named = record.span_id is not None and record.name.startswith(names.GEN_AI)
    return named and not is_evaluation(record)


def is_evaluation(record: LogRecord) -> bool:
    """Say whether a record is what an evaluation of a call came to."""
    return record.name == names.EVALUATION_RESULT


def build_accounts(records: Iterable[LogRecord]) -> list[EndedSpan]:
    """Return what the records say of each span, as a span inside it; its id is derived, so retries match."""
    by_span: dict[tuple[str | None, str | None], list[LogRecord]] = {}
    for record in records:
        by_span.setdefault((record.trace_id, record.span_id), []).append(record)
    return [_build_account(sorted(group, key=lambda record: record.time_ns)) for group in by_span.values()]


def _build_account(records: list[LogRecord]) -> EndedSpan:
    first, last = records[0], records[-1]
    identity = "".join(f"{record.name}{record.time_ns}" for record in records)
    attributes: dict[str, Any] = {names.OPERATION: "chat"}
    for record in records:
        attributes |= {
            k: v for k, v in record.attributes.items() if k.startswith(names.GEN_AI) and v is not None
        }
    assert first.trace_id is not None  # `is_genai` has looked
    return EndedSpan(
        trace_id=first.trace_id,
        span_id=sha256(f"{first.span_id}{identity}".encode()).hexdigest()[:16],
        parent_id=first.span_id,
        name=first.name,
        start_ns=first.time_ns,
        end_ns=last.time_ns,
        attributes=attributes,
        events=[{"name": r.name, "time_ns": r.time_ns, "attributes": _read_event(r)} for r in records],
        scope=first.scope,
        resource=first.resource,
    )


def _read_event(record: LogRecord) -> dict[str, Any]:
    body = record.body
    if isinstance(body, dict):
        return {**record.attributes, **body}
    return record.attributes if body is None else {**record.attributes, "content": body}
