"""What an optimization found: another template, and how it does on examples that it was not made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.comparison.iterations import Diff

OptimizationStatus = Literal["better", "worse", "undecided", "nothing"]


class Optimization(Record):
    """A template that was found by reflection. It is not applied."""

    prompt: str
    version: str
    """Of the template at hand."""
    template: str
    winner: str
    """The template that did best on the validation examples; the one at hand where none did better."""
    status: OptimizationStatus
    """Of the winner on the held-out examples, beyond chance; `nothing`: none was better in validation."""
    train: int
    """Examples that were reflected on."""
    validation: int
    """That the winner was chosen by."""
    held_out: int
    """That had no part in either."""
    tried: int
    """Templates beside the one at hand, the winner among them."""
    asked: int
    """Questions put to the model."""
    validation_gain: float
    """Of the mean grade in validation. The best of many looks better there than it is."""
    before: float | None
    """Mean grade of the template at hand on the held-out examples."""
    after: float | None
    gain: float | None
    low: float | None
    high: float | None
    """Bounds of the gain over examples such as these, corrected for the confirmations."""
    p_value: float | None
    """That there is no gain, corrected likewise."""
    confirmations: int
    """How many winners have been held against this version, with this one if there is one. The k-th is tested
    at the level divided by k(k + 1), so that all of them together claim too much no more often than one may.
    The templates that were tried did not see the held-out examples, so their number needs no correction.
    """
    confidence: float
    notes: tuple[str, ...]

    @property
    def diff(self) -> Diff:
        """The template against the winner, word by word."""
        from llm_trace.comparison.iterations import diff_templates

        return diff_templates(self.prompt, self.template, self.winner)

    def summary(self) -> str:
        """Return what was found in a sentence or two."""
        tried = f"{count_things(self.tried, 'other template')} of prompt {self.prompt!r}"
        if self.status == "nothing" or self.gain is None:
            return f"{tried} tried, none better on {count_things(self.validation, 'validation example')}."
        verdict = {
            "better": "is better", "worse": "is worse", "undecided": "is not told from the one at hand"
        }[self.status]  # fmt: skip
        bounds = "" if self.low is None or self.high is None else f" ({self.low:+.2f} to {self.high:+.2f})"
        return (
            f"{tried} tried; the best gained {self.validation_gain:+.2f} in validation. On {self.held_out:,} "
            f"untouched examples it gains {self.gain:+.2f}{bounds}: it {verdict}."
        )
