"""`replay` and `replaying`: run what was recorded again, answered from the record, live, or both."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from llm_trace.capture.spec import SERVED
from llm_trace.errors import DivergenceError, ReplayError
from llm_trace.replays.forks import fork
from llm_trace.replays.freeze import freeze_world
from llm_trace.replays.load import load
from llm_trace.replays.overrides import Overrides
from llm_trace.replays.player import Player, Rules
from llm_trace.replays.playing import (
    begin_replay,
    build_root_call,
    call_roots,
    hold_loop,
    open_replayed_store,
    record_calls,
    run_task_outside_loops,
)
from llm_trace.replays.roots import find_functions

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from llm_trace.record import Run
    from llm_trace.replays.load import Recording
    from llm_trace.replays.player import ReplayMode
    from llm_trace.replays.playing import Replaying
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store


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
    fork_at: str | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002  # reads as what it does
    repeats: int = 1,
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
        fork_at: `span_id` of a call up to which all is answered from the record; what comes after it runs,
            tools only where `live` names them. The new run has `fork_of`.
        set: the one thing that is changed at that call, as `llm_trace.replays.forks.fork` takes it.
        repeats: how often the fork is run; the first run is returned, with what came of all of them in
            `config["fork"]`. `fork` gives each of them.

    Raises:
        DivergenceError: in `recorded` mode: something was asked that is not in the record.
        ReplayError: a function or an argument is missing, or a recorded answer cannot be given again.
        NotFoundError: the store has no such run.
    """
    if fork_at is not None:
        if mode != "recorded":
            raise ReplayError(f"a fork has no mode {mode!r}: what is before it is recorded, the rest is live")
        return fork(
            run, fork_at, set or {}, repeats=repeats, store=store, overrides=overrides, functions=functions,
            serve=serve, live=live, pace=pace, clock=clock,
        ).run  # fmt: skip
    if set is not None or repeats != 1:
        raise ReplayError("set and repeats are of a fork: say at which call, fork_at=SPAN_ID")
    opened = open_replayed_store(store)
    recording = load(opened, run)
    rules = Rules(mode, frozenset(serve), frozenset(live), pace, Overrides.of(overrides))
    chosen = find_functions(recording.roots, functions)
    work = [
        build_root_call(root, chosen[root.span_id], recording, rules.overrides) for root in recording.roots
    ]
    start_ns = recording.roots[0].start_ns if clock else None
    with (
        _play(recording, rules, opened) as playing,
        freeze_world(recording.seed, start_ns),
        hold_loop() as runner,
    ):
        run_task_outside_loops(partial(call_roots, work, playing.player, runner))
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
        _play(recording, rules, opened) as playing,
        freeze_world(recording.seed, recording.roots[0].start_ns if clock else None),
    ):
        yield playing


@contextlib.contextmanager
def _play(recording: Recording, rules: Rules, store: Store) -> Iterator[Replaying]:
    """Answer from a recording; in `recorded` mode say in the end what was not in it."""
    with record_calls(store) as recorder:
        player = Player(recording.tape, rules, recorder.encoder)
        name, about = f"replay of {recording.name}", {"of": recording.name, "mode": rules.mode}
        with begin_replay(recorder, recording, player, name, config=about, replay_of=recording.id) as playing:
            yield playing
    if rules.mode == "recorded" and player.report.divergence is not None:
        raise DivergenceError(player.report.divergence)
    if rules.mode == "recorded" and player.report.not_replayable:  # the program may have swallowed it
        raise ReplayError(player.report.not_replayable[0])
