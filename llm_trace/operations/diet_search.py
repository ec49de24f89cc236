"""Which parts can go together: found by removing groups and backing off, and confirmed on other calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_trace.operations.diet_cases import WHOLE, Case, RemovablePart, Removal
from llm_trace.operations.diet_trial import BudgetSpentError, DietTrial
from llm_trace.statistics.equivalence import PairedChange, count_pairs_needed, measure_change
from llm_trace.statistics.floats import Floats

_BATCH = 32
_STEPS = 8
"""Smaller removals that are tried on the held-out calls where the whole one fails."""


@dataclass(frozen=True)
class Standard:
    """When a removal is good enough."""

    margin: float
    """Loss of the mean grade that is borne."""
    confidence: float
    """Of the one-sided bound of the loss."""

    @property
    def needed(self) -> int:
        """Calls that prove it where no answer changes."""
        return count_pairs_needed(self.margin, self.confidence)

    def measure(self, before: Floats, after: Floats) -> PairedChange:
        """Return the change with its bounds."""
        return measure_change(before, after, self.confidence)

    def is_promising(self, before: Floats, after: Floats) -> bool:
        """Return whether a removal would pass on such calls with some room; with too few of them to prove
        anything: whether nothing was lost.
        """
        change = self.measure(before, after)
        if len(before) < self.needed:
            return change.value >= 0
        return change.value >= -self.margin / 4 and change.is_no_worse(self.margin)


@dataclass(frozen=True)
class DietSearch:
    """What can go, by the calls it was chosen on."""

    groups: tuple[tuple[RemovablePart, ...], ...]
    """In the order in which they were taken away, each on top of those before it."""
    stopped: bool
    """Whether the budget ended it."""

    @property
    def removal(self) -> Removal:
        """All of it."""
        return frozenset(part for group in self.groups for part in group)


def search_removal(
    trial: DietTrial, cases: Sequence[Case], parts: Sequence[RemovablePart], standard: Standard, reserve: int
) -> DietSearch:
    """Return the parts that can go together: a group that cannot is halved, down to single parts.

    Every group is tried on top of what went before it, so of parts that stand in for each other one stays.

    Args:
        cases: calls to choose on.
        parts: candidates, the surest first.
        reserve: questions to leave for others.
    """
    groups: list[tuple[RemovablePart, ...]] = []
    tried: dict[Removal, bool] = {}
    before = trial.grade_cases(cases, WHOLE)
    budget, trial.budget = trial.budget, None if trial.budget is None else trial.budget - reserve

    def remove(group: Sequence[RemovablePart]) -> None:
        removal = frozenset(part for each in (*groups, group) for part in each)
        if removal not in tried:
            tried[removal] = _try_removal(trial, cases, before, removal, standard)
        if tried[removal]:
            groups.append(tuple(group))
        elif len(group) > 1:
            middle = len(group) // 2
            remove(group[:middle])
            remove(group[middle:])

    stopped = False
    try:
        if parts:
            remove(parts)
    except BudgetSpentError:
        stopped = True
    trial.budget = budget
    return DietSearch(tuple(groups), stopped)


def _try_removal(
    trial: DietTrial, cases: Sequence[Case], before: Floats, removal: Removal, standard: Standard
) -> bool:
    """Return whether a removal is promising; the asking ends when it has lost more than may be lost."""
    after = before.copy()
    for at in range(0, len(cases), _BATCH):
        batch = slice(at, at + _BATCH)
        after[batch] = trial.grade_cases(cases[batch], removal)
        if float((before - after).sum()) > standard.margin * len(cases):
            return False
    return standard.is_promising(before, after)


@dataclass(frozen=True)
class Confirmation:
    """What the held-out calls say."""

    removal: Removal
    """What is proved to cost less than the margin; empty where nothing is."""
    change: PairedChange
    """Of that, or of everything proposed where nothing is proved."""
    before: float
    """Mean grade with the whole prompts."""


def confirm_removal(
    trial: DietTrial, cases: Sequence[Case], search: DietSearch, standard: Standard
) -> Confirmation:
    """Return the largest removal that held-out calls confirm, of those that the search leads over.

    Args:
        trial: whose budget must pay for the whole prompts and for one removal.
        standard: whose level is half of what may go wrong: the other half is for backing off. There the
            removals grow, and the first that fails ends it (fixed sequence), so no further correction is due.

    Source: Maurer, Hothorn & Lehmacher 1995, in Biometrie in der chemisch-pharmazeutischen Industrie 6, 3-18.
    """
    before = trial.grade_cases(cases, WHOLE)
    mean = float(before.mean())

    def measure(removal: Removal) -> PairedChange:
        return standard.measure(before, trial.grade_cases(cases, removal))

    whole = measure(search.removal)
    if whole.is_no_worse(standard.margin):
        return Confirmation(search.removal, whole, mean)
    best = Confirmation(WHOLE, whole, mean)
    for removal in _list_steps(search) if len(cases) >= standard.needed else ():
        try:
            change = measure(removal)
        except BudgetSpentError:
            break
        if not change.is_no_worse(standard.margin):
            break
        best = Confirmation(removal, change, mean)
    return best


def _list_steps(search: DietSearch) -> list[Removal]:
    """Return growing removals short of the whole one, at most `_STEPS`."""
    parts = [part for group in search.groups for part in group]
    sizes = {round(i * len(parts) / (_STEPS + 1)) for i in range(1, _STEPS + 1)} - {0, len(parts)}
    return [frozenset(parts[:size]) for size in sorted(sizes)]
