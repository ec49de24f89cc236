"""Ends calls: output, tokens, error, and what other code and libraries said of it; on the hot path."""

from __future__ import annotations

import functools
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace import semconv
from llm_trace.capture import failures, replay_hints
from llm_trace.capture.context import FinishedCall, finished_call
from llm_trace.capture.halt import Halt
from llm_trace.capture.json_forms import read_error_message
from llm_trace.capture.merger import merge_into
from llm_trace.capture.state import identify
from llm_trace.capture.tail_sampling import Tail
from llm_trace.capture.type_hints import PLAIN
from llm_trace.semconv.documents import RETRIEVING
from llm_trace.semconv.merge import hash_answer
from llm_trace.semconv.privacy import call_without_content
from llm_trace.semconv.values import get_field as field_of
from llm_trace.semconv.values import is_response

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.merger import Merger
    from llm_trace.capture.values import ValueEncoder

_make_finished = functools.partial(tuple.__new__, FinishedCall)  # as `FinishedCall(…)` does, in C
_SCALARS = identify(str, int, float, bool, type(None))


def finish_call(call: CallSpan, output: Any) -> None:
    """Record that a call returned."""
    end_ns = _leave(call)
    if call.sink is None and call.sdk is None:
        return
    try:
        _write_end(call, end_ns, "ok", output, None)
    except Exception as exc:
        _close(call, end_ns, "ok", exc)


def fail_call(call: CallSpan, error: BaseException, output: Any = None) -> None:
    """Record that a call raised; the caller raises it again."""
    if call.inner is not None and (isinstance(error, GeneratorExit) or _is_cancelled(error)):
        _abandon_inner(call.inner())
    end_ns = _leave(call)
    if call.sink is None and call.sdk is None:
        return
    try:
        content = call.recorder.capture_content
        left_early = isinstance(error, GeneratorExit)  # the consumer of a generator stopped: no error
        status = "cancelled" if left_early or _is_cancelled(error) else "error"
        if status == "error" and call.spec.served and call.spec.capture_output and content:
            replay_hints.note_error(call, error)
        details = None if left_early else _describe_error(error, content=content)
        _write_end(call, end_ns, status, output, details)
    except Exception as exc:
        _close(call, end_ns, "error", exc)


def abandon_call(call: CallSpan) -> None:
    """Record that nobody reads the stream that a call returned, unless the stream records its own end."""
    if call.open and not call.streaming:
        fail_call(call, GeneratorExit())


def _abandon_inner(steps: Any) -> None:
    """End a stream's call inside one that was left, before that ends: both are one request."""
    try:
        if steps is not None:
            steps.abandon()
    except Exception as exc:
        failures.note("the end of a stream inside a call", exc)


def abandon_when_dropped(stream: Any, call: CallSpan) -> Any:
    """Return a stream whose call ends as left early once nobody holds it, although its code never began."""
    weakref.finalize(stream, abandon_call, call).atexit = False
    return stream


def _leave(call: CallSpan) -> int:
    end_ns = call.start_ns + time.perf_counter_ns() - call.clock
    call.open = False
    call.leave()
    if call.outermost:
        span_id = call.span_id if call.sink is not None else ""
        finished_call.set(_make_finished((call.recorder, span_id, call.trace_id, call.start_ns)))
    return end_ns


def _close(call: CallSpan, end_ns: int, status: str, exc: Exception) -> None:
    """Write that a call has ended, and no more, where the rest could not be written."""
    failures.note("the end of a call", exc)
    try:
        _emit_end(call, end_ns, status, None, {})
    except Exception as again:
        failures.note("the end of a call", again)


def _write_end(call: CallSpan, end_ns: int, status: str, output: Any, error: dict[str, Any] | None) -> None:
    """Write how a call ended, with all that is known of it."""
    recorder = call.recorder
    fields, returned = call.fields or {}, output
    if id(type(output)) not in _SCALARS:
        response = _read_response(call, output)
        output = response.pop("output", output)
        fields = {**response, **(call.fields or {})}
    if call.sdk is not None and recorder.mirror is not None:
        spec = call.spec
        call.attributes = recorder.mirror.attributes_of_others(call.sdk, spec.name, spec.kind, spec.model)
    if call.attributes:
        fields = _add_attributes(call, fields)
    if "output" in fields:
        output = returned = fields.pop("output")
    data = None
    if output is not None and recorder.capture_content and call.spec.capture_output:
        data = recorder.encoder.encode(output)
        if call.spec.served and (recorder.encoder.redact is not None or id(type(returned)) not in PLAIN):
            replay_hints.note_output(call, returned, data)
    if error is not None:
        fields = {**fields, "error": error}
    elif "error" in fields:
        status = "error"
    if not recorder.capture_content:
        fields = call_without_content(fields)
    if recorder.merger is not None:
        if call.detail is not None and data is not None:
            call.detail["detail"]["output"] = orjson.loads(data)
        fields = _merge_others(recorder.merger, call, end_ns, fields, output)
    _emit_end(call, end_ns, status, data, fields)


