"""What a guard weighed before a tool ran, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.rendering.shapes import ShownCall


@dataclass(frozen=True)
class GuardNote:
    """What became of a guarded tool's call."""

    outcome: str
    """`allowed`, `blocked`, or what was answered where somebody was asked: `asked about, blocked`."""
    objected: bool
    """Whether the guard did not let the tool run by itself."""
    sentence: str | None
    """Of outside text, that did most; `None` where the call does not rest on outside text."""
    about_sentence: str
    """Whose words it is, and what it did."""
    weights: str
    """What the call loses without outside text and without the user's words, or why that is not known."""
    decided_by: str | None
    """The call of the model that asked for the tool."""

    @property
    def text(self) -> str:
        """All of it in one line."""
        sentence = f": {self.sentence!r} {self.about_sentence}" if self.sentence is not None else ""
        return f"{self.outcome}{sentence}; {self.weights}"


def describe_guard(call: ShownCall) -> GuardNote | None:
    """Return what the guard of a tool noted with its call; `None` where it had none."""
    finding = call.metadata.get("guard")
    if not isinstance(finding, Mapping) or finding.get("action") not in ("allow", "block"):
        return None
    outcome = "blocked" if finding["action"] == "block" else "allowed"
    sentence, failure, asked = finding.get("sentence"), finding.get("failure"), bool(finding.get("asked"))
    if finding.get("unanswered"):
        outcome += f" as nobody could be asked ({finding['unanswered']})"
    weights = f"without outside text it loses {_describe_weight(finding.get('outside'))}, without the user's "
    weights += f"words {_describe_weight(finding.get('user'))}"
    return GuardNote(
        outcome=f"asked about, {outcome}" if asked else outcome,
        objected=asked or finding["action"] == "block",
        sentence=None if sentence is None else str(sentence),
        about_sentence=f"({finding.get('origin')}) did most: {_describe_weight(finding)}",
        weights=weights if failure is None else f"not weighed, {failure}",
        decided_by=str(finding["decided_by"]) if finding.get("decided_by") else None,
    )


def _describe_weight(weight: Any) -> str:
    """Return a weight with its bounds, in nats."""
    numbers = [weight.get(name) for name in ("value", "low", "high")] if isinstance(weight, Mapping) else []
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        return "not known"
    value, low, high = numbers
    return f"{value:+.1f} nats ({low:+.1f} to {high:+.1f})"
