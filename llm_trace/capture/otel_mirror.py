"""Our calls as SDK spans in the user's own `TracerProvider`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from llm_trace import semconv
from llm_trace.capture import failures

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.spec import FunctionSpec

SCOPE = "llm_trace"
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def check_wants_content() -> bool:
    """Return whether message content may go into the user's own spans (OpenTelemetry's switch, off by
    default).
    """
    return os.environ.get(_CONTENT, "").strip().lower() in ("true", "span_only", "span_and_event")


class Mirror:
    """Builds an SDK span beside each call in one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(SCOPE)
        self._content = check_wants_content()

    def start(self, spec: FunctionSpec, name: str, start_ns: int) -> Span | None:
        """Return a started SDK span whose parent is the current span; `None` where the SDK failed.

        Args:
            name: the call's name, masked.
        """
        try:
            kind = SpanKind.CLIENT if spec.kind in ("llm", "embedding", "retriever") else SpanKind.INTERNAL
            attributes = semconv.span_attributes(
                {"name": name, "kind": spec.kind, "model": spec.model}, content=False
            )
            return self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=start_ns)
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
