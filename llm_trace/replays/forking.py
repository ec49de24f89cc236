"""A run that is to be forked: read once, tried up to the fork without paying, then run as often as asked."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llm_trace.capture import slots
from llm_trace.capture.recorder import Recorder
from llm_trace.capture.runs import read_environment
from llm_trace.capture.spec import SERVED
from llm_trace.errors import DivergenceError, NotFoundError, ReplayError
from llm_trace.record import Run
from llm_trace.replays.branch import Branch
from llm_trace.replays.collector import Collector
from llm_trace.replays.divergence import describe_first_divergence
from llm_trace.replays.fork_player import ForkPlayer
from llm_trace.replays.freeze import freeze_world
from llm_trace.replays.load import load
from llm_trace.replays.overrides import Overrides
from llm_trace.replays.player import Rules
from llm_trace.replays.playing import (
    begin_replay,
    build_root_call,
    call_roots,
    hold_loop,
    open_replayed_store,
    record_calls,
    run_task_outside_loops,
    stand_in,
)
from llm_trace.replays.roots import find_functions

if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.record import Call
    from llm_trace.replays.alteration import Alteration
    from llm_trace.replays.branch import LiveCall
    from llm_trace.replays.load import Recording
    from llm_trace.replays.playing import RootCall
    from llm_trace.replays.report import Report
    from llm_trace.replays.roots import Function
    from llm_trace.replays.tape import Taped
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class Rerun:
    """One run of a fork."""

    run: Run
    equal: bool
    """Whether the program ended as it did when it was recorded."""
    divergence: str | None
    """Where it first went another way after the change, in words."""
    report: Report
    calls: tuple[LiveCall, ...]
    """What was asked from the change on, in the order of the starts."""
    halted: bool
    """Whether it was ended before its end."""


@dataclass(frozen=True)
class Forking:
    """A run that is forked; made by `begin_forking`."""

    store: Store
    recording: Recording
    fork_of: str
    """The run, or the `span_id` of its root where it belongs to none."""
    work: tuple[RootCall, ...]
    rules: Rules
    recorder: CallRecorder
    runner: asyncio.Runner
    """Of the event loop in which every rerun of an async program runs."""
    live: frozenset[str]
    serve: frozenset[str]
    start_ns: int | None = None
    """What the clock is set back to."""
    environment: Mapping[str, Any] | None = None

    def branch_off(self, *alterations: Alteration) -> Branch:
        """Return the rule of a fork with these changes.

        Raises:
            NotFoundError: a changed call is not in the record.
        """
        return Branch.of(self.recording.tape, alterations, self.live, self.serve)

    def check(self, branch: Branch) -> None:
        """Run a fork up to its first change, where it ends: everything so far is answered from the record.

        Raises:
            DivergenceError: the program asks something else than it did.
            ReplayError: it does not come to the changed call, the change cannot be made, or tools would run
                that nobody has allowed.
        """
        self._check_tools(branch)
        trial = branch.renew(lambda _: True)
        encoder = self.recorder.encoder
        player = ForkPlayer(self.recording.tape, self.rules, encoder, trial)
        with _record_nowhere(Recorder(Collector(encoder), encoder, input_key=None)):
            self._play(player, 0)
        self._check_prefix(player)
        if not trial.halted:
            raise ReplayError(
                f"the program ended before it came to {self._describe(branch)}, which stands in the record: "
                f"it is another program than the recorded one, or what it does is not traced"
            )

    def _check_prefix(self, player: ForkPlayer) -> None:
        report = player.report
        if report.divergence is not None:
            raise DivergenceError(f"before the fork the program went another way: {report.divergence}")
        if report.not_replayable:
            raise ReplayError(report.not_replayable[0])
        if report.not_asked and player.branch.halted:
            raise DivergenceError(
                f"the program came to {self._describe(player.branch)} without the calls before it: "
                f"{', '.join(report.not_asked)}"
            )

    def _check_tools(self, branch: Branch) -> None:
        """Refuse a fork after which tools would run that nobody has named."""
        tape, code = self.recording.tape, self.rules.overrides.code

        def runs(call: Taped) -> bool:
            named = branch.allows(call.name, call.kind) or call.name in branch.serve or call.name in code
            altered = branch.alterations.get(call.span_id)
            return not named and not (altered is not None and altered.answers)

        rest = [call for span, call in tape.calls.items() if span not in branch.before]
        counts = Counter(
            call.name for call in rest if runs(call) and not any(o.kind == "tool" for o in tape.around(call))
        )
        if counts:
            names = ", ".join(f"{name} ({count} calls)" for name, count in counts.items())
            raise ReplayError(
                f"after the fork {names} would run, and tools may have effects: name those that may run in "
                f"live (live={list(counts)}; on the command line --live), and those that are to answer "
                "from the record where they are asked the same in serve; nothing was run"
            )

    def _describe(self, branch: Branch) -> str:
        span_id = branch.first.span_id
        return f"{self.recording.tape.calls[span_id].name} ({span_id})"

    def rerun(
        self,
        branch: Branch,
        index: int,
        about: Mapping[str, Any],
        until: Callable[[LiveCall], bool] | None = None,
    ) -> Rerun:
        """Run a fork once; the calls made are a run of their own.

        Args:
            branch: its rule.
            index: which of its runs this is, from 0: where the record has a seed, each has another one.
            about: what the run's configuration says of it.
            until: says of a call after the record whether the program ends before it.

        Raises:
            DivergenceError: the program asked something else than it did before the fork.
        """
        player = ForkPlayer(self.recording.tape, self.rules, self.recorder.encoder, branch.renew(until))
        fields: dict[str, Any] = {"config": {"of": self.recording.name, "fork": dict(about)}}
        if self.environment is not None:
            fields["environment"] = dict(self.environment)
        name = f"fork of {self.recording.name}"
        with begin_replay(
            self.recorder, self.recording, player, name, fork_of=self.fork_of, record_env=False, **fields
        ) as playing:
            self._play(player, index)
        if not player.branch.passed:
            self._check_prefix(player)
        calls = tuple(player.branch.calls)
        return Rerun(
            playing.run,
            player.report.equal == len(self.work) and not player.branch.halted,
            describe_first_divergence(self.recording.tape, player.branch),
            player.report,
            calls,
            player.branch.halted,
        )

    def _play(self, player: ForkPlayer, index: int) -> None:
        self.recording.tape.rewind()
        seed = None if self.recording.seed is None else self.recording.seed + index
        call = partial(call_roots, self.work, player, self.runner)
        if slots.interceptor is player:
            with freeze_world(seed, self.start_ns):
                run_task_outside_loops(call)
        else:
            with stand_in(player), freeze_world(seed, self.start_ns):
                run_task_outside_loops(call)


@contextlib.contextmanager
def begin_forking(
    run: str | Run | Sequence[str],
    fork_at: str,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    overrides: Mapping[str, Any] | None = None,
    functions: str | Function | Iterable[str | Function] = (),
    serve: Iterable[str] = (),
    live: Iterable[str] = (),
    pace: bool = False,
    clock: bool = False,
    record_env: bool = True,
) -> Iterator[Forking]:
    """Read what is to be forked at a call; arguments as for `replay`.

    Raises:
        NotFoundError: the store has no such run, or the run no such call.
        ReplayError: a function cannot be imported, or an argument cannot be rebuilt.
    """
    opened = open_replayed_store(store)
    changes = Overrides.of(overrides)
    if changes.variables:
        raise ReplayError(
            "the override 'variables' changes what the program was called with, and so everything before "
            "the fork: set {'arguments': …} of the call that the run began with instead"
        )
    recording, fork_of = load_forked(opened, run, fork_at)
    names = frozenset(serve) - SERVED
    rules = Rules("fork", SERVED | names, frozenset(), pace, changes)
    chosen = find_functions(recording.roots, functions)
    work = tuple(build_root_call(root, chosen[root.span_id], recording, changes) for root in recording.roots)
    with record_calls(opened) as recorder, hold_loop() as runner:
        yield Forking(
            opened,
            recording,
            fork_of,
            work,
            rules,
            recorder,
            runner,
            frozenset(live),
            names,
            recording.roots[0].start_ns if clock else None,
            read_environment() if record_env and recorder.record_env else None,
        )


def load_forked(store: Store, run: str | Run | Sequence[str], fork_at: str) -> tuple[Recording, str]:
    """Return the record of the root that a call belongs to, and the run's id or the root's.

    Of several calls, each of them up to the one that holds `fork_at`.

    Raises:
        NotFoundError: the store has no such run, or the run no such call.
    """
    path = _find_path(store, fork_at)
    if not isinstance(run, str | Run):
        spans = list(run)
        held = [n for n, span in enumerate(spans) if span in {call.span_id for call in path}]
        if not held:
            raise NotFoundError(f"{fork_at!r} did not run inside {', '.join(spans)}")
        return load(store, spans[: held[0] + 1]), path[-1].run or spans[0]
    root = next((call for call in path if call.span_id == run), None)
    if root is None:
        chosen = next((r for r in store.runs() if run in (r, r.id, r.name)), None)
        inside = [call for call in path if chosen is not None and call.run == chosen.id]
        if chosen is None or not inside:
            name = run if isinstance(run, str) else run.id
            raise NotFoundError(
                f"{fork_at!r} is no call of {name!r} in {str(store.path)!r}: `llm-trace ls --run {name}` "
                "lists its calls"
            )
        root = inside[-1]
    return load(store, root.span_id), root.run or root.span_id


def _find_path(store: Store, span_id: str) -> list[Call]:
    """Return a call and those inside which it ran, from it outwards."""
    call = store.call(span_id)
    calls = {each.span_id: each for each in store.trace(call.trace_id)}
    path = [call]
    while (outer := calls.get(path[-1].parent_id or "")) is not None and outer not in path:
        path.append(outer)
    return path


@contextlib.contextmanager
def _record_nowhere(recorder: Recorder) -> Iterator[None]:
    before, slots.recorder = slots.recorder, recorder
    try:
        yield
    finally:
        slots.recorder = before
