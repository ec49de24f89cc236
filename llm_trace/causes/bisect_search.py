"""Find what broke the answers: ask what tells the most, then prove what is believed on fresh answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.causes.bisect_beliefs import Beliefs, Relation, Suspect
from llm_trace.causes.bisect_splits import Applied
from llm_trace.statistics.anytime import bound_least_mean, compute_wealth

if TYPE_CHECKING:
    from llm_trace.statistics.floats import Floats

AskApplied = Callable[[Applied, int], float]
"""How much of the loss an input shows, 0 to 1, when these hunks are put into a."""
PROOF_FROM = 0.55
"""Probability of a suspect from which on it is put to the proof."""
_DROPPED_BELOW = 0.25
_FIRST_SHARE = 0.75
"""Of the level for the first proof; each further one gets a quarter of the one before."""
_NOT_SHOWN = 0.5
"""Share of the loss that b must show again to be looked into."""


class SpentError(Exception):
    """No further answer is paid for."""


@dataclass
class HunkContrast:
    """A hunk's effect: prompts with it against prompts without it, on the same inputs."""

    hunk: int | None
    """`None` for all hunks at once."""
    applied: Applied
    removed: Applied
    """The hunks that are put into a where this one is not."""
    level: float
    shown: list[tuple[float, float]] = field(default_factory=list)
    """Loss with and without it, by answer."""

    @property
    def differences(self) -> Floats:
        """With less without, -1 to 1, in the order of the answers."""
        return np.array([a - b for a, b in self.shown], dtype=float)

    @property
    def is_proved(self) -> bool:
        """Whether the mean difference is shown to be above 0, at any time."""
        return bool(self.shown) and bool(compute_wealth(self.differences + 1, 1.0)[-1] >= 1 / self.level)

    @property
    def is_absent(self) -> bool:
        """Whether less than half of the loss is shown to be there, at any time."""
        return self.bounds[1] < _NOT_SHOWN

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the mean difference; each is right with the level's confidence, however often one looks."""
        d, confidence = self.differences, 1 - self.level
        if not len(d):
            return -1.0, 1.0
        return bound_least_mean(d + 1, confidence) - 1, 1 - bound_least_mean(1 - d, confidence)


@dataclass(frozen=True)
class HunkSearchResult:
    """What a search came to."""

    relation: Relation | None
    """`None` where the answers did not decide it."""
    contrasts: tuple[HunkContrast, ...]
    """Proved of each hunk to blame; of `none` that of b against a."""
    asked: int
    probabilities: Floats
    """That each hunk has a part in it, as far as it is known."""


class HunkSearch:
    """Asks half-changed prompts until it is proved which hunks broke the answers.

    Args:
        ask: asks one.
        weights: (hunks,) how much each is suspected beforehand, above 0, in sum 1.
        inputs: how many there are; each question takes one at random.
        confidence: that whatever is blamed is rightly so, over the whole search.
        most: questions that are paid for.
        seed: of the order of inputs.
    """

    def __init__(
        self, ask: AskApplied, weights: Floats, inputs: int, *, confidence: float, most: int, seed: int
    ) -> None:
        self._ask = ask
        self._beliefs = Beliefs(weights)
        self._every = frozenset(range(len(weights)))
        self._inputs = inputs
        self._level = (1 - confidence) * _FIRST_SHARE
        self._most = most
        self._rng = np.random.default_rng(seed)
        self._asked = 0

    def run(self) -> HunkSearchResult:
        """Return what is proved, or how far it came."""
        try:
            while True:
                suspect, probability = self._beliefs.best
                if probability < PROOF_FROM:
                    self._look(self._beliefs.choose(), self._draw())
                    continue
                contrasts = self._list_contrasts(suspect)
                if self._prove(suspect, contrasts):
                    return self._conclude(suspect.relation, contrasts)
                self._level /= 4
        except SpentError:
            return self._conclude(None, ())

    def _conclude(self, relation: Relation | None, contrasts: Sequence[HunkContrast]) -> HunkSearchResult:
        beliefs = self._beliefs.compute_shares()
        return HunkSearchResult(relation, tuple(contrasts), self._asked, beliefs)

    def _prove(self, suspect: Suspect, contrasts: Sequence[HunkContrast]) -> bool:
        """Return whether what a suspect means is proved; `False` once it is hardly believed any more."""
        nothing = suspect.relation == "none"
        while True:
            left = [each for each in contrasts if not (each.is_absent if nothing else each.is_proved)]
            if not left:
                return True
            if self._beliefs.get_probability(suspect) < _DROPPED_BELOW:
                return False
            number, answers = self._draw(), dict[Applied, float]()
            for contrast in left:
                for applied in (contrast.applied, contrast.removed):
                    if applied not in answers:
                        answers[applied] = self._look(applied, number)
                contrast.shown.append((answers[contrast.applied], answers[contrast.removed]))

    def _list_contrasts(self, suspect: Suspect) -> list[HunkContrast]:
        hunks, every = frozenset(suspect.hunks), self._every
        if suspect.relation == "none":
            return [HunkContrast(None, every, frozenset(), self._level)]
        if suspect.relation == "either":
            return [HunkContrast(hunk, frozenset([hunk]), frozenset(), self._level) for hunk in suspect.hunks]
        return [HunkContrast(hunk, hunks, every - {hunk}, self._level) for hunk in suspect.hunks]

    def _draw(self) -> int:
        return int(self._rng.integers(self._inputs))

    def _look(self, applied: Applied, number: int) -> float:
        if self._asked >= self._most:
            raise SpentError
        loss = self._ask(applied, number)
        self._asked += 1
        self._beliefs.learn(applied, loss)
        return loss


def count_fewest_questions(confidence: float) -> int:
    """Return how many answers a proof takes at least: as many with the hunk as without it."""
    best = compute_wealth(np.full(1000, 2.0), 1.0) >= 1 / ((1 - confidence) * _FIRST_SHARE)
    return 2 * (int(best.argmax()) + 1)
