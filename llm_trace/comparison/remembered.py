"""Comparisons that are kept for as long as the store is the same: who pages through pairs compares once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llm_trace.bounded_dict import BoundedDict
from llm_trace.comparison.api import compare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.comparison import Comparison
    from llm_trace.comparison.sides import Spec
    from llm_trace.stores.duckdb import Store

_KEPT = 4
"""Comparisons that are kept, of all stores."""
_COMPARISONS = BoundedDict[tuple[Any, ...], "Comparison"](_KEPT)
_LOCK = threading.Lock()


def compare_once(
    store: Store,
    a: Spec,
    b: Spec,
    *,
    by: str | None = None,
    metrics: Sequence[str] | None = None,
    slices: Sequence[str] = ("tag",),
    lower: Sequence[str] = (),
) -> Comparison:
    """Return what `compare` does, made anew only when the store has changed.

    Raises:
        NotFoundError: a side does not exist, or no call of a has a partner in b.
        ConfigurationError: an argument that cannot be meant.
    """
    chosen = None if metrics is None else tuple(metrics)
    key = (store.address, store.read_state(), a, b, by, chosen, tuple(slices), tuple(lower))
    with _LOCK:
        comparison = _COMPARISONS.pop(key, None)
        if comparison is None:
            comparison = compare(a, b, store=store, by=by, metrics=metrics, slices=slices, lower=lower)
        _COMPARISONS[key] = comparison
    return comparison
