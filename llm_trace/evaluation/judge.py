"""Judges: a model that grades answers by a rubric, or says which of two is better."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
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
    parse_better,
    parse_grade,
    write_question,
    write_scale,
    write_text,
)


class Judge:
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
        self,
        model: Callable[[str], Any],
        rubric: str,
        *,
        scale: Sequence[int | str] = (1, 2, 3, 4, 5),
        template: str = GRADE_TEMPLATE,
        name: str = "judge",
        repeats: int = 1,
        cache: str | Path | None = None,
    ) -> None:
        check_template(template, ("rubric", "scale", "question", "answer"), ("expected",))
        self.name, self.rubric, self.scale = name, rubric, check_scale(scale)
        self.repeats, self.prompt = _check_repeats(repeats), Prompt(name, template)
        self.model = JudgeModel(model, name, cache)

    def __call__(self, output: Any, instance: Instance) -> Grade | Coroutine[Any, Any, Grade]:
        """Return the grade, to be awaited where the model is async.

        Raises:
            JudgeError: an answer of the model cannot be read.
        """
        return self.model.run(self._grade(output, instance))

    def render(self, output: Any, instance: Instance) -> Rendered:
        """Return what the model is asked."""
        return self.prompt.format(
            rubric=self.rubric, scale=write_scale(self.scale), question=write_question(instance),
            answer=write_text(output), expected=write_text(instance.expected),
        )  # fmt: skip

    async def _grade(self, output: Any, instance: Instance) -> Grade:
        prompt = self.render(output, instance)
        verdicts = [
            parse_grade(await self.model.ask(prompt, sample), self.scale) for sample in range(self.repeats)
        ]
        return _build_grade(verdicts)


class PairJudge:
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
        self,
        model: Callable[[str], Any],
        rubric: str,
        *,
        against: Callable[[Instance], Any] | None = None,
        template: str = PAIR_TEMPLATE,
        name: str = "pair_judge",
        repeats: int = 1,
        cache: str | Path | None = None,
    ) -> None:
        check_template(template, ("rubric", "question", "first", "second"), ("expected",))
        self.name, self.rubric, self.against = name, rubric, against
        self.repeats, self.prompt = _check_repeats(repeats), Prompt(name, template)
        self.model = JudgeModel(model, name, cache)

    def __call__(self, output: Any, instance: Instance) -> Grade | Coroutine[Any, Any, Grade]:
        """Return the grade, to be awaited where the model is async.

        Raises:
            JudgeError: an answer of the model cannot be read.
        """
        return self.model.run(self._grade(output, instance))

    def prefer(self, first: Any, second: Any, instance: Instance) -> float | Coroutine[Any, Any, float]:
        """Return which of two answers is better in this order alone: 1 the first, 0 the second.

        To be awaited where the model is async.
        """
        return self.model.run(self._prefer(first, second, instance))

    def render(self, first: Any, second: Any, instance: Instance) -> Rendered:
        """Return what the model is asked."""
        return self.prompt.format(
            rubric=self.rubric, question=write_question(instance), first=write_text(first),
            second=write_text(second), expected=write_text(instance.expected),
        )  # fmt: skip

    async def _prefer(self, first: Any, second: Any, instance: Instance) -> float:
        return fmean(verdict.value for verdict in await self._compare(first, second, instance))

    async def _compare(self, first: Any, second: Any, instance: Instance) -> list[JudgeVerdict]:
        prompt = self.render(first, second, instance)
        return [parse_better(await self.model.ask(prompt, sample)) for sample in range(self.repeats)]

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
