"""Reruns of a decision with steps taken away, as many as a verdict takes and the budget pays for.

Every step is looked at after the same few numbers of reruns, without it and with everything as it was, fixed
before the first is made. Fisher's exact test and the bounds are corrected for the number of looks, so they
hold wherever the reruns of a step end: where the effect is told from chance, and
where the decision is no rarer without the step. The reruns with everything as it was go on only while a step
needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import comb, hypot
from typing import TYPE_CHECKING, Any

from scipy import stats

from llm_trace.causes.why_record import Arm
from llm_trace.causes.why_values import NEUTRAL
from llm_trace.errors import ConfigurationError, ReplayError
from llm_trace.replays.alteration import Alteration
from llm_trace.replays.messages import find_messages, read_message_field

if TYPE_CHECKING:
    from llm_trace.causes.why_decision import ModelDecision
    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.replays.branch import Branch
    from llm_trace.replays.forking import Forking, Rerun

LOOKS = 3
FIRST = 5
"""Reruns before the first look."""
ATTEMPTS = 3
"""How often a rerun is made in which the model fails."""
SCREEN = 3
"""Reruns of a set of steps while it is made smaller; as many again where they do not agree."""


@dataclass(frozen=True)
class TrialPlan:
    """How many calls go where."""

    control: int
    """Reruns with everything as it was, at most."""
    steps: int
    """How many steps are tried."""
    repeats: int
    """Reruns of each, at most."""
    limit: int | None
    """Calls of the model that may be made; `None` for as many as it takes."""


def plan_trials(steps: int, repeats: int, limit: int | None, confidence: float) -> TrialPlan:
    """Return a plan that can tell at least one step's effect from chance.

    Raises:
        ConfigurationError: no such plan is within the budget.
    """
    alpha = 1 - confidence
    if limit is None:
        plan = TrialPlan(repeats, steps, repeats, None)
    else:
        control = min(repeats, max(FIRST, limit // 3))
        plan = TrialPlan(control, min(steps, (limit - control) // FIRST), repeats, limit)
    last = repeats if limit is None else min(repeats, limit - plan.control)
    if plan.steps < 1 or LOOKS * (plan.steps + 1) / comb(plan.control + last, last) > alpha:
        means = f"{repeats} repeats" if limit is None else f"a budget of {limit} calls"
        raise ConfigurationError(
            f"{means} cannot tell the effect of any of {steps} steps from chance, even if each rerun shows "
            f"it: at least {2 * FIRST} repeats are needed, and {repeats + FIRST * steps} calls to try all "
            "steps; nothing was run"
        )
    return plan


@dataclass(frozen=True)
class RerunCounts:
    """Numbers of reruns after which a step is looked at."""

    control: int
    """With everything as it was."""
    without: int


@dataclass
class Trials:
    """The reruns of one decision."""

    forking: Forking
    decision: ModelDecision
    plan: TrialPlan
    values: Mapping[str, Sequence[str]]
    """By label, what stands in place of a step, one value after the other; `NEUTRAL` of one without."""
    spent: int = 0
    """Calls of the model that were made."""
    _control: list[bool] = field(default_factory=list)
    """Of each rerun with everything as it was, whether it decided the same."""
    _branches: dict[tuple[tuple[str, str], ...], Branch] = field(default_factory=dict)

    @cached_property
    def looks(self) -> tuple[RerunCounts, ...]:
        """When a step is looked at."""
        most = self.plan.repeats
        counts = sorted({min(FIRST, most), min(2 * FIRST, most), most})
        return tuple(RerunCounts(min(self.plan.control, max(2 * FIRST, count)), count) for count in counts)

    @property
    def control(self) -> Arm:
        """The reruns with everything as it was."""
        return Arm(sum(self._control), len(self._control))

    def check(self, steps: Sequence[SeenStep]) -> None:
        """Run the program up to the decision, without paying, with nothing and with each step taken away.

        Raises:
            ReplayError: it does not come there as it did, or a step cannot be taken away.
        """
        for chosen in ((), *((step,) for step in steps)):
            self.forking.check(self._branch_off(chosen))

    def can_pay(self, count: int) -> bool:
        """Return whether the budget holds further calls."""
        return self.plan.limit is None or self.spent + count <= self.plan.limit

    def decide_without(self, steps: Sequence[SeenStep], count: int, begin: int = 0) -> list[bool]:
        """Return of some reruns whether they decide the same although steps were taken away.

        Args:
            begin: how many were made before: where the record has a seed, each has another one.

        Raises:
            ReplayError: the model failed, and again.
        """
        about = {
            "at": self.decision.deciding.span_id,
            "name": self.decision.deciding.name,
            "why": self.decision.call.span_id,
            "without": [step.label for step in steps],
        }
        end = begin + count
        return [self._decide_once(steps, index, about, end - index) for index in range(begin, end)]

    def _decide_once(
        self, steps: Sequence[SeenStep], index: int, about: Mapping[str, Any], pending: int
    ) -> bool:
        """Return whether one rerun decides the same; one in which the model failed says nothing, and is made
        again.

        Args:
            pending: reruns that are still to be paid for, with this one.
        """
        for attempt in range(ATTEMPTS):
            watch = self.decision.watch()
            # The recorded seed itself is left out: it draws what the record drew, which is no new evidence.
            rerun = self.forking.rerun(self._branch_off(steps, index), index + 1, about, watch)
            self.spent += _count_model_calls(rerun)
            error = self.decision.find_error(rerun)
            if error is None:
                return self.decision.is_same(rerun, watch)
            if attempt == ATTEMPTS - 1 or not self.can_pay(pending):
                break
        names = " and ".join(step.label for step in steps) or "nothing"
        raise ReplayError(
            f"the model failed when it was asked again with {names} taken away ({error}), so what it decides "
            f"then is not known; it was called {self.spent} times: ask again when it answers"
        )

    def try_control(self, count: int) -> Arm:
        """Make reruns with everything as it was, until there are so many."""
        begin = len(self._control)
        self._control += self.decide_without((), count - begin, begin)
        return self.control

    def try_without(self, steps: Sequence[SeenStep], family: int, alpha: float, reserve: int = 0) -> Arm:
        """Make reruns without some steps until the effect is clear, or nothing more can be paid for.

        Args:
            family: how many sets of steps are tested in all.
            reserve: calls that are to be left for others.
        """
        arm = Arm(0, 0)
        for look in self.looks:
            more = max(look.control - self.control.n, 0)
            if not self.can_pay(more + look.without - arm.n + reserve):
                break
            self.try_control(look.control)
            same = self.decide_without(steps, look.without - arm.n, arm.n)
            arm = Arm(arm.same + sum(same), look.without)
            if arm.share >= self._see_control(arm).share or self.compute_p_value(arm) * family <= alpha:
                break
        return arm

    def _see_control(self, arm: Arm) -> Arm:
        """Return the reruns with everything as it was that were planned for a look, and no later ones."""
        count = next(look.control for look in self.looks if look.without == arm.n)
        return Arm(sum(self._control[:count]), count)

    def compute_p_value(self, arm: Arm) -> float:
        """Return Fisher's exact p-value, times the number of looks, that the decision is no rarer without a
        step.
        """
        if not arm.n:
            return 1.0
        control = self._see_control(arm)
        table = [[control.same, control.n - control.same], [arm.same, arm.n - arm.same]]
        return min(1.0, len(self.looks) * float(stats.fisher_exact(table, alternative="greater")[1]))

    def bound_effect(self, arm: Arm, alpha: float) -> tuple[float, float]:
        """Return bounds of the share with everything less that without a step, valid at every look.

        Source: Zou & Donner 2008, Statistics in Medicine 27, 1693-1702, from Clopper and Pearson's bounds of
        both shares.
        """
        if not arm.n:
            return -1.0, 1.0
        control, sizes = self.control, {look.control for look in self.looks}
        with_low, with_high = _bound_share(control, alpha / len(sizes))
        low, high = _bound_share(arm, alpha / len(self.looks))
        effect = control.share - arm.share
        return (
            effect - hypot(control.share - with_low, high - arm.share),
            effect + hypot(with_high - control.share, arm.share - low),
        )

    def _branch_off(self, steps: Sequence[SeenStep], index: int = 0) -> Branch:
        """Return the rule of a rerun without some steps: the values in their place go by its number."""
        values = [self.values.get(step.label) or (NEUTRAL,) for step in steps]
        texts = [options[index % len(options)] for options in values]
        key = tuple((step.label, text) for step, text in zip(steps, texts, strict=True))
        if key not in self._branches:
            self._branches[key] = self.forking.branch_off(self._alter(steps, texts))
        return self._branches[key]

    def _alter(self, steps: Sequence[SeenStep], texts: Sequence[str]) -> Alteration:
        span_id = self.decision.deciding.span_id
        if not steps:
            return Alteration(span_id, "input_text", None)
        if any(step.place is None for step in steps):
            changes = {step.text: text for step, text in zip(steps, texts, strict=True)}
            return Alteration(span_id, "input_text", changes)
        messages = find_messages(self.decision.deciding.input)
        places: dict[int, str | dict[str, str]] = {}
        for step, text in zip(steps, texts, strict=True):
            place = step.place or 0
            if isinstance(read_message_field(messages[place], "content"), str):
                places[place] = text  # whatever stands there: it may have been masked in the record
            else:
                parts = places.get(place)
                places[place] = {**(parts if isinstance(parts, dict) else {}), step.text: text}
        return Alteration(span_id, "messages", places)


def _count_model_calls(rerun: Rerun) -> int:
    """Return how many calls of a model a rerun made; of one around another, only the inner."""
    scopes = {call.scope for call in rerun.calls if call.kind == "llm"}
    calls = (call for call in rerun.calls if call.kind == "llm")
    return sum(call.taped is None or call.taped.span_id not in scopes for call in calls)


def _bound_share(arm: Arm, alpha: float) -> tuple[float, float]:
    interval = stats.binomtest(arm.same, arm.n).proportion_ci(1 - alpha, method="exact")
    return float(interval.low), float(interval.high)
