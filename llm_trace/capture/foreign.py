"""Spans of other GenAI instrumentations that end in the user's `TracerProvider`, as calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from llm_trace import semconv
from llm_trace.capture import failures
from llm_trace.capture.context import CALL_KEY, RUN_KEY, variable
from llm_trace.capture.mirror import SCOPE
from llm_trace.capture.spec import Spec

if TYPE_CHECKING:
    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.recorder import Recorder

_MAX_OPEN = 100_000


class _Around(NamedTuple):
    """Where a span began: inside which of our calls, in which run."""

    call: CallSpan | None
    run: str | None


class ForeignSpans(SpanProcessor):
    """Writes the two events of a call for each GenAI span of another library, when it ends."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder: Recorder | None = recorder
        self._around: dict[int, _Around] = {}

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        if self.recorder is None or _is_ours(span) or len(self._around) >= _MAX_OPEN:
            return
        context = variable.get() if parent_context is None else parent_context
        around = _Around(context.get(CALL_KEY), context.get(RUN_KEY))  # type: ignore[arg-type]
        self._around[span.get_span_context().span_id] = around

    def on_end(self, span: ReadableSpan) -> None:
        ids = span.get_span_context()
        if self.recorder is None or ids is None or _is_ours(span):
            return
        around = self._around.pop(ids.span_id, _Around(None, None))
        try:
            attributes = dict(span.attributes or {})
            if semconv.is_genai_span(attributes):
                _write(self.recorder, span, attributes, around)
        except Exception as exc:
            failures.note("a span of another library", exc)

    def shutdown(self) -> None:
        self.recorder = None

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _is_ours(span: Any) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == SCOPE


def _write(recorder: Recorder, span: ReadableSpan, attributes: dict[str, Any], around: _Around) -> None:
    fields = _fields(span, attributes)
    start, end = _ends(span, fields)
    if run := around.run or recorder.run:
        start["run"] = run
    name, kind, trace_id = start["name"], start["kind"], start["trace_id"]
    sink = around.call.sink if around.call else recorder.sink_for(Spec(name, kind), trace_id, None)
    if sink is None:
        return
    asked, answered = fields.pop("messages_in", []), fields.pop("messages_out", [])
    if fields.get("input") == {"messages": asked}:
        fields["input"] = {"messages": {"$messages": [0, len(asked)]}}
    if not recorder.capture_content:
        asked, answered, fields = [], [], recorder.permitted(fields)
    if "input" in fields:
        start["input"] = fields.pop("input")
    encoder = recorder.encoder
    sink.write(encoder.encode(start)[:-1], encoder.plain(asked))
    sink.write(
        encoder.encode({**end, **fields})[:-1], encoder.plain(answered), field=b"messages_out", sync=True
    )


def _fields(span: ReadableSpan, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what the span tells, normalised."""
    events = [
        {"name": e.name, "time_ns": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events
    ]
    fields = semconv.call_fields(span.name, attributes, events, start_ns=span.start_time)
    fields["metadata"] = fields.get("metadata") or {}
    if span.instrumentation_scope is not None:
        fields["metadata"].setdefault("otel", {})["scope"] = span.instrumentation_scope.name
    if span.status.status_code is StatusCode.ERROR:
        told = {"type": str(attributes.get("error.type", "error")), "message": span.status.description}
        fields.setdefault("error", told)
    return fields


def _ends(span: ReadableSpan, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the start and the end event without their fields; takes `name` and `kind` out of the fields."""
    ids = span.get_span_context()
    assert ids is not None  # on_end has looked
    same = {"span_id": f"{ids.span_id:016x}", "trace_id": f"{ids.trace_id:032x}"}
    name, kind = str(fields.pop("name", span.name)), str(fields.pop("kind", "llm"))
    start = {"event": "start", **same, "start_ns": span.start_time, "name": name, "kind": kind}
    if span.parent is not None:
        start["parent_id"] = f"{span.parent.span_id:016x}"
    status = "error" if span.status.status_code is StatusCode.ERROR else "ok"
    return start, {"event": "end", **same, "end_ns": span.end_time, "status": status}
