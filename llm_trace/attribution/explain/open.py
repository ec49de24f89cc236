"""From a question to an open model to an `Attribution`, or to what it would cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution import quality as checks
from llm_trace.attribution.core.value import Capped, Metered, sum_targets
from llm_trace.attribution.explain.dry_run import plan_attribution
from llm_trace.attribution.explain.record import Explained, Spent, build_record
from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.cache import open_cache
from llm_trace.attribution.models.problem import build_problem, note_suspicions
from llm_trace.attribution.models.turns import read_own_clock
from llm_trace.attribution.question.renders import choose_baseline
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.methods.registry import Scores
    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.record import Attribution, Settings

OpenedModel = tuple[Any, Any, str]
"""Model, tokenizer and name, as `resolve_model` returns them."""


def plan_open(
    question: ParsedQuestion, opened: OpenedModel, settings: Settings, *, cache: str | Path | None = None
) -> Plan:
    """Return what an attribution would cost."""
    work = pose_problem(question, opened, settings, cache)
    value = work.value(settings.baseline)
    return plan_attribution(
        value,
        work.n,
        settings.method,
        work.target,
        settings.budget,
        confidence=settings.confidence,
        seed=settings.seed,
    )


def explain_open(
    question: ParsedQuestion,
    opened: OpenedModel,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    quality: bool | Sequence[str] = False,
    cache: str | Path | None = None,
) -> Attribution:
    """Return the attribution of a response by a model that can be opened.

    Raises:
        AttributionError: it cannot be computed.
    """
    work = pose_problem(question, opened, settings, cache)
    source = work.value(settings.baseline)
    value = Metered(source, budget=settings.budget, progress=progress, clock=read_own_clock)
    left = value.remaining()
    spare = value if not quality or left is None else Capped(value, 3 * left // 4)
    scores = registry.find_method(settings.method)(
        spare, work.n, confidence=settings.confidence, seed=settings.seed
    )
    method = scores.method or settings.method
    scores, findings, extra = _examine_scores(question, work, value, scores, method, settings)
    if quality:
        checks.measure_now(work, value, scores, method, findings, quality, settings)
    explained = describe_problem(question, work, source.render.baseline)
    spent = Spent(value.passes + extra[0], value.tokens + extra[1], value.seconds)
    return build_record(explained, scores, findings, spent, settings, method=method, notes=work.notes)


def pose_problem(
    question: ParsedQuestion, opened: OpenedModel, settings: Settings, cache: str | Path | None
) -> Problem:
    """Return the question with everything worked out that does not depend on a baseline."""
    segments = "word" if settings.segments == "hierarchy" else settings.segments
    return build_problem(
        question,
        *opened,
        segments=segments,
        target=settings.target,
        unit=settings.unit,
        cache=open_cache(cache, opened[0]),
    )


def describe_problem(question: ParsedQuestion, work: Problem, baseline: str) -> Explained:
    """Return what the record says of a problem."""
    return Explained(
        question.span_id,
        str(work.segmented.text),
        work.segmented.segments,
        work.text,
        work.target,
        work.target_tokens,
        work.goal.unit,
        baseline,
        work.name,
    )


def _examine_scores(
    question: ParsedQuestion,
    work: Problem,
    value: Metered,
    scores: Scores,
    method: str,
    settings: Settings,
) -> tuple[Scores, checks.Findings, tuple[int, int]]:
    """Return the scores with their full value, the findings, and what other baselines cost."""
    findings = checks.Findings(settings.confidence)
    full = (
        scores.full
        if scores.full is not None
        else float(sum_targets(value(np.ones((1, work.n), dtype=bool)))[0])
    )
    note_suspicions(question, work, findings)
    for verdict, warning in scores.doubts:
        findings.suspect(verdict, warning)
    ours = scores.unit is None  # the unit of the value function
    if (ours and work.goal.unit != "probability") or scores.low is not None or scores.p_values is not None:
        checks.check_evidence(scores.values, findings, scores.low, scores.high, scores.p_values)
    if scores.empty is not None:
        findings.empty, findings.gap = scores.empty, full - scores.empty - float(scores.values.sum())
    elif ours and scores.baseline is None:
        checks.check_completeness(value, scores.values, full, findings)
    if work.goal.unit == "nats" and -1 not in work.goal.signs:
        checks.check_unlikely(full, len(work.rows), count_vocabulary(work.model), findings)
    if method == "occlusion":
        checks.check_redundancy(value, scores.values, full, findings)
        checks.check_hidden(scores.values, (scores.faithfulness or {}).get("second", {}), findings)
    extra = (0, 0)
    if settings.baseline == "auto" and work.n > 1 and ours:
        extra = _check_second_baseline(work, value, scores.values, findings)
    return replace(scores, full=full), findings, extra


def count_vocabulary(model: Any) -> int:
    """Return how many tokens a model knows; 0 where it does not say."""
    config = model.config.get_text_config(decoder=True)
    return int(getattr(config, "vocab_size", 0) or 0)


def _check_second_baseline(
    work: Problem, value: Metered, scores: NDArray[np.float64], findings: checks.Findings
) -> tuple[int, int]:
    """Check the strongest segments with the baseline that `auto` did not take, as the budget allows."""
    left = value.remaining()
    if left is not None and left < 1 + checks.CHECKED:
        return 0, 0
    other = "mask" if choose_baseline(work.segmented.segments) == "delete" else "delete"
    try:
        source = work.value(other)
    except AttributionError as exc:
        findings.warnings.append(f"the baseline was not checked against {other!r}: {exc}")
        return 0, 0

    def without(group: list[int]) -> NDArray[np.float64]:
        masks = np.ones((1 + len(group), work.n), dtype=bool)
        masks[np.arange(1, 1 + len(group)), group] = False
        values = sum_targets(source(masks))
        return np.asarray(values[0] - values[1:])

    checks.check_baseline_dependence(scores, without, source.render.baseline, findings)
    return source.passes, source.tokens
