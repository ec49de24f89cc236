"""What methods cost that do not ask their value function for masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from llm_trace.attribution.methods.registry import Method
    from llm_trace.attribution.models.open_value import OpenValue

EvaluationPrice = tuple[int, int]
"""Passes and tokens that go through the model; on the way back the prompt's tokens count again."""


@runtime_checkable
class PricedMethod(Protocol):
    """A method that `attach_price` has told its price."""

    price: Callable[[OpenValue], EvaluationPrice]


def attach_price(
    price: Callable[[OpenValue], EvaluationPrice],
) -> Callable[[Method], Method]:
    """Attach to a method that does not ask its value function for masks what it costs."""

    def mark(method: Method) -> Method:
        method.price = price  # type: ignore[attr-defined]
        return method

    return mark


def count_tokens(source: OpenValue) -> int:
    """Return the tokens of one pass over the whole prompt and the response."""
    assert source.work is not None
    return sum(len(source.work.owned().ids) + len(query.read) for query in source.goal.queries)
