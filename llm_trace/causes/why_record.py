"""What caused a decision, with how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llm_trace.rendering.part_effects import PartEffect, render_part_effects

CauseKind = Literal["system", "user", "assistant", "tool", "retrieved", "variable", "line"]


@dataclass(frozen=True)
class Arm:
    """Reruns that were made alike, and how many of them decided as the record did."""

    same: int
    n: int

    @property
    def share(self) -> float:
        """The share of them, 0 of none."""
        return self.same / self.n if self.n else 0.0

    def __str__(self) -> str:
        return f"{self.same} of {self.n}"


@dataclass(frozen=True)
class Cause:
    """A step before a decision, and what its absence does to it."""

    label: str
    """In words: `the system prompt`, `tool result 3 (look_up_order)`."""
    kind: CauseKind
    text: str
    """What was taken away."""
    span_id: str | None
    """Of the call that gave it; `None` where no recorded call did."""
    without: Arm
    """Reruns without it; none where the budget did not reach it."""
    effect: float
    """The share of reruns that decide the same with it, less that without it."""
    low: float
    """Lower bound of the effect, at the confidence asked for; it holds however early reruns ended."""
    high: float
    p_value: float
    """Fisher's exact test that the decision is no rarer without it, times the number of looks."""
    q_value: float
    """The p-value corrected for all steps that were tested (Holm)."""
    together: tuple[str, ...] = ()
    """Labels of the steps that had to be taken away with it: each of them suffices."""

    def stands_out(self, level: float = 0.05) -> bool:
        """Whether the effect is told from chance after the correction."""
        return self.without.n > 0 and self.effect > 0 and self.q_value <= level


@dataclass(frozen=True)
class Causes:
    """The steps before a decision, strongest first."""

    span_id: str
    """Of the call that is explained."""
    decision: str
    """What was decided, in words."""
    decided_by: str
    """`span_id` of the model's call that decided it; reruns leave the record there."""
    steps: tuple[Cause, ...]
    control: Arm
    """Reruns with everything as it was."""
    calls: int
    """Calls of the model that reruns made."""
    confidence: float
    order: Literal["attribution", "nearness"]
    """What the steps were tried by."""
    chain: tuple[str, ...] = ()
    """From the decision back to the user's words, the system prompt or text from outside."""
    notes: tuple[str, ...] = ()
    """Choices and limits."""

    @property
    def significant(self) -> tuple[Cause, ...]:
        """The steps whose effect is told from chance."""
        return tuple(step for step in self.steps if step.stands_out(1 - self.confidence))

    def summary(self) -> str:
        """Return in one or two sentences what caused the decision."""
        causes = self.significant
        if not causes:
            return (
                f"No single step is shown to have caused {self.decision}: with everything as it was "
                f"{self.control} reruns decide so."
            )
        first = causes[0]
        names = " or ".join((first.label, *first.together))
        text = f"{self.decision} came from {names}: without {'them' if first.together else 'it'} "
        text += f"{first.without} reruns decide so, with {'them' if first.together else 'it'} {self.control}."
        if first.together:
            text += " Either of them suffices." if len(first.together) == 1 else " Any one of them suffices."
        others = [cause.label for cause in causes[1:] if cause.label not in first.together]
        return text + (f" It also needed {', '.join(others)}." if others else "")

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """Return the summary and each step that was tested, strongest first, for notebooks."""
        level = 1 - self.confidence
        parts = [
            PartEffect(
                step.label, step.text, str(self.control), str(step.without), step.effect, step.low, step.high,
                stands_out=step.stands_out(level),
            )
            for step in self.steps
            if step.without.n
        ]  # fmt: skip
        heads = ("Step", "Same with it", "Same without it", f"Effect, {self.confidence:.0%} bounds")
        chain = [" ← ".join(self.chain)] if self.chain else []
        return render_part_effects(heads, parts, self.summary(), [*chain, *self.notes])
