"""Streams that a traced function returns: recorded to their end, through objects that pass for them."""

from __future__ import annotations

import functools
import io
import itertools
import types
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from llm_trace.capture import failures
from llm_trace.capture.generators import record_async_generator, record_generator
from llm_trace.capture.lost_types import type_name
from llm_trace.capture.rebuild import note_returned
from llm_trace.capture.state import bases, class_attribute, instance_dict

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan

WHOLE = frozenset([str, int, float, bool, type(None), list, dict, tuple, bytes, set])
"""Types of values that are no stream, known without a further look."""
Follow = Callable[["CallSpan", Any], Any]
_BUILT_IN = frozenset(
    [map, filter, zip, enumerate, reversed, type(iter([])), type(iter(())), type(iter(int, 1))]
)
_FORMS = dict.fromkeys((types.GeneratorType, *_BUILT_IN), "generator") | {
    types.AsyncGeneratorType: "async_generator",
    types.CoroutineType: "coroutine",
}
"""What a replay can give in the place of a stream; others are recorded by their class."""
_NO_STREAMS = ("read", "readline", "execute", "fetchone")
"""Methods of files and database cursors, which are iterators too."""


def follow(call: CallSpan, output: Any) -> Any | None:
    """Return what passes for the stream that a call returned and ends the call with it; `None` where it is no stream."""
    try:
        cls: Any = type(output)
        form = _form(cls)
        if form is None:
            return None
        stream = form(call, output)
        note_returned(call, _FORMS.get(cls) or type_name(cls))
        call.recorder.restore(call)
        return stream
    except Exception as exc:
        failures.note("a returned stream", exc)
        return None


@functools.lru_cache(1024)
def _form(cls: Any) -> Follow | None:
    if cls is types.GeneratorType:
        return _generator
    if cls is types.AsyncGeneratorType:
        return _async_generator
    if cls is types.CoroutineType:
        return _coroutine
    if issubclass(cls, io.IOBase) or any(class_attribute(cls, name) for name in _NO_STREAMS):
        return None
    if _is_manager(cls):
        return _proxy
    steps = class_attribute(cls, "__next__"), class_attribute(cls, "__anext__")
    if not any(steps):
        return None
    ours = cls in _BUILT_IN or cls.__module__ == itertools.__name__
    return _proxy if ours or any(type(step) is types.FunctionType for step in steps) else None


def _is_manager(cls: type) -> bool:
    """Return whether objects of an SDK's class give the stream when they are entered, as `messages.stream()` does."""
    enters = class_attribute(cls, "__enter__") or class_attribute(cls, "__aenter__")
    return cls.__name__.endswith("StreamManager") and type(enters) is types.FunctionType


def _leave_when_dropped(stream: Any, call: CallSpan) -> Any:
    """Let the call end as left early when nobody holds its stream any more: code that never began cannot say so itself."""
    weakref.finalize(stream, _abandon, call).atexit = False
    return stream


def _abandon(call: CallSpan) -> None:
    if call.open and not call.streaming:
        call.recorder.fail(call, GeneratorExit())


def _generator(call: CallSpan, output: Generator[Any, Any, Any]) -> Any:
    return _leave_when_dropped(record_generator(lambda: output, call.spec, None, call=_resumed(call)), call)


def _async_generator(call: CallSpan, output: AsyncGenerator[Any, Any]) -> Any:
    return _leave_when_dropped(
        record_async_generator(lambda: output, call.spec, None, call=_resumed(call)), call
    )


def _resumed(call: CallSpan) -> CallSpan:
    call.run, call.streaming = None, False  # a replay's answer was given already
    return call


def _coroutine(call: CallSpan, output: Any) -> Any:
    begun: list[bool] = []
    made: Any = _await(call, output, begun)
    made.__name__, made.__qualname__ = output.__name__, output.__qualname__
    weakref.finalize(made, _drop, call, output, begun).atexit = False
    return made


def _drop(call: CallSpan, output: Any, begun: list[bool]) -> None:
    if not begun:
        output.close()  # else both coroutines would warn that they were never awaited
        _abandon(call)


async def _await(call: CallSpan, output: Awaitable[Any], begun: list[bool]) -> Any:
    begun.append(True)
    recorder = call.recorder
    call.token = recorder.variable.set(call.context)  # type: ignore[arg-type]
    try:
        value = await output
    except BaseException as exc:
        recorder.fail(call, exc)
        raise
    if type(value) not in WHOLE and (stream := follow(call, value)) is not None:
        return stream
    recorder.finish(call, value)
    return value


# Objects


