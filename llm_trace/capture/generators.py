"""Generators that behave as another does and record it on the side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from llm_trace.capture.chunks import MAX_CHUNKS, Steps, join_chunks
from llm_trace.capture.endings import fail_call, finish_call

if TYPE_CHECKING:
    from contextvars import ContextVar

    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan

Begin = Callable[[], "CallSpan | None"]
"""Begins a call with the first step of its generator, or gives the one that goes on."""


def record_generator(
    begin: Begin, fn: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> Generator[Any, Any, Any]:
    """Yield what `fn(*args, **kwargs)` yields; record it where `begin` gives a call."""
    call, kwargs = begin(), kwargs or {}
    if call is None:
        return (yield from fn(*args, **kwargs))
    # The steps are written out rather than left to `Steps`, and methods are looked up before them: each of a
    # stream's thousands of chunks passes here.
    call.streaming = True
    variable = call.recorder.variable
    get_context, set_context, reset_context = variable.get, variable.set, variable.reset
    chunks: list[Any] = []
    times: list[int] = []
    keep, note, clock = chunks.append, times.append, perf_counter_ns
    served, room = call.spec.served, MAX_CHUNKS
    value: Any = None
    try:
        token, call.token = call.token or variable.set(call.context), None  # type: ignore[arg-type]
        try:
            generator = (call.run or fn)(*args, **kwargs)
            step = send = generator.send
        except BaseException:
            variable.reset(token)
            raise
        while True:
            # The call is current only while the generator's own code runs, never in its consumer's.
            try:
                chunk = step(value)
            finally:
                context = get_context()
                reset_context(token)
            if room:
                if room == MAX_CHUNKS:
                    call.first_chunk()
                room -= 1
                keep(chunk)
                if served:
                    note(clock())
            try:
                value = yield chunk
                step = send
            except GeneratorExit:
                _close(generator, variable, context)
                raise
            except BaseException as exc:
                value, step = exc, generator.throw
            token = set_context(context)
    except StopIteration as stop:
        finish_call(call, join_chunks(chunks, call, times, stop.value))
        return stop.value
    except BaseException as exc:
        fail_call(call, exc, join_chunks(chunks, call, times))
        raise
    finally:
        value = None  # an exception that was thrown in must not keep this frame alive


def _close(generator: Any, variable: ContextVar[Context], context: Context) -> None:
    if getattr(generator, "gi_running", False):  # what it closes at its own end has closed us
        return
    token = variable.set(context)
    try:
        generator.close()
    finally:
        variable.reset(token)


async def record_async_generator(
    begin: Begin, fn: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> AsyncGenerator[Any, Any]:
    """Yield what an async generator yields and record it as a call, as `record_generator` does."""
    call = begin()
    if call is not None:
        call.streaming = True
    steps = Steps(call)
    value: Any = None
    try:
        generator = (call.run if call and call.run else fn)(*args, **kwargs or {})
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
                if not getattr(generator, "ag_running", False):  # else what it closes last has closed us
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
