"""`attribute`: which parts of a prompt made the model answer as it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from llm_trace.attribution import quality as checks
from llm_trace.attribution.core.value import Budget, Capped, Metered, ProgressCallback, as_budget, sum_targets
from llm_trace.attribution.explain import hierarchy
from llm_trace.attribution.explain.dry_run import plan_attribution
from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.cache import open_cache
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import (
    ParsedQuestion,
    Problem,
    build_problem,
    note_suspicions,
    parse_question,
)
from llm_trace.attribution.proxies.model import Proxied, refuse
from llm_trace.attribution.question.renders import choose_baseline
from llm_trace.attribution.remote.model import make_remote
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.explain.dry_run import Plan
    from llm_trace.attribution.methods.registry import Scores
    from llm_trace.attribution.question.renders import Baseline
    from llm_trace.attribution.question.segments import SegmentSpec
    from llm_trace.attribution.question.targets import Target
    from llm_trace.record import Call

    Question = str | Sequence[Mapping[str, Any]] | Call


@overload
def attribute(
    call_or_prompt: Question, response: str | None = ..., *, dry_run: Literal[True], **settings: Any
) -> Plan: ...


@overload
def attribute(
    call_or_prompt: Question,
    response: str | None = ...,
    *,
    model: Any,
    tokenizer: Any = ...,
    method: str = ...,
    segments: SegmentSpec = ...,
    target: Target = ...,
    baseline: Baseline = ...,
    unit: str = ...,
    budget: int | Budget | None = ...,
    confidence: float = ...,
    seed: int = ...,
    progress: ProgressCallback | None = ...,
    quality: bool | Sequence[str] = ...,
    cache: str | Path | None = ...,
    dry_run: Literal[False] = ...,
) -> Attribution: ...


def attribute(  # type: ignore[misc]  # the first form takes the same settings as the second
    call_or_prompt: Question,
    response: str | None = None,
    *,
    model: Any,
    tokenizer: Any = None,
    method: str = "auto",
    segments: SegmentSpec = "word",
    target: Target = None,
    baseline: Baseline = "auto",
    unit: str = "nats",
    budget: int | Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    quality: bool | Sequence[str] = False,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return how much each segment of a prompt supports a response, in nats of its log-probability.

    Positive means that the model would say the response less readily without the segment. Model and tokenizer
    are left as they were.

    Args:
        call_or_prompt: a text, a list of chat messages (dicts with role and content), or a logged `Call`.
        response: what to explain; of a call its output; absent: the model's greedy answer.
        model: a transformers model, a path or name to load, or "demo" for the embedded one; a callable or
            `Remote` that cannot be opened; a `Proxied` of two.
        tokenizer: needed with a model object.
        method: `auto` or a name that `llm-trace methods` lists.
        segments: `word`, `token`, `phrase`, `sentence`, `line`, `paragraph`, `message`, `variable`,
            `hierarchy`, a compiled pattern, a mapping of variables, (start, end) or (start, end, name) spans,
            or a function from text to spans.
        target: part of the response: a text, a compiled pattern, (start, end) characters, a token's index; or
            why this and not that: a `Contrast`, or a pair of texts.
        baseline: what stands where a segment was: `auto`, `delete`, `mask` or a text; for Integrated
            Gradients `mean`, `mask` or `zero`; a list of these, averaged; or for each variable a list of the
            values it had in other calls.
        unit: of the scores: `nats`, `probability` or `logit` of the target. With a contrast the difference of
            both.
        budget: most evaluations, or a `Budget`.
        confidence: of the bounds that sampling methods give.
        seed: of sampling methods; same seed, same answer.
        progress: called with (done, planned); returning False cancels.
        quality: also measure the scores on held-out masks, in deletion curves and over seeds, at the cost of
            about 250 evaluations, or a quarter of the budget; names of measures for others (see
            `quality.measures.list_measures`). What noise explains as well gets a verdict.
        cache: a file that keeps log-probabilities by content (hashes and numbers, no text) for later
            attributions, of any process.
        dry_run: only return the `Plan`: evaluations, tokens and seconds that it would cost.

    Raises:
        AttributionError: it cannot be computed; the message says why and what to change.
        MissingExtraError: torch or transformers are not installed.
    """
    if not 0 < confidence < 1:
        raise AttributionError(f"confidence={confidence!r} must lie between 0 and 1, such as 0.95")
    if method == "proxy" or isinstance(model, Proxied):
        refuse(model, method, target=target, baseline=baseline, unit=unit, quality=quality)
        from llm_trace.attribution.proxies.explain import explain_by_proxy

        return explain_by_proxy(
            call_or_prompt,
            response,
            model,
            segments=segments,
            budget=as_budget(budget),
            confidence=confidence,
            seed=seed,
            cache=cache,
            dry_run=dry_run,
        )
    if (asked_far := make_remote(model)) is not None:
        if quality:
            raise AttributionError(
                "quality= needs a model that can be opened; method='smile' measures its fidelity on "
                "held-out answers itself"
            )
        from llm_trace.attribution.explain.remote import explain_remote
        from llm_trace.attribution.explain.remote_plan import Settings

        wanted = Settings(
            method, segments, target, baseline, unit, as_budget(budget), confidence, seed, progress, cache
        )
        return explain_remote(parse_question(call_or_prompt, response), asked_far, wanted, dry_run=dry_run)
    parts = isinstance(segments, str) and segments == "hierarchy"
    if parts and method not in ("auto", "occlusion"):
        raise AttributionError(
            f"segments='hierarchy' leaves stretches out (occlusion); method={method!r} does not"
        )
    question, limits = parse_question(call_or_prompt, response), as_budget(budget)
    loaded, tokens, name = resolve_model(model, tokenizer)
    kept, spec = open_cache(cache, loaded), "word" if parts else segments
    work = build_problem(question, loaded, tokens, name, segments=spec, target=target, unit=unit, cache=kept)
    if parts and dry_run:
        return hierarchy.price_drill(work, baseline, limits)
    if parts:
        return hierarchy.drill_problem(
            question, work, baseline, limits, confidence=confidence, progress=progress
        ).attribution
    if dry_run:
        asked_for = (work.n, method, work.target, limits)
        return plan_attribution(work.value(baseline), *asked_for, confidence=confidence, seed=seed)
    value = Metered(work.value(baseline), budget=limits, progress=progress)
    left = value.room()
    spare = value if not quality or left is None else Capped(value, 3 * left // 4)
    scores = registry.find_method(method)(spare, work.n, confidence=confidence, seed=seed)
    chosen = scores.method or method
    scores, found, extra = _examine_scores(question, work, value, scores, chosen, baseline, confidence)
    if quality:
        checks.measure_now(work, value, scores, chosen, found, quality, confidence=confidence, seed=seed)
    settings = {"method": chosen, "confidence": confidence, "seed": seed}
    return _build_attribution(question, work, value, scores, found, extra, **settings)


def _examine_scores(
    question: ParsedQuestion,
    work: Problem,
    value: Metered,
    scores: Scores,
    chosen: str,
    baseline: Baseline,
    confidence: float,
) -> tuple[Scores, checks.Findings, tuple[int, int]]:
    """Return the scores with their full value, what the checks found, and the passes and tokens that other
    baselines cost.
    """
    found = checks.Findings(confidence)
    full = (
        scores.full
        if scores.full is not None
        else float(sum_targets(value(np.ones((1, work.n), dtype=bool)))[0])
    )
    note_suspicions(question, work, found)
    for verdict, warning in scores.doubts:
        found.suspect(verdict, warning)
    ours = scores.unit is None  # the unit of the value function
    if (ours and work.goal.unit != "probability") or _is_sampled(scores):
        checks.check_evidence(scores.values, found, scores.low, scores.high, scores.p_values)
    if scores.empty is not None:
        found.empty, found.gap = scores.empty, full - scores.empty - float(scores.values.sum())
    elif ours and scores.baseline is None:
        checks.check_completeness(value, scores.values, full, found)
    if work.goal.unit == "nats" and -1 not in work.goal.signs:
        checks.check_unlikely(full, len(work.rows), _count_vocabulary(work.model), found)
    if chosen == "occlusion":
        checks.check_redundancy(value, scores.values, full, found)
        checks.check_hidden(scores.values, (scores.faithfulness or {}).get("second", {}), found)
    extra = (0, 0)
    if baseline == "auto" and work.n > 1 and ours:
        extra = _check_second_baseline(work, value, scores.values, found)
    return replace(scores, full=full), found, extra


def _is_sampled(scores: Scores) -> bool:
    return scores.low is not None or scores.p_values is not None


def _count_vocabulary(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    return int(getattr(config, "vocab_size", 0) or 0)


def _check_second_baseline(
    work: Problem, value: Metered, scores: NDArray[np.float64], found: checks.Findings
) -> tuple[int, int]:
    """Check the strongest segments with the baseline that `auto` did not take, as far as the budget
    allows.
    """
    left = value.room()
    if left is not None and left < 1 + checks.CHECKED:
        return 0, 0
    other = "mask" if choose_baseline(work.segmented.segments) == "delete" else "delete"
    try:
        source = work.value(other)
    except AttributionError as exc:
        found.warnings.append(f"the baseline was not checked against {other!r}: {exc}")
        return 0, 0

    def without(group: list[int]) -> NDArray[np.float64]:
        masks = np.ones((1 + len(group), work.n), dtype=bool)
        masks[np.arange(1, 1 + len(group)), group] = False
        values = sum_targets(source(masks))
        return np.asarray(values[0] - values[1:])

    checks.check_baseline_dependence(scores, without, source.render.baseline, found)
    return source.passes, source.tokens


def _build_attribution(
    question: ParsedQuestion,
    work: Problem,
    value: Metered,
    scores: Scores,
    found: checks.Findings,
    extra: tuple[int, int],
    **settings: Any,
) -> Attribution:
    """Return the record; of the settings confidence and seed are told where the method sampled."""
    told = settings if _is_sampled(scores) else {"method": settings["method"]}
    return Attribution(
        **told,
        span_id=question.span_id,
        segments=work.segmented.segments,
        **registry.list_recorded_fields(scores),
        prompt=str(work.segmented.text),
        response=work.text,
        target=work.target,
        target_tokens=work.target_tokens,
        unit=scores.unit or work.goal.unit,  # type: ignore[arg-type]  # checked by the record
        baseline=str(scores.baseline or getattr(getattr(value.source, "render", None), "baseline", "?")),
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


async def attribute_async(
    call_or_prompt: Question, response: str | None = None, **settings: Any
) -> Attribution | Plan:
    """Return what `attribute` returns, without holding up the event loop; an async callable is called in it.

    Cancelling it lets the calls that were begun finish, and begins no other.
    """
    import asyncio

    from llm_trace.attribution.remote.event_loop import Bridge

    bridge = Bridge(asyncio.get_running_loop())
    with bridge.current():
        try:
            return await asyncio.to_thread(attribute, call_or_prompt, response, **settings)  # type: ignore[arg-type]  # overloads
        except asyncio.CancelledError:
            bridge.stopped.set()
            raise
