"""What a diet found: which parts can go, what they cost, and what their absence costs at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llm_trace.operations.diet_cases import PartKind
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things, format_cost

if TYPE_CHECKING:
    from llm_trace.comparison.iterations import Diff

PartVerdict = Literal["removed", "unconfirmed", "proposed", "kept"]
"""`removed`: can go, together with all others so marked; `unconfirmed`: went well where it was chosen, and
the held-out calls do not prove it; `proposed`: never mattered, and no model was asked; `kept`: all others.
"""
DietStatus = Literal["confirmed", "unconfirmed", "proposed", "nothing"]


class DietPart(Record):
    """A part of a prompt."""

    kind: PartKind
    name: str
    """Its text; of a variable, document or tool its name."""
    verdict: PartVerdict
    why: str
    calls: int
    """That have it."""
    examined: int
    """Calls whose attribution, or of a tool whose answer, says whether it mattered."""
    mattered: int
    tokens: float | None
    """Mean input tokens of a call, by its share of the characters; `None` where no call reports tokens."""
    tokens_per_month: float | None
    usd_per_month: float | None
    """`None` where the price of the model is not known."""


class Diet(Record):
    """A shorter prompt, what it saves, and what is known of its cost. It is not applied."""

    prompt: str
    version: str
    """Of the template at hand."""
    template: str
    shorter: str
    """The template without what can go; without what is proposed, where nothing is confirmed."""
    status: DietStatus
    """`confirmed`: the held-out calls prove that the loss is below the margin; `unconfirmed`: they do not;
    `proposed`: no model was asked; `nothing`: there is nothing to take away.
    """
    parts: tuple[DietPart, ...]
    """Those that may go first, then the largest."""
    calls: int
    """Distinct prompts that it rests on."""
    left_out: int
    """Calls whose prompt does not hold the template as it is, or was masked."""
    chosen_on: int
    """Calls that the parts were chosen on."""
    confirmed_on: int
    """Calls that had no part in that; 0 where no model was asked."""
    asked: int
    """Questions put to the model."""
    margin: float
    confidence: float
    before: float | None
    """Mean grade of the answers to whole prompts on the held-out calls."""
    loss: float | None
    """By how much the mean grade falls; negative where it rises."""
    loss_high: float | None
    """Bound of the loss, one-sided, over calls such as these."""
    needed: int | None
    """Held-out calls that prove it where no answer changes."""
    tokens: float | None
    """Mean input tokens of a call as it is."""
    saved_tokens: float | None
    """Of these, what goes."""
    calls_per_month: float
    """As the store has seen them."""
    days: float
    """Days that this rests on, at least one."""
    saved_tokens_per_month: float | None
    saved_usd_per_month: float | None
    notes: tuple[str, ...]

    @property
    def removed(self) -> tuple[DietPart, ...]:
        """What can go, or is proposed."""
        return tuple(part for part in self.parts if part.verdict == _VERDICTS[self.status])

    @property
    def diff(self) -> Diff:
        """The template against the shorter one, word by word."""
        from llm_trace.comparison.iterations import diff_templates

        return diff_templates(self.prompt, self.template, self.shorter)

    def summary(self) -> str:
        """Return what was found in a sentence or two."""
        if self.status == "nothing":
            return f"Nothing can go from prompt {self.prompt!r}: {self._describe_basis()}."
        share = "" if not self.tokens or self.saved_tokens is None else self._describe_savings()
        return f"{self._describe_parts()}{share}. {self._describe_loss()}"

    def _describe_basis(self) -> str:
        if self.asked:
            return f"on {count_things(self.chosen_on, 'call')} no part is without effect on the answers"
        examined = max((part.examined for part in self.parts), default=0)
        return f"no part never mattered over enough explained calls ({examined:,} at most)"

    def _describe_parts(self) -> str:
        verb = {"confirmed": "can go", "unconfirmed": "may be able to go"}.get(self.status, "never mattered")
        return (
            f"{len(self.removed)} of {count_things(len(self.parts), 'part')} of prompt {self.prompt!r} {verb}"
        )

    def _describe_savings(self) -> str:
        tokens, saved = self.tokens or 1.0, self.saved_tokens or 0.0
        usd = self.saved_usd_per_month
        price = "at an unknown price" if usd is None else format_cost(usd)
        return (
            f": about {saved:,.0f} of {tokens:,.0f} tokens a call ({saved / tokens:.0%}), "
            f"{self.saved_tokens_per_month or 0:,.0f} a month, {price}"
        )

    def _describe_loss(self) -> str:
        if self.loss is None:
            return "No model was asked what its answers are without them."
        bound = "no bound" if self.loss_high is None else f"at most {100 * self.loss_high:.2g}"
        verdict = (
            f"below the margin of {100 * self.margin:g}"
            if self.status == "confirmed"
            else f"not proved to be below the margin of {100 * self.margin:g}"
        )
        return (
            f"On {count_things(self.confirmed_on, 'held-out call')} the loss is {100 * self.loss:.2g} "
            f"points ({bound}, confidence {self.confidence:.0%}), {verdict}."
        )


_VERDICTS: dict[DietStatus, PartVerdict] = {
    "confirmed": "removed", "unconfirmed": "unconfirmed", "proposed": "proposed", "nothing": "removed"
}  # fmt: skip
