"""What `compare` returns: a record of the comparison with what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from llm_trace.comparison.conditions import check_condition
from llm_trace.comparison.html import render_body, render_comparison_page
from llm_trace.comparison.records import ComparisonRecord
from llm_trace.comparison.show import render_comparison, render_plain
from llm_trace.comparison.words import summarize
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from llm_trace.comparison.shift import Shift


class Comparison(ComparisonRecord):
    """b against a by metric: `print` it; `to_html`, `to_json`, `to_frame`, `fails`, `attribution`."""

    _store: Path | None = PrivateAttr(default=None)
    _spans: tuple[tuple[str, str], ...] = PrivateAttr(default=())

    def of_calls(self, store: Path, spans: tuple[tuple[str, str], ...]) -> Comparison:
        """Remember where the calls are, for `attribution`; JSON does not keep it."""
        self._store, self._spans = store, spans
        return self

    def summary(self) -> str:
        """Return the finding in a few sentences."""
        return summarize(self)

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
