"""Notice that values are no longer like those before, with a stated rate of false alarms, value by value.

While nothing changes, the rank of each value among all before it is drawn evenly, whatever the values'
distribution, and ranks do not depend on each other (conformal prediction). Gamblers bet on where the ranks
will lie; one of each kind begins anew with every value, since nobody knows when the change comes
(Shiryaev-Roberts). What they own together exceeds c after c values on average at the earliest.

Source: Vovk, Nouretdinov & Gammerman 2021, Conformal testing in a nutshell, arXiv 2102.10439; Shin, Ramdas &
    Rinaldo 2024, E-detectors, New England Journal of Statistics in Data Science 2, 229-260.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_trace.statistics.floats import Floats

_TAILS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
_TAIL_STAKES = (0.1, 0.3)
_SLOPES = (0.3, 0.6, 0.9)
_MEMORY = 5000
"""Values among which the beginning of a change is looked for."""


@dataclass(frozen=True)
class LevelShift:
    """An alarm: values changed."""

    at: int
    """Position of the value that raised it, the first after the reference being 0."""
    since: int
    """Position at which the change most likely began."""
    direction: Literal["up", "down"]
    evidence: float
    """What the gamblers own together; alarms are raised from `values_per_false_alarm` on."""


class ShiftDetector:
    """Raises an alarm when values move up or down against those before.

    Args:
        reference: values of before, in any order; the more, the sooner a change is noticed.
        values_per_false_alarm: how many values pass on average, at least, until one comes though nothing
            changed.
        seed: of the order among equal values.
    """

    def __init__(
        self, reference: Iterable[float] = (), *, values_per_false_alarm: float = 10_000.0, seed: int = 0
    ) -> None:
        self.limit = values_per_false_alarm
        self.count = 0
        """Values observed."""
        self._sorted = sorted(reference)
        self._random = random.Random(seed)
        self._begin()

    def _begin(self) -> None:
        self._wealth = np.zeros(len(_SIGNS))  # of those who bet alike, whenever they began
        self._ranks: list[float] = []

    @property
    def evidence(self) -> float:
        """What the gamblers own together, 1 a value on average while nothing changes."""
        return float(self._wealth.mean())

    def observe(self, value: float, noise: float | None = None) -> LevelShift | None:
        """Return an alarm if this value raises one; watching begins anew after it.

        Args:
            value: the next one.
            noise: from 0 to 1, drawn evenly: its place among equal values, where the caller draws.
        """
        rank = self._rank(value, self._random.random() if noise is None else noise)
        self._ranks.append(rank)
        self._wealth = (self._wealth + 1.0) * compute_bets(rank)
        self.count += 1
        if self.evidence < self.limit:
            return None
        up = self._wealth[_SIGNS > 0].sum() > self._wealth[_SIGNS < 0].sum()
        shift = LevelShift(self.count - 1, self._find_beginning(), "up" if up else "down", self.evidence)
        self._begin()
        return shift

    def _find_beginning(self) -> int:
        """Return the value from which on the mean rank is farthest from one half, by its standard error."""
        latest = np.array(self._ranks[-_MEMORY:])[::-1]
        counts = np.arange(1, len(latest) + 1)
        moved = (latest - 0.5).cumsum()
        return self.count - 1 - int((moved**2 / counts).argmax())

    def _rank(self, value: float, noise: float) -> float:
        """Return the share of the values before that are smaller, with this one among its equals."""
        below, upto = bisect_left(self._sorted, value), bisect_right(self._sorted, value)
        insort(self._sorted, value)
        return (below + noise * (upto - below + 1)) / len(self._sorted)


def compute_bets(rank: float | Floats) -> Floats:
    """Return by what each gambler multiplies his stake at ranks from 0 to 1, (gamblers, ...); the mean over
    ranks is 1.
    """
    ranks = np.asarray(rank, dtype=float)
    least, slope, gain, above, below = (_over(column, ranks) for column in _GAMBLERS)
    return np.asarray(least + slope * ranks + gain * ((ranks > above) & (ranks < below)))


def _over(column: Floats, ranks: Floats) -> Floats:
    return column.reshape(-1, *[1] * ranks.ndim) if ranks.ndim else column


_STEPS = [(side, tail, stake) for side in (1, -1) for tail in _TAILS for stake in _TAIL_STAKES]
_LINEAR = [side * slope for side in (1, -1) for slope in _SLOPES]
_GAMBLERS = np.array(
    [
        (1 - stake, 0, stake / tail, *((1 - tail, np.inf) if side > 0 else (-np.inf, tail)))
        for side, tail, stake in _STEPS
    ]
    + [(1 - slope, 2 * slope, 0, 0, 0) for slope in _LINEAR]
).T
"""What a gambler has left at rank 0, what each rank adds, and what he wins between two ranks."""
_SIGNS = np.sign([*(side for side, _, _ in _STEPS), *_LINEAR])
