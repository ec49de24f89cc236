"""Calls of any function from an event loop: in a thread where it is sync, with a time limit, never waited for
longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from queue import SimpleQueue
from typing import Any


class ReusedThreads:
    """Threads that run jobs, used again for the next job; one whose job hangs is simply not used again."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Callable[[], None] | None]] = []
        self._closed = False

    def run(self, job: Callable[[], None]) -> None:
        """Run a job in a thread, without waiting for it."""
        try:
            jobs = self._idle.pop()
        except IndexError:
            jobs = SimpleQueue()
            name = "llm_trace-evaluate"
            threading.Thread(target=self._work, args=[jobs], name=name, daemon=True).start()
        jobs.put(job)

    def close(self) -> None:
        """Let every thread end, each when its job does."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _work(self, jobs: SimpleQueue[Callable[[], None] | None]) -> None:
        while (job := jobs.get()) is not None:
            job()
            if self._closed:
                return
            self._idle.append(jobs)


async def call_function(call: Callable[[], Any], limit_s: float | None, workers: ReusedThreads) -> Any:
    """Return what a function returns, also where that is awaitable or a generator.

    A sync function runs in a thread, with the current context: one that hangs is left there.

    Raises:
        TimeoutError: it took longer than `limit_s` seconds.
    """
    async with asyncio.timeout(limit_s):
        result = call() if is_awaited(call) else await _run_in_thread(call, workers)
        if inspect.isawaitable(result):
            result = await result
        return await _join_chunks(result) if inspect.isasyncgen(result) else result


def is_awaited(call: Callable[..., Any]) -> bool:
    """Return whether a function is a coroutine function or an async generator function."""
    function = inspect.unwrap(call.func if isinstance(call, partial) else call)
    function = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


async def _run_in_thread(call: Callable[[], Any], workers: ReusedThreads) -> Any:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(_call_to_end, call)
        except StopIteration as exc:  # a future cannot hold one
            error = RuntimeError(f"the function raised {exc!r}")
        except BaseException as exc:  # noqa: BLE001  # the program's own
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    workers.run(run)
    return await answer


def _call_to_end(call: Callable[[], Any]) -> Any:
    result = call()
    return _join(list(result)) if inspect.isgenerator(result) else result


async def _join_chunks(chunks: AsyncIterator[Any]) -> Any:
    return _join([chunk async for chunk in chunks])


def _join(chunks: list[Any]) -> Any:
    return "".join(chunks) if chunks and all(isinstance(chunk, str) for chunk in chunks) else chunks


def run_outside_loops(make: Callable[[], Any]) -> Any:
    """Return what a coroutine returns, in a thread of its own where this one runs a loop, as notebooks do."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    results: list[Any] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(asyncio.run, make()))
        except BaseException as exc:  # noqa: BLE001  # raised below
            errors.append(exc)

    thread = threading.Thread(target=run, name="llm_trace-evaluate")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