def _emit_end(call: CallSpan, end_ns: int, status: str, output: bytes | None, fields: dict[str, Any]) -> None:
    """Write an end event of what is encoded already, and hand it to the mirror and the attribution policy."""
    recorder = call.recorder
    if call.read_response is not None or call.read_inner is not None:  # they may hold a model and its tensors
        call.read_response = call.read_inner = None
    event = f'{{"event":"end",{call.ids},"end_ns":{end_ns},"status":"{status}"'.encode()
    if output is not None:
        event += b',"output":' + output
    messages, whole = None, event
    if fields:
        messages = _encode_messages(recorder.encoder, fields.pop("messages_out", None))
        if fields:
            event += b"," + recorder.encoder.encode_event(fields)[1:-1]
        whole = event + b',"messages_out":' + recorder.encoder.dump(messages) if messages else event
    if call.sdk is not None and recorder.mirror is not None:
        recorder.mirror.end(call.sdk, call.spec.kind, whole + b"}", content=recorder.capture_content)
    if call.rebuild:
        event += b',"rebuild":' + orjson.dumps(call.rebuild)
    if call.sink is None:
        return
    call.sink.write(event, messages, field=b"messages_out", sync=True)
    policy = call.spec.attribution or recorder.policy
    explain = None
    if recorder.explain is not None and (policy is not None or call.spec.kind in RETRIEVING):
        explain = functools.partial(recorder.explain, policy, call, whole)
    if type(call.sink) is Tail:
        call.sink.leave(failed=status == "error" or "error" in fields, then=explain)
    elif explain is not None:
        explain()


def _encode_messages(encoder: ValueEncoder, messages: Any) -> list[Any] | None:
    """Return the messages that a call's output is said to be, masked."""
    if not messages:
        return None
    messages = [semconv.message(message, role="assistant") for message in messages]
    return messages if encoder.redact is None else encoder.to_masked_json(messages)  # type: ignore[no-any-return]


def _is_cancelled(error: BaseException) -> bool:
    """Return whether the call was ended on purpose; asyncio is not imported for it: that is too slow."""
    asyncio = sys.modules.get("asyncio")
    return isinstance(error, Halt) or (asyncio is not None and isinstance(error, asyncio.CancelledError))


def _describe_error(error: BaseException, *, content: bool) -> dict[str, Any]:
    """Return an exception's type and, where content is kept, its message and traceback."""
    cls = type(error)
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    if not content:
        return {"type": name}
    import traceback

    fields = {"type": name, "message": read_error_message(error)}
    try:
        return {**fields, "traceback": "".join(traceback.format_exception(error, limit=-20))}
    except Exception as exc:  # the user's own class
        failures.note("a traceback", exc)
        return fields


def _merge_others(
    merger: Merger, call: CallSpan, end_ns: int, fields: dict[str, Any], output: Any
) -> dict[str, Any]:
    """Return the fields with what spans of other libraries inside the call tell of the same request."""
    ended = {
        **(call.detail or {}),
        "span_id": call.span_id,
        "parent_id": call.parent_id,
        "kind": call.spec.kind,
        "start_ns": call.start_ns,
        "end_ns": end_ns,
        "usage": fields.get("usage"),
        "output": {"id": field_of(output, "id")} if is_response(output) else None,
        "name": call.spec.name,
        "library": call.spec.library,
        "retries": call.metadata.get("retries", 0),
    }
    ended |= {name: fields[name] for name in ("model", "provider") if name in fields}
    if ended["usage"] is None and call.spec.library is not None:  # only the words are left to compare
        ended["answer_hash"] = hash_answer({"messages_out": _list_messages(output)})
    fields = merge_into(merger.own(ended), call.metadata, fields, of_library=call.spec.library is not None)
    around = call.around
    return {**fields, "inside": around.span_id} if around is not None and around.open else fields


def _list_messages(output: Any) -> Any:
    try:
        return semconv.messages_out(output)
    except Exception as exc:  # an object of somebody's own
        failures.note("the messages of an answer", exc)
        return ()


def _read_response(call: CallSpan, output: Any) -> dict[str, Any]:
    try:
        fields = semconv.response_fields(output)
    except Exception as exc:  # the user's own object
        failures.note("a return value", exc)
        return {}
    if (read := call.read_response or call.spec.read_response) is not None:
        fields.update(read(output))
    fields.pop("finish_reason", None)  # stays in the output
    if "metadata" in fields:
        call.set(metadata=fields.pop("metadata"))
    return fields


_OF_OTHERS = ("model", "provider", "params", "usage", "session", "user", "cost_usd")


def _add_attributes(call: CallSpan, fields: dict[str, Any]) -> dict[str, Any]:
    """Add what OpenTelemetry attributes say that other code set on our span while it was current."""
    theirs = semconv.call_fields(call.spec.name, call.attributes or {})
    metadata = {**theirs.get("metadata", {}), **call.metadata}
    return {**{k: v for k, v in theirs.items() if k in _OF_OTHERS}, **fields, "metadata": metadata}
