"""What a bisection found: the hunks to blame, how sure that is, and what it cost."""

from __future__ import annotations

from typing import Literal

from llm_trace.causes.bisect_beliefs import Relation
from llm_trace.causes.bisect_splits import Hunk
from llm_trace.record import Record
from llm_trace.rendering.formatting import format_cost
from llm_trace.rendering.part_effects import PartEffect, render_part_effects

BisectStatus = Literal["found", "nothing", "undecided"]
"""`found`: hunks are proved to be to blame; `nothing`: b is not worse than a, or not again; `undecided`: the
answers that were paid for do not say.
"""


class BlamedHunk(Record):
    """A hunk that broke the answers, and what proves it."""

    hunk: Hunk
    number: int
    """Its place in `change`, from 1; of words, in the hunk."""
    loss_with: float
    """Mean share of the loss from a to b, 0 to 1, of answers with it."""
    loss_without: float
    """The same of answers without it."""
    low: float
    """Bounds of the difference; each is right with `confidence` over the whole search, however often one
    looked.
    """
    high: float
    answers: int
    """With it; there are as many without it."""

    @property
    def difference(self) -> float:
        """By how much the hunk raises the loss."""
        return self.loss_with - self.loss_without


class Bisection(Record):
    """Which hunks of the change from a to b broke the answers."""

    a: str
    b: str
    status: BisectStatus
    relation: Relation | None = None
    """`alone`; `together`: neither breaks them without the other; `either`: each of two does so alone;
    `none`: b itself does not show the loss again; `None` where it is not decided.
    """
    hunks: tuple[BlamedHunk, ...] = ()
    """To blame; of two that break it `together` what each adds to the other."""
    words: tuple[BlamedHunk, ...] = ()
    """Inside the hunks to blame, where asked."""
    change: tuple[Hunk, ...] = ()
    """All hunks."""
    probabilities: tuple[float, ...] = ()
    """That each hunk has a part in it, by the answers so far."""
    inputs: int
    """Recorded inputs whose answers are known on both sides."""
    worse: int
    """Of these where b is worse, 64 at most: they are asked again."""
    difference: float | None = None
    """Mean grade of b less that of a over the inputs, with its bounds; `None` where they do not say it."""
    low: float | None = None
    high: float | None = None
    asked: int = 0
    """Inputs asked again."""
    calls: int = 0
    """Model, tool and similar calls that ran for real."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """`None` where it is not known."""
    confidence: float
    run: str | None = None
    """Id of the run that the questions belong to."""
    explained: int = 0
    """Attributions that the order of the search rests on."""
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return what was found in a sentence or two."""
        return f"{self._describe_finding()} {self.describe_cost()}"

    def _describe_finding(self) -> str:
        texts = " and ".join(repr(blamed.hunk.describe()) for blamed in self.hunks)
        if self.status == "found" and self.relation == "alone":
            return f"One hunk of {len(self.change)} broke it: {texts}."
        if self.status == "found":
            how = "only together" if self.relation == "together" else "each by itself"
            return f"Two hunks of {len(self.change)} broke it, {how}: {texts}."
        if self.status == "undecided":
            top = max(range(len(self.change)), key=self.probabilities.__getitem__)
            return (
                f"Undecided: the answers so far do not prove which hunk broke it; most suspected "
                f"({self.probabilities[top]:.0%}) is {self.change[top].describe()!r}."
            )
        return f"Nothing to find: {self._describe_nothing()}."

    def _describe_nothing(self) -> str:
        bounds = ""
        if self.low is not None and self.high is not None:
            bounds = f" (difference {self.difference:+.3g}, {self.low:+.3g} to {self.high:+.3g})"
        where = f"{self.inputs:,} recorded inputs{bounds}"
        if self.relation == "none":
            return f"on the {self.worse:,} of {where} where b was worse than a, it is not so again"
        return f"b is worse than a on none of {where}"

    def describe_cost(self) -> str:
        """Return what the answers cost."""
        if not self.asked:
            return "Nothing was asked."
        read, written = self.input_tokens, self.output_tokens
        tokens = "tokens not known" if read is None else f"{read + (written or 0):,} tokens"
        usd = "price not known" if self.cost_usd is None else format_cost(self.cost_usd)
        return f"It took {self.asked:,} answers, {self.calls:,} live calls, {tokens}, {usd}."

    def _repr_html_(self) -> str:
        """Return the summary and each hunk that is to blame, with its words, for notebooks."""
        parts = [
            PartEffect(
                f"{noun} {blamed.number}", blamed.hunk.describe(300), f"{blamed.loss_with:.2f}",
                f"{blamed.loss_without:.2f}", blamed.difference, blamed.low, blamed.high, stands_out=True,
            )
            for noun, hunks in (("Hunk", self.hunks), ("Words", self.words))
            for blamed in hunks
        ]  # fmt: skip
        heads = ("To blame", "Loss with it", "Loss without it", f"Difference, {self.confidence:.0%} bounds")
        return render_part_effects(heads, parts, self.summary(), self.notes)
