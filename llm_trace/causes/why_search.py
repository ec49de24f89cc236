"""Which steps a decision rests on: each by itself, then those that stand in for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.causes.why_record import Arm, Cause
from llm_trace.causes.why_trials import FIRST, SCREEN
from llm_trace.statistics.multiple_tests import correct_holm

if TYPE_CHECKING:
    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.causes.why_trials import Trials


@dataclass(frozen=True)
class Tried:
    """Steps that were taken away together, and what the decision was without them."""

    steps: tuple[SeenStep, ...]
    arm: Arm


def search_causes(trials: Trials, steps: Sequence[SeenStep], tested: int, alpha: float) -> list[Cause]:
    """Return the steps, strongest first.

    Args:
        trials: whose first reruns with everything as it was were made.
        steps: in the order in which they are tried.
        tested: how many of them are.
        alpha: how often any step may be accused wrongly.
    """
    if not tested:
        return _build_causes(trials, steps, [], alpha)
    family = tested + 1  # the steps, and one set of those that stand in for each other
    results = []
    for rank, step in enumerate(steps[:tested]):
        reserve = FIRST * (tested - rank - 1)
        results.append(Tried((step,), trials.try_without((step,), family, alpha, reserve)))
    single = {
        result.steps[0].label for result in results if trials.compute_p_value(result.arm) * family <= alpha
    }
    rest = [step for step in steps if step.label not in single]
    together = find_substitutes(trials, rest)
    if len(together) > 1:
        results.append(Tried(together, trials.try_without(together, family, alpha)))
    return _build_causes(trials, steps, results, alpha)


def find_substitutes(trials: Trials, steps: Sequence[SeenStep]) -> tuple[SeenStep, ...]:
    """Return a smallest set of steps without which the decision changes although it needs none of them by
    itself; empty where there is none, or no budget to find it.

    The fewest of the first steps are taken without which it changes, by halving, and of those one after the
    other is put back, the weakest first, while the decision stays away.
    """
    if len(steps) < 2 or not _changes(trials, steps):
        return ()
    fewest, enough = 2, len(steps)
    while fewest < enough:
        middle = (fewest + enough) // 2
        if _changes(trials, steps[:middle]):
            enough = middle
        else:
            fewest = middle + 1
    gone = list(steps[:enough])
    for step in reversed(steps[:enough]):
        fewer = [each for each in gone if each is not step]
        if len(fewer) > 1 and _changes(trials, fewer):
            gone = fewer
    return tuple(gone)


def _changes(trials: Trials, steps: Sequence[SeenStep]) -> bool:
    """Return whether most of a few reruns decide otherwise without some steps, while that can be paid for."""
    if not trials.can_pay(2 * SCREEN + FIRST):
        return False
    begin = trials.plan.repeats  # other reruns than those of the test of what is left
    same = trials.decide_without(steps, SCREEN, begin)
    if 0 < sum(same) < SCREEN:
        same += trials.decide_without(steps, SCREEN, begin + SCREEN)
    return sum(same) * 2 < len(same) * trials.control.share


def _build_causes(
    trials: Trials, steps: Sequence[SeenStep], results: Sequence[Tried], alpha: float
) -> list[Cause]:
    p_values = [trials.compute_p_value(result.arm) for result in results]
    q_values = correct_holm(np.array(p_values)) if p_values else np.empty(0)
    best: dict[str, tuple[Tried, float, float]] = {}
    for result, p_value, q_value in zip(results, p_values, q_values, strict=True):
        for step in result.steps:
            if step.label not in best or p_value < best[step.label][1]:
                best[step.label] = result, p_value, float(q_value)
    untried = Tried((), Arm(0, 0)), 1.0, 1.0
    causes = [_build_cause(trials, step, *best.get(step.label, untried), alpha) for step in steps]
    return sorted(causes, key=lambda cause: (not cause.stands_out(alpha), -cause.effect))


def _build_cause(
    trials: Trials, step: SeenStep, result: Tried, p_value: float, q_value: float, alpha: float
) -> Cause:
    low, high = trials.bound_effect(result.arm, alpha)
    effect = trials.control.share - result.arm.share if result.arm.n else 0.0
    others = tuple(other.label for other in result.steps if other is not step)
    return Cause(
        step.label,
        step.kind,
        step.text,
        step.span_id,
        result.arm,
        effect,
        low,
        high,
        p_value,
        q_value,
        others,
    )
