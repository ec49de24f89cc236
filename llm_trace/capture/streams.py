"""What a traced function returned; streams are recorded to their end, through what passes for them."""

from __future__ import annotations

import io
import itertools
import types
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from llm_trace.capture import failures
from llm_trace.capture.endings import abandon_call, abandon_when_dropped, fail_call, finish_call
from llm_trace.capture.generators import record_async_generator, record_generator
from llm_trace.capture.json_forms import is_raw_response
from llm_trace.capture.raw_responses import watch_response
from llm_trace.capture.recorded_streams import get_innermost, wrap_stream
from llm_trace.capture.replay_hints import note_returned
from llm_trace.capture.state import get_class_attribute, identify, remember_by_class
from llm_trace.capture.type_hints import get_type_name
from llm_trace.semconv.values import is_subclass

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan

_WHOLE = identify(str, int, float, bool, type(None), list, dict, tuple, bytes, set)
"""Types of values that are no stream, known without a further look."""
_Follow = Callable[["CallSpan", Any], Any]
_BUILT_IN = identify(
    map, filter, zip, enumerate, reversed, type(iter([])), type(iter(())), type(iter(int, 1))
)
_FORMS = dict.fromkeys((id(types.GeneratorType), *_BUILT_IN), "generator") | {
    id(types.AsyncGeneratorType): "async_generator",
    id(types.CoroutineType): "coroutine",
}
"""What a replay can give in the place of a stream; others are recorded by their class."""
_NO_STREAMS = ("read", "readline", "execute", "fetch", "fetchone", "fetchmany", "fetchall", "batch_size")
"""Methods of files, database cursors and their results, which are iterators too."""


def hand_over(call: CallSpan, output: Any) -> Any:
    """Return a call's output, or what passes for it where it is a stream: then the call ends with that."""
    if id(type(output)) not in _WHOLE and (stream := _follow(call, output)) is not None:
        return stream
    finish_call(call, output)
    return output


def _follow(call: CallSpan, output: Any) -> Any | None:
    """Return what stands for a returned stream and ends the call with it; `None` where it is no stream."""
    try:
        cls: Any = type(get_innermost(output))
        form = _choose_form(cls)
        if form is None:
            return None
        call.run = None  # a replay's answer was given already
        stream = form(call, output)
        if stream is None:
            return None
        note_returned(call, _FORMS.get(id(cls)) or get_type_name(cls))
        call.leave()
        return stream
    except Exception as exc:
        failures.note("a returned stream", exc)
        return None


@remember_by_class
def _choose_form(cls: Any) -> _Follow | None:
    if cls is types.GeneratorType:
        return _wrap_generator
    if cls is types.AsyncGeneratorType:
        return _wrap_async_generator
    if cls is types.CoroutineType:
        return _wrap_coroutine
    if is_raw_response(cls):
        return _watch_raw_response
    if is_subclass(cls, io.IOBase) or any(get_class_attribute(cls, name) for name in _NO_STREAMS):
        return None
    if _is_manager(cls):
        return wrap_stream
    steps = get_class_attribute(cls, "__next__"), get_class_attribute(cls, "__anext__")
    if not any(steps):
        return None
    ours = id(cls) in _BUILT_IN or cls.__module__ == itertools.__name__
    return wrap_stream if ours or any(type(step) is types.FunctionType for step in steps) else None


def _is_manager(cls: type) -> bool:
    """Return whether an SDK's class gives its stream when entered, as `messages.stream()` does."""
    enters = get_class_attribute(cls, "__enter__") or get_class_attribute(cls, "__aenter__")
    return cls.__name__.endswith("StreamManager") and type(enters) is types.FunctionType


def _wrap_generator(call: CallSpan, output: Generator[Any, Any, Any]) -> Any:
    return abandon_when_dropped(record_generator(lambda: call, lambda: output), call)


def _wrap_async_generator(call: CallSpan, output: AsyncGenerator[Any, Any]) -> Any:
    return abandon_when_dropped(record_async_generator(lambda: call, lambda: output), call)


def _watch_raw_response(call: CallSpan, output: Any) -> Any | None:
    return None if watch_response(call, get_innermost(output)) is None else output


def _wrap_coroutine(call: CallSpan, output: Any) -> Any:
    begun: list[bool] = []
    coroutine: Any = _await(call, output, begun)
    coroutine.__name__, coroutine.__qualname__ = output.__name__, output.__qualname__
    weakref.finalize(coroutine, _drop, call, output, begun).atexit = False
    return coroutine


def _drop(call: CallSpan, output: Any, begun: list[bool]) -> None:
    if not begun:
        output.close()  # else both coroutines would warn that they were never awaited
        abandon_call(call)


async def _await(call: CallSpan, output: Awaitable[Any], begun: list[bool]) -> Any:
    begun.append(True)
    call.token = call.recorder.variable.set(call.context)  # type: ignore[arg-type]
    try:
        value = await output
    except BaseException as exc:
        fail_call(call, exc)
        raise
    return hand_over(call, value)
