"""Whose words a decision rests on where no model can be opened: it is made again without them.

All words of one origin are taken away together, as often as a verdict takes; the rest is as for `why`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.question.origins import ROLES, check_origins
from llm_trace.call_parts import ORIGINS, OriginWeight
from llm_trace.causes.decision_forks import fork_decision
from llm_trace.causes.why_api import LEAST
from llm_trace.causes.why_steps import list_seen_steps
from llm_trace.causes.why_trials import Trials, plan_trials
from llm_trace.causes.why_values import NEUTRAL
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Segment
from llm_trace.statistics.multiple_tests import correct_holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.attribution_settings import Budget
    from llm_trace.causes.why_decision import ModelDecision
    from llm_trace.causes.why_record import Arm
    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.record import Call, TextOrigin
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store

    StepsByOrigin = dict[TextOrigin, list[SeenStep]]


def weigh_by_forks(
    asked: Call, store: Store, functions: str | Function | Iterable[str | Function],
    origins: Mapping[str, TextOrigin], *, repeats: int, budget: int | Budget | None, confidence: float,
) -> Attribution:  # fmt: skip
    """Return how much rarer a decision is without the words of each origin.

    Args:
        asked: a call of a tool, or of a model.
        store: where its run was recorded.
        functions: the function that the run began with, or that of the model's call.
        origins: by name of a variable, a tool or a role.
        repeats: reruns at most without the words of each origin, and with everything as it was.
        budget: calls of the model in all, or dollars.
        confidence: of the bounds, for all origins together.

    Raises:
        AttributionError: the words have no origin that could be taken away, or a named one is none.
        ConfigurationError: the budget, or the repeats, cannot tell anything from chance.
        ReplayError: the function cannot be called again, or does not come to the decision as it did.
        NotFoundError: no call of a model decided.
    """
    with fork_decision(asked, store, functions, budget) as forked:
        decision = forked.decision
        recorded = store.call(decision.deciding.span_id).metadata.get("origins")
        names = {**(recorded if isinstance(recorded, Mapping) else {}), **check_origins(origins)}
        seen, remarks = list_seen_steps(decision.tape, decision.deciding)
        groups = _group_steps(seen, decision, names)
        if not groups:
            raise AttributionError(f"{decision.deciding.name} was asked nothing but the model's own words")
        plan = plan_trials(len(groups), repeats, forked.limit, confidence)
        trials = Trials(forked.forking, decision, plan, {})
        trials.check([step for steps in groups.values() for step in steps])
        control = trials.try_control(trials.looks[0].control)
        arms: list[Arm] = []
        if control.share >= LEAST:
            family, alpha = len(groups), 1 - confidence
            arms = [trials.try_without(steps, family, alpha) for steps in groups.values()]
    return _build_attribution(decision, groups, trials, arms, confidence, remarks)


def _group_steps(
    seen: Sequence[SeenStep], decision: ModelDecision, names: Mapping[str, TextOrigin]
) -> StepsByOrigin:
    """Return the steps by origin; the model's own words have none."""
    groups: StepsByOrigin = {}
    has_variables = any(step.kind == "variable" for step in seen)
    for step in seen:
        origin = _find_origin(step, decision, names, has_variables)
        if origin is not None:
            groups.setdefault(origin, []).append(step)
    return {origin: groups[origin] for origin in ORIGINS if origin in groups}


def _find_origin(
    step: SeenStep, decision: ModelDecision, names: Mapping[str, TextOrigin], has_variables: bool
) -> TextOrigin | None:
    giver = decision.tape.calls.get(step.span_id or "")
    variables = (decision.deciding.prompt or {}).get("variables") or {}
    known = [giver.name, giver.name.rpartition(".")[2]] if giver is not None else []
    known += [name for name, value in variables.items() if str(value) == step.text]
    known.append(step.kind)
    named = next((names[name] for name in known if name in names), None)
    if named is not None or step.kind == "assistant":
        return named
    if step.kind == "retrieved":
        return "retrieved"
    if step.kind == "line":
        return "system" if has_variables else "user"
    return ROLES.get(step.kind, "user")


def _build_attribution(
    decision: ModelDecision, groups: StepsByOrigin, trials: Trials, arms: Sequence[Arm],
    confidence: float, remarks: Sequence[str],
) -> Attribution:  # fmt: skip
    control, alpha = trials.control, (1 - confidence) / len(groups)
    decided = bool(arms) and all(arm.n for arm in arms)
    weights, p_values = [], []
    for number, origin in enumerate(groups):
        if not arms or not arms[number].n:
            weights.append(OriginWeight(origin=origin, value=0.0, low=-1.0, high=1.0))
            p_values.append(1.0)
            continue
        low, high = trials.bound_effect(arms[number], alpha)
        effect = control.share - arms[number].share
        weights.append(OriginWeight(origin=origin, value=effect, low=low, high=high))
        p_values.append(trials.compute_p_value(arms[number]))
    prompt, segments = _write_prompt(groups)
    doubt = (
        f"only {control} reruns with everything as it was decide so, or the budget did not reach all origins"
    )
    return Attribution(
        span_id=decision.call.span_id,
        method="forks",
        segments=segments,
        values=tuple(weight.value for weight in weights),
        low=tuple(weight.low for weight in weights),
        high=tuple(weight.high for weight in weights),
        confidence=confidence,
        bounds="of both shares of reruns, exact, for all looks and origins together",
        unit="probability",
        prompt=prompt,
        response=decision.describe(),
        target="the whole response",
        baseline=NEUTRAL,
        p_values=tuple(p_values),
        q_values=tuple(map(float, correct_holm(np.array(p_values)))),
        passes=trials.spent,
        full=control.share,
        verdict="ok" if decided else "insufficient_evidence",
        warnings=() if decided else (doubt,),
        notes=("the decision was made again without all words of each origin", *remarks),
        origins=tuple(weights),
    )


def _write_prompt(groups: StepsByOrigin) -> tuple[str, tuple[Segment, ...]]:
    """Return the words of all origins one after the other, and each origin's as a segment."""
    texts = {origin: "\n".join(step.text for step in steps) for origin, steps in groups.items()}
    segments, start = [], 0
    for origin, text in texts.items():
        end = start + len(text)
        segments.append(Segment(start=start, end=end, text=text, kind="message", name=origin, origin=origin))
        start = end + 1
    return "\n".join(texts.values()), tuple(segments)
