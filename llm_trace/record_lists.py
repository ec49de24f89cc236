"""Lists of records, as the store gives them: lists like any other, shown by notebooks as tables or trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeVar, overload

from llm_trace.errors import MissingExtraError
from llm_trace.record import Attribution, Call, PromptVersion, Record, Run, Score
from llm_trace.rendering.pages import render_fragment

if TYPE_CHECKING:
    from llm_trace.rendering.elements import Content

R = TypeVar("R", bound=Record)


class Records(list[R]):
    """A list of records; a slice of it is one too."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> R: ...

    @overload
    def __getitem__(self, index: slice, /) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> R | Self:
        return (
            type(self)(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)
        )

    def copy(self) -> Self:
        """Return another list of the same records."""
        return type(self)(self)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each record and a column for each field.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as exc:
            raise MissingExtraError("pandas is not installed: pip install 'llm-trace[dataframe]'") from exc
        return pd.DataFrame([record.model_dump() for record in self])

    def _repr_html_(self) -> str:
        """Return it for notebooks."""
        return render_fragment(self._render())

    def _render(self) -> Content:
        raise NotImplementedError


class Calls(Records[Call]):
    """Calls: a table."""

    def _render(self) -> Content:
        from llm_trace.rendering.calls_html import render_calls

        return render_calls(self)


class Trace(Records[Call]):
    """The calls of a trace: a tree over time."""

    def _render(self) -> Content:
        from llm_trace.rendering.calls_html import render_trace

        return render_trace(self)


class Runs(Records[Run]):
    """Runs: a table."""

    def _render(self) -> Content:
        from llm_trace.rendering.record_html import render_runs

        return render_runs(self)


class PromptVersions(Records[PromptVersion]):
    """Versions of prompts, each with what is new in it."""

    def _render(self) -> Content:
        from llm_trace.rendering.record_html import render_prompts

        return render_prompts(self)


class Attributions(Records[Attribution]):
    """Attributions, one below the other."""

    def _render(self) -> Content:
        from llm_trace.rendering.attribution_html import render_attributions

        return render_attributions(self)


class ScoreRecords(Records[Score]):
    """Scores: a table."""

    def _render(self) -> Content:
        from llm_trace.rendering.record_html import render_scores

        return render_scores(self)
