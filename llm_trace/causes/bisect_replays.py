"""Ask recorded inputs again with half-changed prompts: the tools from the record, the model live."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llm_trace.capture import slots
from llm_trace.capture.context import using_session
from llm_trace.capture.runs import begin_run, continue_run
from llm_trace.capture.spec import SERVED
from llm_trace.errors import DivergenceError, ReplayError
from llm_trace.record import Run
from llm_trace.replays.overrides import Overrides
from llm_trace.replays.player import Player, Rules
from llm_trace.replays.playing import build_root_call, play_root, record_calls

if TYPE_CHECKING:
    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.causes.bisect_hunks import Mixture
    from llm_trace.causes.bisect_splits import Applied
    from llm_trace.replays.load import Recording
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class HalfwayAnswer:
    """How a root ended that was called again."""

    status: str
    output: Any
    trace_id: str | None


@dataclass
class HalfwayReplays:
    """Calls roots again, one question at a time, in a run of their own.

    Args:
        recording: the roots, with what ran inside them.
        functions: to call, by the root's id.
        live: names of functions that run for real.
    """

    recording: Recording
    functions: dict[str, Function]
    live: frozenset[str]
    run: Run
    recorder: CallRecorder
    runner: asyncio.Runner
    calls: int = 0
    """Model, tool and similar calls that ran for real."""
    refused: Counter[str] = field(default_factory=Counter)
    """Questions that asked a tool for something that is not in the record, by the first line of it."""

    def play(self, root: str, mixture: Mixture, applied: Applied) -> HalfwayAnswer | None:
        """Return how a root ends with some hunks put in; `None` where that leaves the record.

        Raises:
            ReplayError: it cannot be called again.
        """
        taped = self.recording.tape.calls[root]
        overrides = replace(
            Overrides.of(mixture.build_overrides(applied)), messages=mixture.exchange_messages(applied)
        )
        work = build_root_call(taped, self.functions[root], self.recording, overrides)
        rules = Rules("recorded", SERVED, self.live, overrides=overrides)
        player = Player(self.recording.tape.select_inside(taped), rules, self.recorder.encoder)
        slots.interceptor = player
        try:
            with using_session(
                None, metadata={"bisect": ", ".join(str(hunk + 1) for hunk in sorted(applied))}
            ):
                play_root(work, player, self.runner)
        except DivergenceError:
            pass
        finally:
            slots.interceptor = None
            self.calls += player.report.live
        if player.report.divergence is not None:
            self.refused[player.report.divergence.partition("\n")[0]] += 1
            return None
        if player.report.not_replayable:
            raise ReplayError(player.report.not_replayable[0])
        event = player.ending.event if player.ending is not None else {}
        return HalfwayAnswer(str(event.get("status", "error")), event.get("output"), event.get("trace_id"))


@contextlib.contextmanager
def open_halfway_replays(
    store: Store, name: str, recording: Recording, functions: dict[str, Function], live: frozenset[str]
) -> Iterator[HalfwayReplays]:
    """Begin the run that the questions belong to.

    Raises:
        ReplayError: a replay is on in this process.
    """
    if slots.interceptor is not None:
        raise ReplayError("a replay is on in this process already: end it first")
    with record_calls(store) as recorder, asyncio.Runner() as runner:
        event = begin_run(
            recorder, name, record_env=recorder.record_env, config={"of": recording.name, "bisect": True},
            replay_of=recording.id,
        )  # fmt: skip
        run = Run.model_validate({key: value for key, value in event.items() if key != "event"})
        with continue_run(recorder, run):
            yield HalfwayReplays(recording, functions, live, run, recorder, runner)
