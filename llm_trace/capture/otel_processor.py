"""Spans of other GenAI instrumentations that end in the user's `TracerProvider`, as calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from llm_trace import semconv
from llm_trace.capture import failures
from llm_trace.capture.completed_calls import write_finished
from llm_trace.capture.context import CALL_KEY, RUN_KEY, variable
from llm_trace.capture.merger import Merger
from llm_trace.capture.otel_mirror import SCOPE
from llm_trace.capture.spec import FunctionSpec
from llm_trace.semconv import names
from llm_trace.semconv.annotations import list_evaluations
from llm_trace.semconv.completed_span import EndedSpan
from llm_trace.semconv.merge import MODEL_KINDS
from llm_trace.semconv.privacy import call_without_content, drop_event_content
from llm_trace.semconv.spans import read_kind

if TYPE_CHECKING:
    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.recorder import Recorder

_MAX_OPEN = 100_000
_MOST_LEVELS = 20


class _Around(NamedTuple):
    """Where a span began: inside which of our calls, in which run; and the span."""

    call: CallSpan | None
    run: str | None
    span: Any = None
    root: str | None = None
    """Where it began, of a span without a parent."""


class ForeignSpans(SpanProcessor):
    """Writes the two events of a call for each GenAI span of another library, when it ends."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self._around: dict[int, _Around] = {}
        self._merger = Merger(time.time_ns)

    def record_to(self, recorder: Recorder) -> None:
        """Write to a recorder from now on, whose own calls are merged with the spans."""
        if recorder.merger is None:
            recorder.merger = self._merger
        self.recorder, self._merger = recorder, recorder.merger

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        if self.recorder is None or _is_ours(span) or len(self._around) >= _MAX_OPEN:
            return
        context = variable.get() if parent_context is None else parent_context
        root = self._merger.enter_root() if span.parent is None else None
        around = _Around(context.get(CALL_KEY), context.get(RUN_KEY), span, root)  # type: ignore[arg-type]
        self._around[span.get_span_context().span_id] = around

    def on_end(self, span: ReadableSpan) -> None:
        ids = span.get_span_context()
        if self.recorder is None or ids is None or _is_ours(span):
            return
        around = self._around.pop(ids.span_id, _Around(None, None))
        try:
            attributes = dict(span.attributes or {})
            if semconv.is_genai_span(attributes):
                ended = _build_ended_call(span, attributes)
                call = semconv.ended_call(ended)
                recorded = call if self.recorder.capture_content else call_without_content(call)
                call = self._merger.whole(recorded)
                if call["kind"] in MODEL_KINDS and (outer := self._open_around(span, around)):
                    call["inside"] = outer
                _write(self.recorder, call, around, list_evaluations(ended))
            else:
                parent = None if span.parent is None else f"{span.parent.span_id:016x}"
                self._merger.pass_over(f"{ids.span_id:016x}", parent)
        except Exception as exc:
            failures.note("a span of another library", exc)
        finally:
            if around.root is not None:
                self._merger.leave_root(around.root)

    def _open_around(self, span: ReadableSpan, around: _Around) -> str | None:
        """Return the id of an open span or call around a model call that may tell of the same request."""
        parent = span.parent
        for _ in range(_MOST_LEVELS):
            known = None if parent is None else self._around.get(parent.span_id)
            if known is None or parent is None:
                break
            attributes = known.span.attributes or {}
            undecided = semconv.is_genai_span(attributes) and names.KIND_NAMES.isdisjoint(attributes)
            if undecided or read_kind(attributes) in MODEL_KINDS:
                return f"{parent.span_id:016x}"
            parent = known.span.parent
        ours = around.call
        may = ours is not None and ours.open and ours.spec.kind in MODEL_KINDS
        return ours.span_id if ours is not None and may else None

    def shutdown(self) -> None:
        self.recorder = None

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _is_ours(span: Any) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == SCOPE


def _write(recorder: Recorder, call: dict[str, Any], around: _Around, scores: list[dict[str, Any]]) -> None:
    if run := around.run or recorder.run:
        call["run"] = run
    spec = FunctionSpec(str(call["name"]), str(call["kind"]))
    sink = around.call.sink if around.call else recorder.sink_for(spec, call["trace_id"], None)
    if sink is not None:
        write_finished(sink, recorder.encoder, call)
        for score in scores:
            event = score if recorder.capture_content else drop_event_content(score)
            if event is not None:
                sink.write(recorder.encoder.encode_event(event)[:-1])


def _build_ended_call(span: ReadableSpan, attributes: dict[str, Any]) -> EndedSpan:
    ids, scope = span.get_span_context(), span.instrumentation_scope
    assert ids is not None  # on_end has looked
    return EndedSpan(
        trace_id=f"{ids.trace_id:032x}",
        span_id=f"{ids.span_id:016x}",
        parent_id=None if span.parent is None else f"{span.parent.span_id:016x}",
        name=span.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        attributes=attributes,
        events=[
            {"name": e.name, "time_ns": e.timestamp, "attributes": dict(e.attributes or {})}
            for e in span.events
        ],
        links=[
            {
                "trace_id": f"{link.context.trace_id:032x}",
                "span_id": f"{link.context.span_id:016x}",
                "attributes": {
                    k: list(v) if isinstance(v, tuple) else v for k, v in (link.attributes or {}).items()
                },
            }
            for link in span.links
        ],
        failed=span.status.status_code is StatusCode.ERROR,
        message=span.status.description,
        scope=None if scope is None else scope.name,
    )
