"""Calls the roots of a recording again while a player stands in capture's slot; the calls made are a run."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llm_trace import config
from llm_trace.capture import slots
from llm_trace.capture.context import RUN_KEY, attach_values
from llm_trace.capture.halt import Halt
from llm_trace.capture.runs import begin_run
from llm_trace.errors import ReplayError
from llm_trace.record import Run
from llm_trace.replays.ending import compare_endings
from llm_trace.replays.roots import call_of
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.replays.load import Recording
    from llm_trace.replays.overrides import Overrides
    from llm_trace.replays.player import Player
    from llm_trace.replays.report import Report
    from llm_trace.replays.roots import Function
    from llm_trace.replays.tape import Taped


@dataclass
class Replaying:
    """A replay that is on."""

    run: Run
    """What the calls made in it belong to."""
    recording: Recording
    player: Player

    @property
    def report(self) -> Report:
        """What was found so far."""
        return self.player.report


@dataclass(frozen=True)
class RootCall:
    """A root that is called again."""

    root: Taped
    fn: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def build_root_call(root: Taped, fn: Function, recording: Recording, overrides: Overrides) -> RootCall:
    """Return how a root is called again, with what the overrides change of its arguments.

    Raises:
        ReplayError: an argument cannot be rebuilt, or the function does not take it any more.
    """
    rendered = overrides.render_prompts(root, recording.templates)
    arguments = overrides.reword(root.input, rendered)
    return RootCall(root, fn, *call_of(replace(root, input=arguments), fn, overrides.arguments, rendered))


def open_replayed_store(store: str | os.PathLike[str] | Store | None) -> Store:
    """Return a store with all that was recorded: by default the one that is configured."""
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


@contextlib.contextmanager
def stand_in(player: Player) -> Iterator[None]:
    """Let a player answer the traced calls of this process.

    Raises:
        ReplayError: another one does already.
    """
    if slots.interceptor is not None:
        raise ReplayError("a replay is on in this process already: end it first")
    slots.interceptor = player
    try:
        yield
    finally:
        slots.interceptor = None
        player.finish()


@contextlib.contextmanager
def begin_replay(
    recorder: CallRecorder, recording: Recording, player: Player, name: str, **fields: Any
) -> Iterator[Replaying]:
    """Let a player answer, and let the calls made belong to a run of their own.

    Args:
        name: of the run.
        fields: of the run; what was found is added to its `config`.
    """
    about = fields.pop("config")
    record_env = fields.pop("record_env", recorder.record_env)
    event = begin_run(recorder, name, record_env=record_env, config=about, **fields)
    run = Run.model_validate({k: v for k, v in event.items() if k != "event"})
    playing = Replaying(run, recording, player)
    try:
        with stand_in(player), attach_values(**{RUN_KEY: run.id}), recorder.default_run(run.id):
            yield playing
    finally:
        end = {"id": run.id, "config": {**about, "replay": player.report.as_json()}, "end_ns": time.time_ns()}
        recorder.event({"event": "run", **end})
        playing.run = run.model_copy(update=end)


def run_task_outside_loops(task: Callable[[], None]) -> None:
    """Run a task here, or in a thread of its own where this one runs an event loop, as a notebook does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return task()
    with ThreadPoolExecutor(1, "llm_trace-replay") as pool:
        return pool.submit(contextvars.copy_context().run, task).result()


@contextlib.contextmanager
def hold_loop() -> Iterator[asyncio.Runner]:
    """Give all that is called in a block one event loop: clients that a program keeps are bound to it."""
    runner = asyncio.Runner()
    try:
        yield runner
    finally:
        run_task_outside_loops(runner.close)


def call_roots(work: Sequence[RootCall], player: Player, runner: asyncio.Runner) -> None:
    """Call the roots one after the other, note whether each ended as it did, and end tasks they left."""
    asyncio.set_event_loop(runner.get_loop())
    for item in work:
        play_root(item, player, runner)
    if tasks := asyncio.all_tasks(runner.get_loop()):
        runner.run(_cancel_tasks(tasks))


async def _cancel_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def play_root(work: RootCall, player: Player, runner: asyncio.Runner) -> None:
    """Call a root; an exception of its own is how it ends."""
    player.expect(work.root)
    try:
        _run_to_end(work.fn(*work.args, **work.kwargs), runner)
    except ReplayError:
        if player.rules.mode != "fork":
            raise
    except (Exception, SystemExit, asyncio.CancelledError, Halt):  # noqa: BLE001  # the program's own
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
