"""Reruns of a decision with steps taken away, as many as a verdict takes and the budget pays for.

Every step is looked at after the same few numbers of reruns, fixed before the first is made. Fisher's exact
test and the exact bounds of Clopper and Pearson are corrected for the number of looks, so they hold wherever
the reruns of a step end. Reruns end where the effect is told from chance, and where an agent that always
decides the same shows none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING

from scipy import stats

from llm_trace.causes.why_record import Arm
from llm_trace.errors import ConfigurationError
from llm_trace.replays.alteration import Alteration

if TYPE_CHECKING:
    from llm_trace.causes.why_decision import ModelDecision
    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.replays.branch import Branch
    from llm_trace.replays.forking import Forking

LOOKS = 3
FIRST = 5
"""Reruns before the first look."""
SCREEN = 3
"""Reruns of a set of steps while it is made smaller."""
NEUTRAL = "[removed]"
"""What stands where a step was."""


@dataclass(frozen=True)
class TrialPlan:
    """How many calls go where."""

    control: int
    steps: int
    """How many steps are tried."""
    limit: int | None
    """Calls of the model that may be made; `None` for as many as it takes."""


def plan_trials(steps: int, repeats: int, limit: int | None, confidence: float) -> TrialPlan:
    """Return a plan that can tell at least one step's effect from chance.

    Raises:
        ConfigurationError: no such plan is within the budget.
    """
    alpha = 1 - confidence
    if limit is None:
        plan = TrialPlan(repeats, steps, None)
    else:
        control = min(repeats, max(FIRST, limit // 3))
        plan = TrialPlan(control, min(steps, (limit - control) // FIRST), limit)
    last = repeats if limit is None else min(repeats, limit - plan.control)
    if plan.steps < 1 or LOOKS * plan.steps / comb(plan.control + last, last) > alpha:
        means = f"{repeats} repeats" if limit is None else f"a budget of {limit} calls"
        raise ConfigurationError(
            f"{means} cannot tell the effect of any of {steps} steps from chance, even if each rerun shows "
            f"it: at least {2 * FIRST} repeats are needed, and {repeats + FIRST * steps} calls to try all "
            "steps; nothing was run"
        )
    return plan


@dataclass
class Trials:
    """The reruns of one decision."""

    forking: Forking
    decision: ModelDecision
    repeats: int
    limit: int | None
    spent: int = 0
    """Calls of the model that were made."""
    control: Arm = field(default_factory=lambda: Arm(0, 0))
    _branches: dict[tuple[int | str, ...], Branch] = field(default_factory=dict)

    @cached_property
    def looks(self) -> tuple[int, ...]:
        """Numbers of reruns after which a step is looked at."""
        return tuple(sorted({min(FIRST, self.repeats), min(2 * FIRST, self.repeats), self.repeats}))

    def check(self, steps: Sequence[SeenStep]) -> None:
        """Run the program up to the decision, without paying, with nothing and with each step taken away.

        Raises:
            ReplayError: it does not come there as it did, or a step cannot be taken away.
        """
        for chosen in ((), *((step,) for step in steps)):
            self.forking.check(self._branch_off(chosen))

    def can_pay(self, count: int) -> bool:
        """Return whether the budget holds further calls."""
        return self.limit is None or self.spent + count <= self.limit

    def decide_without(self, steps: Sequence[SeenStep], count: int, begin: int = 0) -> int:
        """Return how many of some reruns decide the same although steps were taken away.

        Args:
            begin: number of the first rerun: its seed, where the record has one.
        """
        branch, same = self._branch_off(steps), 0
        about = {
            "at": self.decision.deciding.span_id,
            "name": self.decision.deciding.name,
            "why": self.decision.call.span_id,
            "without": [step.label for step in steps],
        }
        for index in range(begin, begin + count):
            watch = self.decision.watch()
            rerun = self.forking.rerun(branch, index, about, watch)
            self.spent += rerun.report.live
            same += self.decision.is_same(rerun, watch)
        return same

    def try_control(self, count: int) -> Arm:
        """Make reruns with everything as it was."""
        self.control = Arm(self.decide_without((), count), count)
        return self.control

    def try_without(self, steps: Sequence[SeenStep], family: int, alpha: float, reserve: int = 0) -> Arm:
        """Make reruns without some steps until the effect is clear, or nothing more can be paid for.

        Args:
            family: how many sets of steps are tested in all.
            reserve: calls that are to be left for others.
        """
        arm = Arm(0, 0)
        for look in self.looks:
            if not self.can_pay(look - arm.n + reserve):
                break
            arm = Arm(arm.same + self.decide_without(steps, look - arm.n, arm.n), look)
            settled = self.control.share == arm.share == 1.0
            if settled or self.compute_p_value(arm) * family <= alpha:
                break
        return arm

    def compute_p_value(self, arm: Arm) -> float:
        """Return Fisher's exact p-value that a step's absence changes nothing, times the number of looks."""
        if not arm.n:
            return 1.0
        table = [
            [self.control.same, self.control.n - self.control.same],
            [arm.same, arm.n - arm.same],
        ]
        return min(1.0, len(self.looks) * float(stats.fisher_exact(table)[1]))

    def bound_effect(self, arm: Arm, alpha: float) -> tuple[float, float]:
        """Return bounds of the share with everything less that without a step, valid at every look."""
        if not arm.n:
            return -1.0, 1.0
        with_low, with_high = _bound_share(self.control, alpha / 2)
        low, high = _bound_share(arm, alpha / 2 / len(self.looks))
        return with_low - high, with_high - low

    def _branch_off(self, steps: Sequence[SeenStep]) -> Branch:
        key = tuple(step.text if step.place is None else step.place for step in steps)
        if key not in self._branches:
            self._branches[key] = self.forking.branch_off(self._alter(steps))
        return self._branches[key]

    def _alter(self, steps: Sequence[SeenStep]) -> Alteration:
        span_id = self.decision.deciding.span_id
        if not steps:
            return Alteration(span_id, "input_text", None)
        places: Mapping[int | None, str] = {step.place: NEUTRAL for step in steps}
        if None not in places:
            return Alteration(span_id, "messages", places)
        return Alteration(span_id, "input_text", {step.text: NEUTRAL for step in steps})


def _bound_share(arm: Arm, alpha: float) -> tuple[float, float]:
    interval = stats.binomtest(arm.same, arm.n).proportion_ci(1 - alpha, method="exact")
    return float(interval.low), float(interval.high)
