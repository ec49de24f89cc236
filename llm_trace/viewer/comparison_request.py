"""What the address of a comparison asks for: two sides, how they pair, and which of their pairs are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, get_args
from urllib.parse import urlencode

from llm_trace.comparison.records import PairOutcome
from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_trace.comparison.comparison import Comparison
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class ComparisonRequest:
    """Two sides and which of their pairs are shown."""

    a: str = ""
    b: str = ""
    by: str = ""
    slices: str = ""
    """Places to slice by, separated by commas."""
    slice: str = ""
    """Only the pairs of this one."""
    metric: str = ""
    show: str = ""
    """An outcome; where none is named, the page chooses what got worse first."""
    begin: int = 0

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Return what an address asks for.

        Raises:
            ConfigurationError: it names an outcome that is none.
        """
        texts = {name: query.get(name, "").strip() for name in _TEXTS}
        if texts["show"] not in ("", *get_args(PairOutcome)):
            raise ConfigurationError(f"show {texts['show']!r} is none of {', '.join(get_args(PairOutcome))}")
        begin = query.get("begin", "")
        return cls(**texts, begin=int(begin[:9]) if begin.isdecimal() else 0)

    def link(self, **changes: Any) -> str:
        """Return the address with something changed; without a word of where to begin, from the beginning."""
        wanted = replace(self, **{"begin": 0, **changes})
        fields = {name: getattr(wanted, name) for name in (*_TEXTS, "begin")}
        return "/compare?" + urlencode({name: value for name, value in fields.items() if value})

    def compare(self, store: Store) -> Comparison:
        """Return the comparison, made anew when the store has changed."""
        from llm_trace.comparison.remembered import compare_once

        places = tuple(filter(None, map(str.strip, self.slices.split(",")))) or ("tag",)
        return compare_once(store, self.a, self.b, by=self.by or None, slices=places)


_TEXTS = ("a", "b", "by", "slices", "slice", "metric", "show")
