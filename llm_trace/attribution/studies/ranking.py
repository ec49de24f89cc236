"""Which method gives the most held-out fidelity per forward token, on one's own model and prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Budget, Metered, sum_targets
from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.quality.fidelity import draw_held_out
from llm_trace.attribution.quality.study import Study
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import rank_correlate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.question.segments import SegmentSpec

MASKS = ("half", "near")


@dataclass
class Ranked:
    """What a method reached."""

    method: str
    access: str
    fidelity: float | None = None
    """Mean Spearman correlation of predicted and true values over all questions' held-out masks."""
    by_masks: dict[str, float] = field(default_factory=dict)
    """The same for each distribution: `half` keeps a segment with probability 0.5, `near` with 0.9."""
    tokens: float = 0.0
    """Mean number of tokens that went through the model for one attribution."""
    passes: float = 0.0
    seconds: float = 0.0
    questions: int = 0
    """How many were answered."""
    failed: str | None = None
    """Why not all of them were."""

    @property
    def per_1000_tokens(self) -> float | None:
        """Fidelity for a thousand forward tokens; `None` where there is no fidelity."""
        return None if self.fidelity is None else self.fidelity / max(self.tokens, 1.0) * 1000


def rank(
    questions: Sequence[tuple[Any, str | None]],
    *,
    model: Any,
    tokenizer: Any = None,
    names: Sequence[str] = (),
    segments: SegmentSpec = "word",
    budget: int | None = None,
    count: int = 48,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> list[Ranked]:
    """Return the methods, best fidelity per forward token first, those that failed last.

    Args:
        questions: (prompt, response or `None`) pairs; a prompt is whatever `attribute` takes.
        model: as for `attribute`, and `tokenizer`.
        names: of methods; all that are installed unless given.
        segments: as for `attribute`.
        budget: most evaluations of a method for one question.
        count: held-out masks of each distribution, the same for all methods and drawn apart from what they
            draw.
        seed: of methods and masks.
        progress: told each method's name.
    """
    loaded, tokens, name = resolve_model(model, tokenizer)
    exams = []
    for prompt, response in questions:
        work = build_problem(
            parse_question(prompt, response), loaded, tokens, name, segments=segments, target=None
        )
        exams.append(_make_exam(work, count, seed))
    ranked = []
    for method in names or registry.list_methods():
        if progress is not None:
            progress(method)
        ranked.append(_take_exams(method, exams, budget, seed))
    return sorted(ranked, key=lambda r: (r.per_1000_tokens is None, -(r.per_1000_tokens or 0.0)))


@dataclass(frozen=True)
class _Exam:
    """One question with the truth about its held-out masks."""

    work: Problem
    masks: dict[str, NDArray[np.bool_]]
    values: dict[str, NDArray[np.float64]]


def _make_exam(work: Problem, count: int, seed: int) -> _Exam:
    value = Metered(work.value("auto"))
    study = Study(value, np.zeros(work.n), 0.0, seed=seed + 1000, count=count)
    masks = {kind: draw_held_out(study, kind)[0] for kind in MASKS}
    return _Exam(work, masks, {kind: sum_targets(value(m)) for kind, m in masks.items() if len(m)})


def _take_exams(method: str, exams: Sequence[_Exam], budget: int | None, seed: int) -> Ranked:
    """Return what a method reaches in all exams."""
    try:
        result = Ranked(method, registry.get_info(method).access)
    except AttributionError as exc:
        return Ranked(method, "?", failed=str(exc))
    marks: dict[str, list[float]] = {kind: [] for kind in MASKS}
    for exam in exams:
        value = Metered(exam.work.value("auto"), budget=Budget(evaluations=budget))
        try:
            scores = registry.find_method(method)(value, exam.work.n, confidence=0.95, seed=seed)
        except (AttributionError, RuntimeError, NotImplementedError) as exc:
            result.failed = str(exc)
            continue
        result.questions += 1
        result.tokens += value.tokens
        result.passes += value.passes
        result.seconds += value.seconds
        for kind, values in exam.values.items():
            marks[kind].append(rank_correlate(values, exam.masks[kind] @ scores.values))
    if result.questions:
        result.tokens /= result.questions
        result.passes /= result.questions
        result.seconds /= result.questions
        result.by_masks = {kind: float(np.mean(figures)) for kind, figures in marks.items() if figures}
        result.fidelity = float(np.mean(list(result.by_masks.values()))) if result.by_masks else None
    return result
