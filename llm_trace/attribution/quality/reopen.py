"""Make the value function of a finished attribution again, so that it can be measured."""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Budget, Metered, Value, sum_targets
from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import build_problem, parse_question
from llm_trace.attribution.quality.study import Scored, Study
from llm_trace.attribution.question.segments import get_cut_rule
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.question.targets import Target
    from llm_trace.record import Attribution

_SAME = 1e-2
"""Part of the recorded value that another run of the model may differ by (other batches, other threads,
bfloat16).
"""
_GRADIENTS = ("integrated_gradients", "input_x_gradient", "saliency")


def rebuild_study(
    attribution: Attribution, model: Any, tokenizer: Any, target: Target, **settings: Any
) -> Study:
    """Return the study of a finished attribution.

    Raises:
        AttributionError: this model does not give what was recorded.
    """
    work, value, full = reopen_problem(attribution, model, tokenizer, target)
    scores = np.array(attribution.values)
    return build_study(work, value, scores, full, attribution.method, _get_draws(attribution), **settings)


def reopen_problem(
    attribution: Attribution, model: Any, tokenizer: Any = None, target: Target = None
) -> tuple[Problem, Metered, float]:
    """Return the problem of a finished attribution, its value function and the value of the whole prompt.

    Raises:
        AttributionError: this model does not give what was recorded.
    """
    loaded, tokens, name = resolve_model(model, tokenizer)
    work = _build_problem(attribution, loaded, tokens, name, target)
    value = Metered(work.value(parse_baseline(attribution.baseline)))
    full = float(sum_targets(value(np.ones((1, work.n), dtype=bool)))[0])
    recorded = attribution.full
    if recorded is not None and abs(full - recorded) > _SAME * max(1.0, abs(recorded)):
        raise AttributionError(
            f"{name} gives this response {full:.4g} and the attribution recorded {recorded:.4g}: "
            "pass the model, and the target, that it was made with"
        )
    return work, value, full


def build_study(
    work: Problem,
    value: Value,
    scores: NDArray[np.float64],
    full: float,
    method: str,
    evaluations: int | None,
    **settings: Any,
) -> Study:
    """Return the study of scores.

    Args:
        work: the problem.
        value: the value function with the baseline of the scores.
        scores: (n,)
        full: value of the whole prompt.
        method: that made the scores.
        evaluations: what the method spent, where it draws at random; `None` where it does not.
        settings: further fields of `Study`.
    """
    confidence = settings.get("confidence", 0.95)

    def ask(name: str, source: Value, limit: int | None, seed: int) -> NDArray[np.float64]:
        limits = Budget(evaluations=limit)
        return registry.find_method(name)(
            Metered(source, budget=limits), work.n, confidence=confidence, seed=seed
        ).values

    source = getattr(value, "source", value)
    again: Scored | None = None
    if evaluations is not None:
        again = lambda seed: ask(method, source, evaluations, seed)  # noqa: E731
    gradient = next((g for g in _GRADIENTS if g in registry.list_methods() and g != method), None)
    return Study(
        value,
        scores,
        full,
        again=again,
        randomised=lambda seed: ask(method, _shuffle_weights(work, source, seed), evaluations, seed),
        gradients=None if gradient is None else lambda seed: ask(gradient, source, None, seed),
        **settings,
    )


def _shuffle_weights(work: Problem, source: Any, seed: int) -> Value:
    """Return the value function on a copy of the model in which the entries of each weight are shuffled."""
    import copy

    import torch

    model = copy.deepcopy(work.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return replace(work, model=model, cache=None).value(parse_baseline(source.render.baseline))


def _build_problem(
    attribution: Attribution, model: Any, tokenizer: Any, name: str, target: Target
) -> Problem:
    said = target if target is not None else parse_target(attribution.target)
    work = build_problem(
        parse_question(attribution.prompt, attribution.response),
        model,
        tokenizer,
        name,
        segments=attribution.segments,
        target=said,
        unit=attribution.unit,
    )
    return replace(
        work,
        segmented=replace(work.segmented, cut=get_cut_rule(attribution.segments[0].kind)),
        text=attribution.response,
    )


def parse_target(words: str) -> Target:
    """Return the target that an attribution names in words.

    Raises:
        AttributionError: it names several stretches.
    """
    if words == "the whole response":
        return None
    if found := re.fullmatch(r"token (\d+)", words):
        return int(found[1])
    try:
        text = literal_eval(words)
    except (ValueError, SyntaxError):
        text = None
    if not isinstance(text, str):
        raise AttributionError(
            f"the attribution explains {words}: pass target= as it was given to attribute()"
        )
    return text


def parse_baseline(words: str) -> str:
    """Return the baseline that an attribution names in words."""
    if words.startswith("text: "):
        return str(literal_eval(words.removeprefix("text: ")))
    return words.partition(":")[0].partition(" (")[0]


def _get_draws(attribution: Attribution) -> int | None:
    """Return what the method may spend again, `None` where it draws nothing."""
    return None if attribution.low is None else max(attribution.passes, 1)
