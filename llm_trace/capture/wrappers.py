"""The decorator: a wrapper per kind of function, each of which behaves as the function does and records it on the side."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar, overload

from llm_trace.capture import slots
from llm_trace.capture.chunks import MAX_CHUNKS, Steps, joined
from llm_trace.capture.spec import Spec, spec_for

if TYPE_CHECKING:
    from llm_trace.capture.prompts import Prompt
    from llm_trace.record import Kind

F = TypeVar("F")


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
) -> Any:
    """Record every call of a function: its arguments by name, what it returned, yielded or raised, and how long it took.

    Works on functions, coroutine functions, generators and async generators, methods, class and static methods, any other
    callable, and on a class (its public methods). The decorated function returns, yields and raises exactly what it did.
    Until `configure` was called it only calls through.

    Args:
        name: name of the call; the function's qualified name where not given.
        kind: what the call is: `llm`, `chain`, `tool`, `retriever`, `embedding`, `agent`, `reranker`, `guardrail`, `evaluator`.
        model: the model that is asked, where neither arguments nor return value say so.
        prompt: the prompt that the function renders from its arguments.
        tags: labels to filter by.
        metadata: further facts, as JSON.
        capture_input: keep the arguments.
        capture_output: keep what is returned or yielded.
        output_reducer: makes one output of the list of a generator's chunks; without it text is joined and the streams of
            known providers are put together.
        attribution: an `AttributionPolicy` for this function, in place of the configured one.
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
    }
    if fn is None:
        return functools.partial(_decorate, options=options)
    return _decorate(fn, options)


def _decorate(fn: Any, options: dict[str, Any]) -> Any:
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_decorate(fn.__func__, options))
    if isinstance(fn, type):
        return _decorate_class(fn, options)
    if not callable(fn):
        raise TypeError(f"trace() decorates functions, methods and classes, not {fn!r}")
    fn = getattr(fn, "__llm_trace__", fn)  # decorating twice records once, with the later options
    spec = spec_for(fn, options)
    wrapper: Any = functools.wraps(fn)(_WRAPPERS[spec.shape](fn, spec))
    wrapper.__llm_trace__ = fn
    return wrapper


def _decorate_class(cls: type, options: dict[str, Any]) -> type:
    for name, member in list(vars(cls).items()):
        if not name.startswith("_") and isinstance(member, (staticmethod, classmethod, type(_decorate))):
            setattr(cls, name, _decorate(member, {**options, "name": None}))
    return cls


def _function(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = slots.recorder or slots.boot()
        if recorder is None or (call := recorder.begin(spec, args, kwargs)) is None:
            return fn(*args, **kwargs)
        try:
            output = (call.run or fn)(*args, **kwargs)
        except BaseException as exc:
            recorder.fail(call, exc)
            raise
        recorder.finish(call, output)
        return output

    return wrapper


def _coroutine(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = slots.recorder or slots.boot()
        if recorder is None or (call := recorder.begin(spec, args, kwargs)) is None:
            return await fn(*args, **kwargs)
        try:
            output = await (call.run or fn)(*args, **kwargs)
        except BaseException as exc:
            recorder.fail(call, exc)
            raise
        recorder.finish(call, output)
        return output

    return wrapper


def _generator(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        recorder = slots.recorder or slots.boot()
        if recorder is None or (call := recorder.begin(spec, args, kwargs)) is None:
            return (yield from fn(*args, **kwargs))
        variable = recorder.variable
        chunks: list[Any] = []
        times: list[int] = []
        served, clock, most = spec.served, perf_counter_ns, MAX_CHUNKS
        value: Any = None
        try:
            generator = (call.run or fn)(*args, **kwargs)
            step, token, call.token = generator.send, call.token, None
            while True:
                # The call is current only while the generator's own code runs, never in the code that consumes it.
                try:
                    chunk = step(value)
                finally:
                    context = variable.get()
                    variable.reset(token)
                if not chunks:
                    call.first_chunk()
                if len(chunks) < most:
                    chunks.append(chunk)
                    if served:
                        times.append(clock())
                try:
                    value = yield chunk
                    step = generator.send
                except GeneratorExit:
                    token = variable.set(context)
                    try:
                        generator.close()
                    finally:
                        variable.reset(token)
                    raise
                except BaseException as exc:
                    value, step = exc, generator.throw
                token = variable.set(context)
        except StopIteration as stop:
            recorder.finish(call, joined(chunks, call, times, stop.value))
            return stop.value
        except BaseException as exc:
            recorder.fail(call, exc, joined(chunks, call, times))
            raise
        finally:
            value = None  # an exception that was thrown in must not keep this frame alive

    return wrapper


def _async_generator(fn: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        recorder = slots.recorder or slots.boot()
        call = recorder.begin(spec, args, kwargs) if recorder is not None else None
        steps = Steps(call)
        value: Any = None
        try:
            generator = (call.run if call and call.run else fn)(*args, **kwargs)
            step = generator.asend
            while True:
                steps.enter()
                try:
                    chunk = await step(value)
                finally:
                    steps.leave()
                steps.add(chunk)
                try:
                    value = yield chunk
                    step = generator.asend
                except GeneratorExit:
                    steps.enter()
                    try:
                        await generator.aclose()
                    finally:
                        steps.leave()
                    raise
                except BaseException as exc:
                    value, step = exc, generator.athrow
        except StopAsyncIteration:
            steps.finish()
        except BaseException as exc:
            steps.fail(exc)
            raise
        finally:
            value = None

    return wrapper


_WRAPPERS = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async_generator": _async_generator,
}
