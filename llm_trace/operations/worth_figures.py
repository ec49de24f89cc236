"""One figure of what operating with explanations is worth, and what it rests on."""

from __future__ import annotations

from typing import Literal

from llm_trace.record import Record
from llm_trace.rendering import formatting

Topic = Literal["fixing", "errors", "savings", "reviewing"]
TOPICS: dict[Topic, str] = {
    "fixing": "From failure to fix",
    "errors": "Errors prevented",
    "savings": "Saved",
    "reviewing": "Reviewers",
}
"""What the topics are called."""
FigureUnit = Literal["seconds", "calls", "tokens", "usd", "share", "points", "alpha"]
"""`share`: 0 to 1; `points`: a difference of shares, as 0.1 for ten points."""


class Figure(Record):
    """A number with bounds, or why it is not known."""

    topic: Topic
    name: str
    value: float | None
    """`None` where it is not known, never 0."""
    low: float | None = None
    high: float | None = None
    unit: FigureUnit
    n: int
    """How many things it rests on."""
    words: str
    """What it rests on; where it is not known why, and what would make it known."""

    @property
    def shown(self) -> str:
        """The number for people, with its bounds."""
        if self.value is None:
            return "not known"
        text = self._format(self.value)
        if self.low is None or self.high is None:
            return text
        return f"{text} ({self._format(self.low)} to {self._format(self.high)})"

    def _format(self, value: float) -> str:
        match self.unit:
            case "seconds":
                sign = "-" if value < 0 else ""
                return sign + formatting.format_duration(round(abs(value) * 1e9))
            case "usd":
                return formatting.format_cost(value)
            case "share":
                return f"{100 * value:.1f} %"
            case "points":
                return f"{100 * value:+.1f} points"
            case "alpha":
                return f"{value:.2f}"
            case _:
                return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:,.1f}"


def leave_unknown(topic: Topic, name: str, unit: FigureUnit, words: str, n: int = 0) -> Figure:
    """Return a figure that is not known, with the reason and the remedy."""
    return Figure(topic=topic, name=name, value=None, unit=unit, n=n, words=words)
