"""What a comparison found, as plain records that go to JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llm_trace.errors import NotFoundError
from llm_trace.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

Better = Literal["higher", "lower"]
MetricVerdict = Literal["better", "worse", "higher", "lower", "undecided", "same", "described"]
PairOutcome = Literal["worse", "better", "other", "all"]
"""Which pairs: those whose metric got worse or better, those with another answer, or all."""
DECIDED = ("better", "worse", "higher", "lower")


class Metric(Record):
    """One metric over the pairs."""

    name: str
    kind: Literal["yesno", "number", "description"]
    """`description`: how the outputs differ, which has no a and b to test."""
    better: Better | None = None
    """Which direction is good; `None` where that is a matter of taste."""
    n: int
    """Pairs that have it on both sides."""
    a: float
    """Mean over pairs; of repeats of one input the mean counts once."""
    b: float
    difference: float
    """b - a."""
    low: float | None = None
    """Bounds of the difference over inputs drawn as these were, at the comparison's confidence; one metric
    at a time. They allow for `missing`.
    """
    high: float | None = None
    p_value: float | None = None
    """Exact McNemar test for yes/no, else the larger of a sign-flip and a skewness-corrected t test."""
    q_value: float | None = None
    """Least share of false findings among metrics with a q-value up to this (Benjamini-Hochberg)."""
    effect: float | None = None
    """For yes/no the odds of a gain against a loss, else Cohen's d of the paired differences."""
    verdict: MetricVerdict
    """Decided only if q-value and bounds both exclude no difference; `higher` and `lower` where no
    direction is good; `same`: no pair differs.
    """
    further: int | None = None
    """Undecided: further pairs that would decide a difference such as this in four of five studies, with
    as many metrics to correct for.
    """
    missing: tuple[int, int] = (0, 0)
    """Pairs that have it in a only, and in b only; calls that were begun and not finished count. Undecided
    without `further`: these could turn it.
    """
    worst: tuple[tuple[str, str], ...] = ()
    """Span ids in a and b of the pairs that lost the most."""


class Slice(Record):
    """The pairs that share a tag or a value."""

    name: str
    pairs: int
    metrics: tuple[Metric, ...]


class Loss(Record):
    """A pair that got worse."""

    metric: str
    a: str
    """Span id of the first call in a."""
    b: str
    before: float
    after: float
    input: str
    """The beginning of what was asked: of the last message, or of the arguments as JSON."""
    output_a: str
    """The beginning of the answer, of a failed call the exception's name."""
    output_b: str


class Unpaired(Record):
    """Calls without a partner, for one reason."""

    side: Literal["a", "b"]
    reason: str
    calls: int
    examples: tuple[str, ...]
    """Span ids."""


class ComparisonRecord(Record):
    """b against a, metric by metric."""

    a: str
    b: str
    paired_by: str
    pairs: int
    calls: tuple[int, int]
    """Calls of a and b that were to be paired."""
    metrics: tuple[Metric, ...]
    slices: tuple[Slice, ...] = ()
    """False findings are controlled over all metrics of all slices together."""
    losses: tuple[Loss, ...] = ()
    """The pairs that lost the most of each score, and of each other metric that got worse."""
    unpaired: tuple[Unpaired, ...] = ()
    tried: int = 1
    """Different comparisons made in this store on these inputs, this one included."""
    confidence: float = 0.95
    seed: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def metric(self, name: str, slice: str | None = None) -> Metric:  # noqa: A002  # the word of the field
        """Return a metric, of a slice where one is named.

        Raises:
            NotFoundError: there is none of that name; the message lists what there is.
        """
        metrics = self.metrics if slice is None else self._slice(slice).metrics
        metric = next((m for m in metrics if m.name == name), None)
        if metric is None:
            raise NotFoundError(
                f"no metric {name!r} was compared: there are {', '.join(m.name for m in metrics)}"
            )
        return metric

    def _slice(self, name: str) -> Slice:
        part = next((s for s in self.slices if s.name == name), None)
        if part is None:
            known = ", ".join(s.name for s in self.slices) or "none: name one by slices="
            raise NotFoundError(f"no slice {name!r} was compared: there are {known}")
        return part

    def rows(self) -> Iterator[tuple[str, Metric]]:
        """Give every metric with the name of its slice, empty for all pairs."""
        yield from (("", metric) for metric in self.metrics)
        for part in self.slices:
            yield from ((part.name, metric) for metric in part.metrics)