class Proxy:
    """Stands for a stream: every attribute, method and test is the stream's, and its steps are recorded."""

    __slots__ = ("__weakref__", "_llm_trace_call", "_llm_trace_steps", "_llm_trace_stream")
    _llm_trace_call: CallSpan
    _llm_trace_stream: Any
    _llm_trace_steps: Any
    """Generator that takes the steps and records them; `None` where the stream begins when it is entered."""

    def __init__(self, call: CallSpan, stream: Any, steps: Any) -> None:
        for name, value in (("call", call), ("stream", stream), ("steps", steps)):
            object.__setattr__(self, f"_llm_trace_{name}", value)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._llm_trace_stream)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._llm_trace_stream, name)
        return _leaving(self, value) if name in ("close", "aclose") and callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._llm_trace_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._llm_trace_stream, name)


def _next(self: Proxy) -> Any:
    return next(self._llm_trace_steps if self._llm_trace_call.open else self._llm_trace_stream)


def _anext(self: Proxy) -> Any:
    return anext(self._llm_trace_steps if self._llm_trace_call.open else self._llm_trace_stream)


def _enter(self: Proxy) -> Any:
    return _entered(self, self._llm_trace_stream.__enter__())


async def _aenter(self: Proxy) -> Any:
    return _entered(self, await self._llm_trace_stream.__aenter__())


def _entered(self: Proxy, value: Any) -> Any:
    if value is self._llm_trace_stream:
        return self
    if self._llm_trace_steps is not None:
        return value
    stream = _proxy(self._llm_trace_call, value)
    object.__setattr__(self, "_llm_trace_steps", stream._llm_trace_steps)
    return stream


def _exit(self: Proxy, *error: Any) -> Any:
    return _leaving(self, self._llm_trace_stream.__exit__)(*error)


async def _aexit(self: Proxy, *error: Any) -> Any:
    return await _leaving(self, self._llm_trace_stream.__aexit__)(*error)


def _leaving(self: Proxy, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the stream after which nothing comes any more: a call that is still open was left early."""

    @functools.wraps(method)
    def leave(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        if isinstance(result, types.CoroutineType):
            return _leave_later(self, result)
        if isinstance(self._llm_trace_steps, types.GeneratorType):
            self._llm_trace_steps.close()
        _abandon(self._llm_trace_call)
        return result

    return leave


async def _leave_later(self: Proxy, result: Awaitable[Any]) -> Any:
    value = await result
    if isinstance(self._llm_trace_steps, types.AsyncGeneratorType):
        await self._llm_trace_steps.aclose()
    _abandon(self._llm_trace_call)
    return value


_OURS: dict[str, Callable[..., Any]] = {
    "__iter__": lambda self: self,
    "__next__": _next,
    "__aiter__": lambda self: self,
    "__anext__": _anext,
    "__enter__": _enter,
    "__aenter__": _aenter,
    "__exit__": _exit,
    "__aexit__": _aexit,
}
_LEFT = frozenset(
    [
        "__class__",
        "__class_getitem__",
        "__del__",
        "__delattr__",
        "__getattr__",
        "__getattribute__",
        "__init__",
        "__init_subclass__",
        "__new__",
        "__setattr__",
        "__subclasshook__",
        "__prepare__",
        "__instancecheck__",
        "__subclasscheck__",
        "__set_name__",
        "__mro_entries__",
    ]
)


@functools.lru_cache(1024)
def _proxy_class(cls: Any) -> type[Proxy]:
    """Return a class with the special methods that `cls` has: Python looks for those in the class only."""
    methods: dict[str, Any] = {}
    for base in bases(cls):
        for name in list(vars(base)):
            special = name.startswith("__") and name.endswith("__") and name not in _LEFT
            if special and callable(class_attribute(cls, name)):
                methods.setdefault(name, _OURS.get(name) or _forward(name))
    return type(cls.__name__, (Proxy,), {"__slots__": (), **methods})


def _forward(name: str) -> Callable[..., Any]:
    def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._llm_trace_stream, name)(*args, **kwargs)

    return method


def _proxy(call: CallSpan, stream: Any) -> Any:
    cls: Any = type(stream)
    own = instance_dict(stream)
    steps: Any
    source = own.get("_iterator")  # SDKs made by Stainless: what all their ways of reading draw from
    if isinstance(source, types.GeneratorType):
        steps = own["_iterator"] = record_generator(lambda: source, call.spec, None, call=_resumed(call))
    elif isinstance(source, types.AsyncGeneratorType):
        steps = own["_iterator"] = record_async_generator(
            lambda: source, call.spec, None, call=_resumed(call)
        )
    elif class_attribute(cls, "__next__"):
        steps = record_generator(lambda: _each(stream), call.spec, None, call=_resumed(call))
    elif class_attribute(cls, "__anext__"):
        steps = record_async_generator(lambda: _each_later(stream), call.spec, None, call=_resumed(call))
    else:
        steps = None
    return _leave_when_dropped(_proxy_class(cls)(call, stream, steps), call)


def _each(stream: Iterator[Any]) -> Generator[Any, None, None]:
    while True:
        try:
            chunk = next(stream)
        except StopIteration:
            return
        yield chunk


async def _each_later(stream: Any) -> AsyncGenerator[Any, None]:
    while True:
        try:
            chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk
