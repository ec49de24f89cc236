"""Two instrumentations that describe one model call, a span of one inside a span of the other: tokens count once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

_MOST = 10_000


class _Inner(NamedTuple):
    span_id: str
    start_ns: int
    end_ns: int
    paid: bool
    """Whether its cost is known."""


class Repeats:
    """Knows the model calls that ended lately by their parents, at most `_MOST`; spans inside end first."""

    def __init__(self) -> None:
        self._inner: OrderedDict[tuple[Any, ...], _Inner] = OrderedDict()

    def counted_once(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return the call of a span; as a `chain` without tokens where the span inside it told the same model call.

        The same are two of equal model, input and output tokens, one the parent of the other, at overlapping times.
        What our own exporter sent stays as it was.
        """
        usage = call.get("usage") or {}
        tokens = usage.get("input_tokens"), usage.get("output_tokens")
        if call.get("kind") != "llm" or None in tokens or "otel" not in (call.get("metadata") or ()):
            return call
        told = (call["trace_id"], call.get("model"), *tokens)
        inner = self._inner.get((call["span_id"], *told))
        if inner is None or not _overlap(inner, call):
            self._keep((call["parent_id"], *told), _inner(call))
            return call
        self._keep((call["parent_id"], *told), inner)
        return _without_counts(call, inner)

    def _keep(self, key: tuple[Any, ...], inner: _Inner) -> None:
        if key[0] is None:
            return
        self._inner[key] = inner
        if len(self._inner) > _MOST:
            self._inner.popitem(last=False)


def _inner(call: Mapping[str, Any]) -> _Inner:
    return _Inner(call["span_id"], call["start_ns"], call["end_ns"], call.get("cost_usd") is not None)


def _overlap(inner: _Inner, call: Mapping[str, Any]) -> bool:
    return bool(inner.start_ns <= call["end_ns"] and call["start_ns"] <= inner.end_ns)


def _without_counts(call: Mapping[str, Any], inner: _Inner) -> dict[str, Any]:
    counted = ("usage", "cost_usd") if inner.paid else ("usage",)
    kept = {name: value for name, value in call.items() if name not in counted}
    return {**kept, "kind": "chain", "metadata": {**call["metadata"], "repeats": inner.span_id}}
