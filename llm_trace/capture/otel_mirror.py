"""Our calls as SDK spans in the user's own `TracerProvider`."""

from __future__ import annotations

import os
from typing import Any

import orjson
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from llm_trace import semconv
from llm_trace.capture import failures

SCOPE = "llm_trace"
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def check_wants_content() -> bool:
    """Return whether message content may go into the user's spans (OpenTelemetry's switch, default off)."""
    return os.environ.get(_CONTENT, "").strip().lower() in ("true", "span_only", "span_and_event")


class Mirror:
    """Builds an SDK span beside each call in one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(SCOPE)
        self._content = check_wants_content()

    def start(self, name: str, kind: str, model: str | None, start_ns: int) -> Span | None:
        """Return a started SDK span whose parent is the current span; `None` where the SDK failed.

        Args:
            name: the call's name, masked.
        """
        try:
            span_kind = SpanKind.CLIENT if kind in ("llm", "embedding", "retriever") else SpanKind.INTERNAL
            attributes = _describe_start(name, kind, model)
            return self._tracer.start_span(name, kind=span_kind, attributes=attributes, start_time=start_ns)
        except Exception as exc:
            failures.note("the user's tracer provider", exc)
            return None

    def attributes_of_others(self, span: Span, name: str, kind: str, model: str | None) -> dict[str, Any]:
        """Return the attributes that other code set on a call's SDK span."""
        ours = _describe_start(name, kind, model)
        attributes = (span.attributes if isinstance(span, ReadableSpan) else None) or {}
        return {key: value for key, value in attributes.items() if key not in ours}

    def end(self, span: Span, kind: str, event: bytes, *, content: bool) -> None:
        """Give a call's SDK span its attributes out of the end event, which is masked already, and end it.

        Args:
            kind: the call's.
            content: whether content is recorded at all; OpenTelemetry's switch must be on as well.
        """
        try:
            call = orjson.loads(event)
            content = self._content and content
            span.set_attributes(semconv.span_attributes({**call, "kind": kind}, content=content))
            if call["status"] != "ok":
                error = (call.get("error") or {}).get("type", call["status"])
                span.set_attribute("error.type", error)
                span.set_status(Status(StatusCode.ERROR, error))
            span.end(call["end_ns"])
        except Exception as exc:
            failures.note("the user's tracer provider", exc)


def _describe_start(name: str, kind: str, model: str | None) -> dict[str, Any]:
    """Return the attributes that a call's SDK span begins with."""
    return semconv.span_attributes({"name": name, "kind": kind, "model": model}, content=False)
