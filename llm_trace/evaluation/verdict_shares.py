"""By attribution: which part of what a judge is shown its verdicts rest on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from llm_trace.attribution.api import attribute
from llm_trace.attribution_settings import Budget
from llm_trace.call_parts import Record
from llm_trace.capture.prompts import Rendered
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.calling import run_outside_loops
from llm_trace.evaluation.judge import Judge, PairJudge
from llm_trace.record import Attribution
from llm_trace.statistics.intervals import bound_mean

ANSWERS = ("answer", "first", "second")
"""Parts that are answers."""
_GRADE = re.compile(r'"(?:grade|better)":\s*(?:"[^"]*"|-?\d+)')


class VerdictShares(Record):
    """Shares of the weight (absolute scores) that a judge's verdicts rest on, means over answers."""

    parts: dict[str, float]
    """By variable of the template, such as `rubric`, `question` and `answer`, or `first` and `second`; they
    add up to 1.
    """
    answer: float
    """Share of the answers."""
    low: float | None
    """At the confidence; `None` of one answer alone."""
    high: float | None
    n: int
    """Answers whose verdict has evidence."""
    without_evidence: int
    """Answers that were left out, since nothing moved their verdict."""
    verdicts: dict[str, int]
    """How far to trust the attributions: how many have which verdict."""

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in self.parts.items())
        bounds = "" if self.low is None or self.high is None else f" ({self.low:.0%} to {self.high:.0%})"
        return (
            f"{self.answer:.0%}{bounds} of the weight of {self.n:,} verdicts lies on what is judged: {parts}."
        )


def attribute_verdicts(
    judge: Judge | PairJudge,
    answers: Iterable[Sequence[Any]],
    *,
    model: Any = None,
    tokenizer: Any = None,
    budget: int | Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> VerdictShares:
    """Return on which parts of its prompt a judge's verdicts rest.

    Args:
        judge: a judge or a judge of pairs.
        answers: `(output, instance)` or, of pairs, `(first, second, instance)`.
        model: as of `attribute`: an open model, whose log-probability of the grade is explained, or a
            function; by default the judge's own, whose answers to prompts without a part are compared.
        tokenizer: as of `attribute`.
        budget: of each attribution.
        confidence: of the bounds.
        seed: of methods that draw.

    Raises:
        ConfigurationError: there are no answers, or nothing moved any verdict.
        AttributionError: a verdict cannot be attributed.
    """
    attributions = []
    for shown in answers:
        prompt: Rendered = judge.render(*shown)
        response = run_outside_loops(partial(judge.model.ask, prompt, 0))
        attributions.append(_attribute(judge, prompt, response, model, tokenizer, budget, seed))
    weights = [np.abs(each.values) for each in attributions]
    shares = [each / each.sum() for each in weights if each.sum() > 0]
    if not shares:
        raise ConfigurationError(
            f"nothing moved the verdicts on {len(attributions)} answers: give others, or another model="
        )
    table = np.array(shares, dtype=np.float64)  # (answers, parts)
    names = [str(segment.name) for segment in attributions[0].segments]
    judged = table[:, [name in ANSWERS for name in names]].sum(axis=1)
    bounds = bound_mean(judged, confidence=confidence, largest=1.0) if len(judged) > 1 else None
    verdicts = [each.verdict for each in attributions]
    return VerdictShares(
        parts={name: float(share) for name, share in zip(names, table.mean(axis=0), strict=True)},
        answer=float(judged.mean()), low=max(0.0, bounds.low) if bounds else None,
        high=min(1.0, bounds.high) if bounds else None, n=len(shares),
        without_evidence=len(weights) - len(shares),
        verdicts={verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
    )  # fmt: skip


def _attribute(
    judge: Judge | PairJudge, prompt: Rendered, response: str, model: Any, tokenizer: Any,
    budget: int | Budget | None, seed: int,
) -> Attribution:  # fmt: skip
    spans = [(start, end, name) for name, (start, end) in prompt.spans.items() if end > start]
    is_open = isinstance(model, str) or hasattr(model, "generate")
    target = _GRADE if is_open and _GRADE.search(response) else None
    return attribute(
        str(prompt), response, model=judge.model.model if model is None else model, tokenizer=tokenizer,
        segments=spans, target=target, budget=budget, seed=seed,
    )  # fmt: skip


__all__ = ["VerdictShares", "attribute_verdicts"]
