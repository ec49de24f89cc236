"""What `compare` returns: a record of the comparison with what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from llm_trace.comparison.changes import list_changes
from llm_trace.comparison.conditions import check_condition
from llm_trace.comparison.html import render_body, render_comparison_page
from llm_trace.comparison.records import ComparisonRecord, PairOutcome
from llm_trace.comparison.show import render_comparison, render_plain
from llm_trace.comparison.words import conclude, describe_costs, summarize
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.spool.private import open_private
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from llm_trace.comparison.answers import AnswerPair, OutcomeCount, PairsAtHand
    from llm_trace.comparison.changes import Change
    from llm_trace.comparison.shift import Shift


class Comparison(ComparisonRecord):
    """b against a by metric: `print` it; `answers`, `to_html`, `to_json`, `to_frame`, `fails`,
    `attribution`."""

    _pairs: PairsAtHand | None = PrivateAttr(default=None)

    def of_pairs(self, pairs: PairsAtHand) -> Comparison:
        """Remember the pairs, for `attribution` and `answers`; JSON does not keep them."""
        self._pairs = pairs
        return self

    def summary(self) -> str:
        """Return the finding in a few sentences."""
        return summarize(self)

    def conclusion(self) -> str:
        """Return for a layman whether b is better than a, how sure that is, and what it costs."""
        return " ".join(filter(None, (conclude(self), describe_costs(self))))

    def fails(self, condition: str) -> bool:
        """Return whether a condition holds: `"accuracy.low < -0.02"`, `"accuracy[late].verdict == worse"`.

        Raises:
            ConfigurationError: it cannot be read or judged.
            NotFoundError: the metric or slice was not compared.
        """
        return check_condition(condition, self)

    def attribution(self, *, model: Any, **settings: Any) -> Shift:
        """Return which words gained or lost weight from a to b; settings as for `shift.attribution_shift`.

        Raises:
            ConfigurationError: this comparison was read from JSON, so that its calls are not at hand.
        """
        from llm_trace.comparison.shift import measure_attribution_shift

        pairs = self._get_pairs()
        return measure_attribution_shift(pairs.address, pairs.spans, model=model, **settings)

    def recorded_shift(self) -> Shift | None:
        """Return which words weigh otherwise in b, by the attributions that the store has of both sides' own
        answers; `None` where no pair has them on both sides.

        Raises:
            ConfigurationError: this comparison was read from JSON, so that its calls are not at hand.
        """
        from llm_trace.comparison.shift import measure_recorded_shift

        pairs = self._get_pairs()
        return measure_recorded_shift(pairs.address, pairs.spans, confidence=self.confidence, seed=self.seed)

    def changes(self) -> list[Change]:
        """Return what differs between the calls of a and b: prompts, system messages, models.

        Raises:
            ConfigurationError: this comparison was read from JSON, so that its calls are not at hand.
        """
        pairs = self._get_pairs()
        with open_store(pairs.address) as opened:
            return list_changes(opened, pairs.spans)

    def count_pairs(self, outcome: PairOutcome, slice: str | None = None) -> int:  # noqa: A002  # as above
        """Return how many pairs `answers` would give.

        Raises:
            NotFoundError: the slice was not compared.
            ConfigurationError: this comparison was read from JSON, so that its pairs are not at hand.
        """
        return len(self._get_pairs().choose(outcome, None, slice))

    def outcomes(self, slice: str | None = None) -> list[OutcomeCount]:  # noqa: A002  # the word of the field
        """Return of each metric how many pairs got worse and better, of a slice where one is named.

        Raises:
            NotFoundError: the slice was not compared.
            ConfigurationError: this comparison was read from JSON, so that its pairs are not at hand.
        """
        return self._get_pairs().count_outcomes(slice)

    def answers(
        self,
        outcome: PairOutcome = "all",
        *,
        metric: str | None = None,
        slice: str | None = None,  # noqa: A002  # the word of the field
        limit: int | None = None,
        offset: int = 0,
    ) -> list[AnswerPair]:
        """Return pairs with what was asked and answered.

        Args:
            outcome: the pairs whose `metric` got `worse` or `better`, the largest change first; those with an
                `other` answer; or `all`.
            slice: only the pairs of this slice.

        Raises:
            NotFoundError: the metric or slice was not compared.
            ConfigurationError: this comparison was read from JSON, so that its calls are not at hand.
        """
        pairs = self._get_pairs()
        numbers = pairs.choose(outcome, metric, slice)
        end = None if limit is None else offset + limit
        with open_store(pairs.address) as opened:
            return pairs.read(opened, numbers[offset:end])

    def _get_pairs(self) -> PairsAtHand:
        if self._pairs is None:
            raise ConfigurationError(
                "this comparison does not know its calls: make it again with llm_trace.compare(…)"
            )
        return self._pairs

    def to_json(self) -> str:
        """Return it as JSON; the same comparison gives the same bytes."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Comparison:
        """Return what `to_json` was called on, without its calls."""
        return cls.model_validate_json(text)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a page that stands alone, and write it to a file where one is named."""
        text = render_comparison_page(self)
        if path is not None:
            with open_private(Path(path), "w", encoding="utf-8") as file:
                file.write(text)
        return text

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each metric; the column `slice` is empty for all pairs."""
        try:
            import pandas as pd
        except ImportError as exc:
            raise MissingExtraError("pandas is not installed: pip install 'llm-trace[dataframe]'") from exc
        return pd.DataFrame([{"slice": name, **metric.model_dump()} for name, metric in self.rows()])

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield render_comparison(self, options.max_width)

    def __str__(self) -> str:
        return render_plain(self)

    def _repr_html_(self) -> str:
        return render_body(self)
