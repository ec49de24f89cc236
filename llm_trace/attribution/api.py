"""`attribute`: which parts of a prompt made the model answer as it did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution import methods, quality
from llm_trace.attribution.models import resolve
from llm_trace.attribution.problem import Asked, Problem, asked, problem
from llm_trace.attribution.renders import automatic
from llm_trace.attribution.value import Budget, Metered, Progress, totals
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.methods import Scores
    from llm_trace.attribution.segments import Spec
    from llm_trace.attribution.targets import Target
    from llm_trace.record import Call


def attribute(
    call_or_prompt: str | Sequence[Mapping[str, Any]] | Call,
    response: str | None = None,
    *,
    model: Any,
    tokenizer: Any = None,
    method: str = "auto",
    segments: Spec = "word",
    target: Target = None,
    baseline: str = "auto",
    budget: int | Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> Attribution:
    """Return how much each segment of a prompt supports a response, in nats of its log-probability.

    Positive means that the model would say the response less readily without the segment. Model and tokenizer are left as they were.

    Args:
        call_or_prompt: a text, a list of chat messages (dicts with role and content), or a logged `Call`.
        response: what to explain; of a call its output; absent: the model's greedy answer.
        model: a transformers model, a path or name to load, or "demo" for the embedded one.
        tokenizer: needed with a model object.
        method: `auto` or one of `methods.names()`.
        segments: `word`, `token`, `phrase`, `sentence`, `line`, `paragraph`, `message`, `variable`, a compiled pattern, a mapping of
            variables, (start, end) or (start, end, name) spans, or a function from text to spans.
        target: part of the response: a text, a compiled pattern, (start, end) characters, a token's index.
        baseline: what stands where a segment was: `auto`, `delete`, `mask` or a text.
        budget: most evaluations, or a `Budget`.
        confidence: of the bounds that sampling methods give.
        seed: of sampling methods; same seed, same answer.
        progress: called with (done, planned); returning False cancels.

    Raises:
        AttributionError: it cannot be computed; the message says why and what to change.
        MissingExtraError: torch or transformers are not installed.
    """
    if not 0 < confidence < 1:
        raise AttributionError(f"confidence={confidence!r} must lie between 0 and 1, such as 0.95")
    question = asked(call_or_prompt, response)
    loaded, tokens, name = resolve(model, tokenizer)
    work = problem(question, loaded, tokens, name, segments=segments, target=target)
    limits = Budget(evaluations=budget) if isinstance(budget, int) else budget
    value = Metered(work.value(baseline), budget=limits, progress=progress)
    chosen = methods.choose(work.n, value.room()) if method == "auto" else method
    scores = methods.find(chosen)(value, work.n, confidence=confidence, seed=seed)
    scores, found, extra = _examined(question, work, value, scores, chosen, baseline)
    settings = {"method": chosen, "confidence": confidence, "seed": seed}
    return _attribution(question, work, value, scores, found, extra, **settings)


def _examined(
    question: Asked, work: Problem, value: Metered, scores: Scores, chosen: str, baseline: str
) -> tuple[Scores, quality.Findings, tuple[int, int]]:
    """Return the scores with their full value, what the checks found, and the passes and tokens that other baselines cost."""
    found = quality.Findings()
    full = (
        scores.full if scores.full is not None else float(totals(value(np.ones((1, work.n), dtype=bool)))[0])
    )
    if question.redacted:
        found.suspect("redacted_input", "parts of the prompt were masked before it was logged")
    if question.logged and question.model != work.name and not reproduces(work):
        found.suspect(
            "proxy_unverified",
            f"{work.name} does not answer so itself: it stands in for {question.model or 'the model'} that did",
        )
    quality.evidence(scores.values, found, scores.low, scores.high)
    quality.completeness(value, scores.values, full, found)
    if chosen == "occlusion":
        quality.redundancy(value, scores.values, full, found)
    extra = (0, 0)
    if baseline == "auto" and work.n > 1:
        extra = _second_baseline(work, value, scores.values, found)
    return replace(scores, full=full), found, extra


def _second_baseline(
    work: Problem, value: Metered, scores: NDArray[np.float64], found: quality.Findings
) -> tuple[int, int]:
    """Check the strongest segments with the baseline that `auto` did not take, as far as the budget allows."""
    left = value.room()
    if left is not None and left < 1 + quality.CHECKED:
        return 0, 0
    other = "mask" if automatic(work.segmented.segments) == "delete" else "delete"
    try:
        source = work.value(other)
    except AttributionError as exc:
        found.warnings.append(f"the baseline was not checked against {other!r}: {exc}")
        return 0, 0

    def without(group: list[int]) -> NDArray[np.float64]:
        masks = np.ones((1 + len(group), work.n), dtype=bool)
        masks[np.arange(1, 1 + len(group)), group] = False
        values = totals(source(masks))
        return np.asarray(values[0] - values[1:])

    quality.baseline_dependence(scores, without, source.render.baseline, found)
    return source.passes, source.tokens


def reproduces(work: Problem) -> bool:
    """Whether the model's own most likely token is the response's at every place."""
    from llm_trace.attribution.models import follows

    prompt = work.codec.ids(work.segmented.text, own_special=work.own_special)
    return follows(work.model, prompt, work.response.ids)


def _attribution(
    question: Asked,
    work: Problem,
    value: Metered,
    scores: Scores,
    found: quality.Findings,
    extra: tuple[int, int],
    **settings: Any,
) -> Attribution:
    """Return the record; of the settings confidence and seed are told where the method sampled."""
    sampled = scores.low is not None
    told = settings if sampled else {"method": settings["method"]}
    return Attribution(
        **told,
        span_id=question.span_id,
        segments=work.segmented.segments,
        **_numbers(scores),
        prompt=str(work.segmented.text),
        response=work.text,
        target=work.target,
        target_tokens=tuple(work.response.texts[r] for r in work.rows),
        baseline=getattr(getattr(value.source, "render", None), "baseline", "?"),
        model=work.name,
        passes=value.passes + extra[0],
        tokens=value.tokens + extra[1],
        seconds=value.seconds,
        empty=found.empty,
        completeness_gap=found.gap,
        faithfulness={**(scores.faithfulness or {}), **found.faithfulness},
        verdict=found.verdict,
        notes=(*work.notes, *scores.notes),
        warnings=tuple(found.warnings),
        groups=tuple(found.groups),
    )


def _numbers(scores: Scores) -> dict[str, Any]:
    """Return the fields that the method itself fills."""
    rows = {"low": scores.low, "high": scores.high, "p_values": scores.p_values}
    return {
        "values": _floats(scores.values),
        "matrix": None if scores.matrix is None else tuple(_floats(row) for row in scores.matrix),
        **{name: None if row is None else _floats(row) for name, row in rows.items()},
        "bounds": scores.bounds,
        "stopped": scores.stopped,
        "full": scores.full,
    }


def _floats(row: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(x) for x in row)
