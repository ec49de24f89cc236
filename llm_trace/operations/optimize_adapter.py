"""Prompts tried on examples, as gepa asks for it: grades, and feedback in words to reflect on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.errors import AttributionError
from llm_trace.operations.diet_trial import read_grade

if TYPE_CHECKING:
    from llm_trace.attribution.studies.answering import Answered, Ask
    from llm_trace.operations.optimize_examples import Trying

COMPONENT = "template"
"""The name of what gepa changes."""
ExplainAnswer = Callable[[Any, str], str | None]
"""From a prompt and its answer to what an attribution says in words."""


@dataclass(frozen=True)
class ExampleOutcome:
    """What became of one example."""

    example: Trying
    prompt: Any
    answer: str
    grade: float
    fault: str | None = None


@dataclass
class PromptTrial:
    """Asks examples with other templates, each prompt once; gepa's adapter.

    Args:
        ask: asks the model.
        score: grades an answer to a call or example from 0 to 1.
        explain: says what an answer rests on, where the model can be opened.
        batch: gepa's type of a batch of outcomes.
    """

    ask: Ask
    score: Callable[[str, Any], float]
    explain: ExplainAnswer
    batch: Callable[..., Any]
    asked: int = 0
    tried: list[str] = field(default_factory=list)
    """Templates, in order; the first is the one at hand."""
    propose_new_texts: None = None
    """Left to gepa's reflection."""
    _answers: dict[str, Answered] = field(default_factory=dict, repr=False)

    def evaluate(
        self, batch: Sequence[Trying], candidate: Mapping[str, str], capture_traces: bool = False
    ) -> Any:
        """Return the outcomes as gepa takes them."""
        outcomes = self.try_template(batch, candidate[COMPONENT])
        grades = [outcome.grade for outcome in outcomes]
        return self.batch(
            outputs=[outcome.answer for outcome in outcomes],
            scores=grades,
            trajectories=outcomes if capture_traces else None,
        )

    def try_template(self, examples: Sequence[Trying], template: str) -> list[ExampleOutcome]:
        """Return the outcome of each example; a template that cannot be used fails with the reason.

        Raises:
            AttributionError: the model fails on the first template, the one at hand.
        """
        if template not in self.tried:
            self.tried.append(template)
        prompts: list[Any] = []
        for example in examples:
            try:
                prompts.append(example.render(template))
            except ValueError as exc:
                fault = f"the template cannot be used: {exc}"
                return [ExampleOutcome(each, None, "", 0.0, fault) for each in examples]
        new = {repr(prompt): prompt for prompt in prompts if repr(prompt) not in self._answers}
        if new:
            self.asked += len(new)
            answers = self.ask(list(new.values()), lenient=template != self.tried[0])
            self._answers.update(zip(new, answers, strict=True))
        return [
            self._grade(example, prompt, self._answers[repr(prompt)])
            for example, prompt in zip(examples, prompts, strict=True)
        ]

    def _grade(self, example: Trying, prompt: Any, answer: Answered) -> ExampleOutcome:
        if isinstance(answer, Exception):
            return ExampleOutcome(example, prompt, "", 0.0, f"the model failed: {answer}")
        grade = read_grade(self.score(answer, example.subject), example.id)
        return ExampleOutcome(example, prompt, answer, grade)

    def make_reflective_dataset(
        self,
        candidate: Mapping[str, str],  # noqa: ARG002  gepa's signature
        eval_batch: Any,
        components_to_update: Sequence[str],
    ) -> dict[str, list[dict[str, Any]]]:
        """Return what gepa reflects on: of each outcome input, answer, and feedback in words."""
        records = [
            {
                "Inputs": dict(outcome.example.values),
                "Generated Outputs": outcome.answer,
                "Feedback": " ".join(self._describe(outcome)),
            }
            for outcome in eval_batch.trajectories
        ]
        return dict.fromkeys(components_to_update, records)

    def _describe(self, outcome: ExampleOutcome) -> list[str]:
        sentences = [f"Score: {outcome.grade:g} of 1."]
        if outcome.fault is not None:
            return [*sentences, f"{outcome.fault[:1].upper()}{outcome.fault[1:]}."]
        sentences += [f"{each}." for each in outcome.example.known]
        if outcome.grade < 1:
            try:
                why = self.explain(outcome.prompt, outcome.answer)
            except AttributionError:
                why = None
            sentences += [f"Why this answer, by attribution: {why}"] if why else []
        return sentences
