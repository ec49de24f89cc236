"""What the address of a comparison asks for: two sides, how they pair, and which of their pairs are shown."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, get_args
from urllib.parse import urlencode

from llm_trace.comparison.records import PairOutcome
from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_trace.comparison.comparison import Comparison
    from llm_trace.stores.duckdb import Store

_KEPT = 4
"""Comparisons that are kept: filtering their pairs does not compare again."""


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
        from llm_trace.comparison.api import compare

        state = store.path.stat()
        key = (str(store.path), state.st_mtime_ns, state.st_size, self.a, self.b, self.by, self.slices)
        with _LOCK:
            comparison = _COMPARISONS.pop(key, None)
            if comparison is None:
                places = tuple(filter(None, map(str.strip, self.slices.split(",")))) or ("tag",)
                comparison = compare(self.a, self.b, store=store, by=self.by or None, slices=places)
            _COMPARISONS[key] = comparison
            while len(_COMPARISONS) > _KEPT:
                del _COMPARISONS[next(iter(_COMPARISONS))]
        return comparison


_TEXTS = ("a", "b", "by", "slices", "slice", "metric", "show")
_COMPARISONS: dict[tuple[Any, ...], Comparison] = {}
_LOCK = threading.Lock()
