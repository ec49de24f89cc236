"""The user's own `TracerProvider`: our calls as SDK spans in it, and other libraries' GenAI spans in it as calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from llm_trace import semconv
from llm_trace.capture import failures
from llm_trace.capture.context import CALL_KEY

if TYPE_CHECKING:
    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.recorder import Recorder
    from llm_trace.capture.spec import Spec

SCOPE = "llm_trace"
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def wants_content() -> bool:
    """Return whether message content may go into the user's own spans (OpenTelemetry's switch, off by default)."""
    return os.environ.get(_CONTENT, "").strip().lower() in ("true", "span_only", "span_and_event")


class Mirror:
    """Builds an SDK span beside each call in one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(SCOPE)
        self._content = wants_content()

    def start(self, spec: Spec, start_ns: int) -> Span | None:
        """Return a started SDK span whose parent is the current span; `None` where the SDK failed."""
        try:
            kind = SpanKind.CLIENT if spec.kind in ("llm", "embedding", "retriever") else SpanKind.INTERNAL
            attributes = semconv.span_attributes(
                {"name": spec.name, "kind": spec.kind, "model": spec.model}, content=False
            )
            return self._tracer.start_span(spec.name, kind=kind, attributes=attributes, start_time=start_ns)
        except Exception as exc:
            failures.note("the user's tracer provider", exc)
            return None

    def attributes_of_others(self, call: CallSpan) -> dict[str, Any]:
        """Return the attributes that other code set on the call's SDK span."""
        spec = call.spec
        ours = semconv.span_attributes(
            {"name": spec.name, "kind": spec.kind, "model": spec.model}, content=False
        )
        return {k: v for k, v in (getattr(call.sdk, "attributes", None) or {}).items() if k not in ours}

    def end(self, call: CallSpan, event: bytes) -> None:
        """Give the SDK span its attributes out of the end event, which is masked already, and end it."""
        span = call.sdk
        if span is None:
            return
        try:
            told = orjson.loads(event)
            content = self._content and call.recorder.capture_content
            span.set_attributes(semconv.span_attributes({**told, "kind": call.spec.kind}, content=content))
            if told["status"] != "ok":
                kind = (told.get("error") or {}).get("type", told["status"])
                span.set_attribute("error.type", kind)
                span.set_status(Status(StatusCode.ERROR, kind))
            span.end(told["end_ns"])
        except Exception as exc:
            failures.note("the user's tracer provider", exc)


class ForeignSpans(SpanProcessor):
    """Turns GenAI spans of other instrumentations that end in the provider into calls."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder: Recorder | None = recorder
        self._inside: dict[int, CallSpan] = {}

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        if self.recorder is None or _is_ours(span):
            return
        outer = otel.get_current_span(parent_context) and (parent_context or _current()).get(CALL_KEY)
        if outer is not None and len(self._inside) < 100_000:
            self._inside[span.get_span_context().span_id] = outer  # type: ignore[assignment]

    def on_end(self, span: ReadableSpan) -> None:
        recorder, ids = self.recorder, span.get_span_context()
        if recorder is None or ids is None or _is_ours(span):
            return
        outer = self._inside.pop(ids.span_id, None)
        try:
            attributes = dict(span.attributes or {})
            if semconv.is_genai_span(attributes):
                _write(recorder, span, attributes, outer)
        except Exception as exc:
            failures.note("a span of another library", exc)

    def shutdown(self) -> None:
        self.recorder = None

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _current() -> Context:
    from llm_trace.capture.context import variable

    return variable.get()


def _is_ours(span: Any) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == SCOPE


def _write(
    recorder: Recorder, span: ReadableSpan, attributes: dict[str, Any], outer: CallSpan | None
) -> None:
    from llm_trace.capture.spec import Spec

    ids = span.get_span_context()
    if ids is None:
        return
    events = [
        {"name": e.name, "time_ns": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events
    ]
    fields = semconv.call_fields(span.name, attributes, events, start_ns=span.start_time)
    trace_id, span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
    name, kind = str(fields.pop("name", span.name)), str(fields.pop("kind", "llm"))
    sink = outer.sink if outer is not None else recorder._sink(Spec(name, kind), trace_id, None)
    if sink is None:
        return
    fields["metadata"] = fields.get("metadata") or {}
    fields["metadata"].setdefault("otel", {})["scope"] = (
        span.instrumentation_scope.name if span.instrumentation_scope else None
    )
    failed = span.status.status_code is StatusCode.ERROR
    if failed:
        fields.setdefault(
            "error", {"type": str(attributes.get("error.type", "error")), "message": span.status.description}
        )
    start = {
        "event": "start",
        "span_id": span_id,
        "trace_id": trace_id,
        "start_ns": span.start_time,
        "name": name,
        "kind": kind,
    }
    if span.parent is not None:
        start["parent_id"] = f"{span.parent.span_id:016x}"
    if recorder.run:
        start["run"] = recorder.run
    end = {"event": "end", "span_id": span_id, "trace_id": trace_id, "name": name, "end_ns": span.end_time}
    end["status"] = "error" if failed else "ok"
    recorder.write_whole(sink, start, end, fields)
