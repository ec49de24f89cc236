"""The decorator: a wrapper per kind of function that behaves as it does and records it on the side."""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar, overload

from llm_trace.capture import slots
from llm_trace.capture.callspan import leave_ended
from llm_trace.capture.endings import fail_call
from llm_trace.capture.generators import record_async_generator, record_generator
from llm_trace.capture.inspection import build_spec, is_iterable_coroutine, protect_function
from llm_trace.capture.spec import FunctionSpec
from llm_trace.capture.streams import hand_over

if TYPE_CHECKING:
    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.prompts import Prompt
    from llm_trace.capture.protocols import Protection
    from llm_trace.record import Kind

F = TypeVar("F")
_READABLE = (
    types.FunctionType,
    types.MethodDescriptorType,
    types.MemberDescriptorType,
    classmethod,
    staticmethod,
)


@overload
def trace(fn: F, /) -> F: ...
@overload
def trace(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    kind: Kind = "chain",
    model: str | None = None,
    prompt: Prompt | None = None,
    tags: str | Iterable[str] | None = (),
    metadata: Mapping[str, Any] | None = None,
    capture_input: bool = True,
    capture_output: bool = True,
    output_reducer: Callable[[list[Any]], Any] | None = None,
    attribution: Any = None,
    guard: Protection | None = None,
) -> Callable[[F], F]: ...
def trace(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    kind: Kind = "chain",
    model: str | None = None,
    prompt: Prompt | None = None,
    tags: str | Iterable[str] | None = (),
    metadata: Mapping[str, Any] | None = None,
    capture_input: bool = True,
    capture_output: bool = True,
    output_reducer: Callable[[list[Any]], Any] | None = None,
    attribution: Any = None,
    guard: Protection | None = None,
) -> Any:
    """Record every call of a function: its arguments by name, what it returned, yielded or raised, and how
    long it took.

    Works on functions, coroutine functions, generators and async generators, methods, class and static
    methods, any other callable, and on a class (its public methods). The decorated function returns, yields
    and raises exactly what it did. Until `configure` was called it only calls through.

    Args:
        name: name of the call; the function's qualified name where not given.
        kind: what the call is: `llm`, `chain`, `tool`, `retriever`, `embedding`, `agent`, `reranker`,
            `guardrail`, `evaluator`.
        model: the model that is asked, where neither arguments nor return value say so.
        prompt: the prompt that the function renders from its arguments.
        tags: labels to filter by.
        metadata: further facts, as JSON.
        capture_input: keep the arguments.
        capture_output: keep what is returned or yielded.
        output_reducer: makes one output of the list of a generator's chunks; without it text is joined and
            the streams of known providers are put together.
        attribution: an `AttributionPolicy` for this function, in place of the configured one.
        guard: a `llm_trace.causes.ToolGuard`, asked before the function runs; where it does not let it
            through, `GuardError` is raised.
    """
    options = {
        "name": name,
        "kind": kind,
        "model": model,
        "prompt": prompt,
        "tags": tags,
        "metadata": metadata,
        "capture_input": capture_input,
        "capture_output": capture_output,
        "output_reducer": output_reducer,
        "attribution": attribution,
        "guard": guard,
    }
    if fn is None:
        return partial(_decorate, options=options)
    return _decorate(fn, options)


def _decorate(fn: Any, options: dict[str, Any]) -> Any:
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_decorate(fn.__func__, options))
    if isinstance(fn, type):
        return _decorate_class(fn, options)
    if not callable(fn):
        raise TypeError(f"trace() decorates functions, methods and classes, not {fn!r}")
    if hasattr(fn, "__llm_trace__"):
        fn = fn.__llm_trace__  # decorating twice records once, with the later options, and guards as before
    if (guard := options["guard"]) is not None:
        fn = protect_function(fn, guard)
    wrapper = wrap_function(fn, build_spec(fn, options))
    wrapper.__llm_trace__ = fn
    return wrapper


def wrap_function(fn: Callable[..., Any], spec: FunctionSpec) -> Any:
    """Return a function that behaves as `fn` does and records its calls."""
    wrapper = wraps(fn)(_WRAPPERS[spec.shape](fn, spec))
    _copy_attributes(fn, wrapper)
    return wrapper


def _copy_attributes(fn: Any, wrapper: Any) -> None:
    """Give a wrapper the public methods and slots of a callable object, such as `cache_info` of a cache.

    What would run code of the object to be read, such as a property, is left out.
    """
    if isinstance(fn, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return
    for name in {name for base in type(fn).__mro__ for name in vars(base) if not name.startswith("_")}:
        attribute = inspect.getattr_static(fn, name)
        if isinstance(attribute, _READABLE) and name not in vars(wrapper):
            with suppress(AttributeError):  # a slot without a value
                setattr(wrapper, name, getattr(fn, name))


def _decorate_class(cls: type, options: dict[str, Any]) -> type:
    for name, member in list(vars(cls).items()):
        if not name.startswith("_") and isinstance(member, (staticmethod, classmethod, type(_decorate))):
            setattr(cls, name, _decorate(member, {**options, "name": None}))
    return cls


def _wrap_plain(fn: Callable[..., Any], spec: FunctionSpec) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = slots.recorder or slots.start_recorder()
        if recorder is None or (call := recorder.begin(spec, args, kwargs)) is None:
            return fn(*args, **kwargs)
        try:
            output = (call.run or fn)(*args, **kwargs)
        except BaseException as exc:
            fail_call(call, exc)
            raise
        return hand_over(call, output)

    return wrapper


def _wrap_coroutine(fn: Callable[..., Any], spec: FunctionSpec) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = slots.recorder or slots.start_recorder()
        if recorder is None or (call := recorder.begin(spec, args, kwargs)) is None:
            return await fn(*args, **kwargs)
        try:
            output = await (call.run or fn)(*args, **kwargs)
        except BaseException as exc:
            fail_call(call, exc)
            raise
        return hand_over(call, output)

    if not is_iterable_coroutine(fn):
        return wrapper

    @types.coroutine
    def iterable(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from wrapper(*args, **kwargs).__await__())

    return iterable


def _wrap_generator(fn: Callable[..., Any], spec: FunctionSpec) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return record_generator(partial(_begin, spec, leave_ended(), args, kwargs), fn, args, kwargs)

    return set_flag(wrapper, inspect.CO_GENERATOR)


def _wrap_async_generator(fn: Callable[..., Any], spec: FunctionSpec) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        return record_async_generator(partial(_begin, spec, leave_ended(), args, kwargs), fn, args, kwargs)

    return set_flag(wrapper, inspect.CO_ASYNC_GENERATOR)


def _begin(
    spec: FunctionSpec, origin: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> CallSpan | None:
    """Begin the call of a generator where it was made: with the parent, session and run of there."""
    recorder = slots.recorder or slots.start_recorder()
    return None if recorder is None else recorder.begin_from(origin, spec, args, kwargs)


def set_flag(wrapper: Callable[..., Any], flag: int) -> Callable[..., Any]:
    """Return a function that returns a generator and that `inspect` takes for a generator function."""
    code = wrapper.__code__
    return types.FunctionType(
        code.replace(co_flags=code.co_flags | flag),
        wrapper.__globals__,
        wrapper.__name__,
        None,
        wrapper.__closure__,
    )


_WRAPPERS = {
    "function": _wrap_plain,
    "coroutine": _wrap_coroutine,
    "generator": _wrap_generator,
    "async_generator": _wrap_async_generator,
}
