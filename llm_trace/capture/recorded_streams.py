"""Objects that pass for a stream and record its steps."""

from __future__ import annotations

import contextlib
import functools
import types
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from llm_trace.capture.context import restore
from llm_trace.capture.endings import abandon_call, abandon_when_dropped, fail_call
from llm_trace.capture.generators import record_async_generator, record_generator
from llm_trace.capture.response_ends import watch_close
from llm_trace.capture.state import get_class_attribute, get_instance_dict, list_bases, remember_by_class

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan


class RecordedStream:
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
        return _wrap_leaving(self, value) if name in ("close", "aclose") and callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._llm_trace_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._llm_trace_stream, name)


def _next(self: RecordedStream) -> Any:
    return next(self._llm_trace_steps if self._llm_trace_call.open else self._llm_trace_stream)


def _anext(self: RecordedStream) -> Any:
    call, stream, steps = self._llm_trace_call, self._llm_trace_stream, self._llm_trace_steps
    if not call.open:
        return anext(stream)
    if isinstance(steps, types.GeneratorType) and not call.streaming:  # it has steps of both kinds
        steps = record_async_generator(lambda: call, lambda: _iterate_async_stream(stream))
        object.__setattr__(self, "_llm_trace_steps", steps)
    return anext(steps)


def _iterate(self: RecordedStream) -> Iterator[Any]:
    yield from self._llm_trace_stream  # holds on to what ends the call when nobody does


async def _iterate_async(self: RecordedStream) -> AsyncGenerator[Any, None]:
    async for chunk in self._llm_trace_stream:
        yield chunk


def _enter(self: RecordedStream) -> Any:
    with _begin_stream(self._llm_trace_call):
        value = self._llm_trace_stream.__enter__()
    return _enter_stream(self, value)


async def _aenter(self: RecordedStream) -> Any:
    with _begin_stream(self._llm_trace_call):
        value = await self._llm_trace_stream.__aenter__()
    return _enter_stream(self, value)


@contextlib.contextmanager
def _begin_stream(call: CallSpan) -> Iterator[None]:
    """Make a call current while its stream is entered: helpers of SDKs send their request then."""
    if not call.open or call.context is None:
        yield
        return
    token = call.recorder.variable.set(call.context)
    try:
        yield
    except BaseException as exc:
        fail_call(call, exc)
        raise
    finally:
        restore(token)


def _enter_stream(self: RecordedStream, value: Any) -> Any:
    if value is self._llm_trace_stream:
        return self
    if self._llm_trace_steps is not None:
        return value
    stream = wrap_stream(self._llm_trace_call, value)
    object.__setattr__(self, "_llm_trace_steps", stream._llm_trace_steps)
    return stream


def _exit(self: RecordedStream, *error: Any) -> Any:
    return _wrap_leaving(self, self._llm_trace_stream.__exit__)(*error)


async def _aexit(self: RecordedStream, *error: Any) -> Any:
    return await _wrap_leaving(self, self._llm_trace_stream.__aexit__)(*error)


def _wrap_leaving(self: RecordedStream, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stream's method after which nothing comes: a call still open then was left early."""

    @functools.wraps(method)
    def leave(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        if isinstance(result, types.CoroutineType):
            return _leave_later(self, result)
        _leave_steps(self._llm_trace_call, self._llm_trace_steps)
        return result

    return leave


def _leave_steps(call: CallSpan, steps: Any) -> None:
    """End the call of a stream that was left, unless another thread is at its next step."""
    if isinstance(steps, types.GeneratorType):
        if steps.gi_running:
            return
        steps.close()
    abandon_call(call)


async def _leave_later(self: RecordedStream, result: Awaitable[Any]) -> Any:
    value = await result
    await _leave_steps_async(self._llm_trace_call, self._llm_trace_steps)
    return value


async def _leave_steps_async(call: CallSpan, steps: Any) -> None:
    if isinstance(steps, types.AsyncGeneratorType):
        if steps.ag_running:
            return
        await steps.aclose()
    abandon_call(call)


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


@remember_by_class
def _make_stream_class(cls: Any) -> type[RecordedStream]:
    """Return a class with the special methods that `cls` has: Python looks for those in the class only."""
    methods: dict[str, Any] = {}
    steps = [get_class_attribute(cls, name) for name in ("__next__", "__anext__")]
    ours = _OURS if any(steps) else {**_OURS, "__iter__": _iterate, "__aiter__": _iterate_async}
    for base in list_bases(cls):
        for name in list(vars(base)):
            special = name.startswith("__") and name.endswith("__") and name not in _LEFT
            if special and callable(get_class_attribute(cls, name)):
                methods.setdefault(name, ours.get(name) or _forward(name))
    return type(cls.__name__, (RecordedStream,), {"__slots__": (), **methods})


def _forward(name: str) -> Callable[..., Any]:
    def method(self: RecordedStream, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._llm_trace_stream, name)(*args, **kwargs)

    return method


def wrap_stream(call: CallSpan, stream: Any) -> Any:
    """Return what passes for a stream and ends the call with it."""
    cls: Any = type(stream)
    own = get_instance_dict(get_innermost(stream))
    steps: Any = None
    source = own.get("_iterator")  # SDKs made by Stainless: what all their ways of reading draw from
    if isinstance(source, types.GeneratorType):
        steps = own["_iterator"] = record_generator(lambda: call, lambda: source)
    elif isinstance(source, types.AsyncGeneratorType):
        steps = own["_iterator"] = record_async_generator(lambda: call, lambda: source)
    elif get_class_attribute(cls, "__next__"):
        steps = record_generator(lambda: call, lambda: _iterate_stream(stream))
    elif get_class_attribute(cls, "__anext__"):
        steps = record_async_generator(lambda: call, lambda: _iterate_async_stream(stream))
    if steps is not None:  # a helper around the stream closes nothing but its response
        reference = weakref.ref(steps)  # a stream that is dropped is to be closed at once
        watch_close(
            own.get("response"),
            lambda: _leave_steps(call, reference()),
            lambda: _leave_steps_async(call, reference()),
        )
    return abandon_when_dropped(_make_stream_class(cls)(call, stream, steps), call)


def get_innermost(stream: Any) -> Any:
    """Return the stream itself where what is given stands for it already: for a call inside this one, or for
    another instrumentation.
    """
    while True:
        cls: Any = type(stream)
        if issubclass(cls, RecordedStream):
            stream = stream._llm_trace_stream
        elif _check_proxy(cls):
            stream = stream.__wrapped__
        else:
            return stream


@remember_by_class
def _check_proxy(cls: Any) -> bool:
    """Return whether objects of a class pass for another, as wrapt makes them."""
    return any(base.__name__ == "ObjectProxy" for base in list_bases(cls))


def _iterate_stream(stream: Iterator[Any]) -> Generator[Any, None, None]:
    while True:
        try:
            chunk = next(stream)
        except StopIteration:
            return
        yield chunk


async def _iterate_async_stream(stream: Any) -> AsyncGenerator[Any, None]:
    while True:
        try:
            chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk
