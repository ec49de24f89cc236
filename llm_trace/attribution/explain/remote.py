"""From a question to a remote model to an `Attribution`, or to what it would cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.core.value import Budget, Metered
from llm_trace.attribution.explain.dry_run import choose_remote_method, plan_remote
from llm_trace.attribution.explain.record import Explained, Spent, build_record
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.registry import Scores
from llm_trace.attribution.methods.text_encoders import name_of
from llm_trace.attribution.models.problem import note_masked_input
from llm_trace.attribution.quality import Findings, check_completeness, has_significant_score
from llm_trace.attribution.question.targets import find_rows, get_contrast
from llm_trace.attribution.remote.answers import Answers
from llm_trace.attribution.remote.client import Caller, ModelRequest
from llm_trace.attribution.remote.event_loop import Bridge, get_bridge
from llm_trace.attribution.remote.ledger import Ledger
from llm_trace.attribution.remote.model import is_async
from llm_trace.attribution.remote.prompts import RemotePrompts, build_prompts
from llm_trace.attribution.remote.values import RESPONSE, RemoteValue, ScoreValue, TextValue
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.remote.model import Remote
    from llm_trace.record import Attribution, Settings

_ENOUGH = ("values", "answers")
"""What methods may need of a model for it to be asked from afar."""


def explain_remote(
    question: ParsedQuestion,
    remote: Remote,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return the attribution of a remote model's answer, or with `dry_run` its plan, asking nothing.

    Args:
        question: prompt and response.
        remote: the model.
        settings: what is asked.
        progress: called with (done, planned).
        cache: a file that keeps answers.
        dry_run: only plan.

    Raises:
        AttributionError: it cannot be computed; what was answered is in the cache, where one was named.
    """
    asked = build_prompts(question, settings.segments, settings.baseline)
    access = registry.get_info(settings.method).access
    if access not in _ENOUGH:
        raise AttributionError(
            f"method={settings.method!r} needs {access} of a model that can be opened; take 'smile'"
        )
    if remote.score is None and (settings.target is not None or settings.unit not in ("nats", "distance")):
        raise AttributionError(
            f"target={settings.target!r} and unit={settings.unit!r} need log-probabilities; of a text-only "
            f"model the whole answer "
            "is explained, as a distance"
        )
    if dry_run:
        return plan_remote(question, remote, settings, asked)
    with get_bridge() as running, _open_callers(remote, settings.budget, running, progress, cache) as callers:
        return _Explaining(question, remote, settings, asked, *callers).run()


@contextmanager
def _open_callers(
    remote: Remote,
    budget: Budget | None,
    bridge: Bridge,
    progress: ProgressCallback | None,
    cache: str | Path | None,
) -> Iterator[tuple[Caller, Caller | None]]:
    """Open what asks for answers and what asks for log-probabilities: one ledger and one file for both."""
    ledger = Ledger(budget or Budget(), remote.price, remote.max_output_tokens)
    identity = {"model": remote.label, "params": dict(remote.params)}
    answers = None if cache is None else Answers(cache, identity)
    shared: dict[str, Any] = {"answers": answers, "progress": progress}
    callers = [Caller(remote, remote.ask, ledger, bridge, **shared)]
    if (score := remote.score) is not None:
        callers.append(Caller(remote, get_score(score), ledger, bridge, **shared))
    try:
        yield callers[0], callers[1] if len(callers) > 1 else None
    finally:
        for caller in callers:
            caller.close()
        if answers is not None:
            answers.close()


def get_score(score: Any) -> Any:
    """Return the function that gives log-probabilities for a request's payload, a prompt and a response."""
    if is_async(score):

        async def ask_score(payload: Any) -> Any:
            return await score(*payload)

        return ask_score
    return lambda payload: score(*payload)


class _Explaining:
    """One question to one model: its answers, what they are worth, and what a method finds in them."""

    def __init__(
        self,
        question: ParsedQuestion,
        remote: Remote,
        settings: Settings,
        asked: RemotePrompts,
        asker: Caller,
        scorer: Caller | None,
    ) -> None:
        self.question, self.remote, self.settings, self.prompts = question, remote, settings, asked
        self.asker, self.scorer = asker, scorer
        self.target = "the whole response"
        self.tokens: tuple[str, ...] = ()
        self.notes: list[str] = list(asked.segmented.notes)
        self.found = Findings(settings.confidence)

    @cached_property
    def response(self) -> str:
        """The response that is explained; where none was given the model is asked when it is needed.

        Raises:
            AttributionError: the response is empty, or the model answers nothing.
        """
        if self.question.response:
            return self.question.response
        if self.question.response is not None:
            raise AttributionError("there is no answer to explain: response='' is empty")
        answer = self.asker.ask([ModelRequest(self.prompts.whole, RESPONSE)])[0]
        if answer is None or not answer.text:
            why = (
                "it refused" if answer is not None and answer.refused else self.asker.stopped or "it is empty"
            )
            raise AttributionError(f"there is no answer to explain: {why}")
        self.notes.append("no response was given: the model's own answer is explained")
        return answer.text

    def run(self) -> Attribution:
        """Return the attribution."""
        method = choose_remote_method(self.settings, self.remote)
        if method != self.settings.method:
            self.notes.append(f"auto: {method} (access to answers alone)")
        value = self._value()
        metered = Metered(value)
        scores = registry.find_method(method)(
            metered, self.prompts.n, confidence=self.settings.confidence, seed=self.settings.seed
        )
        self._examine(value, metered, scores)
        return self._attribution(scores.method or method, value, scores)

    def _value(self) -> RemoteValue:
        if self.scorer is None:
            known = self.question.response is not None
            return TextValue(self.asker, self.prompts, lambda: self.response, known=known)
        value = ScoreValue(self.scorer, self.prompts, self.response, unit=self.settings.unit)
        if get_contrast(self.settings.target) is not None or self.settings.unit not in ("nats", "distance"):
            raise AttributionError(
                f"target={self.settings.target!r} with unit={self.settings.unit!r} needs a model that can be "
                f"opened"
            )
        rows, self.target = find_rows(self.settings.target, self.response, value.spans)
        value.explain(rows)
        self.tokens = tuple(value.whole.tokens[row][0] for row in rows)
        return value

    def _examine(self, value: RemoteValue, metered: Metered, scores: Scores) -> None:
        """Note every reason for mistrust."""
        note_masked_input(self.question, self.found)
        for verdict, warning in scores.doubts:
            self.found.suspect(verdict, warning)
        if scores.p_values is not None:
            has_significant_score(scores.p_values, self.found)
        models = self.asker.models | (self.scorer.models if self.scorer else set())
        if len(models) > 1:
            self.found.suspect("model_changed", f"{len(models)} models answered: {', '.join(sorted(models))}")
        if value.unit == "distance" and scores.p_values is None and not scores.doubts:
            self.found.suspect(
                "noise_untested",
                "these scores are not tested against the model's own variation: method='smile' does that",
            )
        if value.unit == "nats" and scores.full is not None and not value.vanishes:
            check_completeness(metered, scores.values, scores.full, self.found)

    def _attribution(self, method: str, value: RemoteValue, scores: Scores) -> Attribution:
        segmented = self.prompts.segmented
        explained = Explained(
            self.question.span_id,
            str(segmented.text),
            segmented.segments,
            self._get_response(),
            self.target,
            self.tokens,
            value.unit,
            self.prompts.baseline,
            self.remote.label,
        )
        spent = Spent(value.passes, value.tokens, value.caller.seconds)
        notes = (*self.notes, *self._describe_answers(value))
        return build_record(
            explained,
            scores,
            self.found,
            spent,
            self.settings,
            method=method,
            notes=notes,
            figures={"cost": self._cost()},
        )

    def _get_response(self) -> str:
        """Return the response, empty where the model was never asked for it."""
        return self.question.response or self.__dict__.get("response", "")

    def _callers(self) -> list[Caller]:
        return [self.asker] if self.scorer is None else [self.asker, self.scorer]

    def _cost(self) -> dict[str, Any]:
        spent = self.asker.ledger.spent
        reused = sum(caller.reused for caller in self._callers())
        usd = None if self.remote.price is None else spent.usd
        return {"calls": spent.calls, "tokens": spent.tokens, "usd": usd, "reused": reused}

    def _describe_answers(self, value: RemoteValue) -> list[str]:
        """Return how answers were compared, and what became of those that were none."""
        compare, refused = self.remote.compare, sum(caller.refused for caller in self._callers())
        notes = []
        if isinstance(value, TextValue):
            notes.append(
                f"answers compared by {compare.distance} over {compare.ground} of {name_of(compare.encoder)}"
            )
            notes += [f"{value.empty} answers were empty"] if value.empty else []
        return notes + ([f"{refused} prompts were refused: they count as empty answers"] if refused else [])
