"""Judges: a model that grades answers by a rubric, or says which of two is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from llm_trace.capture.prompts import Prompt, Rendered
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.grades import Grade
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.judge_model import JudgeModel
from llm_trace.evaluation.judge_prompts import (
    GRADE_TEMPLATE,
    PAIR_TEMPLATE,
    JudgeVerdict,
    check_scale,
    check_template,
    find_markers,
    neutralise_delimiters,
    parse_better,
    parse_grade,
    write_question,
    write_scale,
    write_text,
)


class BaseJudge(ABC):
    """What judges share: a model that is asked by a rubric, and a grade of its answers.

    Args:
        fields: which the template must have.
    """

    def __init__(
        self, model: Callable[[str], Any], rubric: str, template: str, fields: Collection[str], *, name: str,
        repeats: int, cache: str | Path | None,
    ) -> None:  # fmt: skip
        check_template(template, fields, ("expected",))
        self.name, self.rubric, self.prompt = name, rubric, Prompt(name, template)
        self.repeats, self.model = _check_repeats(repeats), JudgeModel(model, name, cache)
        self._markers = find_markers(template)

    def __call__(self, output: Any, instance: Instance) -> Grade | Coroutine[Any, Any, Grade]:
        """Return the grade, to be awaited where the model is async.

        Raises:
            JudgeError: an answer of the model cannot be read.
        """
        return self.model.run(self._grade(output, instance))

    @abstractmethod
    async def _grade(self, output: Any, instance: Instance) -> Grade:
        """Return the grade of an output."""

    def _render(self, instance: Instance, constants: Mapping[str, str], **answers: Any) -> Rendered:
        """Return the prompt, in which no question and no answer ends the part that it stands in."""
        texts = {name: write_text(value) for name, value in answers.items()}
        texts |= {"question": write_question(instance), "expected": write_text(instance.expected)}
        disarmed = {name: self._markers.sub(neutralise_delimiters, text) for name, text in texts.items()}
        return self.prompt.format(rubric=self.rubric, **constants, **disarmed)

    async def _ask(self, prompt: Rendered) -> list[str]:
        return [await self.model.ask(prompt, sample) for sample in range(self.repeats)]


class Judge(BaseJudge):
    """A scorer: how good is the output by a rubric, from 0 (the worst grade) to 1 (the best)?

    Args:
        model: takes a prompt and returns a text; sync or async. Its calls are recorded, of kind `evaluator`.
        rubric: what makes an answer good or bad.
        scale: the grades, worst first: whole numbers or words.
        template: with `{rubric}`, `{scale}`, `{question}`, `{answer}` and, where wanted, `{expected}`.
        name: of the score.
        repeats: how often each answer is judged; the mean counts.
        cache: a file, or a name of one in the user's cache folder, so that no question is paid for twice.

    Raises:
        ConfigurationError: template, scale or model cannot work.
    """

    def __init__(
        self, model: Callable[[str], Any], rubric: str, *, scale: Sequence[int | str] = (1, 2, 3, 4, 5),
        template: str = GRADE_TEMPLATE, name: str = "judge", repeats: int = 1,
        cache: str | Path | None = None,
    ) -> None:  # fmt: skip
        fields = ("rubric", "scale", "question", "answer")
        super().__init__(model, rubric, template, fields, name=name, repeats=repeats, cache=cache)
        self.scale = check_scale(scale)

    def render(self, output: Any, instance: Instance) -> Rendered:
        """Return what the model is asked."""
        return self._render(instance, {"scale": write_scale(self.scale)}, answer=output)

    async def _grade(self, output: Any, instance: Instance) -> Grade:
        texts = await self._ask(self.render(output, instance))
        return _build_grade([parse_grade(text, self.scale) for text in texts])


class PairJudge(BaseJudge):
    """A scorer: is the output better than another answer (1), worse (0), or neither (0.5)?

    Each pair is asked in both orders, and the mean counts, so that a verdict which turns with the position is
    a tie.

    Args:
        model: as of `Judge`.
        rubric: what makes an answer better.
        against: returns the other answer for an instance; by default what is expected.
        template: with `{rubric}`, `{question}`, `{first}`, `{second}` and, where wanted, `{expected}`.
        name, repeats, cache: as of `Judge`.

    Raises:
        ConfigurationError: template or model cannot work.
    """

    def __init__(
        self, model: Callable[[str], Any], rubric: str, *, against: Callable[[Instance], Any] | None = None,
        template: str = PAIR_TEMPLATE, name: str = "pair_judge", repeats: int = 1,
        cache: str | Path | None = None,
    ) -> None:  # fmt: skip
        fields = ("rubric", "question", "first", "second")
        super().__init__(model, rubric, template, fields, name=name, repeats=repeats, cache=cache)
        self.against = against

    def prefer(self, first: Any, second: Any, instance: Instance) -> float | Coroutine[Any, Any, float]:
        """Return which of two answers is better in this order alone: 1 the first, 0 the second.

        To be awaited where the model is async.
        """
        return self.model.run(self._prefer(first, second, instance))

    def render(self, first: Any, second: Any, instance: Instance) -> Rendered:
        """Return what the model is asked."""
        return self._render(instance, {}, first=first, second=second)

    async def _prefer(self, first: Any, second: Any, instance: Instance) -> float:
        return fmean(verdict.value for verdict in await self._compare(first, second, instance))

    async def _compare(self, first: Any, second: Any, instance: Instance) -> list[JudgeVerdict]:
        return [parse_better(text) for text in await self._ask(self.render(first, second, instance))]

    async def _grade(self, output: Any, instance: Instance) -> Grade:
        other = instance.expected if self.against is None else self.against(instance)
        forth = await self._compare(output, other, instance)
        back = [
            JudgeVerdict(1 - verdict.value, f"swapped: {verdict.words}")
            for verdict in await self._compare(other, output, instance)
        ]
        return _build_grade([*forth, *back])


def _check_repeats(repeats: int) -> int:
    if repeats < 1:
        raise ConfigurationError(f"repeats={repeats!r} must be at least 1")
    return repeats


def _build_grade(verdicts: Sequence[JudgeVerdict]) -> Grade:
    words = "; ".join(verdict.words for verdict in verdicts)
    return Grade(value=fmean(verdict.value for verdict in verdicts), comment=words, source="model")


__all__ = ["Judge", "PairJudge"]
