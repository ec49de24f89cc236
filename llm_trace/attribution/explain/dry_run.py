"""What an attribution would cost: evaluations, tokens and seconds, before it is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.core.value import Budget, Metered
from llm_trace.attribution.methods import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Capability
    from llm_trace.attribution.models.open_value import OpenValue


def plan_attribution(
    source: OpenValue,
    n: int,
    method: str,
    target: str,
    budget: Budget | None,
    by: Callable[..., Any] | None = None,
    **settings: Any,
) -> Plan:
    """Return what a method would cost on this problem: it is run on made-up values, and its prompts are
    counted.

    Args:
        source: the value function.
        n: number of segments.
        method: its name.
        target: in words.
        budget: as for the attribution.
        by: what to run; else the method of that name.
        settings: confidence and seed.
    """
    found = by or registry.find_method(method)
    price = getattr(found, "price", None)
    if price is not None:
        passes, tokens = price(source)
    else:
        counted = _Counted(source)
        try:
            found(Metered(counted, budget=budget), n, **settings)
        except _EnoughError:
            pass
        passes, tokens = counted.passes, counted.tokens
    seconds = tokens * _time_token(source, n)
    return Plan(method, source.render.baseline, n, target, passes, tokens, seconds)


class _EnoughError(Exception):
    """A made-up game went on for too long."""


class _Counted:
    """A value function of made-up values: it counts the prompts that would go through the model."""

    _MOST = 200_000
    capabilities: frozenset[Capability] = frozenset(("inside",))
    unmasked = 0

    def __init__(self, source: OpenValue) -> None:
        self._real = source
        self.work, self.goal, self.render = source.work, source.goal, source.render
        self.passes = self.tokens = 0
        self._seen: set[tuple[int, ...]] = set()
        self._rng = np.random.default_rng(0)

    def remaining(self) -> int | None:
        """Return `None`: there is no limit."""
        return None

    def expect(self, evaluations: int) -> None:
        """Take no notice."""

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return made-up values."""
        return self(masks)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        fresh = [ids for ids in dict.fromkeys(self.render(masks)) if ids not in self._seen]
        self._seen.update(fresh)
        self.passes += len(fresh)
        self.tokens += self._real.price(fresh) if fresh else 0
        if self.passes > self._MOST:
            raise _EnoughError
        return np.asarray(self._rng.standard_normal(len(masks)) * len(masks[0]) + masks.sum(axis=1))


def _time_token(source: OpenValue, n: int) -> float:
    """Time one pass over the whole prompt, after one to warm up."""
    whole = np.ones((1, n), dtype=bool)
    forward = source.forward
    prompts = [source.render(whole)[0]]
    took, spent = 0.0, 0
    for _ in range(2):
        counted = [0]

        def tick(_: int, tokens: int, counted: list[int] = counted) -> None:
            counted[0] += tokens

        begin = time.perf_counter()
        for query in source.goal.queries:
            forward(prompts, query, tick)
        took, spent = time.perf_counter() - begin, counted[0]
    return took / max(1, spent)
