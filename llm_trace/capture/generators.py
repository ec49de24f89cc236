"""Generators that behave as another does and record it on the side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from llm_trace.capture import slots
from llm_trace.capture.chunks import MAX_CHUNKS, Steps, joined

if TYPE_CHECKING:
    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.spec import Spec


def record_generator(
    fn: Callable[..., Any],
    spec: Spec,
    origin: Context | None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    call: CallSpan | None = None,
) -> Generator[Any, Any, Any]:
    """Yield what `fn(*args, **kwargs)` yields and record it as a call.

    Args:
        origin: the context in which the generator was made: its parent, session and run are the call's.
        call: the call that returned the generator, which goes on; `None` begins one with the first step.
    """
    recorder = slots.recorder or slots.boot() if call is None else call.recorder
    if call is None and recorder is not None:
        call = recorder.begin_from(origin, spec, args, kwargs or {})
    if recorder is None or call is None:
        return (yield from fn(*args, **kwargs or {}))
    call.streaming = True
    variable = recorder.variable
    chunks: list[Any] = []
    times: list[int] = []
    served, clock, most = spec.served, perf_counter_ns, MAX_CHUNKS
    value: Any = None
    try:
        token, call.token = call.token or variable.set(call.context), None  # type: ignore[arg-type]
        try:
            generator = (call.run or fn)(*args, **kwargs or {})
            step = generator.send
        except BaseException:
            variable.reset(token)
            raise
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


async def record_async_generator(
    fn: Callable[..., Any],
    spec: Spec,
    origin: Context | None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    call: CallSpan | None = None,
) -> AsyncGenerator[Any, Any]:
    """Yield what an async generator yields and record it as a call; `record_generator` says the rest."""
    recorder = slots.recorder or slots.boot() if call is None else call.recorder
    if call is None and recorder is not None:
        call = recorder.begin_from(origin, spec, args, kwargs or {})
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
