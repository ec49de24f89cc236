"""What a comparison found: records that go to JSON and back, and print as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PrivateAttr

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.record import Record
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from llm_trace.comparison.shift import Shift


Better = Literal["higher", "lower"]
MetricVerdict = Literal["better", "worse", "higher", "lower", "undecided", "same", "described"]
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
    """Exact McNemar test for yes/no, else the larger of a sign-flip test's and of Student's t corrected
    for skewness.
    """
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


class Comparison(Record):
    """b against a, metric by metric. `print` it, or see `to_html`, `to_json`, `to_frame`, `fails`,
    `attribution`.
    """

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
    _store: Path | None = PrivateAttr(default=None)
    _spans: tuple[tuple[str, str], ...] = PrivateAttr(default=())

    def of_calls(self, store: Path, spans: tuple[tuple[str, str], ...]) -> Comparison:
        """Remember where the calls are, for `attribution`; JSON does not keep it."""
        self._store, self._spans = store, spans
        return self

    def metric(self, name: str, slice: str | None = None) -> Metric:  # noqa: A002  # the word of the field
        """Return a metric, of a slice where one is named.

        Raises:
            NotFoundError: there is none of that name; the message lists what there is.
        """
        metrics = self.metrics if slice is None else self._slice(slice).metrics
        found = next((m for m in metrics if m.name == name), None)
        if found is None:
            raise NotFoundError(
                f"no metric {name!r} was compared: there are {', '.join(m.name for m in metrics)}"
            )
        return found

    def _slice(self, name: str) -> Slice:
        found = next((s for s in self.slices if s.name == name), None)
        if found is None:
            known = ", ".join(s.name for s in self.slices) or "none: name one by slices="
            raise NotFoundError(f"no slice {name!r} was compared: there are {known}")
        return found

    def rows(self) -> Iterator[tuple[str, Metric]]:
        """Give every metric with the name of its slice, empty for all pairs."""
        yield from (("", metric) for metric in self.metrics)
        for part in self.slices:
            yield from ((part.name, metric) for metric in part.metrics)

    def summary(self) -> str:
        """Return the finding in a few sentences."""
        from llm_trace.comparison.words import summarize

        return summarize(self)

    def fails(self, condition: str) -> bool:
        """Return whether a condition such as `"accuracy.low < -0.02"` or `"accuracy[late].verdict == worse"`
        holds.

        Raises:
            ConfigurationError: it cannot be read or judged.
            NotFoundError: the metric or slice was not compared.
        """
        from llm_trace.comparison.conditions import check_condition

        return check_condition(condition, self)

    def attribution(self, *, model: Any, **settings: Any) -> Shift:
        """Return which words gained or lost weight from a to b; see `shift.attribution_shift` for the
        settings.

        Raises:
            ConfigurationError: this comparison was read from JSON, so that its calls are not at hand.
        """
        from llm_trace.comparison.shift import measure_attribution_shift

        if self._store is None:
            raise ConfigurationError(
                "this comparison does not know its calls: make it again with llm_trace.compare(…)"
            )
        return measure_attribution_shift(self._store, self._spans, model=model, **settings)

    def to_json(self) -> str:
        """Return it as JSON; the same comparison gives the same bytes."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Comparison:
        """Return what `to_json` was called on, without its calls."""
        return cls.model_validate_json(text)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a page that stands alone, and write it to a file where one is named."""
        from llm_trace.comparison.html import render_page

        text = render_page(self)
        if path is not None:
            with open_private(Path(path), "w", encoding="utf-8") as file:
                file.write(text)
        return text

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each metric; the column `slice` is empty for all pairs."""
        from llm_trace.errors import MissingExtraError

        try:
            import pandas as pd
        except ImportError as exc:
            raise MissingExtraError("pandas is not installed: pip install 'llm-trace[dataframe]'") from exc
        return pd.DataFrame([{"slice": name, **metric.model_dump()} for name, metric in self.rows()])

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from llm_trace.comparison.show import render_comparison

        yield render_comparison(self, options.max_width)

    def __str__(self) -> str:
        from llm_trace.comparison.show import render_plain

        return render_plain(self)

    def _repr_html_(self) -> str:
        from llm_trace.comparison.html import render_body

        return render_body(self)
