"""What is believed of hunks while a bisection asks: which of them, alone or in twos, breaks the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from llm_trace.causes.bisect_splits import Applied
    from llm_trace.statistics.floats import Floats

Relation = Literal["alone", "together", "either", "none"]
"""How hunks break the answers: one `alone`; two only `together`; `either` of two; `none`: not even all."""
_PRIOR: dict[Relation, float] = {"alone": 0.75, "together": 0.12, "either": 0.04, "none": 0.09}
_RATES = np.array(
    [
        (fine, broken)
        for fine in (0.02, 0.08, 0.2, 0.35, 0.5)
        for broken in (0.3, 0.5, 0.7, 0.85, 0.97)
        if broken - fine >= 0.15
    ]
)
"""How much of the loss prompts may show that are fine, and that are broken."""
_TRIED_ALONE = 6


@dataclass(frozen=True)
class Suspect:
    """Hunks that may break the answers, and how."""

    relation: Relation
    hunks: tuple[int, ...]


class Beliefs:
    """Probabilities of the suspects, from what the answers so far showed.

    Args:
        weights: (hunks,) how much each is suspected before anything is asked, above 0, in sum 1.

    Source: Wang et al. 2021, Probabilistic delta debugging, ESEC/FSE; here with suspects of two hunks, and
        with rates of noise that are not known beforehand.
    """

    def __init__(self, weights: Floats) -> None:
        self._count = len(weights)
        self.suspects = list(_list_suspects(self._count))
        self._members = np.zeros((len(self.suspects), self._count))
        for row, suspect in enumerate(self.suspects):
            self._members[row, list(suspect.hunks)] = 1
        self._needed = np.array([_count_needed(suspect) for suspect in self.suspects])
        prior = np.array([np.prod(weights[list(suspect.hunks)]) for suspect in self.suspects])
        for relation, share in _PRIOR.items():
            rows = [i for i, suspect in enumerate(self.suspects) if suspect.relation == relation]
            prior[rows] *= share / max(prior[rows].sum(), 1e-300)
        self._log = np.log(prior)[None, :] + np.zeros((len(_RATES), 1))  # (rates, suspects)

    def learn(self, applied: Applied, loss: float) -> None:
        """Take into account how much of the loss a half-changed prompt showed once, 0 to 1."""
        breaks = self._find_breaking([applied])[:, 0]
        seen = np.log(loss * _RATES + (1 - loss) * (1 - _RATES))  # (rates, 2)
        self._log += np.where(breaks, seen[:, 1:], seen[:, :1])

    @property
    def best(self) -> tuple[Suspect, float]:
        """The first suspect, and its probability."""
        probabilities = self._joint.sum(axis=0)
        top = int(probabilities.argmax())
        return self.suspects[top], float(probabilities[top])

    def get_probability(self, suspect: Suspect) -> float:
        """Return the probability of a suspect."""
        return float(self._joint[:, self.suspects.index(suspect)].sum())

    def compute_shares(self) -> Floats:
        """Return how likely each hunk has a part in it, (hunks,)."""
        return np.asarray(self._joint.sum(axis=0) @ self._members)

    def choose(self) -> Applied:
        """Return the hunks to put into a next: of those looked at the ones whose answer tells the most."""
        joint = self._joint
        order = np.argsort(-(joint.sum(axis=0) @ self._members), kind="stable")
        candidates = list(dict.fromkeys(_list_candidates([int(i) for i in order])))
        share = joint.sum(axis=0) @ self._find_breaking(candidates)  # (candidates,)
        fine, broken = joint.sum(axis=1) @ _RATES
        whole = _compute_entropy(share * broken + (1 - share) * fine)
        left = share * _compute_entropy(broken) + (1 - share) * _compute_entropy(fine)
        return candidates[int((whole - left).argmax())]

    @property
    def _joint(self) -> Floats:
        """Probabilities of rates and suspects, (rates, suspects)."""
        joint = np.exp(self._log - self._log.max())
        return np.asarray(joint / joint.sum())

    def _find_breaking(self, candidates: Sequence[Applied]) -> Floats:
        """Return by which suspects prompts would be broken, (suspects, candidates) of 0 and 1."""
        marks = np.zeros((self._count, len(candidates)))
        for column, applied in enumerate(candidates):
            marks[list(applied), column] = 1
        return np.asarray(self._members @ marks >= self._needed[:, None], dtype=float)


def _list_suspects(count: int) -> Iterator[Suspect]:
    for i in range(count):
        yield Suspect("alone", (i,))
    for pair in combinations(range(count), 2):
        yield Suspect("together", pair)
        yield Suspect("either", pair)
    yield Suspect("none", ())


def _count_needed(suspect: Suspect) -> int:
    """Return how many of its hunks break the answers."""
    return len(suspect.hunks) if suspect.relation == "together" else 1


def _list_candidates(order: Sequence[int]) -> Iterator[Applied]:
    """Yield the most suspected hunks, one more each time, their complements, and what tells one from two."""
    every = frozenset(order)
    for size in range(1, len(order)):
        yield frozenset(order[:size])
        yield every - frozenset(order[:size])
    for hunk in order[:_TRIED_ALONE]:
        yield frozenset([hunk])
        yield every - {hunk}
    yield every


def _compute_entropy(p: Floats) -> Floats:
    return np.asarray(-p * np.log(p) - (1 - p) * np.log1p(-p))
