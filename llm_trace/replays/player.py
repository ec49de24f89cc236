"""Stands in capture's interceptor slot: pairs calls with recorded ones, and answers those to be served."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.capture.callspan import CallSpan, current_call
from llm_trace.capture.halt import Halt
from llm_trace.capture.ids import make_id
from llm_trace.capture.spec import SERVED
from llm_trace.errors import DivergenceError, ReplayError
from llm_trace.replays import report
from llm_trace.replays.answers import (
    build_played_answer,
    build_recorded_answer,
    build_refusal,
    play_answer,
)
from llm_trace.replays.branch import LiveCall
from llm_trace.replays.ending import Ending, watch_ending
from llm_trace.replays.overrides import Overrides
from llm_trace.replays.tape import Tape, Taped

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.capture.protocols import CallRecorder, Template
    from llm_trace.capture.slots import Begin
    from llm_trace.capture.spec import FunctionSpec
    from llm_trace.capture.values import ValueEncoder

_ORDER = (
    "Calls ran at once there: what is made of them in the order in which they end (as_completed) is "
    "another each time."
)
ReplayMode = Literal["recorded", "live", "mixed"]


@dataclass(frozen=True)
class Rules:
    """What a replay answers from the record and what it runs."""

    mode: ReplayMode | Literal["fork"] = "recorded"
    serve: frozenset[str] = SERVED
    """Kinds and names of functions that are answered from the record."""
    live: frozenset[str] = frozenset()
    """Names of functions that run for real all the same."""
    pace: bool = False
    """Streams come as slowly as they did."""
    overrides: Overrides = field(default_factory=Overrides)

    def serves(self, spec: FunctionSpec) -> bool:
        """Return whether calls of a function are answered from the record."""
        return self.mode != "live" and spec.function is not None and self.answers(spec)

    def answers(self, call: FunctionSpec | Taped) -> bool:
        """Return whether a call is of a kind or name that is answered."""
        return (call.kind in self.serve or call.name in self.serve) and call.name not in self.live

    def mask_names(self, encoder: ValueEncoder) -> Rules:
        """Return the rules, functions also under the names that redaction leaves of theirs in the record."""
        serve, live = (names.union(map(encoder.mask_text, names)) for names in (self.serve, self.live))
        return replace(self, serve=serve, live=live)


@dataclass(slots=True)  # not frozen: these two are made for each call, and thrice as fast
class PendingCall:
    """A call that is about to be made."""

    spec: FunctionSpec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    arguments: dict[str, Any]
    """By name."""
    name: str
    """As the record has it: masked, where redaction changes it."""
    scope: str | None
    """Recorded call inside which it is looked for."""
    stray: bool
    """It is made by a call that has no place in the record."""
    encoder: ValueEncoder


@dataclass(slots=True)
class Step:
    """What becomes of a call."""

    taped: Taped | None = None
    scope: str | None = None
    """Recorded call inside which its own calls are looked for."""
    stray: bool = False
    """Its own calls have no place in the record."""
    run: Callable[..., Any] | None = None
    """Called instead of the function."""
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """Arguments in place of its own."""
    source: Literal["recorded", "altered"] | None = None
    """What it is answered from, where it does not run."""
    live: LiveCall | None = None
    """What a fork keeps of it."""


class Player:
    """Plays a tape to the traced functions of this process.

    Args:
        tape: what was recorded.
        rules: what is answered from it.
        encoder: masks names as the record does.
    """

    def __init__(self, tape: Tape, rules: Rules, encoder: ValueEncoder) -> None:
        self.tape = tape
        self.rules = rules.mask_names(encoder)
        self._names: dict[str, str] = {}
        self.report = report.Report(rules.mode, races=[report.describe_race(group) for group in tape.races()])
        self._steps: dict[str, Step] = {}
        self._next: Taped | None = None
        self.ending: Ending | None = None
        """Of the root that was called last."""
        self._lock = threading.Lock()

    def expect(self, root: Taped) -> None:
        """Take the next call for this recorded one, whatever its input."""
        self._next, self.ending = root, None

    def prompt(self, prompt: Template) -> Template:
        """Return the prompt that is rendered in this one's place."""
        return self.rules.overrides.prompts.get(prompt.name, prompt)

    def begin(
        self,
        recorder: CallRecorder,
        begin: Begin,
        spec: FunctionSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallSpan:
        """Begin a call and say what runs for it."""
        expected = self._next is not None
        try:
            step = self._step(recorder.encoder, spec, args, kwargs)
        except (ReplayError, Halt) as exc:
            step = Step(stray=True, run=play_answer(build_refusal(exc), spec.shape))
        except Exception as exc:  # noqa: BLE001  # never let a call through that should have been answered
            error = ReplayError(f"{spec.name} could not be replayed: {type(exc).__name__}: {exc}")
            self.report.not_replayable.append(str(error))
            step = Step(stray=True, run=play_answer(build_refusal(error), spec.shape))
        try:
            call = begin(spec, *(step.arguments or (args, kwargs)))
        except Exception:  # noqa: BLE001  # telemetry's own failure
            call = None
        # One that is not recorded (sampling, a failure) is followed all the same.
        call = call or CallSpan(recorder, spec, "0" * 32, make_id(), None, time.time_ns(), None)
        call.run = step.run
        if expected:
            self.ending = watch_ending(call)
        self._note(call, step)
        return call

    def _note(self, call: CallSpan, step: Step) -> None:
        if step.source is None:
            self._steps[call.span_id] = step
        if step.live is not None:
            step.live.ending = watch_ending(call)
        if step.taped is None:
            return
        fields: dict[str, Any] = {"replay_of": step.taped.span_id}
        if step.source is not None:
            fields["metadata"] = {"replay": step.source}
        if step.source == "recorded":
            answered = (("model", step.taped.model), ("usage", step.taped.usage))
            fields |= {name: value for name, value in answered if value}
        call.set(**fields)

    def _step(
        self, encoder: ValueEncoder, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Step:
        outer = current_call()
        around = (self._steps.get(outer.span_id) if outer is not None else None) or Step()
        try:
            arguments = spec.bind(*args, **kwargs)
        except TypeError:  # the function is about to say so itself
            return Step(stray=True)
        name = self._name_on_record(encoder, spec.name)
        asked = PendingCall(spec, args, kwargs, arguments, name, around.scope, around.stray, encoder)
        return self._choose(asked, self._find_taped(asked))

    def _choose(self, asked: PendingCall, taped: Taped | None) -> Step:
        """Return what becomes of a call, by what the record has of it."""
        if self.rules.serves(asked.spec):
            return self._serve(asked, taped)
        return self._run_live(asked, taped or self._find_likely(asked))

    def _name_on_record(self, encoder: ValueEncoder, name: str) -> str:
        """Return the name that the record has for a function: its own, else what redaction leaves of it."""
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = name if self.tape.has(name) else encoder.mask_text(name)
        return known

    def _find_taped(self, asked: PendingCall) -> Taped | None:
        """Return the recorded call that this one is: of the same function, input and place."""
        with self._lock:
            expected, self._next = self._next, None
        if expected is not None:
            return self.tape.take_this(expected)
        if asked.stray:
            return None
        return self.tape.take(asked.scope, asked.name, asked.arguments)

    def _find_likely(self, asked: PendingCall) -> Taped | None:
        """Return the only recorded call that this one can be, though its input is another."""
        taped = None if asked.stray else self.tape.take_only(asked.scope, asked.name)
        if taped is not None and self.rules.mode in ("recorded", "fork"):
            shown = report.describe_difference(taped.input, asked.encoder.to_masked_json(asked.arguments))
            self.report.differences.append(
                f"{taped.name} ({taped.span_id}) was called with another input\n{shown}"
            )
        return taped

    def _serve(self, asked: PendingCall, taped: Taped | None) -> Step:
        """Answer a call from the record; what is not there runs in mixed mode."""
        spec = asked.spec
        try:
            if taped is None:
                raise self._build_divergence(asked)
            run = self._build_run(spec, taped)
        except ReplayError as exc:
            return self._refuse(asked, taped, exc)
        with self._lock:
            self.report.served += 1
        return Step(taped, taped.span_id, run=run, source="recorded")

    def _build_run(self, spec: FunctionSpec, taped: Taped) -> Callable[..., Any]:
        """Return what gives a recorded call's answer in the place of the function.

        Raises:
            ReplayError: it cannot be replayed.
        """
        if (replay := spec.replay) is not None:
            recorded = build_recorded_answer(taped, pace=self.rules.pace)
            if recorded is not None:
                return lambda *args, **kwargs: replay(spec.function, args, kwargs, recorded)
        answer = build_played_answer(taped, spec.shape, getattr(spec.function, "__module__", None))
        return play_answer(answer, spec.shape, pace=self.rules.pace)

    def _refuse(self, asked: PendingCall, taped: Taped | None, why: ReplayError) -> Step:
        """Run a call that has no recorded answer in mixed mode, else raise why."""
        if taped is not None:
            why = ReplayError(f"{taped.name} ({taped.span_id}) cannot be replayed: {why}")
            self.report.not_replayable.append(str(why))
            why = ReplayError(f"{why}; let it run: live=[{taped.name!r}]")
        if self.rules.mode != "mixed":
            raise why
        return self._run_live(asked, taped)

    def _run_live(self, asked: PendingCall, taped: Taped | None) -> Step:
        """Let the function run, with what the overrides change.

        A function that the record does not know at this place is looked through: its calls are those of the
        call around it.
        """
        spec, overrides = asked.spec, self.rules.overrides
        if spec.kind in SERVED and spec.function is not None:
            with self._lock:
                self.report.live += 1
        stray = taped is None and (asked.stray or self.tape.knows(asked.scope, asked.name))
        step = Step(taped, taped.span_id if taped else asked.scope, stray)
        if not overrides.changes(spec) or (
            self.rules.mode == "recorded" and spec.name not in self.rules.live
        ):
            return step
        run, args, kwargs = overrides.apply(spec, asked.args, asked.kwargs)
        return replace(step, run=lambda *_, **__: run(*args, **kwargs), arguments=(args, kwargs))

    def _build_divergence(self, asked: PendingCall) -> DivergenceError:
        """Return what is said of a question that is not in the record; the first is kept."""
        inside = self.tape.calls.get(asked.scope or "")
        message = f"{asked.name}, inside {inside.name} ({inside.span_id})," if inside else asked.name
        message += " asks something that is not in the record"
        now = asked.encoder.to_masked_json(asked.arguments)
        then = self.tape.nearest(asked.scope, asked.name)
        message += (
            f"; the next call of it there is {then.span_id}" if then else ", which has no further call of it"
        )
        message += f"\n{report.describe_difference(then.input if then else None, now)}"
        if self.tape.ran_at_once(asked.scope):
            message += "\n" + _ORDER
        with self._lock:
            self.report.divergence = self.report.divergence or message
            first = self.report.divergence
        return DivergenceError(
            message if first == message else f"{message}\nThe first divergence was:\n{first}"
        )

    def finish(self) -> None:
        """Note which calls that are answered from the record were not made."""
        self.report.not_asked = report.sum_items([call.name for call in self.list_unmade()])

    def list_unmade(self) -> list[Taped]:
        """Return the recorded calls that would have been answered and were not made."""
        if self.rules.mode == "live":
            return []
        due = [call for call in self.tape.list_untaken() if self.rules.answers(call)]
        return [call for call in due if not any(map(self.rules.answers, self.tape.around(call)))]
