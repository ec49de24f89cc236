"""Plays a tape up to a call, changes that one, and lets run what comes after it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_trace.capture.spec import SERVED
from llm_trace.errors import ReplayError
from llm_trace.replays.answers import PlayedAnswer, Recorded, play_answer
from llm_trace.replays.branch import Branch, LiveCall
from llm_trace.replays.player import PendingCall, Player, Rules, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.capture.protocols import Template
    from llm_trace.capture.spec import FunctionSpec
    from llm_trace.capture.values import ValueEncoder
    from llm_trace.replays.alteration import Alteration
    from llm_trace.replays.tape import Tape, Taped


class ForkPlayer(Player):
    """Plays a fork's prefix; its branch says where it ends and what is changed there.

    Args:
        tape: what was recorded.
        rules: what is answered from it.
        encoder: masks names as the record does.
        branch: of this very run of the fork.
    """

    def __init__(self, tape: Tape, rules: Rules, encoder: ValueEncoder, branch: Branch) -> None:
        super().__init__(tape, rules, encoder)
        self.branch = branch

    def prompt(self, prompt: Template) -> Template:
        """Return the prompt that is rendered in this one's place: only where the record was left."""
        return super().prompt(prompt) if self.branch.passed else prompt

    def list_unmade(self) -> list[Taped]:
        """Return the calls before the fork that would have been answered and were not made."""
        return [call for call in super().list_unmade() if call.span_id in self.branch.before]

    def _choose(self, asked: PendingCall, taped: Taped | None) -> Step:
        place = self.branch.locate(taped)
        if place == "live" and taped is None and not asked.stray:
            taped = self.tape.take_next(asked.scope, asked.name)
            place = self.branch.locate(taped)
        if place == "change" and taped is not None:
            return self._alter(asked, taped)
        if place == "live":
            return self._leave(asked, taped)
        if taped is not None and taped.span_id in self.branch.around:
            return self._run_live(asked, taped)
        return super()._choose(asked, taped)

    def _alter(self, asked: PendingCall, taped: Taped) -> Step:
        """Give something else in a call's place, or let it run with something else asked."""
        alteration, run = self.branch.alterations[taped.span_id], None
        try:
            if alteration.answers:
                run = self._build_altered(asked.spec, alteration, taped)
            else:
                asked = _edit(asked, taped, alteration)
        except ReplayError as exc:
            self.report.not_replayable.append(str(exc))
            raise
        live = self.branch.note(self._build_live(asked, taped, altered=True))
        if run is None:
            return self._run_edited(asked, taped, live)
        return Step(taped, taped.span_id, run=run, source="altered", live=live)

    def _build_altered(self, spec: FunctionSpec, alteration: Alteration, taped: Taped) -> Callable[..., Any]:
        """Return what gives an altered answer in the place of the function; objects are given as they are."""
        if alteration.is_object:
            return play_answer(PlayedAnswer(Recorded(None, alteration.value)), spec.shape)
        return self._build_run(spec, alteration.change_answer(taped))

    def _leave(self, asked: PendingCall, taped: Taped | None) -> Step:
        """Let a call run after the record was left: tools only where that was allowed."""
        spec, branch = asked.spec, self.branch
        if spec.kind not in SERVED or spec.function is None:
            return self._run_live(asked, taped)
        edits = list(branch.lasting()) if spec.kind == "llm" else []
        for edit in edits:
            asked = _edit(asked, self.tape.calls[edit.span_id], edit)
        live = branch.note(self._build_live(asked, taped))
        if branch.allows(spec.name, spec.kind) or spec.name in self.rules.overrides.code:
            return self._run_edited(asked, taped, live) if edits else self._let_run(asked, taped, live)
        if spec.name not in branch.serve:
            raise self._refuse_tool(asked)
        return replace(self._serve(asked, self.tape.find(asked.name, asked.arguments)), live=live)

    def _let_run(self, asked: PendingCall, taped: Taped | None, live: LiveCall) -> Step:
        return replace(self._run_live(asked, taped), live=live)

    def _run_edited(self, asked: PendingCall, taped: Taped | None, live: LiveCall) -> Step:
        """Let the function run with other arguments than it was called with."""
        step = self._let_run(asked, taped, live)
        if step.run is not None:  # an override's, with the arguments as they are now
            return step
        function, args, kwargs = asked.spec.function, asked.args, asked.kwargs
        run: Any = getattr(function, "__llm_trace__", function)
        return replace(step, run=lambda *_, **__: run(*args, **kwargs), arguments=(args, kwargs))

    def _build_live(self, asked: PendingCall, taped: Taped | None, *, altered: bool = False) -> LiveCall:
        arguments = asked.encoder.to_masked_json(asked.arguments)
        return LiveCall(
            asked.name,
            asked.spec.kind,
            arguments,
            self.tape.key(asked.arguments),
            taped,
            asked.scope,
            altered,
        )

    def _refuse_tool(self, asked: PendingCall) -> ReplayError:
        """Return what is said of a tool that was not to run."""
        message = (
            f"{asked.name} was called after the fork and not run, for it may have effects: name it in live "
            f"(live=[{asked.name!r}]), or in serve, to answer it from the record where it is asked the same"
        )
        with self._lock:
            self.report.not_replayable.append(message)
        return ReplayError(message)


def _edit(asked: PendingCall, taped: Taped, alteration: Alteration) -> PendingCall:
    """Return a call with something else asked."""
    if (function := asked.spec.function) is None:
        raise ReplayError(f"{asked.name} is a block of code: what it was asked cannot be changed")
    args, kwargs = alteration.change_input(taped, function, asked.args, asked.kwargs)
    return replace(asked, args=args, kwargs=kwargs, arguments=asked.spec.bind(*args, **kwargs))
