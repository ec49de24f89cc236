"""One truth for names, messages and tokens.

Everything that enters (provider payloads, OpenTelemetry GenAI, OpenInference, Traceloop) is normalised here
once. Pure functions on plain data; the standard library only, for capture imports this on its hot path. What
no ordinary call needs (streams, spans of other instrumentations) is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llm_trace.semconv.extract_messages import messages_in, messages_out
from llm_trace.semconv.fields import request_fields, response_fields
from llm_trace.semconv.messages import message
from llm_trace.semconv.tokens import usage

if TYPE_CHECKING:
    from llm_trace.semconv.completed_span import ended_call
    from llm_trace.semconv.export import span_attributes
    from llm_trace.semconv.spans import call_fields, is_genai_span
    from llm_trace.semconv.streams import reduce_stream

_HOMES = {
    "call_fields": "llm_trace.semconv.spans",
    "ended_call": "llm_trace.semconv.completed_span",
    "is_genai_span": "llm_trace.semconv.spans",
    "reduce_stream": "llm_trace.semconv.streams",
    "span_attributes": "llm_trace.semconv.export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


__all__ = [
    "call_fields",
    "ended_call",
    "is_genai_span",
    "message",
    "messages_in",
    "messages_out",
    "reduce_stream",
    "request_fields",
    "response_fields",
    "span_attributes",
    "usage",
]
