"""Calls, scores and attributions as OpenTelemetry's spans."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from llm_trace.semconv import names
from llm_trace.semconv.completed_span import OWN_FIELDS
from llm_trace.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVALUATION = "gen_ai.evaluation.result"
_NOT_ATTRIBUTION = ("id", "span_id", "trace_id", "time_ns", "matrix")
_SAID = ("prompt", "response", "segments", "target", "target_tokens", "notes", "warnings", "error")


class Spans:
    """Makes OpenTelemetry's spans.

    Args:
        openinference: say of what is about a call that it is an evaluator's, as Phoenix shows it.
    """

    def __init__(self, *, openinference: bool = False) -> None:
        self._kind = {names.OI_KIND: "EVALUATOR"} if openinference else {}
        self.resource = Resource.create()
        self.scope = InstrumentationScope("llm_trace", __version__, "")

    def call(self, data: Mapping[str, Any], attributes: dict[str, Any], *, content: bool) -> ReadableSpan:
        """Return a call as a span."""
        kind, name, status = data.get("kind"), str(data.get("name")), data.get("status")
        error = data.get("error") or {}
        details = (
            str(error.get("message") or error.get("type") or status)
            if content
            else str(error.get("type") or status)
        )
        failed = status in ("error", "interrupted")
        attributes[names.OWN_STATUS] = status
        attributes[names.OWN_NAME] = name
        rest = {field: data[field] for field in OWN_FIELDS if data.get(field)} if content else {}
        if rest:
            attributes[names.OWN_REST] = json.dumps(rest, ensure_ascii=False)
        parent = data.get("parent_id")
        start = data.get("start_ns") or 0
        end = max(data.get("end_ns") or start, start)  # an interrupted call has none
        return self._build_span(
            _build_title(attributes, name),
            data["trace_id"],
            data["span_id"],
            start,
            end,
            attributes,
            parent=(data["trace_id"], parent) if parent else None,
            kind=SpanKind.CLIENT if kind in ("llm", "embedding", "reranker") else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, details)
            if failed
            else Status(StatusCode.OK if status == "ok" else StatusCode.UNSET),
            events=_build_exception(error, end, content=content) if error else (),
        )

    def score(self, identity: str, data: Mapping[str, Any], *, content: bool) -> ReadableSpan:
        """Return a score as a span with the convention's evaluation event, below its call."""
        value, time_ns = data.get("value"), data.get("time_ns") or 0
        number = float(value) if isinstance(value, (bool, int, float)) else None
        score = {
            "gen_ai.evaluation.name": data.get("name"),
            "gen_ai.evaluation.score.value": number,
            "gen_ai.evaluation.score.label": None if isinstance(value, float) else str(value),
            "gen_ai.evaluation.explanation": data.get("comment") if content else None,
            "llm_trace.score.source": data.get("source"),
        }
        attributes = {name: item for name, item in score.items() if item is not None}
        event = SpanEvent(_EVALUATION, attributes, time_ns)
        return self._about(
            f"evaluation {data.get('name')}", identity, data, time_ns, time_ns, attributes, (event,)
        )

    def attribution(self, identity: str, data: Mapping[str, Any], *, content: bool) -> ReadableSpan:
        """Return an attribution as a span under `llm_trace.attribution.*`, linked to the call it explains."""
        end = data.get("time_ns") or 0
        start = end - int((data.get("seconds") or 0.0) * 1e9)
        fields = {name: item for name, item in data.items() if name not in _NOT_ATTRIBUTION}
        if not content:
            fields = {name: item for name, item in fields.items() if name not in _SAID}
        attributes = {f"llm_trace.attribution.{name}": _convert_legal(item) for name, item in fields.items()}
        present = {name: item for name, item in attributes.items() if item is not None}
        return self._about(f"attribution {data.get('method')}", identity, data, start, end, present, ())

    def _about(
        self,
        title: str,
        identity: str,
        data: Mapping[str, Any],
        start: int,
        end: int,
        attributes: dict[str, Any],
        events: tuple[SpanEvent, ...],
    ) -> ReadableSpan:
        """Return a span below the call that it is about; in a trace of its own where that is not known."""
        trace = data.get("trace_id")
        attributes |= self._kind
        attributes["llm_trace.call.span_id"] = data.get("span_id") or ""
        if trace:
            attributes["llm_trace.call.trace_id"] = trace
        link = (trace, data["span_id"]) if trace and data.get("span_id") else None
        own = hashlib.sha256(identity.encode()).hexdigest()
        return self._build_span(
            title,
            trace or own[:32],
            own[32:48],
            start,
            end,
            attributes,
            parent=link,
            link=link,
            events=events,
        )

    def _build_span(
        self,
        title: str,
        trace_id: str,
        span_id: str,
        start: int,
        end: int,
        attributes: dict[str, Any],
        *,
        parent: tuple[str, str] | None = None,
        link: tuple[str, str] | None = None,
        **more: Any,
    ) -> ReadableSpan:
        return ReadableSpan(
            title,
            context=_build_context(trace_id, span_id),
            parent=_build_context(*parent) if parent else None,
            resource=self.resource,
            attributes=attributes,
            links=[Link(_build_context(*link))] if link else (),
            instrumentation_scope=self.scope,
            start_time=start,
            end_time=end,
            **more,
        )


def _convert_legal(value: Any) -> Any:
    """Return a value as an attribute takes it: lists of numbers or text as they are, nested ones as JSON."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    if isinstance(value, list) and value and all(type(item) in (int, float) for item in value):
        return [float(item) for item in value]
    return json.dumps(value, ensure_ascii=False) if value else None


def _build_title(attributes: Mapping[str, Any], name: str) -> str:
    """Return a span's name as the convention has it, the function's where it has none."""
    operation = attributes.get(names.OPERATION)
    model = attributes.get(names.REQUEST_MODEL)
    return f"{operation} {model}" if operation and model else name


def _build_exception(error: Mapping[str, Any], time_ns: int, *, content: bool) -> tuple[SpanEvent, ...]:
    attributes = {names.EXCEPTION_TYPE: error.get("type")}
    if content:
        attributes |= {
            names.EXCEPTION_MESSAGE: error.get("message"),
            names.EXCEPTION_STACKTRACE: error.get("traceback"),
        }
    return (
        SpanEvent(
            names.EXCEPTION, {name: item for name, item in attributes.items() if item is not None}, time_ns
        ),
    )


def _build_context(trace_id: str, span_id: str) -> Any:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))
