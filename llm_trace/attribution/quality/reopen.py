"""Make the value function of a finished attribution again, so that it can be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Budget, Metered, Value, sum_targets
from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.quality.study import Study
from llm_trace.attribution.question.segments import get_cut_rule
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.question.renders import Baseline
    from llm_trace.record import Attribution, Settings

_SAME = 1e-2
"""Part of the recorded value by which another run may differ (other batches, threads, bfloat16)."""
_GRADIENTS = ("integrated_gradients", "input_x_gradient", "saliency")


@dataclass(frozen=True)
class Again:
    """How the same question is asked again."""

    settings: Settings
    method: str
    """That made the scores; `auto` may be in the settings."""
    evaluations: int | None
    """What the method spent, where it draws at random; `None` where it does not."""

    def scores(self, name: str, source: Value, n: int, limit: int | None, seed: int) -> NDArray[np.float64]:
        """Return the scores (n,) of a method within a number of evaluations."""
        value = Metered(source, budget=Budget(evaluations=limit))
        return registry.find_method(name)(value, n, confidence=self.settings.confidence, seed=seed).values


def rebuild_study(
    attribution: Attribution, model: Any, tokenizer: Any, settings: Settings | None, **study: Any
) -> Study:
    """Return the study of a finished attribution.

    Raises:
        AttributionError: this model does not give what was recorded, or the settings are not known.
    """
    asked = find_settings(attribution, settings)
    work, value, full = reopen_problem(attribution, model, tokenizer, asked)
    again = Again(asked, attribution.method, _get_draws(attribution))
    return build_study(work, value, np.array(attribution.values), full, again, **study)


def find_settings(attribution: Attribution, settings: Settings | None = None) -> Settings:
    """Return the settings that an attribution was made with, those that a user gives first.

    Raises:
        AttributionError: neither the record nor the user says them.
    """
    asked = settings if settings is not None else attribution.settings
    if asked is None:
        raise AttributionError(
            f"the record does not hold its settings, and its words do not say them exactly (target "
            f"{attribution.target!r}, baseline {attribution.baseline!r}): pass settings=Settings.of("
            f"target=…, baseline=…, unit=…) as they were given to attribute()"
        )
    return asked


def reopen_problem(
    attribution: Attribution, model: Any, tokenizer: Any = None, settings: Settings | None = None
) -> tuple[Problem, Metered, float]:
    """Return the problem of a finished attribution, its value function and the value of the whole prompt.

    Raises:
        AttributionError: this model does not give what was recorded, or the settings are not known.
    """
    asked = find_settings(attribution, settings)
    loaded, tokens, name = resolve_model(model, tokenizer)
    work = _build_problem(attribution, loaded, tokens, name, asked)
    value = Metered(work.value(_resolve_baseline(attribution, asked)))
    full = float(sum_targets(value(np.ones((1, work.n), dtype=bool)))[0])
    recorded = attribution.full
    if recorded is not None and abs(full - recorded) > _SAME * max(1.0, abs(recorded)):
        raise AttributionError(
            f"{name} gives this response {full:.4g} and the attribution recorded {recorded:.4g}: "
            "pass the model, and the settings, that it was made with"
        )
    return work, value, full


def build_study(
    work: Problem, value: Metered, scores: NDArray[np.float64], full: float, again: Again, **study: Any
) -> Study:
    """Return the study of scores.

    Args:
        work: the problem.
        value: the value function with the baseline of the scores.
        scores: (n,)
        full: value of the whole prompt.
        again: how the same is asked again.
        study: further fields of `Study`.
    """
    source = value.source
    gradient = next((g for g in _GRADIENTS if g in registry.list_methods() and g != again.method), None)
    limit = again.evaluations

    def ask(name: str, of: Value, limit: int | None, seed: int) -> NDArray[np.float64]:
        return again.scores(name, of, work.n, limit, seed)

    return Study(
        value,
        scores,
        full,
        again=None if limit is None else lambda seed: ask(again.method, source, limit, seed),
        randomised=lambda seed: ask(
            again.method, _shuffle_weights(work, again.settings.baseline, seed), limit, seed
        ),
        gradients=None if gradient is None else lambda seed: ask(gradient, source, None, seed),
        **study,
    )


def _shuffle_weights(work: Problem, baseline: Baseline, seed: int) -> Value:
    """Return the value function on a copy of the model in which the entries of each weight are shuffled."""
    import copy

    import torch

    model = copy.deepcopy(work.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return replace(work, model=model, cache=None).value(baseline)


def _build_problem(
    attribution: Attribution, model: Any, tokenizer: Any, name: str, settings: Settings
) -> Problem:
    work = build_problem(
        parse_question(attribution.prompt, attribution.response),
        model,
        tokenizer,
        name,
        segments=attribution.segments,
        target=settings.target,
        unit=settings.unit,
    )
    return replace(
        work,
        segmented=replace(work.segmented, cut=get_cut_rule(attribution.segments[0].kind)),
        text=attribution.response,
    )


def _resolve_baseline(attribution: Attribution, settings: Settings) -> Baseline:
    """Return the baseline; a hierarchy chose its `auto` for words, not for the stretches that are left."""
    if settings.segments == "hierarchy" and settings.baseline == "auto":
        return "delete" if attribution.baseline == "delete" else "mask"
    baseline: Baseline = settings.baseline
    return baseline


def _get_draws(attribution: Attribution) -> int | None:
    """Return what the method may spend again, `None` where it draws nothing."""
    return None if attribution.low is None else max(attribution.passes, 1)
