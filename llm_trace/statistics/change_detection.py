"""Has a stream of values changed? Evidence that holds however long one looks, and where the change lies.

The first values say how values are spread (and how far each resembles its neighbours). From then on each is
ranked among those since: while nothing changes, such ranks are independent and uniform whatever the values'
distribution is (values that are alike count with the mean of their ranks' worth), so a bet on them has a
known mean and no estimate can be wrong. The bets that began at each moment are summed up (Shiryaev and
Roberts): the sum grows by 1 a value on average, so that it reaches c within n values with probability n / c
at most, and after c values on average at the earliest. All that is assumed is that without a change the order
of values says nothing.

Source: Vovk, Gammerman & Shafer 2022, Algorithmic Learning in a Random World, chapter 8 (conformal ranks);
    Shin, Ramdas & Rinaldo 2023, E-detectors, New England Journal of Statistics in Data Science 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from llm_trace.statistics.floats import Floats

LEARN = 200
"""Values that are looked at before the ranks begin."""
SMALLEST = 0.05
"""Change of the mean that the most cautious bet is made for, on a scale of 0 to 1."""
_STEPS = 2.0 ** np.arange(4)
_BOLDEST = 0.95
"""Part of the highest stake that cannot lose all."""
_LARGEST_LOG = 600.0
_LEAST_LOG = np.log(100)
"""What a single bet must have won for an alarm."""
_REFITS = 5
_AT_ONCE = 256
_LONGEST = 64
"""Values of one block, at most."""
_FEWEST_BLOCKS = 25
_NOISE = 2.5
"""Standard errors of an autocorrelation that are taken for chance."""
_APART = 2.5
"""Length of a block over the time in which values forget those before them."""


@dataclass(frozen=True)
class LevelChange:
    """Where a stream changed, by positions since the detector began."""

    first: int
    """The first value after the change, as it is estimated."""
    noticed: int
    """The value at which the evidence sufficed."""
    rises: bool


class ChangeDetector:
    """Watches values one by one for a change of their level.

    Args:
        learn: how many values are looked at first.
        smallest: the change worth noticing, on a scale of 0 to 1; of ranks for values beyond that scale.
        ranked: of ranks for values within it too, such as seconds.
    """

    def __init__(self, *, learn: int = LEARN, smallest: float = SMALLEST, ranked: bool = False) -> None:
        self._ranked = ranked
        self._learn = learn
        self._smallest = smallest
        self._values = np.empty(0)
        self._bets: _Bets | None = None
        self._seen = np.empty(0)  # sorted
        self._done = 0
        """Values that have been bet on, or learnt from."""
        self.block = 1
        """How many values are taken together, since each resembles its neighbours."""

    @property
    def count(self) -> int:
        """How many values it has had."""
        return len(self._values)

    @property
    def is_learning(self) -> bool:
        """Whether there were too few values to begin."""
        return self._bets is None

    def feed(self, values: Floats, limit: float) -> LevelChange | None:
        """Return the change if the evidence has come to `limit`; values after it are not looked at.

        Args:
            values: (n,), none of them NaN.
            limit: 10,000 for one false alarm in 10,000 values at most.
        """
        self._values = np.concatenate([self._values, values])
        if self._bets is None:
            self._begin()
        if self._bets is None:
            return None
        while (blocks := self._take_blocks()) is not None:
            start = self._done - self.block * len(blocks)
            i = self._bets.place(*self._rank(blocks), limit / self.block)
            if i is not None:
                won = self._bets.find_best()
                return LevelChange(
                    start + self.block * (i - won.length + 1), start + self.block * (i + 1) - 1, won.rises
                )
        return None

    def _begin(self) -> None:
        """Learn from the first values; where neighbours resemble each other, from more of them."""
        while self._bets is None and self._learn <= len(self._values):
            first = self._values[: self._learn]
            self.block = choose_block(first)
            if self.block * _FEWEST_BLOCKS > self._learn:
                self._learn *= 2
                continue
            self._bets = _Bets.fit(_average(first, self.block), self._smallest, ranked=self._ranked)
            self._done = self._learn

    def _take_blocks(self) -> Floats | None:
        """Return the means of the next blocks; `None` where there is no whole one."""
        n = min(_AT_ONCE, (len(self._values) - self._done) // self.block)
        if n == 0:
            return None
        start, self._done = self._done, self._done + n * self.block
        return _average(self._values[start : self._done], self.block)

    def _rank(self, values: Floats) -> tuple[Floats, Floats]:
        """Return between which ranks each value lies among those before it and itself, 0 to 1."""
        earlier = np.tri(len(values), k=-1, dtype=bool)
        less = np.searchsorted(self._seen, values, "left")
        less = less + (np.less(values[None, :], values[:, None]) & earlier).sum(1)
        not_more = np.searchsorted(self._seen, values, "right")
        not_more = not_more + (np.less_equal(values[None, :], values[:, None]) & earlier).sum(1)
        count = len(self._seen) + np.arange(len(values)) + 1
        self._seen = np.sort(np.concatenate([self._seen, values]), kind="stable")
        return less / count, (not_more + 1) / count


@dataclass(frozen=True)
class _Win:
    length: int
    """Values since it began."""
    rises: bool


class _Bets:
    """Bets that ranks lie higher, and that they lie lower, than those of an unchanged stream.

    Args:
        levels: (m,) sorted, what a rank is worth: that of the part of the stream below it.
        smallest: the change that the most cautious bet is made for.
    """

    def __init__(self, levels: Floats, smallest: float) -> None:
        self._mean = float(levels.mean())
        self._integral = np.concatenate([[0.0], levels.cumsum() / len(levels)])
        steps = smallest * _STEPS
        wanted = steps / (levels.var() + steps**2)
        up, down = np.minimum(wanted, _BOLDEST / self._mean), np.minimum(wanted, _BOLDEST / (1 - self._mean))
        self._stakes = np.concatenate([up, -down])[:, None]  # (bets, 1)
        self._log_sums = np.full(len(self._stakes), -np.inf)
        """Logarithm of the sum of what the bets of each stake have, one begun at each value, (bets,)."""
        self._log_most = np.zeros(len(self._stakes))
        """Logarithm of what the one has that has won the most, or 0."""
        self._surprises: list[Floats] = []

    @classmethod
    def fit(cls, values: Floats, smallest: float, *, ranked: bool) -> _Bets:
        """Return bets for values spread like these."""
        ranked = ranked or not ((values >= 0) & (values <= 1)).all()
        spread = np.arange(1, len(values) + 1) / (len(values) + 1) if ranked else values
        return cls(np.sort(np.concatenate([[0.0], spread, [1.0]])), smallest)

    def place(self, low: Floats, high: Floats, limit: float) -> int | None:
        """Return with which value the evidence comes to the limit; `None` where it does not.

        Evidence from many bets of which none has won is no change but a long time: its sum begins anew then.

        Args:
            low, high: (n,), between which ranks each value lies, as one of several alike: it is worth the
                mean of what lies between.
            limit: of the evidence.
        """
        at = np.arange(len(self._integral)) / (len(self._integral) - 1)
        integral = np.interp(high, at, self._integral) - np.interp(low, at, self._integral)
        surprise, start = integral / (high - low) - self._mean, 0
        while start < len(surprise):
            gains = np.log1p(self._stakes * surprise[start:]).cumsum(axis=1)  # (bets, n)
            before = np.column_stack([np.zeros(len(gains)), gains[:, :-1]])
            sums = gains + np.logaddexp.accumulate(np.column_stack([self._log_sums, -before]), axis=1)[:, 1:]
            most = gains - np.minimum.accumulate(np.column_stack([-self._log_most, before]), axis=1)[:, 1:]
            over = np.flatnonzero(np.exp(np.minimum(sums, _LARGEST_LOG)).mean(axis=0) >= limit)
            end = int(over[0]) if len(over) else len(surprise) - start - 1
            self._log_sums, self._log_most = sums[:, end], most[:, end]
            self._surprises.append(surprise[start : start + end + 1])
            if len(over) and self._log_most.max() >= _LEAST_LOG:
                return start + end
            if len(over):
                self._log_sums = np.full(len(self._stakes), -np.inf)
            start += end + 1
        return None

    def find_best(self) -> _Win:
        """Return the bet that has won the most so far; when it began is refined by the size of the change."""
        surprise = np.concatenate(self._surprises)
        gains = np.log1p(self._stakes * surprise).cumsum(axis=1)
        before = np.column_stack([np.zeros(len(gains)), gains[:, :-1]])
        best = int((gains[:, -1] - before.min(axis=1)).argmax())
        begun = int(before[best].argmin())
        for _ in range(
            _REFITS
        ):  # the latest start from which all sums lie beyond half of the change (Page 1954)
            shift = float(surprise[begun:].mean())
            beyond = (surprise - shift / 2) * np.sign(shift)
            begun = int(np.concatenate([[0.0], beyond[:-1].cumsum()]).argmin())
        return _Win(len(surprise) - begun, bool(self._stakes[best, 0] > 0))


def _average(values: Floats, block: int) -> Floats:
    n = len(values) // block
    return np.asarray(values[: n * block].reshape(n, block).mean(axis=1))


def choose_block(values: Floats) -> int:
    """Return how many neighbours to take together, so that their means hardly depend on each other: 1 where
    values do not resemble those before them, at most 64.

    Ranks are compared, as a few very large values say little of the rest.
    """
    ranks = rankdata(values) - (len(values) + 1) / 2
    power = float(ranks @ ranks)
    if power == 0:
        return 1
    excess, level = 0.0, _NOISE / len(values) ** 0.5
    for lag in range(1, len(values) // 4):
        correlation = float(ranks[lag:] @ ranks[:-lag]) / power
        if correlation < level:
            break
        excess += 2 * correlation
    return int(min(_LONGEST, 2 ** np.ceil(np.log2(_APART * (1 + excess))))) if excess else 1
