"""`replay` and `replaying`: run what was recorded again, answered from the record, live, or both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llm_trace.capture import slots
from llm_trace.capture.context import RUN_KEY, attach_values
from llm_trace.capture.runs import begin_run
from llm_trace.capture.spec import SERVED
from llm_trace.errors import DivergenceError, ReplayError
from llm_trace.record import Run
from llm_trace.replays.freeze import freeze_world
from llm_trace.replays.load import load
from llm_trace.replays.overrides import Overrides
from llm_trace.replays.player import Player, Rules
from llm_trace.replays.playing import (
    build_root_call,
    open_replayed_store,
    play_root,
    record_calls,
    run_outside_loops,
)
from llm_trace.replays.roots import find_functions
from llm_trace.stores.duckdb import Store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from llm_trace.replays.load import Recording
    from llm_trace.replays.player import ReplayMode
    from llm_trace.replays.playing import RootCall
    from llm_trace.replays.report import Report
    from llm_trace.replays.roots import Function


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


def replay(
    run: str | Run | Sequence[str],
    *,
    store: str | os.PathLike[str] | Store | None = None,
    mode: ReplayMode = "recorded",
    overrides: Mapping[str, Any] | None = None,
    functions: str | Function | Iterable[str | Function] = (),
    serve: Iterable[str] = SERVED,
    live: Iterable[str] = (),
    pace: bool = False,
    clock: bool = False,
) -> Run:
    """Call the functions that a run began with again, with their recorded arguments, and return the new run.

    What was found (calls answered, differences, races, roots that ended otherwise) is `config["replay"]` of
    the new run.

    Args:
        run: a run, its id or name (the newest of that name), or the `span_id` of a call or of several.
        store: where it was recorded; the store that is configured where not given.
        mode: `recorded`: model, tool and similar calls are answered from the record, and what is not there
            raises. `live`: all runs for real. `mixed`: what is not in the record runs for real.
        overrides: `model`, `params`, `prompt` (a `Prompt` or several, each in place of the one of its name),
            `variables` (by name, of the prompts that the roots' arguments were made from), `code` (name of a
            traced function to another function) change what runs live; `arguments` (by name) are given to the
            roots in place of recorded ones, or of those that the record does not hold.
        functions: the functions that the run began with, or `"module:function"` to import them from.
        serve: kinds and names of functions that are answered from the record.
        live: names of functions that run for real in `recorded` and `mixed` mode.
        pace: let the chunks of streams come as slowly as they did.
        clock: let the program's clock begin at the time of the recording.

    Raises:
        DivergenceError: in `recorded` mode: something was asked that is not in the record.
        ReplayError: a function or an argument is missing, or a recorded answer cannot be given again.
        NotFoundError: the store has no such run.
    """
    opened = open_replayed_store(store)
    recording = load(opened, run)
    rules = Rules(mode, frozenset(serve), frozenset(live), pace, Overrides.of(overrides))
    chosen = find_functions(recording.roots, functions)
    work = [
        build_root_call(root, chosen[root.span_id], recording, rules.overrides) for root in recording.roots
    ]
    start_ns = recording.roots[0].start_ns if clock else None
    with _play_recording(recording, rules, opened) as playing, freeze_world(recording.seed, start_ns):
        run_outside_loops(partial(_play, work, playing))
    return playing.run


@contextlib.contextmanager
def replaying(
    run: str | Run | Sequence[str],
    *,
    store: str | os.PathLike[str] | Store | None = None,
    mode: ReplayMode = "recorded",
    overrides: Mapping[str, Any] | None = None,
    serve: Iterable[str] = SERVED,
    live: Iterable[str] = (),
    pace: bool = False,
    clock: bool = False,
) -> Iterator[Replaying]:
    """Answer this process's traced calls from a recorded run within a block; arguments as for `replay`.

    For programs not started by one function: call in the block what was called then. One at a time.

    Raises:
        DivergenceError: in `recorded` mode: something was asked that is not in the record; also where the
            program went on.
    """
    opened = open_replayed_store(store)
    recording = load(opened, run)
    rules = Rules(mode, frozenset(serve), frozenset(live), pace, Overrides.of(overrides))
    with (
        _play_recording(recording, rules, opened) as playing,
        freeze_world(recording.seed, recording.roots[0].start_ns if clock else None),
    ):
        yield playing


@contextlib.contextmanager
def _play_recording(recording: Recording, rules: Rules, store: Store) -> Iterator[Replaying]:
    """Fill the interceptor's slot, and let the calls made belong to a run of their own."""
    if slots.interceptor is not None:
        raise ReplayError("a replay is on in this process already: end it first")
    with record_calls(store) as recorder:
        player = Player(recording.tape, rules, recorder.encoder)
        about: dict[str, Any] = {"of": recording.name, "mode": rules.mode}
        name = f"replay of {recording.name}"
        event = begin_run(
            recorder, name, record_env=recorder.record_env, config=about, replay_of=recording.id
        )
        playing = Replaying(
            Run.model_validate({k: v for k, v in event.items() if k != "event"}), recording, player
        )
        slots.interceptor = player
        try:
            with attach_values(**{RUN_KEY: playing.run.id}), recorder.default_run(playing.run.id):
                yield playing
        finally:
            slots.interceptor = None
            player.finish()
            about["replay"] = player.report.as_json()
            ended = {"id": playing.run.id, "config": about, "end_ns": time.time_ns()}
            recorder.event({"event": "run", **ended})
            playing.run = playing.run.model_copy(update=ended)
    if rules.mode == "recorded" and player.report.divergence is not None:
        raise DivergenceError(player.report.divergence)
    if rules.mode == "recorded" and player.report.not_replayable:  # the program may have swallowed it
        raise ReplayError(player.report.not_replayable[0])


def _play(work: Sequence[RootCall], playing: Replaying) -> None:
    """Call the roots one after the other, and note whether each ended as it did."""
    with asyncio.Runner() as runner:
        for item in work:
            play_root(item, playing.player, runner)
