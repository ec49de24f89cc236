"""A running call: a cheap OpenTelemetry span, so that any library's spans join as parents and children.

An SDK span is built beside it only where the user has an SDK `TracerProvider`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context.context import Context
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, TraceFlags

from llm_trace.capture import failures
from llm_trace.capture.context import CALL_KEY, FRAMEWORK_KEY, SPAN_KEY, restore, variable
from llm_trace.capture.fields import FIELDS, read_field
from llm_trace.capture.json_forms import read_error_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_trace.capture.protocols import CallRecorder, Sink
    from llm_trace.capture.spec import FunctionSpec


class CallSpan(Span):
    """One running call.

    Args:
        sink: where its events go; `None` for a call that sampling left out.
        sdk: the SDK span that mirrors it in the user's own `TracerProvider`, or `None`.
    """

    context: Context | None = None
    token: Any = None
    fields: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None
    open = True
    outermost = False
    ids = ""
    start_event = b""
    start_messages: Sequence[Any] | None = None
    clock = 0
    parent_id: str | None = None
    run: Callable[..., Any] | None = None
    """Called in place of the traced function: an interceptor's answer."""
    streaming = False
    """A generator or coroutine that the function returned has begun, and ends the call."""
    around: CallSpan | None = None
    """The traced model call that this call of an instrumented library is inside of, and may be one with."""
    inner: Callable[[], Any] | None = None
    """Gives the steps of a library's stream inside this call, which nobody takes once this is left."""
    detail: dict[str, Any] | None = None
    """What the call around it is told of this call when both are one."""
    read_response: Callable[[Any], Mapping[str, Any]] | None = None
    """Reads the answer to what this very call asked, in place of the reader of its function."""
    read_inner: Callable[[Any, dict[str, Any], Any], Any] | None = None
    """Is told of each call of the same library inside this one, which is not recorded by itself."""
    rebuild: dict[str, Any] | None = None
    """What a replay needs beside input and output (docs/spool-format.md)."""
    has_left: Callable[[], bool] | None = None
    """Says whether the code that asks is outside the call, which a framework's callbacks began and could not
    take out of every context that has it."""
    surroundings: Context | None = None
    """What was current where such a call began."""

    def __init__(
        self,
        recorder: CallRecorder,
        spec: FunctionSpec,
        trace_id: str,
        span_id: str,
        sink: Sink | None,
        start_ns: int,
        sdk: Span | None,
    ) -> None:
        self.recorder = recorder
        self.spec = spec
        self.trace_id = trace_id
        self.span_id = span_id
        self.sink = sink
        self.sdk = sdk
        self.start_ns = start_ns
        self.tags: tuple[str, ...] = spec.tags
        self.metadata: dict[str, Any] = spec.metadata

    def set(self, **fields: Any) -> None:
        """Set fields of the call: `output`, `usage`, `model`, `metadata` …; tags add up, metadata merges."""
        if unknown := fields.keys() - FIELDS:
            failures.note(f"update of {', '.join(sorted(map(str, unknown)))}", KeyError("no such field"))
        values = {}
        for name in fields.keys() - unknown:
            try:
                values[name] = read_field(name, fields[name])
            except Exception as exc:
                failures.note(f"update of {name}", exc)
        self._merge(values)

    def _merge(self, fields: dict[str, Any]) -> None:
        if "tags" in fields:
            fields["tags"] = self.tags = tuple(dict.fromkeys((*self.tags, *(fields["tags"] or ()))))
        if "metadata" in fields:
            fields["metadata"] = self.metadata = {**self.metadata, **(fields["metadata"] or {})}
        if fields.get("error", self) is None:
            del fields["error"]
        self.fields = {**(self.fields or {}), **fields}

    def leave(self) -> None:
        """Make the call's surroundings current again, if the call is."""
        if (token := self.token) is not None:
            self.token = None
            restore(token)

    def first_chunk(self) -> None:
        """Note that the first chunk of a stream has arrived."""
        self.fields = {
            **(self.fields or {}),
            "first_token_ns": self.start_ns + time.perf_counter_ns() - self.clock,
        }

    # OpenTelemetry's Span

    def get_span_context(self) -> SpanContext:
        flags = TraceFlags(TraceFlags.DEFAULT if self.sink is None else TraceFlags.SAMPLED)
        return SpanContext(int(self.trace_id, 16), int(self.span_id, 16), is_remote=False, trace_flags=flags)

    def is_recording(self) -> bool:
        return self.open and self.sink is not None

    def set_attribute(self, key: str, value: Any) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        if self.open:
            self.attributes = {**(self.attributes or {}), **attributes}

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if self.open:
            event = {
                "name": name,
                "time_ns": timestamp or time.time_ns(),
                "attributes": dict(attributes or {}),
            }
            self.set(metadata={"otel.events": [*self.metadata.get("otel.events", ()), event]})

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        link = {
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "attributes": dict(attributes or {}),
        }
        self.set(metadata={"otel.links": [*self.metadata.get("otel.links", ()), link]})

    def update_name(self, name: str) -> None:
        self.set(metadata={"otel.name": name})

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        code = status.status_code if isinstance(status, Status) else status
        text = status.description if isinstance(status, Status) else description
        if code is StatusCode.ERROR:
            self.set(error={"type": "error", "message": text})

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        description = {
            "exception.type": type(exception).__qualname__,
            "exception.message": read_error_message(exception),
            **dict(attributes or {}),
        }
        self.add_event("exception", description, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the traced function's return ends the call."""


def leave_ended() -> Context:
    """Make current what is around calls that the running code is outside of; return it."""
    context = variable.get()
    call: Any = context.get(CALL_KEY)
    if call is None or call.has_left is None or not _check_left(call):
        return context
    while call is not None and call.has_left is not None and _check_left(call):
        keys = [CALL_KEY, FRAMEWORK_KEY]
        if context.get(SPAN_KEY) is (call.sdk or call):  # not a span of the program's own
            keys.append(SPAN_KEY)
        rest = {key: value for key, value in context.items() if key not in keys}
        around = {key: call.surroundings[key] for key in keys if key in call.surroundings}
        context = Context({**rest, **around})
        call = context.get(CALL_KEY)
    variable.set(context)
    return context


def _check_left(call: Any) -> bool:
    try:
        return bool(call.has_left())
    except Exception as exc:  # a framework of another version
        failures.note("the place of a framework's call", exc)
        return True


def current_call() -> CallSpan | None:
    """Return the call that is running in this context, or `None`."""
    return leave_ended().get(CALL_KEY)  # type: ignore[return-value]
