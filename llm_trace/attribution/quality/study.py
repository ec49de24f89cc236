"""What a quality measure is given: the scores, their value function, and ways to explain again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Value, sum_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scored = Callable[[int], "NDArray[np.float64]"]
"""A seed to scores (n,): the same question asked again."""


@dataclass(frozen=True)
class Study:
    """An attribution under examination."""

    value: Value
    scores: NDArray[np.float64]
    """(n,)"""
    full: float
    seed: int = 0
    confidence: float = 0.95
    masks: tuple[str | float, ...] = ("half", "near")
    """Distributions of held-out masks, see `fidelity.held_out`."""
    count: int = 64
    """Masks of each distribution."""
    used: Callable[[NDArray[np.bool_]], NDArray[np.bool_]] | None = None
    """Which masks (k, n) the method has seen, (k,); `None` where that is not known any more."""
    again: Scored | None = None
    """The same method with another seed; `None` for methods that draw nothing."""
    randomised: Scored | None = None
    """The same method on the model with its weights shuffled."""
    gradients: Scored | None = None
    """A gradient method on the same question; `None` where the model gives no gradients."""

    @property
    def n(self) -> int:
        """Number of segments."""
        return len(self.scores)

    def totals(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the target's value for keep-masks (k, n), (k,)."""
        return sum_targets(self.value(masks))


Measure = Callable[[Study], dict[str, Any]]
"""A plug-in of `llm_trace.quality`: figures by name, JSON values only; empty where it does not apply."""
