"""Roots of a recording called again, one by one: what every kind of replay is made of."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llm_trace import config
from llm_trace.capture import slots
from llm_trace.errors import ReplayError
from llm_trace.replays.ending import compare_endings
from llm_trace.replays.roots import call_of
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.replays.load import Recording
    from llm_trace.replays.overrides import Overrides
    from llm_trace.replays.player import Player
    from llm_trace.replays.roots import Function
    from llm_trace.replays.tape import Taped


@dataclass(frozen=True)
class RootCall:
    """A root that is called again."""

    root: Taped
    fn: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def build_root_call(root: Taped, fn: Function, recording: Recording, overrides: Overrides) -> RootCall:
    """Return a root with the arguments that it is called again with.

    Raises:
        ReplayError: some cannot be rebuilt, or a prompt in place of another has further variables.
    """
    rendered = overrides.render_prompts(root, recording.templates)
    arguments = overrides.reword(root.input, rendered)
    return RootCall(root, fn, *call_of(replace(root, input=arguments), fn, overrides.arguments, rendered))


def open_replayed_store(store: str | os.PathLike[str] | Store | None) -> Store:
    """Return the store that was recorded to: the one that is configured where none is named."""
    if isinstance(store, Store):
        store.ingest()
        return store
    if store is None and config.current is not None:
        store = config.current.store
    return open_store() if store is None else open_store(store)


@contextlib.contextmanager
def record_calls(store: Store) -> Iterator[CallRecorder]:
    """Record to what is configured, else to the store that is replayed."""
    recorder = slots.recorder or slots.start_recorder()
    if recorder is not None:
        yield recorder
        return
    config.configure(store.path, run=None)
    try:
        yield config.current.recorder  # type: ignore[union-attr]
    finally:
        config.shutdown()


def run_outside_loops(task: Callable[[], None]) -> None:
    """Run a task here, or in a thread of its own where this one runs an event loop, as a notebook does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return task()
    with ThreadPoolExecutor(1, "llm_trace-replay") as pool:
        return pool.submit(contextvars.copy_context().run, task).result()


def play_root(work: RootCall, player: Player, runner: asyncio.Runner) -> None:
    """Call a root; an exception of its own is how it ends."""
    player.expect(work.root)
    try:
        _run_to_end(work.fn(*work.args, **work.kwargs), runner)
    except ReplayError:
        raise
    except (Exception, SystemExit, asyncio.CancelledError):  # noqa: BLE001  # the program's own
        pass
    same, how = compare_endings(work.root, player.ending)
    player.report.roots += 1
    player.report.equal += same
    if how is not None and player.rules.mode == "recorded":
        player.report.differences.append(how)


def _run_to_end(result: Any, runner: asyncio.Runner) -> None:
    """Await what is awaited, and exhaust generators."""
    context = contextvars.copy_context()
    if inspect.isawaitable(result):
        runner.run(_await_result(result), context=context)
    elif inspect.isasyncgen(result):
        runner.run(_exhaust(result), context=context)
    elif inspect.isgenerator(result):
        for _ in result:
            pass


async def _await_result(result: Awaitable[Any]) -> Any:
    return await result


async def _exhaust(chunks: AsyncIterator[Any]) -> None:
    async for _ in chunks:
        pass
